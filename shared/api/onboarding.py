"""The first minutes of an owner: organisation, look, first invitations. Each step saves at once and may be skipped.

Which organisation is meant says `?t=`, a wish like every slug. Whoever comes back finds what was saved.
"""

from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.access import actions, policy
from shared.access.decision import decide
from shared.access.reasons import Reason
from shared.access.roles import OWNER, may_grant
from shared.api import doors, forms, visitors
from shared.api.sign_in import redirect
from shared.core.ctx import Ctx
from shared.core.errors import DomainError, Invalid
from shared.tenancy import entry, invitations, logos, roles, tenants

STEPS = {"organisation": "Your organisation", "look": "Its look", "people": "Your colleagues"}
SEATS = 5
STANDARD_COLOUR = "#3e5bd9"  # what a colour field shows before anybody chose; kept as "no colour"
ELSEWHERE = {  # about the organisation as a whole, not about what was typed
    *("membership_ended", "missing_permission", "not_found", "not_signed_in"),
    *("tenant_deleted", "tenant_suspended", "tenant_unverified"),
}


async def show(request: Request) -> Response:
    await visitors.need(request)
    slug = request.query_params.get("t", "") or await _first_of_mine(request)
    if not slug:
        return redirect("/organisations")
    step = request.query_params.get("step", "organisation")
    return await _page(request, slug, step if step in STEPS else "organisation")


async def _first_of_mine(request: Request) -> str:
    """An organisation that this person may set up."""
    places = await entry.places(visitors.cookie_header(request))
    able = (place.slug for place in places if actions.SETTINGS_SETUP.permission in place.role.permissions)
    return next(able, "")


async def _page(
    request: Request,
    slug: str,
    step: str,
    problem: DomainError | None = None,
    typed: dict[str, str] | None = None,
    sent: list[str] | None = None,
) -> Response:
    async with entry.enter_tenant(visitors.cookie_header(request), slug) as ctx:
        if decide(ctx, actions.HOME_READ).reason is Reason.TENANT_UNVERIFIED:
            return redirect("/verify")
        policy.require(ctx, actions.SETTINGS_SETUP)
        found = await tenants.get_settings(ctx)
        every = await roles.list_all(ctx)
    values: dict[str, Any] = {
        "step": step,
        "number": list(STEPS).index(step) + 1,
        "steps": STEPS,
        "slug": slug,
        "after": _after(slug, step),
        "roles": [
            role for role in every if may_grant(ctx.permissions, role.permissions) and role.key != OWNER
        ],
        "seats": range(1, SEATS + 1),
        "sent": sent or [],
        "standard": STANDARD_COLOUR,
        "logo": f"/t/{slug}/logo?v={found.logo_digest[:12]}" if found.logo_digest else "",
    }
    saved = {"name": found.name, "slug": found.slug, "colour": found.colour or STANDARD_COLOUR}
    template = f"onboarding_{step}.html"
    if problem is not None:
        return doors.again(request, template, problem, saved | (typed or {}), **values)
    return doors.page(request, template, typed=saved, **values)


def _after(slug: str, step: str) -> str:
    """Where this step, or skipping it, leads. "" after the last."""
    names = list(STEPS)
    place = names.index(step) + 1
    return f"/onboarding?t={quote(slug)}&step={names[place]}" if place < len(names) else ""


async def name_it(request: Request) -> Response:
    await visitors.need(request)
    typed = await forms.read(request)
    old = typed.get("t", "")
    try:
        async with _setting_up(request, old) as ctx:
            if typed.get("name", "").strip() != ctx.tenant_name:
                await tenants.rename(ctx, typed.get("name", ""))
            slug = ctx.slug
            if (wished := typed.get("slug", "").strip().lower()) != slug:
                slug = await tenants.change_slug(ctx, wished)
    except DomainError as problem:
        if _is_elsewhere(problem):
            raise
        if problem.reason == "slug_taken":
            problem = Invalid(problem.detail, problem.next_step, fields={"slug": problem.detail})
        return await _page(request, old, "organisation", problem, typed)
    return redirect(_after(slug, "organisation"))


async def dress_it(request: Request) -> Response:
    await visitors.need(request)
    slug, typed = request.path_params["slug"], dict[str, str]()
    try:
        typed, picture = await forms.read_logo(request)
        if picture:
            async with _setting_up(request, slug) as ctx:
                await logos.admit(ctx)
        drawn = await logos.draw(picture) if picture else None
        async with _setting_up(request, slug) as ctx:
            colour = typed.get("colour", "")
            await tenants.set_brand(ctx, "" if colour == STANDARD_COLOUR else colour)
            if drawn is not None:
                await logos.keep(ctx, drawn)
    except DomainError as problem:
        if _is_elsewhere(problem):
            raise
        return await _page(request, slug, "look", problem, typed)
    return redirect(_after(slug, "look"))


async def invite(request: Request) -> Response:
    """One transaction per address: a wrong one does not undo the others, and stays in the form with its reason."""
    await visitors.need(request)
    typed = await forms.read(request)
    slug, sent, wrong, left = typed.get("t", ""), list[str](), dict[str, str](), dict[str, str]()
    for number in range(1, SEATS + 1):
        email, role = typed.get(f"email{number}", "").strip(), typed.get(f"role{number}", "member")
        if not email:
            continue
        try:
            async with _setting_up(request, slug) as ctx:
                invitation = await invitations.invite(ctx, email, role)
            sent.append(invitation.email)
        except DomainError as problem:
            if _is_elsewhere(problem):
                raise
            wrong[f"email{number}"] = getattr(problem, "fields", {}).get("email") or problem.detail
            left |= {f"email{number}": email, f"role{number}": role}
    if wrong:
        some = Invalid("Some invitations were not sent.", "Correct or remove them.", fields=wrong)
        return await _page(request, slug, "people", some, left, sent)
    return await _finish(request, slug)


async def finish(request: Request) -> Response:
    """Without inviting anybody."""
    await visitors.need(request)
    return await _finish(request, (await forms.read(request)).get("t", ""))


async def _finish(request: Request, slug: str) -> Response:
    async with _setting_up(request, slug) as ctx:
        await tenants.finish_onboarding(ctx)
    return redirect(f"/t/{ctx.slug}/home")


def _setting_up(request: Request, slug: str) -> AbstractAsyncContextManager[Ctx]:
    return entry.enter_tenant(visitors.cookie_header(request), slug)


def _is_elsewhere(problem: DomainError) -> bool:
    return problem.reason in ELSEWHERE


ROUTES = [
    Route("/onboarding", show),
    Route("/onboarding/organisation", name_it, methods=["POST"]),
    Route("/onboarding/{slug}/look", dress_it, methods=["POST"]),
    Route("/onboarding/finish", finish, methods=["POST"]),
    Route("/onboarding/people", invite, methods=["POST"]),
]
