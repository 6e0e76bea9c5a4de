"""What the hosted pages share: from whom they are, how a session is found, and what a page says that is over."""

from starlette.requests import Request
from starlette.responses import Response

from shared.dev.stripe_sandbox import pages, timeline
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox

SELLER = "Bulkhead"
LONGEST = 100  # of what somebody types into a field


def found(sandbox: Sandbox, request: Request, kind: str) -> tuple[Account, Object] | None:
    """The account and object of this page's address, brought up to now."""
    known = sandbox.find(kind, request.path_params["id"])
    if known is not None:
        timeline.tick(known[0])
        sandbox.save()
    return known


def closed(
    request: Request, title: str, sentence: str, status: int = 200, *, url: str = "", back: str = ""
) -> Response:
    """A page on which there is nothing left to do but to leave."""
    return pages.show(
        request, "closed", status, name=SELLER, title=title, sentence=sentence, url=url, back=back
    )


async def field(request: Request, name: str) -> str:
    async with request.form() as form:
        value = form.get(name, "")
    return value[:LONGEST] if isinstance(value, str) else ""
