"""A person's own account, in both realms: name, password, second factor, and the devices that are signed in.

What changes how one signs in asks for the password again, whatever session is open.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.api import agents, doors, forms, qr, sites, visitors
from shared.api.sign_in import redirect
from shared.api.visitors import SignedIn
from shared.audit import trail
from shared.core import db
from shared.core.errors import DomainError, Invalid, NotSignedIn
from shared.core.limits import Limit, hit
from shared.identity import mfa, passwords, sessions, sign_in, users
from shared.identity.realms import OPERATOR, Realm
from shared.identity.sign_in import BOTH, Browser
from shared.tenancy import entry

DONE = {
    "codes": "Your old recovery codes no longer work.",
    "ended": "That device is signed out.",
    "factor-off": "Two-step sign-in is off.",
    "factor-on": "Two-step sign-in is on. Your other devices are signed out.",
    "name": "Your name is changed.",
    "others": "Your other devices are signed out.",
    "password": "Your password is changed. Your other devices are signed out.",
}
Act = Callable[[Request, SignedIn, dict[str, str]], Awaitable[Response]]


async def show(request: Request) -> Response:
    return await _page(request, await visitors.need(request))


async def _page(
    request: Request,
    visitor: SignedIn,
    problem: DomainError | None = None,
    typed: dict[str, str] | None = None,
) -> Response:
    realm = sites.of(request).realm
    async with db.transaction(realm.db_role) as session:
        devices = await sessions.list_sessions(session, realm, visitor.person.id, visitor.found.session_hash)
        on = await mfa.is_on(session, realm, visitor.person.id)
        left = await mfa.count_codes(session, realm, visitor.person.id)
    values: dict[str, Any] = {
        "person": visitor.person,
        "devices": [(one, agents.name(one.agent)) for one in devices],
        "factor_on": on,
        "codes_left": left,
    }
    if problem is not None:
        return doors.again(request, "account.html", problem, typed or {}, **values)
    notice = DONE.get(request.query_params.get("done", ""), "")
    return doors.page(request, "account.html", notice=notice, **values)


def _act(act: Act) -> Callable[[Request], Awaitable[Response]]:
    """A form of the account page: somebody signed in, the form read, and the page again when it is refused."""

    async def answer(request: Request) -> Response:
        visitor = await visitors.need(request)
        typed: dict[str, str] = {}
        try:
            typed = await forms.read(request)
            return await act(request, visitor, typed)
        except NotSignedIn:
            raise
        except DomainError as problem:
            return await _page(request, visitor, problem, typed)

    return answer


async def _prove(request: Request, visitor: SignedIn, typed: dict[str, str]) -> None:
    """The password once more. Raises Invalid, Refused."""
    realm = sites.of(request).realm
    await hit(Limit.PROVE_SESSION, realm.name, visitor.found.session_hash)
    if await sign_in.check_password(realm, visitor.person.email, typed.get("current", "")) is None:
        wrong = "This is not your password."
        raise Invalid(wrong, "Enter the password you signed in with.", fields={"current": wrong})


@asynccontextmanager
async def _changing(request: Request, visitor: SignedIn) -> AsyncIterator[AsyncSession]:
    """For what decides who gets in: not by a session that ended while the form was on its way."""
    realm = sites.of(request).realm
    async with db.transaction(realm.db_role) as session:
        await sessions.hold(session, realm, visitor.person.id, visitor.found.session_hash)
        yield session


async def rename(request: Request, visitor: SignedIn, typed: dict[str, str]) -> Response:
    realm = sites.of(request).realm
    async with db.transaction(realm.db_role) as session:
        old, new = await users.rename(session, realm, visitor.person.id, typed.get("name", ""))
        if old != new:
            await _record(session, realm, visitor, "operator.renamed", old=old, new=new)
    return redirect("/account?done=name")


async def change_password(request: Request, visitor: SignedIn, typed: dict[str, str]) -> Response:
    """A new session too: the token from before the change is worth nothing."""
    realm, person = sites.of(request).realm, visitor.person
    await _prove(request, visitor, typed)
    await users.judge_password(typed.get("password", ""), person.name, person.email)
    password_hash = await passwords.hash(typed.get("password", ""))
    async with _changing(request, visitor) as session:
        await users.change_password(session, realm, person.id, password_hash)
        token = await _renew(session, request, visitor, visitor.found.factors)
        await _record(session, realm, visitor, "password.changed")
    return _with_session(realm, redirect("/account?done=password"), token)


async def show_factor(request: Request) -> Response:
    """The code to scan, while a factor is being enrolled."""
    return await _factor_page(request, await visitors.need(request))


async def _factor_page(request: Request, visitor: SignedIn, problem: DomainError | None = None) -> Response:
    realm, person = sites.of(request).realm, visitor.person
    async with db.transaction(realm.db_role) as session:
        on = await mfa.is_on(session, realm, person.id)
        seed = "" if on else await mfa.seed_of(session, realm, person.id)
    if not seed:
        return redirect("/account")
    values: dict[str, Any] = {"seed": seed, "qr": qr.svg(mfa.uri(realm, seed, person.email))}
    if problem is not None:
        return doors.again(request, "factor.html", problem, {}, **values)
    return doors.page(request, "factor.html", **values)


async def enrol_factor(request: Request, visitor: SignedIn, typed: dict[str, str]) -> Response:
    realm = sites.of(request).realm
    await _prove(request, visitor, typed)
    async with _changing(request, visitor) as session:
        await mfa.enrol(session, realm, visitor.person.id)
    return redirect("/account/factor")


async def confirm_factor(request: Request) -> Response:
    visitor, realm = await visitors.need(request), sites.of(request).realm
    try:
        code = (await forms.read(request)).get("code", "")
        await hit(Limit.MFA_ACCOUNT, realm.name, visitor.person.id)
        async with _changing(request, visitor) as session:
            codes = await mfa.confirm(session, realm, visitor.person.id, code)
            if not codes:
                wrong = "This code is not right. Codes change every 30 seconds."
                raise Invalid(wrong, "Enter the one your app shows now.", fields={"code": wrong})
            await sessions.end_all(session, realm, visitor.person.id, visitor.found.session_hash)
            token = await _renew(session, request, visitor, BOTH)
            await _record(session, realm, visitor, "factor.enrolled")
    except NotSignedIn:
        raise
    except DomainError as problem:
        return await _factor_page(request, visitor, problem)
    shown = doors.page(request, "codes.html", codes=codes, target="/account?done=factor-on")
    return _with_session(realm, shown, token)


async def disable_factor(request: Request, visitor: SignedIn, typed: dict[str, str]) -> Response:
    realm = sites.of(request).realm
    await _prove(request, visitor, typed)
    async with _changing(request, visitor) as session:
        await mfa.disable(session, realm, visitor.person.id)
        await sessions.end_all(session, realm, visitor.person.id, visitor.found.session_hash)
        token = await _renew(session, request, visitor, sign_in.PASSWORD)
    return _with_session(realm, redirect("/account?done=factor-off"), token)


async def new_codes(request: Request, visitor: SignedIn, typed: dict[str, str]) -> Response:
    realm = sites.of(request).realm
    await _prove(request, visitor, typed)
    async with _changing(request, visitor) as session:
        if not await mfa.is_on(session, realm, visitor.person.id):
            raise Invalid("Two-step sign-in is off.", "Turn it on first.")
        codes = await mfa.new_recovery_codes(session, realm, visitor.person.id)
        await _record(session, realm, visitor, "factor.codes_renewed")
    return doors.page(request, "codes.html", codes=codes, target="/account?done=codes")


async def end_device(request: Request, visitor: SignedIn, typed: dict[str, str]) -> Response:
    """Harmless for a device that is gone, and for one of somebody else."""
    realm, device = sites.of(request).realm, typed.get("session", "")[:60]
    async with db.transaction(realm.db_role) as session:
        ended = await sessions.end_device(session, realm, visitor.person.id, device)
        if ended:
            await _record(session, realm, visitor, "session.ended", device=device)
    if ended == visitor.found.session_hash:
        response = redirect("/sign-in?notice=signed-out")
        sessions.clear_cookie(response, realm)
        return response
    return redirect("/account?done=ended")


async def end_others(request: Request, visitor: SignedIn, _: dict[str, str]) -> Response:
    realm = sites.of(request).realm
    async with db.transaction(realm.db_role) as session:
        count = await sessions.end_all(session, realm, visitor.person.id, visitor.found.session_hash)
        if count:
            await _record(session, realm, visitor, "session.ended", other_devices=count)
    return redirect("/account?done=others")


async def _renew(session: Any, request: Request, visitor: SignedIn, factors: str) -> str:
    browser = Browser(
        visitors.address(request), request.headers.get("user-agent", ""), visitor.found.session_hash
    )
    return await sign_in.start(session, sites.of(request).realm, visitor.person.id, factors, browser)


def _with_session(realm: Realm, response: Response, token: str) -> Response:
    sessions.set_cookie(response, realm, token)
    return response


async def _record(session: Any, realm: Realm, visitor: SignedIn, action: str, **details: Any) -> None:
    """With what it is about, or not at all. Users have no trail outside of a tenant."""
    if realm is OPERATOR:
        octx = await entry.enter_self(session, visitor.person.id, visitor.found.session_hash)
        trail.record_operator(octx, action, octx.actor_id, reason="By themselves", **details)


ROUTES = [
    Route("/account", show),
    Route("/account/factor", show_factor),
    Route("/account/factor", confirm_factor, methods=["POST"]),
    Route("/account/name", _act(rename), methods=["POST"]),
    Route("/account/password", _act(change_password), methods=["POST"]),
    Route("/account/factor/enrol", _act(enrol_factor), methods=["POST"]),
    Route("/account/factor/off", _act(disable_factor), methods=["POST"]),
    Route("/account/codes", _act(new_codes), methods=["POST"]),
    Route("/account/sessions/end", _act(end_device), methods=["POST"]),
    Route("/account/sessions/end-others", _act(end_others), methods=["POST"]),
]
