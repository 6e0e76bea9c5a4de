"""A refusal as an answer: a page for people, application/problem+json for programs. One status, one set of words."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from shared.core.errors import DomainError, NotSignedIn, Refused
from shared.web import public_pages

NOT_FOUND = (
    "There is nothing at this address."  # the words of tenancy.entry: not there and not yours look alike
)
NOT_FOUND_STEP = "Check the address, or choose one of your organisations."
MAX_DRAIN_BYTES = 20_000_000


class InternalError(DomainError):
    """Our fault."""

    status = 500
    default_reason = "bug"


def to_response(scope: Scope, refusal: DomainError) -> Response:
    headers = {"cache-control": "no-store"}
    if isinstance(refusal, Refused) and refusal.retry_after:
        headers["retry-after"] = str(refusal.retry_after)
    if not public_pages.wants_html(scope):
        return public_pages.problem_response(scope, refusal, headers)
    if isinstance(refusal, NotSignedIn):
        return RedirectResponse(public_pages.sign_in_url(scope), 303, headers=headers)
    return public_pages.render_refusal_page(scope, refusal, headers)


def to_domain_error(problem: Exception) -> DomainError:
    if isinstance(problem, DomainError):
        return problem
    return InternalError(
        "Something went wrong on our side.", "Try again. If it stays, tell support the id below."
    )


async def send_refusal(scope: Scope, receive: Receive, send: Send, problem: Exception) -> None:
    """For ASGI layers. Reads what the client is still sending, or the server would cut the line mid-answer."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4403})
        return
    await drain_body(scope, receive)
    await to_response(scope, to_domain_error(problem))(scope, receive, send)


async def drain_body(scope: Scope, receive: Receive) -> None:
    """Not once more when it has been read: the next message would be that the client has left."""
    seen, more = 0, not scope["state"].get("body_read")
    while more and seen < MAX_DRAIN_BYTES:
        message = await receive()
        seen += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)


async def on_exception(request: Request, problem: Exception) -> Response:
    """Starlette's handler for what our routes raise."""
    return to_response(request.scope, to_domain_error(problem))
