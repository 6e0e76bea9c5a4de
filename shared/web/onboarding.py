"""Onboarding wizard of an owner: organisation, branding, first invitations. Each step saves and may be skipped.

`?t=` names the organisation by its slug, which is authorised like every slug.
"""

from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.access import actions, policy
from shared.access.decision import decide
from shared.access.refusal_codes import Reason
from shared.access.roles import OWNER, can_grant
from shared.core.context import Ctx
from shared.core.errors import DomainError, Invalid
from shared.tenancy import entry, invitations, logos, roles, tenants, user_tenants
from shared.web import forms, public_pages, request_identity
from shared.web.sign_in import redirect_to

STEPS = {"organisation": "Your organisation", "look": "Branding", "people": "Your colleagues"}
INVITATION_FIELDS = 5
DEFAULT_COLOUR = "#3e5bd9"  # shown before a colour was chosen; stored as "no colour"
ORGANISATION_PROBLEMS = {  # concern the organisation, not the input
    *("membership_ended", "missing_permission", "not_found", "not_signed_in"),
    *("tenant_deleted", "tenant_suspended", "tenant_unverified"),
}


async def show_step(request: Request) -> Response:
    await request_identity.require_visitor(request)
    slug = request.query_params.get("t", "") or await _find_slug_to_set_up(request)
    if not slug:
        return redirect_to("/organisations")
    step = request.query_params.get("step", "organisation")
    return await _render_step(request, slug, step if step in STEPS else "organisation")


async def _find_slug_to_set_up(request: Request) -> str:
    """The slug of the first organisation that this person may set up, or ""."""
    places = await user_tenants.list_user_tenants(request_identity.get_cookie_header(request))
    slugs = (place.slug for place in places if actions.SETTINGS_SETUP.permission in place.role.permissions)
    return next(slugs, "")


async def _render_step(
    request: Request,
    slug: str,
    step: str,
    problem: DomainError | None = None,
    typed: dict[str, str] | None = None,
    sent: list[str] | None = None,
) -> Response:
    async with entry.enter_tenant(request_identity.get_cookie_header(request), slug) as ctx:
        if decide(ctx, actions.HOME_READ).reason is Reason.TENANT_UNVERIFIED:
            return redirect_to("/verify")
        policy.require(ctx, actions.SETTINGS_SETUP)
        tenant_settings = await tenants.get_settings(ctx)
        all_roles = await roles.list_roles(ctx)
    values: dict[str, Any] = {
        "step": step,
        "number": list(STEPS).index(step) + 1,
        "steps": STEPS,
        "slug": slug,
        "after": _next_step_url(slug, step),
        "roles": [
            role for role in all_roles if can_grant(ctx.permissions, role.permissions) and role.key != OWNER
        ],
        "seats": range(1, INVITATION_FIELDS + 1),
        "sent": sent or [],
        "standard": DEFAULT_COLOUR,
        "version": tenant_settings.branding_version if step == "look" else tenant_settings.version,
        "differences": getattr(problem, "differences", ()),
        "logo": f"/t/{slug}/logo?v={tenant_settings.logo_digest[:12]}" if tenant_settings.logo_digest else "",
    }
    saved = {
        "name": tenant_settings.name,
        "slug": tenant_settings.slug,
        "colour": tenant_settings.colour or DEFAULT_COLOUR,
    }
    template = f"onboarding_{step}.html"
    if problem is not None:
        return public_pages.render_form_again(request, template, problem, saved | (typed or {}), **values)
    return public_pages.render_page(request, template, typed=saved, **values)


def _next_step_url(slug: str, step: str) -> str:
    """The URL of the next step, "" after the last one."""
    names = list(STEPS)
    position = names.index(step) + 1
    return f"/onboarding?t={quote(slug)}&step={names[position]}" if position < len(names) else ""


