"""List a signed-in person's organisations, create new ones and leave them."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.core import db
from shared.core.errors import Conflict, DomainError, Invalid
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.tenancy import entry, members, signups, user_tenants
from shared.web import forms, public_pages, request_identity
from shared.web.sign_in import redirect_to


async def show_start(request: Request) -> Response:
    """`/`: redirect to the only organisation, otherwise to the list."""
    await request_identity.require_visitor(request)
    places = await user_tenants.list_user_tenants(request_identity.get_cookie_header(request))
    return redirect_to(f"/t/{places[0].slug}/home" if len(places) == 1 else "/organisations")


async def show_organisations(request: Request) -> Response:
    await request_identity.require_visitor(request)
    return await _render_organisations(request)


async def _render_organisations(
    request: Request, problem: DomainError | None = None, typed: dict[str, str] | None = None
) -> Response:
    places = await user_tenants.list_user_tenants(request_identity.get_cookie_header(request))
    listed = [(place, place.role.name) for place in places]
    if problem is not None:
        return public_pages.render_form_again(
            request, "organisations.html", problem, typed or {}, places=listed
        )
    notice = public_pages.notice_text(request)
    return public_pages.render_page(request, "organisations.html", places=listed, notice=notice)


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


async def show_leaving(request: Request) -> Response:
    """Ask for confirmation. `?t=` names the organisation by its slug, which is authorised like every slug."""
    await request_identity.require_visitor(request)
    return await _render_leaving(request, request.query_params.get("t", ""))


async def _render_leaving(request: Request, slug: str, problem: DomainError | None = None) -> Response:
    async with entry.enter_tenant(request_identity.get_cookie_header(request), slug) as ctx:
        membership_id = await members.get_own_membership_id(ctx)
    values: dict[str, Any] = {"slug": ctx.slug, "tenant": ctx.tenant_name, "membership_id": membership_id}
    if problem is not None:
        return public_pages.render_form_again(request, "leave.html", problem, {}, **values)
    return public_pages.render_page(request, "leave.html", **values)


async def leave_organisation(request: Request) -> Response:
    await request_identity.require_visitor(request)
    typed = await forms.read(request)
    slug, header = typed.get("t", ""), request_identity.get_cookie_header(request)
    try:
        async with entry.enter_tenant(header, slug) as ctx:
            await members.leave(ctx, typed.get("membership", ""))
    except (Conflict, Invalid) as problem:
        return await _render_leaving(request, slug, problem)
    return redirect_to("/organisations?notice=left")


ROUTES = [
    Route("/", show_start),
    Route("/organisations", show_organisations),
    Route("/organisations", create_organisation, methods=["POST"]),
    Route("/organisations/leave", show_leaving),
    Route("/organisations/leave", leave_organisation, methods=["POST"]),
]
