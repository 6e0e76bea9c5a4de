"""List a signed-in person's organisations and create new ones."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.core import db
from shared.core.errors import DomainError
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.tenancy import entry, signups
from shared.web import forms, public_pages, request_identity
from shared.web.sign_in import redirect_to


async def show_start(request: Request) -> Response:
    """`/`: redirect to the only organisation, otherwise to the list."""
    await request_identity.require_visitor(request)
    places = await entry.list_user_tenants(request_identity.get_cookie_header(request))
    return redirect_to(f"/t/{places[0].slug}/home" if len(places) == 1 else "/organisations")


async def show_organisations(request: Request) -> Response:
    await request_identity.require_visitor(request)
    return await _render_organisations(request)


async def _render_organisations(
    request: Request, problem: DomainError | None = None, typed: dict[str, str] | None = None
) -> Response:
    places = await entry.list_user_tenants(request_identity.get_cookie_header(request))
    listed = [(place, place.role.name) for place in places]
    if problem is not None:
        return public_pages.render_form_again(
            request, "organisations.html", problem, typed or {}, places=listed
        )
    return public_pages.render_page(request, "organisations.html", places=listed)


async def create_organisation(request: Request) -> Response:
    visitor, typed = await request_identity.require_visitor(request), await forms.read(request)
    if visitor.person.email_verified_at is None:
        return redirect_to("/verify")
    try:
        await enforce_rate_limit(RateLimit.SIGN_UP_ADDRESS, request_identity.get_client_address(request))
        async with db.transaction() as session:
            tenant = await signups.create_tenant(session, visitor.person, typed.get("organisation", ""))
            slug = tenant.slug
    except DomainError as problem:
        return await _render_organisations(request, problem, typed)
    return redirect_to(f"/onboarding?t={slug}")


ROUTES = [
    Route("/", show_start),
    Route("/organisations", show_organisations),
    Route("/organisations", create_organisation, methods=["POST"]),
]
