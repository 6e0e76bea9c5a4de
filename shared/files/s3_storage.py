"""Files in a bucket of an S3-compatible service.

Three requests are enough: PUT, GET, DELETE. httpx, which the platform has anyway, sends them; the signature is forty lines.
The usual library (aiobotocore) would bring six packages and a model of the whole API.
"""

import asyncio
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from shared.core import log
from shared.core.db import now
from shared.files.s3_signature import EMPTY_SHA256, S3Credentials, sign_request
from shared.files.storage import CHUNK_SIZE, FilePath, MissingFile, StorageUnavailable, storage_unavailable

ATTEMPTS = 4
FIRST_WAIT_S = 0.2  # doubles, with jitter
TIMEOUT = httpx.Timeout(30.0, connect=5.0)
MAX_CONNECTIONS = 50  # of each client
RETRIED_STATUSES = (429, 500, 502, 503, 504)


class S3Storage:
    """`Storage` in one bucket, addressed by its path. A file of up to 5 GB is sent in one request, so it is whole or absent."""

    def __init__(self, url: str, bucket: str, credentials: S3Credentials) -> None:
        """`url`: scheme, host and port of the service."""
        self._url, self._bucket, self._credentials = url, bucket, credentials
        self._host = urlsplit(url).netloc
        # Connections of their own, so that neither waits for many of the other.
        self._write_client, self._read_client = _build_client(url), _build_client(url)

    async def put(self, path: FilePath, source: Path, *, sha256: str) -> None:
        size = str((await asyncio.to_thread(source.stat)).st_size)
        for attempt in range(ATTEMPTS):
            request = self._build_request(
                "PUT", path, sha256=sha256, length=size, content=_read_chunks(source)
            )
            try:
                response = await self._write_client.send(request)
                if response.status_code not in RETRIED_STATUSES:
                    self._require(response, 200)
                    return
            except httpx.HTTPError as problem:
                log.get_tenant_logger(__name__).warning("bucket_unreachable", problem=type(problem).__name__)
            await _wait_after(attempt)
        raise storage_unavailable()

    async def read(self, path: FilePath) -> AsyncGenerator[bytes, None]:
        response = await self._send("GET", path)
        try:
            if response.status_code == 404:
                raise MissingFile(str(path))
            self._require(response, 200)
            async for chunk in response.aiter_raw(CHUNK_SIZE):
                yield chunk
        except httpx.HTTPError as problem:
            raise storage_unavailable() from problem
        finally:
            await response.aclose()

    async def delete(self, path: FilePath) -> None:
        response = await self._send("DELETE", path)
        await response.aclose()
        if response.status_code != 404:
            self._require(response, 204)

    async def close(self) -> None:
        await self._write_client.aclose()
        await self._read_client.aclose()

    async def _send(self, method: str, path: FilePath) -> httpx.Response:
        """Its body is not read yet. Raises StorageUnavailable."""
        client = self._read_client if method == "GET" else self._write_client
        for attempt in range(ATTEMPTS):
            try:
                response = await client.send(
                    self._build_request(method, path, sha256=EMPTY_SHA256), stream=True
                )
            except httpx.HTTPError as problem:
                log.get_tenant_logger(__name__).warning("bucket_unreachable", problem=type(problem).__name__)
            else:
                if response.status_code not in RETRIED_STATUSES:
                    return response
                await response.aclose()
            await _wait_after(attempt)
        raise storage_unavailable()

    def _build_request(
        self,
        method: str,
        path: FilePath,
        *,
        sha256: str,
        length: str = "",
        content: AsyncIterator[bytes] | None = None,
    ) -> httpx.Request:
        address = f"/{self._bucket}/{path}"
        headers = {"host": self._host} | ({"content-length": length} if length else {})
        signed = sign_request(self._credentials, method, address, headers=headers, sha256=sha256, at=now())
        return self._write_client.build_request(
            method, f"{self._url}{address}", headers=signed, content=content
        )

    def _require(self, response: httpx.Response, status: int) -> None:
        """Raises StorageUnavailable for any other status: a wrong key, a bucket that is gone."""
        if response.status_code != status:
            log.get_tenant_logger(__name__).error("bucket_refused", status=response.status_code)
            raise StorageUnavailable(
                "The file storage refused the request. Nothing was stored.",
                "Contact support.",
                retry_after=600,
            )


def _build_client(url: str) -> httpx.AsyncClient:
    verify: ssl.SSLContext | bool = ssl.create_default_context() if url.startswith("https:") else False
    limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=10)
    return httpx.AsyncClient(
        timeout=TIMEOUT, limits=limits, verify=verify, trust_env=False, follow_redirects=False
    )


async def _read_chunks(source: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(source.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_SIZE):
            yield chunk


async def _wait_after(attempt: int) -> None:
    if attempt < ATTEMPTS - 1:
        await asyncio.sleep(FIRST_WAIT_S * 2**attempt * (0.5 + random.random()))  # noqa: S311  no secret
