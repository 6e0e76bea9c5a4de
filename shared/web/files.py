"""Download a file by its signed link: with the session of the person, or the API key, that the link is bound to."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from shared.core.context import Ctx
from shared.core.errors import NotFound, NotSignedIn, Refused
from shared.files import files, links
from shared.files.files import Download
from shared.tenancy import entry, key_entry
from shared.web import request_identity

MAX_TOKEN_LENGTH = 400


async def download_file(request: Request) -> Response:
    """403 for a bad signature and an expired link, 404 for a good one without a right to it."""
    token = request.path_params["token"]
    link = links.parse_token(token if len(token) <= MAX_TOKEN_LENGTH else "")
    try:
        async with _enter(request, link.tenant_id) as ctx:
            download = await files.open_link(ctx, link)
    except (NotFound, Refused):
        raise files.no_such_file() from None
    return await stream(download)


async def stream(download: Download) -> Response:
    """The bytes of a file that its holder may read. Raises NotFound, StorageUnavailable."""
    chunks = files.read(download)
    first_chunk = await anext(chunks, b"")  # a file that can't be read gets its own status
    headers = {
        "cache-control": "no-store",
        "content-disposition": _name_attachment(download.name),
        "content-length": str(download.size),
        "content-security-policy": "default-src 'none'; sandbox",
        "content-type": download.content_type,
    }
    return StreamingResponse(_chain(first_chunk, chunks), headers=headers)


def _name_attachment(name: str) -> str:
    """RFC 6266: in ASCII for all clients, whole for those that read UTF-8."""
    plain = "".join(character if _is_safe(character) else "_" for character in name)
    return f'attachment; filename="{plain}"' + (
        "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    )


def _is_safe(character: str) -> bool:
    return character.isascii() and character.isprintable() and character not in '"\\%'


@asynccontextmanager
async def _enter(request: Request, tenant_id: str) -> AsyncIterator[Ctx]:
    """With the key of the request, where it has one: then its cookie counts for nothing.

    Raises NotSignedIn, NotFound, Refused.
    """
    if "authorization" not in request.headers:
        async with entry.enter_tenant(request_identity.get_cookie_header(request), tenant_id) as ctx:
            yield ctx
        return
    text = request_identity.get_bearer_token(request)
    if not text:
        raise NotSignedIn("This request has no API key.", "Send it as Authorization: Bearer bk_live_….")
    address = request_identity.get_client_address(request)
    admission = await key_entry.authenticate_key(text, address=address)
    async with key_entry.enter_key(admission) as ctx:
        yield ctx


async def _chain(first_chunk: bytes, chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """Closes the file also when the client leaves."""
    async with aclosing(chunks):
        yield first_chunk
        async for chunk in chunks:
            yield chunk


ROUTES = [Route("/files/{token}", download_file, methods=["GET"])]
