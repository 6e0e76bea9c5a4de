"""Accepting an invitation: the link proves the mailbox, the session proves the person. Both must be the same."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.api import doors, forms, visitors
from shared.api.sign_in import let_in, redirect
from shared.api.visitors import SignedIn
from shared.core import db
from shared.core.errors import DomainError
from shared.core.limits import Limit, hit
from shared.identity import passwords, users
from shared.tenancy import invitations
from shared.tenancy.invitations import Offer


@dataclass(frozen=True, slots=True)
class Standing:
    """How the visitor stands to the offer: exactly one of the three pages follows from it."""

    right_person: bool
    other_email: str = ""  # signed in as somebody else
    has_account: bool = False


async def show(request: Request) -> Response:
    token = request.query_params.get("token", "")
    try:
        await hit(Limit.TOKEN_ADDRESS, visitors.address(request))
        offer = await invitations.peek(token)
    except DomainError as problem:
        return _gone(request, problem)
    return await _page(request, token, offer, await visitors.look(request))


async def accept(request: Request) -> Response:
    typed, visitor = await forms.read(request), await visitors.look(request)
    token = typed.get("token", "")
    try:
        await hit(Limit.TOKEN_ADDRESS, visitors.address(request))
        offer = await invitations.peek(token)
    except DomainError as problem:
        return await _gone_or_joined(request, problem)
    try:
        if visitor is not None:
            slug = await invitations.accept(token, visitor.person.id)
            return redirect(f"/t/{slug}/home")
        standing = await _standing(offer, None)
        if standing.has_account:
            return redirect(_sign_in_first(offer, token))
        return await _join_as_new(request, token, offer, typed)
    except DomainError as problem:
        return await _page(request, token, offer, visitor, problem, typed)


async def _join_as_new(request: Request, token: str, offer: Offer, typed: dict[str, str]) -> Response:
    """An account and a membership at once: the link came to this address, so it is verified."""
    name, password = users.clean_name(typed.get("name", "")), typed.get("password", "")
    await users.judge_password(password, name, offer.email, offer.tenant_name)
    password_hash = await passwords.hash(password)
    async with db.transaction() as session:
        if await users.lock_by_email(session, offer.email) is not None:
            return redirect(_sign_in_first(offer, token))
        user = await users.create(session, offer.email, name, password_hash, verified=True)
    slug = await invitations.accept(token, user.id)
    return await let_in(request, user.id, f"/t/{slug}/home")


async def _standing(offer: Offer, visitor: SignedIn | None) -> Standing:
    if visitor is not None:
        same = visitor.person.email == offer.email
        return Standing(same, "" if same else visitor.person.email)
    async with db.transaction() as session:
        return Standing(False, has_account=await users.get_by_email(session, offer.email) is not None)


async def _page(
    request: Request,
    token: str,
    offer: Offer,
    visitor: SignedIn | None,
    problem: DomainError | None = None,
    typed: dict[str, str] | None = None,
) -> Response:
    values: dict[str, Any] = {
        "token": token,
        "offer": offer,
        "role": offer.role,
        "masked": invitations.masked(offer.email),
        "standing": await _standing(offer, visitor),
        "sign_in": _sign_in_first(offer, token),
    }
    if problem is not None:
        return doors.again(request, "accept.html", problem, typed or {}, **values)
    return doors.page(request, "accept.html", **values)


async def _gone_or_joined(request: Request, problem: DomainError) -> Response:
    """A second press of the button by whoever joined a moment ago leads into the organisation."""
    if problem.reason == "already_accepted" and await visitors.look(request) is not None:
        return redirect("/")
    return _gone(request, problem)


def _gone(request: Request, problem: DomainError) -> Response:
    return doors.refusal_page(request.scope, problem, {})


def _sign_in_first(offer: Offer, token: str) -> str:
    back = quote(f"/invitations/accept?token={token}", safe="/")
    return f"/sign-in?next={back}&email={quote(offer.email, safe='')}"


ROUTES = [
    Route("/invitations/accept", show),
    Route("/invitations/accept", accept, methods=["POST"]),
]
