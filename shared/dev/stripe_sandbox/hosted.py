"""Parts of all hosted pages: the seller's name, the lookup of a session, and the page of an ended session."""

from starlette.requests import Request
from starlette.responses import Response

from shared.dev.stripe_sandbox import pages, timeline
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox

SELLER_NAME = "Bulkhead"
MAX_FIELD_LENGTH = 100  # of what somebody types into a field


def find_page_object(sandbox: Sandbox, request: Request, kind: str) -> tuple[Account, Object] | None:
    """The account and object of this page's address, brought up to now."""
    match = sandbox.find_object(kind, request.path_params["id"])
    if match is not None:
        timeline.run_due_steps(match[0])
        sandbox.save()
    return match


def render_closed(
    request: Request, title: str, sentence: str, status: int = 200, *, url: str = "", back: str = ""
) -> Response:
    """A page of a session that has ended, with a link back."""
    return pages.render_page(
        request, "closed", status, name=SELLER_NAME, title=title, sentence=sentence, url=url, back=back
    )


async def read_field(request: Request, name: str) -> str:
    async with request.form() as form:
        value = form.get(name, "")
    return value[:MAX_FIELD_LENGTH] if isinstance(value, str) else ""
