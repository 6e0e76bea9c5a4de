"""Routes of a person's own account, in both realms: name, password, second factor and signed-in devices.

Every change to how the person signs in requires the current password again.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.audit import audit_log
from shared.core import db
from shared.core.errors import DomainError, Invalid, NotSignedIn
from shared.core.rate_limits import RateLimit, begin_attempt
from shared.identity import factor_resets, mfa, operator_notices, passwords, sessions, sign_in, users
from shared.identity.realms import OPERATOR, Realm
from shared.identity.sign_in import PASSWORD_AND_TOTP, Browser
from shared.jobs import mail_suppressions
from shared.tenancy import entry
from shared.web import app_sites, forms, public_pages, qr, request_identity, sign_in_records, user_agent
from shared.web.request_identity import SignedInVisitor
from shared.web.sign_in import redirect_to

DONE_NOTICES = {
    "codes": "Your old recovery codes no longer work.",
    "ended": "The device was signed out.",
    "factor-kept": "Two-step sign-in stays on.",
    "factor-off": "Two-step sign-in is off.",
    "factor-on": "Two-step sign-in is on. Your other devices were signed out.",
    "mail": "We’ve sent you an email. Open the link in it within 24 hours.",
    "name": "Your name was changed.",
    "others": "Your other devices were signed out.",
    "password": "Your password was changed. Your other devices were signed out.",
}
DEVICE_CAUSE, OTHERS_CAUSE = "Ended from another device", "Ended all other devices"
AccountAction = Callable[[Request, SignedInVisitor, dict[str, str]], Awaitable[Response]]


async def show_account(request: Request) -> Response:
    return await _render_account(request, await request_identity.require_visitor(request))


async def _render_account(
    request: Request,
    visitor: SignedInVisitor,
    problem: DomainError | None = None,
    typed: dict[str, str] | None = None,
) -> Response:
    realm = app_sites.get_site(request).realm
    async with db.transaction(realm.db_role) as session:
        devices = await sessions.list_sessions(session, realm, visitor.live_session.session_hash)
        on = await mfa.is_enabled(session, realm, visitor.person.id)
        left = await mfa.count_recovery_codes(session, realm, visitor.person.id)
        reset = None if realm is OPERATOR else await factor_resets.get_open(session, visitor.person.id)
        mail_problem = (
            "" if realm is OPERATOR else await mail_suppressions.find_problem(session, visitor.person.id)
        )
    values: dict[str, Any] = {
        "person": visitor.person,
        "devices": [(device, user_agent.describe(device.agent)) for device in devices],
        "factor_on": on,
        "codes_left": left,
        "reset": reset,
        "mail_problem": mail_problem,
    }
    if problem is not None:
        return public_pages.render_form_again(request, "account.html", problem, typed or {}, **values)
    notice = DONE_NOTICES.get(request.query_params.get("done", ""), "")
    return public_pages.render_page(request, "account.html", notice=notice, **values)


def _form_handler(act: AccountAction) -> Callable[[Request], Awaitable[Response]]:
    """Wrap `act` as a form handler: require a session, read the form, and render the page again on a refusal."""

    async def answer(request: Request) -> Response:
        visitor = await request_identity.require_visitor(request)
        typed: dict[str, str] = {}
        try:
            typed = await forms.read(request)
            return await act(request, visitor, typed)
        except NotSignedIn:
            raise
        except DomainError as problem:
            return await _render_account(request, visitor, problem, typed)

    return answer


async def _check_current_password(request: Request, visitor: SignedInVisitor, typed: dict[str, str]) -> None:
    """Check the current password. Raises Invalid for a wrong one, Refused after too many attempts."""
    realm = app_sites.get_site(request).realm
    attempt = await begin_attempt((RateLimit.PROVE_SESSION, (realm.name, visitor.live_session.session_hash)))
    if await sign_in.check_password(realm, visitor.person.email, typed.get("current", "")) is None:
        problem = "Incorrect password."
        raise Invalid(problem, "Enter the password you signed in with.", fields={"current": problem})
    await attempt.succeed()


@asynccontextmanager
async def _hold_session(request: Request, visitor: SignedInVisitor) -> AsyncIterator[AsyncSession]:
    """Open a transaction for a change to how the person signs in. Raises NotSignedIn when the session has ended."""
    realm = app_sites.get_site(request).realm
    async with db.transaction(realm.db_role) as session:
        await sessions.require_live(session, realm, visitor.person.id, visitor.live_session.session_hash)
        yield session


async def change_name(request: Request, visitor: SignedInVisitor, typed: dict[str, str]) -> Response:
    realm = app_sites.get_site(request).realm
    async with db.transaction(realm.db_role) as session:
        old, new = await users.rename(session, realm, visitor.person.id, typed.get("name", ""))
        if old != new:
            await _record_operator_event(session, realm, visitor, "operator.renamed", old=old, new=new)
    return redirect_to("/account?done=name")


async def change_password(request: Request, visitor: SignedInVisitor, typed: dict[str, str]) -> Response:
    """Also start a new session, so that the token from before the change is invalid."""
    realm, person = app_sites.get_site(request).realm, visitor.person
    await _check_current_password(request, visitor, typed)
    await users.require_strong_password(typed.get("password", ""), person.name, person.email)
    password_hash = await passwords.hash_password(typed.get("password", ""))
    async with _hold_session(request, visitor) as session:
        await users.change_password(session, realm, person.id, password_hash)
        token = await _start_new_session(session, request, visitor, visitor.live_session.factors)
        await _record_operator_event(session, realm, visitor, "password.changed")
    return _set_session_cookie(realm, redirect_to("/account?done=password"), token)


async def show_factor_enrolment(request: Request) -> Response:
    """Show the QR code while a factor is being enrolled."""
    return await _render_factor_enrolment(request, await request_identity.require_visitor(request))


async def _render_factor_enrolment(
    request: Request, visitor: SignedInVisitor, problem: DomainError | None = None
) -> Response:
    realm, person = app_sites.get_site(request).realm, visitor.person
    async with db.transaction(realm.db_role) as session:
        on = await mfa.is_enabled(session, realm, person.id)
        seed = "" if on else await mfa.read_seed(session, realm, person.id)
    if not seed:
        return redirect_to("/account")
    values: dict[str, Any] = {
        "seed": seed,
        "qr": qr.render_svg(mfa.provisioning_uri(realm, seed, person.email)),
    }
    if problem is not None:
        return public_pages.render_form_again(request, "factor.html", problem, {}, **values)
    return public_pages.render_page(request, "factor.html", **values)


async def enrol_factor(request: Request, visitor: SignedInVisitor, typed: dict[str, str]) -> Response:
    realm = app_sites.get_site(request).realm
    await _check_current_password(request, visitor, typed)
    async with _hold_session(request, visitor) as session:
        await mfa.enrol(session, realm, visitor.person.id)
    return redirect_to("/account/factor")


async def confirm_factor(request: Request) -> Response:
    visitor, realm = await request_identity.require_visitor(request), app_sites.get_site(request).realm
    try:
        code = (await forms.read(request)).get("code", "")
        attempt = await begin_attempt((RateLimit.MFA_ACCOUNT, (realm.name, visitor.person.id)))
        async with _hold_session(request, visitor) as session:
            codes = await mfa.confirm_enrolment(session, realm, visitor.person.id, code)
            if not codes:
                problem = "Incorrect code. Codes change every 30 seconds."
                raise Invalid(problem, "Enter the code your app shows now.", fields={"code": problem})
            await attempt.succeed()
            await factor_resets.cancel_for_changed_factor(session, realm, visitor.person.id)
            await sessions.end_all(session, realm, visitor.person.id, visitor.live_session.session_hash)
            token = await _start_new_session(session, request, visitor, PASSWORD_AND_TOTP)
            await _record_factor_event(session, request, visitor, "factor.enrolled")
    except NotSignedIn:
        raise
    except DomainError as problem:
        return await _render_factor_enrolment(request, visitor, problem)
    shown = public_pages.render_page(request, "codes.html", codes=codes, target="/account?done=factor-on")
    return _set_session_cookie(realm, shown, token)


async def disable_factor(request: Request, visitor: SignedInVisitor, typed: dict[str, str]) -> Response:
    realm = app_sites.get_site(request).realm
    await _check_current_password(request, visitor, typed)
    async with _hold_session(request, visitor) as session:
        await mfa.disable(session, realm, visitor.person.id)
        await factor_resets.cancel_for_changed_factor(session, realm, visitor.person.id)
        await sessions.end_all(session, realm, visitor.person.id, visitor.live_session.session_hash)
        token = await _start_new_session(session, request, visitor, sign_in.PASSWORD)
        await _record_factor_event(session, request, visitor, "factor.disabled")
    return _set_session_cookie(realm, redirect_to("/account?done=factor-off"), token)


async def renew_recovery_codes(request: Request, visitor: SignedInVisitor, typed: dict[str, str]) -> Response:
    realm = app_sites.get_site(request).realm
    await _check_current_password(request, visitor, typed)
    async with _hold_session(request, visitor) as session:
        if not await mfa.is_enabled(session, realm, visitor.person.id):
            raise Invalid("Two-step sign-in is off.", "Turn it on first.")
        codes = await mfa.replace_recovery_codes(session, realm, visitor.person.id)
        await _record_factor_event(session, request, visitor, "factor.codes_renewed")
    return public_pages.render_page(request, "codes.html", codes=codes, target="/account?done=codes")


async def end_device_session(request: Request, visitor: SignedInVisitor, typed: dict[str, str]) -> Response:
    """Do nothing for a session that has ended or belongs to another person."""
    realm, device = app_sites.get_site(request).realm, typed.get("session", "")[:60]
    async with db.transaction(realm.db_role) as session:
        ended = await sessions.end_by_id(session, realm, visitor.person.id, device)
        if ended:
            await _record_sign_out(session, request, visitor, DEVICE_CAUSE, device=device)
    if ended == visitor.live_session.session_hash:
        response = redirect_to("/sign-in?notice=signed-out")
        sessions.clear_cookie(response, realm)
        return response
    return redirect_to("/account?done=ended")


async def end_other_sessions(request: Request, visitor: SignedInVisitor, _: dict[str, str]) -> Response:
    realm = app_sites.get_site(request).realm
    async with db.transaction(realm.db_role) as session:
        count = await sessions.end_all(session, realm, visitor.person.id, visitor.live_session.session_hash)
        if count:
            await _record_sign_out(session, request, visitor, OTHERS_CAUSE, other_devices=count)
    return redirect_to("/account?done=others")


async def _start_new_session(session: Any, request: Request, visitor: SignedInVisitor, factors: str) -> str:
    return await sign_in.start_session(
        session,
        app_sites.get_site(request).realm,
        visitor.person.id,
        factors,
        _build_browser(request, visitor),
    )


def _build_browser(request: Request, visitor: SignedInVisitor) -> Browser:
    return Browser(
        request_identity.get_client_address(request),
        request.headers.get("user-agent", ""),
        visitor.live_session.session_hash,
    )


def _set_session_cookie(realm: Realm, response: Response, token: str) -> Response:
    sessions.set_cookie(response, realm, token)
    return response


async def _record_factor_event(
    session: AsyncSession, request: Request, visitor: SignedInVisitor, action: str
) -> None:
    """For operators in their audit log, for users in those of their organisations and in a mail."""
    realm = app_sites.get_site(request).realm
    if realm is OPERATOR:
        await _record_operator_event(session, realm, visitor, action)
    else:
        await sign_in_records.publish(session, action, visitor.person.id, _build_browser(request, visitor))


async def _record_sign_out(
    session: AsyncSession, request: Request, visitor: SignedInVisitor, cause: str, **details: Any
) -> None:
    """Of another device of the person, by this one."""
    realm = app_sites.get_site(request).realm
    if realm is OPERATOR:
        await _record_operator_event(session, realm, visitor, "session.ended", **details)
    else:
        browser = _build_browser(request, visitor)
        await sign_in_records.publish(session, "session.ended", visitor.person.id, browser, cause=cause)


async def _record_operator_event(
    session: Any, realm: Realm, visitor: SignedInVisitor, action: str, **details: Any
) -> None:
    """Record the event in the transaction that changes the account. Users have no audit log outside of a tenant."""
    if realm is OPERATOR:
        octx = await entry.enter_operator_account(
            session, visitor.person.id, visitor.live_session.session_hash
        )
        audit_log.record_operator(octx, action, octx.actor_id, reason="Own account", **details)
        if action in operator_notices.TEXTS:
            await operator_notices.publish(session, visitor.person, action)


ROUTES = [
    Route("/account", show_account),
    Route("/account/factor", show_factor_enrolment),
    Route("/account/factor", confirm_factor, methods=["POST"]),
    Route("/account/name", _form_handler(change_name), methods=["POST"]),
    Route("/account/password", _form_handler(change_password), methods=["POST"]),
    Route("/account/factor/enrol", _form_handler(enrol_factor), methods=["POST"]),
    Route("/account/factor/off", _form_handler(disable_factor), methods=["POST"]),
    Route("/account/codes", _form_handler(renew_recovery_codes), methods=["POST"]),
    Route("/account/sessions/end", _form_handler(end_device_session), methods=["POST"]),
    Route("/account/sessions/end-others", _form_handler(end_other_sessions), methods=["POST"]),
]
