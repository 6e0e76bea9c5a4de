"""A refusal as an answer: a page for people, application/problem+json for programs. One status, one set of words."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from shared.api import doors
from shared.core.errors import DomainError, NotSignedIn, Refused

NOTHING = (
    "There is nothing at this address."  # the words of tenancy.entry: not there and not yours look alike
)
NOTHING_STEP = "Check the address, or choose one of your organisations."
DRAIN_AT_MOST = 20_000_000


class Broken(DomainError):
    """Our fault."""

    status = 500
    default_reason = "bug"


def answer(scope: Scope, refusal: DomainError) -> Response:
    headers = {"cache-control": "no-store"}
    if isinstance(refusal, Refused) and refusal.retry_after:
        headers["retry-after"] = str(refusal.retry_after)
    if not doors.wants_page(scope):
        return doors.problem(scope, refusal, headers)
    if isinstance(refusal, NotSignedIn):
        return RedirectResponse(doors.sign_in_address(scope), 303, headers=headers)
    return doors.refusal_page(scope, refusal, headers)


def of_exception(problem: Exception) -> DomainError:
    if isinstance(problem, DomainError):
        return problem
    return Broken("Something went wrong on our side.", "Try again. If it stays, tell support the id below.")


async def send(scope: Scope, receive: Receive, send: Send, problem: Exception) -> None:
    """For ASGI layers. Reads what the client is still sending, or the server would cut the line mid-answer."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4403})
        return
    await drain(scope, receive)
    await answer(scope, of_exception(problem))(scope, receive, send)


async def drain(scope: Scope, receive: Receive) -> None:
    """Not once more when it has been read: the next message would be that the client has left."""
    seen, more = 0, not scope["state"].get("body_read")
    while more and seen < DRAIN_AT_MOST:
        message = await receive()
        seen += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)


async def on_refusal(request: Request, problem: Exception) -> Response:
    """Starlette's handler for what our routes raise."""
    return answer(request.scope, of_exception(problem))
