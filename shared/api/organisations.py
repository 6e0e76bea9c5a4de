"""Where a signed-in person can go: one of their organisations, or a new one."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.api import doors, forms, visitors
from shared.api.sign_in import redirect
from shared.core import db
from shared.core.errors import DomainError
from shared.core.limits import Limit, hit
from shared.tenancy import entry, signups


async def start(request: Request) -> Response:
    """`/`: straight into the only organisation, otherwise the choice."""
    await visitors.need(request)
    places = await entry.places(visitors.cookie_header(request))
    return redirect(f"/t/{places[0].slug}/home" if len(places) == 1 else "/organisations")


async def show(request: Request) -> Response:
    await visitors.need(request)
    return await _page(request)


async def _page(
    request: Request, problem: DomainError | None = None, typed: dict[str, str] | None = None
) -> Response:
    places = await entry.places(visitors.cookie_header(request))
    listed = [(place, place.role.name) for place in places]
    if problem is not None:
        return doors.again(request, "organisations.html", problem, typed or {}, places=listed)
    return doors.page(request, "organisations.html", places=listed)


async def create(request: Request) -> Response:
    visitor, typed = await visitors.need(request), await forms.read(request)
    if visitor.person.email_verified_at is None:
        return redirect("/verify")
    try:
        await hit(Limit.SIGN_UP_ADDRESS, visitors.address(request))
        async with db.transaction() as session:
            tenant = await signups.create_tenant(session, visitor.person, typed.get("organisation", ""))
            slug = tenant.slug
    except DomainError as problem:
        return await _page(request, problem, typed)
    return redirect(f"/onboarding?t={slug}")


ROUTES = [
    Route("/", start),
    Route("/organisations", show),
    Route("/organisations", create, methods=["POST"]),
]
