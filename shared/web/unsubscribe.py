"""Stop one kind of mail by the signed link in it (RFC 8058). No session is needed, and none is read.

A GET changes nothing, because mail scanners open links. A POST does: of the mail program, or of the page's button.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.core import db
from shared.core.rate_limits import RateLimit, begin_attempt
from shared.tenancy import unsubscribe_links
from shared.tenancy.unsubscribe_links import UnsubscribeLink
from shared.web import forms, public_pages, request_identity

MAX_TOKEN_LENGTH = 300
UNDO_FIELD = "undo"
ONE_CLICK_TYPE = "multipart/form-data"  # RFC 8058 3.2: the other encoding that a mail program may choose


async def show_page(request: Request) -> Response:
    return _render(request, await _read_link(request), "asked")


async def unsubscribe(request: Request) -> Response:
    """The page's form may hold `undo`. What else a mail program sends has no meaning: the link says all of it."""
    link = await _read_link(request)
    is_undo = not _is_multipart(request) and UNDO_FIELD in await forms.read(request)
    async with db.transaction(tenant_id=link.tenant_id) as session:
        await unsubscribe_links.set_enabled(session, link, enabled=is_undo)
    return _render(request, link, "undone" if is_undo else "stopped")


async def _read_link(request: Request) -> UnsubscribeLink:
    """Only links that we did not sign count against the limit. Raises BadUnsubscribeLink, Refused."""
    attempt = await begin_attempt((RateLimit.TOKEN_ADDRESS, (request_identity.get_client_address(request),)))
    token = request.path_params["token"]
    link = unsubscribe_links.parse_token(token if len(token) <= MAX_TOKEN_LENGTH else "")
    await attempt.succeed()
    return link


def _is_multipart(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == ONE_CLICK_TYPE


def _render(request: Request, link: UnsubscribeLink, step: str) -> Response:
    """Says what the link itself says, and nothing about the person or the organisation."""
    return public_pages.render_page(
        request,
        "unsubscribe.html",
        title=link.title,
        step=step if link.title else "essential",
        path=request.scope["path"],
        undo_field=UNDO_FIELD,
    )


ROUTES = [
    Route(unsubscribe_links.PATH_PREFIX + "{token}", show_page),
    Route(unsubscribe_links.PATH_PREFIX + "{token}", unsubscribe, methods=["POST"]),
]
