"""Turn a DomainError into a response: a page for browsers, application/problem+json for programs."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from shared.core import db
from shared.core.errors import DomainError, NotSignedIn, Unavailable
from shared.web import public_pages

NOT_FOUND = "Page not found."  # the same text as tenancy.entry: a foreign slug must look like an unknown one
NOT_FOUND_STEP = "Check the address or choose one of your organisations."
MAX_DRAIN_BYTES = 20_000_000


class InternalError(DomainError):
    """An unexpected error. Its cause is only in the log."""

    status = 500
    default_reason = "bug"


def to_response(scope: Scope, refusal: DomainError) -> Response:
    headers = {"cache-control": "no-store"} | public_pages.retry_headers(refusal) | refusal.headers
    if isinstance(refusal, NotSignedIn) and scope["path"].startswith("/api/"):
        headers["www-authenticate"] = "Bearer"
    if isinstance(refusal, Unavailable) and scope.get("method") == "GET":
        headers["refresh"] = str(refusal.retry_after)  # the page comes back by itself
    if not public_pages.wants_html(scope):
        return public_pages.problem_response(scope, refusal, headers)
    if isinstance(refusal, NotSignedIn):
        return RedirectResponse(public_pages.sign_in_url(scope), 303, headers=headers)
    return public_pages.render_refusal_page(scope, refusal, headers)


def to_domain_error(problem: Exception) -> DomainError:
    if isinstance(problem, DomainError):
        return problem
    if refusal := db.to_refusal(problem):
        return refusal
    return InternalError(
        "Something went wrong.",
        "Try again. If this keeps happening, contact support with the reference below.",
    )


async def send_refusal(scope: Scope, receive: Receive, send: Send, problem: Exception) -> None:
    """Send a refusal from an ASGI layer. Reads the rest of the body first, or the server would reset the connection."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4403})
        return
    await drain_body(scope, receive)
    await to_response(scope, to_domain_error(problem))(scope, receive, send)


async def drain_body(scope: Scope, receive: Receive) -> None:
    """Read and discard the rest of the request's body, up to MAX_DRAIN_BYTES. Does nothing if it has been read."""
    seen, more = 0, not scope["state"].get("body_read")
    while more and seen < MAX_DRAIN_BYTES:
        message = await receive()
        seen += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)


async def on_exception(request: Request, problem: Exception) -> Response:
    """Starlette's exception handler for our routes."""
    return to_response(request.scope, to_domain_error(problem))
