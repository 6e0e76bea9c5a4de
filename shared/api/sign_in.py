"""Signing in and out: password, then a code where a factor is on. One set of routes for both realms.

The same words, status and time for a wrong password and for an address that nobody has.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shared.api import doors, forms, qr, sites, visitors
from shared.audit import trail
from shared.core import crypto, db
from shared.core.errors import DomainError, NotSignedIn, Refused
from shared.core.limits import Limit, hit
from shared.identity import cookies, emails, mfa, people, sessions, sign_in
from shared.identity.realms import OPERATOR, Realm
from shared.identity.sign_in import BOTH, Opened
from shared.tenancy import entry

WRONG = "This address and password do not match."
WRONG_CODE = "This code is not right, or was used before."


class WrongPassword(NotSignedIn):
    default_reason = "wrong_password"

    def __init__(self) -> None:
        super().__init__(WRONG, "")


class WrongCode(NotSignedIn):
    default_reason = "wrong_code"

    def __init__(self, left: int) -> None:
        more = f"{left} more {'try' if left == 1 else 'tries'}, then you start again with your password."
        super().__init__(WRONG_CODE, more)


def account_key(realm: Realm, email: str) -> str:
    """Bounded, whatever was typed."""
    return crypto.digest(f"{realm.name}:{emails.same(email)}")


async def show(request: Request) -> Response:
    target = doors.local_path(request.query_params.get("next", "/"))
    if await visitors.look(request) is not None:
        return redirect(target)
    typed = {"next": target, "email": request.query_params.get("email", "")[:254]}
    return doors.page(request, "sign_in.html", typed=typed, notice=doors.notice(request))


async def sign_in_by_password(request: Request) -> Response:
    realm, typed, target = sites.of(request).realm, dict[str, str](), "/"
    try:
        typed = await forms.read(request)
        email, target = typed.get("email", ""), doors.local_path(typed.get("next", "/"))
        typed["next"] = target
        await _limit(request, realm, email)
        checked = await sign_in.check_password(realm, email, typed.get("password", ""))
        if checked is None:
            raise WrongPassword
        return await let_in(request, checked.subject_id, target, checked)
    except DomainError as problem:
        return doors.again(request, "sign_in.html", problem, typed)


async def let_in(
    request: Request, subject_id: str, target: str, checked: sign_in.Checked | None = None
) -> Response:
    """After a proof of who it is, short of a factor: to `target`, or to the code first."""
    realm, browser = sites.of(request).realm, await visitors.browser(request)
    async with db.transaction(realm.db_role) as session:
        opened = await sign_in.open_session(session, realm, subject_id, browser, checked)
    return _answer(realm, opened, target)


async def _limit(request: Request, realm: Realm, email: str) -> None:
    by_address = Limit.ADMIN_SIGN_IN_ADDRESS if realm is OPERATOR else Limit.SIGN_IN_ADDRESS
    await hit(by_address, visitors.address(request))
    await hit(Limit.SIGN_IN_ACCOUNT, account_key(realm, email), visitors.address(request))
    await hit(Limit.SIGN_IN_ACCOUNT_ANYWHERE, account_key(realm, email))


def _answer(realm: Realm, opened: Opened, target: str) -> Response:
    if opened.token:
        response = redirect(target)
        sessions.set_cookie(response, realm, opened.token)
        return response
    response = redirect("/mfa" if target == "/" else "/mfa?next=" + quote(target, safe="/"))
    cookies.put(response, realm.challenge_cookie, opened.challenge, mfa.CHALLENGE_LIVES)
    return response


async def show_mfa(request: Request) -> Response:
    realm, target = sites.of(request).realm, doors.local_path(request.query_params.get("next", "/"))
    if await visitors.look(request) is not None:
        return redirect(target)
    async with db.transaction(realm.db_role) as session:
        subject_id = await mfa.challenged(session, realm, visitors.challenge(request, realm))
        if not subject_id:
            return redirect("/sign-in?notice=again")
        values = await _mfa_values(session, realm, subject_id)
    return doors.page(request, "mfa.html", typed={"next": target}, **values)


async def _mfa_values(session: Any, realm: Realm, subject_id: str) -> dict[str, Any]:
    """For somebody without a factor where one is required: a seed to enrol."""
    if await mfa.is_on(session, realm, subject_id):
        return {"seed": "", "qr": ""}
    seed = await mfa.enrol(session, realm, subject_id)
    person = await people.get(session, realm, subject_id)
    assert person is not None
    return {"seed": seed, "qr": qr.svg(mfa.uri(realm, seed, person.email))}


async def sign_in_by_code(request: Request) -> Response:
    typed, realm = await forms.read(request), sites.of(request).realm
    code, target = typed.get("code", ""), doors.local_path(typed.get("next", "/"))
    token, browser = visitors.challenge(request, realm), await visitors.browser(request)
    await hit(Limit.TOKEN_ADDRESS, visitors.address(request))
    codes: Sequence[str] = ()
    opened = ""
    async with db.transaction(realm.db_role) as session:
        subject_id = await mfa.challenged(session, realm, token)
    if not subject_id:
        return _start_again(realm)
    try:
        await hit(Limit.MFA_ACCOUNT, realm.name, subject_id)
    except Refused as problem:
        return await _mfa_again(request, realm, subject_id, problem, target)
    async with db.transaction(realm.db_role) as session:
        if await mfa.is_on(session, realm, subject_id):
            answer = await mfa.answer(session, realm, token, code)
        else:
            answer, codes = await mfa.answer_enrolment(session, realm, token, code)
        if answer.right:
            opened = await sign_in.start(session, realm, subject_id, BOTH, browser)
            await _record(session, realm, subject_id, opened, enrolled=bool(codes))
    if not answer.right and not answer.left:
        return await _guessed(request, realm, subject_id)
    if not answer.right:
        return await _mfa_again(request, realm, subject_id, WrongCode(answer.left), target)
    response = doors.page(request, "codes.html", codes=codes, target=target) if codes else redirect(target)
    sessions.set_cookie(response, realm, opened)
    cookies.drop(response, realm.challenge_cookie)
    return response


async def _mfa_again(
    request: Request, realm: Realm, subject_id: str, problem: DomainError, target: str
) -> Response:
    async with db.transaction(realm.db_role) as session:
        values = await _mfa_values(session, realm, subject_id)
    return doors.again(request, "mfa.html", problem, {"next": target}, **values)


async def _guessed(request: Request, realm: Realm, subject_id: str) -> Response:
    """Five wrong codes. Whoever it was knows the password."""
    request_id = request.scope["state"]["request_id"]
    async with db.transaction(realm.db_role) as session:
        await trail.note_security_event(session, "code_guessed", subject_id, realm.name, request_id)
    return _start_again(realm)


def _start_again(realm: Realm) -> Response:
    response = redirect("/sign-in?notice=again")
    cookies.drop(response, realm.challenge_cookie)
    return response


async def _record(session: Any, realm: Realm, subject_id: str, token: str, *, enrolled: bool) -> None:
    """Operators' sign-ins are in the operators' trail, or they are none."""
    if realm is not OPERATOR:
        return
    octx = await entry.enter_self(session, subject_id, crypto.digest(token))
    if enrolled:
        trail.record_operator(octx, "factor.enrolled", octx.actor_id, reason="Enrolled while signing in")
    trail.record_operator(octx, "session.started", octx.actor_id, reason="Signed in")


async def sign_out(request: Request) -> Response:
    """Harmless twice. The old row is gone, so the cookie is worth nothing wherever it was copied."""
    realm, header = sites.of(request).realm, visitors.cookie_header(request)
    await forms.read(request)
    if realm is OPERATOR and await visitors.look(request) is not None:
        async with entry.enter_operator(header) as octx:
            trail.record_operator(octx, "session.ended", octx.actor_id, reason="Signed out")
            await sessions.end(octx.session, realm, octx.session_hash)
    async with db.transaction(realm.db_role) as session:
        if found := await sessions.find(session, realm, header):
            await sessions.end(session, realm, found.session_hash)
    response = redirect("/sign-in?notice=signed-out")
    sessions.clear_cookie(response, realm)
    cookies.drop(response, realm.challenge_cookie)
    return response


def redirect(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303, {"cache-control": "no-store"})


ROUTES = [
    Route("/sign-in", show),
    Route("/mfa", show_mfa),
    Route("/auth/sign-in", sign_in_by_password, methods=["POST"]),
    Route("/auth/mfa", sign_in_by_code, methods=["POST"]),
    Route("/auth/sign-out", sign_out, methods=["POST"]),
]
