"""Fetch the keys that a customer's issuer publishes, from an address that the customer chose.

https on port 443 of a public address only, which is checked and then dialled itself. No redirect, no proxy, and an answer
that is bounded in size and time.
"""

import asyncio
import ssl

import httpx

from shared.core import outbound

MAX_BYTES = 65_536
TIMEOUT_S = 5.0
PORT = 443


class FetchFailed(Exception):
    """There are no keys at this address, or we don't go there. The message has no secret."""


def check_url(url: str) -> httpx.URL:
    """Raises FetchFailed for an address that can't be one of published keys. Looks nothing up."""
    try:
        target = httpx.URL(url)
        port = target.port or PORT
    except (httpx.InvalidURL, ValueError) as problem:
        raise FetchFailed("not an address") from problem
    if target.scheme != "https" or port != PORT or not target.raw_host or target.userinfo or target.fragment:
        raise FetchFailed("not https on port 443")
    return target


async def fetch(url: str, transport: httpx.AsyncBaseTransport | None = None) -> bytes:
    """At most MAX_BYTES, in at most TIMEOUT_S seconds. `transport`: of tests. Raises FetchFailed."""
    target = check_url(url)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            address = await outbound.resolve_public(target.raw_host.decode())
            async with httpx.AsyncClient(
                transport=transport, trust_env=False, follow_redirects=False, timeout=TIMEOUT_S
            ) as client:
                return await _read(client, target, address)
    except (outbound.AddressRefused, outbound.HostUnknown, outbound.LookUpWaits) as problem:
        raise FetchFailed("not a public host") from problem
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as problem:
        raise FetchFailed(type(problem).__name__) from problem


async def _read(client: httpx.AsyncClient, target: httpx.URL, address: str) -> bytes:
    """TLS is checked for the name, while the connection goes to the address that was checked."""
    request = client.stream(
        "GET",
        target.copy_with(host=address),
        headers={
            "host": target.raw_host.decode(),
            "accept": "application/json",
            "accept-encoding": "identity",
        },
        extensions={"sni_hostname": target.raw_host.decode()},
    )
    async with request as response:
        if response.status_code != 200:
            raise FetchFailed(f"answers {response.status_code}")
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > MAX_BYTES:
                raise FetchFailed("answers too much")
        return bytes(content)
