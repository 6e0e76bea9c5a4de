"""Requests to remove a lost second factor, and their cancellation by a link or from a session.

To ask, the user has given the right password: the cookie of the second step proves it. An operator decides.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.core import db
from shared.core.errors import DomainError, Invalid
from shared.core.rate_limits import RateLimit, begin_attempt, enforce_rate_limit
from shared.identity import factor_resets, mfa
from shared.identity.models import FactorReset
from shared.identity.realms import USER
from shared.web import forms, public_pages, request_identity
from shared.web.sign_in import redirect_to


async def show_lost_factor(request: Request) -> Response:
    subject_id, reset = await _find_challenged_reset(request)
    if not subject_id:
        return redirect_to("/sign-in?notice=again")
    return public_pages.render_page(request, "lost_factor.html", **_page_values(reset))


async def request_removal(request: Request) -> Response:
    """Ask support to remove the lost second factor. The user is told by mail."""
    await forms.read(request)
    subject_id, reset = await _find_challenged_reset(request)
    if not subject_id:
        return redirect_to("/sign-in?notice=again")
    try:
        await enforce_rate_limit(RateLimit.FACTOR_RESET_ACCOUNT, subject_id)
        async with db.transaction() as session:
            await factor_resets.request(session, subject_id)
    except DomainError as problem:
        return public_pages.render_form_again(request, "lost_factor.html", problem, {}, **_page_values(reset))
    return redirect_to("/mfa/lost")


async def _find_challenged_reset(request: Request) -> tuple[str, FactorReset | None]:
    """The id of the user whose password was given in this browser, or "", and their open reset."""
    token = request_identity.get_challenge_token(request, USER)
    async with db.transaction() as session:
        subject_id = await mfa.get_challenged_subject(session, USER, token)
        return subject_id, await factor_resets.get_open(session, subject_id) if subject_id else None


def _page_values(reset: FactorReset | None) -> dict[str, Any]:
    return {"reset": reset, "hours": int(factor_resets.get_waiting_time().total_seconds()) // 3600}


async def show_cancelling(request: Request) -> Response:
    """Ask for confirmation, because mail scanners open links."""
    token = request.query_params.get("token", "")
    async with db.transaction() as session:
        works = await factor_resets.find_by_link(session, token) is not None
    return public_pages.render_page(
        request, "factor_reset.html", 200 if works else 422, token=token, works=works
    )


async def cancel_by_link(request: Request) -> Response:
    typed = await forms.read(request)
    try:
        address = request_identity.get_client_address(request)
        attempt = await begin_attempt((RateLimit.TOKEN_ADDRESS, (address,)))
        async with db.transaction() as session:
            await factor_resets.cancel_by_link(session, typed.get("token", ""))
        await attempt.succeed()
    except Invalid as problem:
        return public_pages.render_form_again(
            request, "factor_reset.html", problem, {}, token="", works=False
        )
    if (
        await request_identity.find_visitor(request) is not None
    ):  # the sign-in page would lead on without the notice
        return redirect_to("/account?done=factor-kept")
    return redirect_to("/sign-in?notice=factor-kept")


async def cancel_in_session(request: Request) -> Response:
    visitor = await request_identity.require_visitor(request)
    await forms.read(request)
    async with db.transaction() as session:
        await factor_resets.cancel_own(session, visitor.person.id, factor_resets.BY_SESSION)
    return redirect_to("/account?done=factor-kept")


ROUTES = [
    Route("/mfa/lost", show_lost_factor),
    Route("/auth/mfa/lost", request_removal, methods=["POST"]),
    Route("/factor-reset", show_cancelling),
    Route("/auth/factor-reset", cancel_by_link, methods=["POST"]),
    Route("/account/factor/keep", cancel_in_session, methods=["POST"]),
]
