"""Sign in and out in both realms: password, then a code when two-step sign-in is on.

A wrong password and an unknown address get the same text, status and response time.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shared.audit import audit_log
from shared.core import crypto, db
from shared.core.errors import DomainError, NotSignedIn, Refused
from shared.core.rate_limits import Attempt, RateLimit, begin_attempt
from shared.identity import (
    cookies,
    devices,
    email_addresses,
    factor_resets,
    mfa,
    sessions,
    sign_in,
    subjects,
)
from shared.identity.realms import OPERATOR, USER, Realm
from shared.identity.sign_in import PASSWORD_AND_TOTP, Browser, SignInResult
from shared.tenancy import entry, impersonation_entry, impersonation_sessions
from shared.web import app_sites, forms, public_pages, qr, request_identity, sign_in_records

WRONG_PASSWORD_TEXT = "Incorrect email or password."
WRONG_CODE_TEXT = "Incorrect or already used code."


class WrongPassword(NotSignedIn):
    default_reason = "wrong_password"

    def __init__(self) -> None:
        super().__init__(WRONG_PASSWORD_TEXT, "")


class WrongCode(NotSignedIn):
    default_reason = "wrong_code"

    def __init__(self, left: int) -> None:
        more = f"You have {left} {'try' if left == 1 else 'tries'} left."
        super().__init__(WRONG_CODE_TEXT, more)


def account_limit_key(realm: Realm, email: str) -> str:
    """A rate-limit key of fixed length for any input."""
    return crypto.hash_token(f"{realm.name}:{email_addresses.normalise_for_lookup(email)}")


async def show_sign_in(request: Request) -> Response:
    target = public_pages.safe_local_path(request.query_params.get("next", "/"))
    if await request_identity.find_visitor(request) is not None:
        return redirect_to(target)
    typed = {"next": target, "email": request.query_params.get("email", "")[:254]}
    return public_pages.render_page(
        request, "sign_in.html", typed=typed, notice=public_pages.notice_text(request)
    )


async def sign_in_by_password(request: Request) -> Response:
    realm, typed, target = app_sites.get_site(request).realm, dict[str, str](), "/"
    try:
        typed = await forms.read(request)
        email, target = typed.get("email", ""), public_pages.safe_local_path(typed.get("next", "/"))
        typed["next"] = target
        attempt = await _begin_attempt(request, realm, email)
        checked = await sign_in.check_password(realm, email, typed.get("password", ""))
        if checked is None:
            raise WrongPassword
        await attempt.succeed()
        return await complete_sign_in(request, checked.subject_id, target, checked)
    except DomainError as problem:
        response = public_pages.render_form_again(request, "sign_in.html", problem, typed)
        if isinstance(problem, WrongPassword):
            response.background = BackgroundTask(
                sign_in_records.record_wrong_password,
                realm,
                typed.get("email", ""),
                _describe_browser(request),
            )
        return response


def _describe_browser(request: Request) -> Browser:
    return Browser(request_identity.get_client_address(request), request.headers.get("user-agent", ""))


async def complete_sign_in(
    request: Request, subject_id: str, target: str, checked: sign_in.CheckedPassword | None = None
) -> Response:
    """Open a session after the first factor and redirect to `target`, or to the code page when a factor is on."""
    realm, browser = app_sites.get_site(request).realm, await request_identity.get_browser(request)
    async with db.transaction(realm.db_role) as session:
        device_token = ""
        opened = await sign_in.open_session(session, realm, subject_id, browser, checked)
        if opened.token:
            device_token = await sign_in_records.record_sign_in(
                session, realm, subject_id, opened.token, browser
            )
    return _session_response(realm, opened, target, device_token)


async def _begin_attempt(request: Request, realm: Realm, email: str) -> Attempt:
    by_address = RateLimit.ADMIN_SIGN_IN_ADDRESS if realm is OPERATOR else RateLimit.SIGN_IN_ADDRESS
    address, account = request_identity.get_client_address(request), account_limit_key(realm, email)
    return await begin_attempt(
        (by_address, (address,)),
        (RateLimit.SIGN_IN_ACCOUNT, (account, address)),
        (RateLimit.SIGN_IN_ACCOUNT_ANYWHERE, (account,)),
    )


def _session_response(realm: Realm, opened: SignInResult, target: str, device_token: str) -> Response:
    if opened.token:
        response = redirect_to(target)
        sessions.set_cookie(response, realm, opened.token)
        devices.set_cookie(response, realm, device_token)
        return response
    response = redirect_to("/mfa" if target == "/" else "/mfa?next=" + quote(target, safe="/"))
    cookies.put(response, realm.challenge_cookie, opened.challenge, mfa.CHALLENGE_LIFETIME)
    return response


async def show_mfa(request: Request) -> Response:
    realm, target = (
        app_sites.get_site(request).realm,
        public_pages.safe_local_path(request.query_params.get("next", "/")),
    )
    if await request_identity.find_visitor(request) is not None:
        return redirect_to(target)
    async with db.transaction(realm.db_role) as session:
        subject_id = await mfa.get_challenged_subject(
            session, realm, request_identity.get_challenge_token(request, realm)
        )
        if not subject_id:
            return redirect_to("/sign-in?notice=again")
        values = await _mfa_values(session, realm, subject_id)
    return public_pages.render_page(request, "mfa.html", typed={"next": target}, **values)


async def _mfa_values(session: Any, realm: Realm, subject_id: str) -> dict[str, Any]:
    """Template values; a new seed when a factor is required and not enrolled yet."""
    if await mfa.is_enabled(session, realm, subject_id):
        return {"seed": "", "qr": ""}
    seed = await mfa.enrol(session, realm, subject_id)
    person = await subjects.get(session, realm, subject_id)
    assert person is not None
    return {"seed": seed, "qr": qr.render_svg(mfa.provisioning_uri(realm, seed, person.email))}


async def sign_in_by_code(request: Request) -> Response:
    typed, realm = await forms.read(request), app_sites.get_site(request).realm
    code, target = typed.get("code", ""), public_pages.safe_local_path(typed.get("next", "/"))
    token, browser = (
        request_identity.get_challenge_token(request, realm),
        await request_identity.get_browser(request),
    )
    by_address = await begin_attempt(
        (RateLimit.TOKEN_ADDRESS, (request_identity.get_client_address(request),))
    )
    codes: Sequence[str] = ()
    opened = device_token = ""
    async with db.transaction(realm.db_role) as session:
        subject_id = await mfa.get_challenged_subject(session, realm, token)
    if not subject_id:
        return _restart_sign_in(realm)
    try:
        by_account = await begin_attempt((RateLimit.MFA_ACCOUNT, (realm.name, subject_id)))
    except Refused as problem:
        return await _render_mfa_again(request, realm, subject_id, problem, target)
    async with db.transaction(realm.db_role) as session:
        if await mfa.is_enabled(session, realm, subject_id):
            answer = await mfa.answer_challenge(session, realm, token, code)
        else:
            answer, codes = await mfa.answer_enrolment(session, realm, token, code)
        if answer.is_correct:
            opened = await sign_in.start_session(session, realm, subject_id, PASSWORD_AND_TOTP, browser)
            if realm is USER:
                await factor_resets.cancel_own(session, subject_id, factor_resets.BY_SIGN_IN)
            device_token = await sign_in_records.record_sign_in(
                session,
                realm,
                subject_id,
                opened,
                browser,
                enrolled=bool(codes),
                used_recovery_code=answer.used_recovery_code,
            )
        else:
            await sign_in_records.record_wrong_code(session, realm, subject_id, browser)
    if answer.is_correct:
        await by_address.succeed()
        await by_account.succeed()
    elif not answer.attempts_left:
        return await _refuse_after_guessing(request, realm, subject_id)
    if not answer.is_correct:
        return await _render_mfa_again(request, realm, subject_id, WrongCode(answer.attempts_left), target)
    response = (
        public_pages.render_page(request, "codes.html", codes=codes, target=target)
        if codes
        else redirect_to(target)
    )
    sessions.set_cookie(response, realm, opened)
    devices.set_cookie(response, realm, device_token)
    cookies.clear(response, realm.challenge_cookie)
    return response


async def _render_mfa_again(
    request: Request, realm: Realm, subject_id: str, problem: DomainError, target: str
) -> Response:
    async with db.transaction(realm.db_role) as session:
        values = await _mfa_values(session, realm, subject_id)
    return public_pages.render_form_again(request, "mfa.html", problem, {"next": target}, **values)


async def _refuse_after_guessing(request: Request, realm: Realm, subject_id: str) -> Response:
    """Record a security event after five wrong codes: the guesser knows the password."""
    request_id = request.scope["state"]["request_id"]
    async with db.transaction(realm.db_role) as session:
        await audit_log.record_security_event(session, "code_guessed", subject_id, realm.name, request_id)
    return _restart_sign_in(realm)


def _restart_sign_in(realm: Realm) -> Response:
    response = redirect_to("/sign-in?notice=again")
    cookies.clear(response, realm.challenge_cookie)
    return response


async def sign_out(request: Request) -> Response:
    """Delete the session row, so that copies of the cookie are invalid too. May be called twice."""
    realm, header = app_sites.get_site(request).realm, request_identity.get_cookie_header(request)
    await forms.read(request)
    if realm is USER:
        await impersonation_entry.end(header)
    if realm is OPERATOR and await request_identity.find_visitor(request) is not None:
        async with entry.enter_operator(header) as octx:
            audit_log.record_operator(octx, "session.ended", octx.actor_id, reason="Signed out")
            await sessions.end(octx.session, realm, octx.session_hash)
    async with db.transaction(realm.db_role) as session:
        if live_session := await sessions.find(session, realm, header):
            await sessions.end(session, realm, live_session.session_hash)
            if realm is USER:
                browser = _describe_browser(request)
                await sign_in_records.publish(session, "session.ended", live_session.subject_id, browser)
    response = redirect_to("/sign-in?notice=signed-out")
    sessions.clear_cookie(response, realm)
    cookies.clear(response, realm.challenge_cookie)
    if realm is USER:
        cookies.clear(response, impersonation_sessions.COOKIE)
    return response


def redirect_to(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303, {"cache-control": "no-store"})


ROUTES = [
    Route("/sign-in", show_sign_in),
    Route("/mfa", show_mfa),
    Route("/auth/sign-in", sign_in_by_password, methods=["POST"]),
    Route("/auth/mfa", sign_in_by_code, methods=["POST"]),
    Route("/auth/sign-out", sign_out, methods=["POST"]),
]