async def save_organisation(request: Request) -> Response:
    await request_identity.require_visitor(request)
    typed = await forms.read(request)
    old = typed.get("t", "")
    try:
        async with _enter_tenant(request, old) as ctx:
            version = _read_version(typed)
            if typed.get("name", "").strip() != ctx.tenant_name:
                await tenants.rename(ctx, typed.get("name", ""), version=version)
                version = None  # this transaction has read it
            slug = ctx.slug
            if (new_slug := typed.get("slug", "").strip().lower()) != slug:
                slug = await tenants.change_slug(ctx, new_slug, version=version)
    except DomainError as problem:
        if _is_organisation_problem(problem):
            raise
        if problem.reason == "slug_taken":
            problem = Invalid(problem.detail, problem.next_step, fields={"slug": problem.detail})
        return await _render_step(request, old, "organisation", problem, typed)
    return redirect_to(_next_step_url(slug, "organisation"))


async def save_branding(request: Request) -> Response:
    await request_identity.require_visitor(request)
    slug, typed = request.path_params["slug"], dict[str, str]()
    try:
        typed, picture = await forms.read_logo(request)
        if picture:
            async with _enter_tenant(request, slug) as ctx:
                await logos.require_upload(ctx)
        drawn = await logos.redraw_image(picture) if picture else None
        async with _enter_tenant(request, slug) as ctx:
            colour = typed.get("colour", "")
            chosen_colour, version = "" if colour == DEFAULT_COLOUR else colour, _read_version(typed)
            if chosen_colour != (await tenants.get_frame_settings(ctx)).colour:
                await tenants.set_colour(ctx, chosen_colour, version=version)
                version = None  # this transaction has read it
            if drawn is not None:
                await logos.save(ctx, drawn, version=version)
    except DomainError as problem:
        if _is_organisation_problem(problem):
            raise
        return await _render_step(request, slug, "look", problem, typed)
    return redirect_to(_next_step_url(slug, "look"))


async def send_invitations(request: Request) -> Response:
    """Invite each address in its own transaction. Failed addresses stay in the form with their error."""
    await request_identity.require_visitor(request)
    typed = await forms.read(request)
    slug, sent, field_errors, left = typed.get("t", ""), list[str](), dict[str, str](), dict[str, str]()
    for number in range(1, INVITATION_FIELDS + 1):
        email, role = typed.get(f"email{number}", "").strip(), typed.get(f"role{number}", "member")
        if not email:
            continue
        try:
            async with _enter_tenant(request, slug) as ctx:
                invitation = await invitations.invite(ctx, email, role)
            sent.append(invitation.email)
        except DomainError as problem:
            if _is_organisation_problem(problem):
                raise
            field_errors[f"email{number}"] = getattr(problem, "fields", {}).get("email") or problem.detail
            left |= {f"email{number}": email, f"role{number}": role}
    if field_errors:
        problem_summary = Invalid(
            "Some invitations were not sent.", "Correct or remove the marked addresses.", fields=field_errors
        )
        return await _render_step(request, slug, "people", problem_summary, left, sent)
    return await _finish_onboarding(request, slug)


async def finish_onboarding(request: Request) -> Response:
    """Finish without sending invitations."""
    await request_identity.require_visitor(request)
    return await _finish_onboarding(request, (await forms.read(request)).get("t", ""))


async def _finish_onboarding(request: Request, slug: str) -> Response:
    async with _enter_tenant(request, slug) as ctx:
        await tenants.finish_onboarding(ctx)
    return redirect_to(f"/t/{ctx.slug}/home")


def _enter_tenant(request: Request, slug: str) -> AbstractAsyncContextManager[Ctx]:
    return entry.enter_tenant(request_identity.get_cookie_header(request), slug)


def _read_version(typed: dict[str, str]) -> int | None:
    """The version that the form showed, 0 for an impossible one; None where the request carries none."""
    text = typed.get("row_version")
    if text is None:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _is_organisation_problem(problem: DomainError) -> bool:
    return problem.reason in ORGANISATION_PROBLEMS


ROUTES = [
    Route("/onboarding", show_step),
    Route("/onboarding/organisation", save_organisation, methods=["POST"]),
    Route("/onboarding/{slug}/look", save_branding, methods=["POST"]),
    Route("/onboarding/finish", finish_onboarding, methods=["POST"]),
    Route("/onboarding/people", send_invitations, methods=["POST"]),
]
