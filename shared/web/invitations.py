"""Accept an invitation. The link proves the mailbox, the session proves the person; both must be the same person."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.core import db
from shared.core.errors import DomainError
from shared.core.rate_limits import RateLimit, begin_attempt
from shared.identity import passwords, users
from shared.tenancy import invitations
from shared.tenancy.invitations import InvitationOffer
from shared.web import forms, public_pages, request_identity
from shared.web.request_identity import SignedInVisitor
from shared.web.sign_in import complete_sign_in, redirect_to


@dataclass(frozen=True, slots=True)
class InvitationVisitor:
    """The visitor as seen by the invitation. It decides which of the three pages is shown."""

    right_person: bool
    other_email: str = ""  # signed in with another address
    has_account: bool = False


async def show_invitation(request: Request) -> Response:
    token = request.query_params.get("token", "")
    try:
        offer = await _get_offer(request, token)
    except DomainError as problem:
        return _render_unusable_link(request, problem)
    return await _render_invitation(request, token, offer, await request_identity.find_visitor(request))


async def accept_invitation(request: Request) -> Response:
    typed, visitor = await forms.read(request), await request_identity.find_visitor(request)
    token = typed.get("token", "")
    try:
        offer = await _get_offer(request, token)
    except DomainError as problem:
        return await _handle_unusable_link(request, problem)
    try:
        if visitor is not None:
            slug = await invitations.accept(token, visitor.person.id)
            return redirect_to(f"/t/{slug}/home")
        standing = await _identify_visitor(offer, None)
        if standing.has_account:
            return redirect_to(_sign_in_url(offer, token))
        return await _accept_as_new_user(request, token, offer, typed)
    except DomainError as problem:
        return await _render_invitation(request, token, offer, visitor, problem, typed)


async def _get_offer(request: Request, token: str) -> InvitationOffer:
    """Only links that we did not sign, or that no longer work, count against the limit."""
    attempt = await begin_attempt((RateLimit.TOKEN_ADDRESS, (request_identity.get_client_address(request),)))
    offer = await invitations.get_offer(token)
    await attempt.succeed()
    return offer


async def _accept_as_new_user(
    request: Request, token: str, offer: InvitationOffer, typed: dict[str, str]
) -> Response:
    """Create a verified account and a membership. The link was sent to this address, which verifies it."""
    name, password = users.clean_name(typed.get("name", "")), typed.get("password", "")
    await users.require_strong_password(password, name, offer.email, offer.tenant_name)
    password_hash = await passwords.hash_password(password)
    async with db.transaction() as session:
        if await users.lock_by_email(session, offer.email) is not None:
            return redirect_to(_sign_in_url(offer, token))
        user = await users.create(session, offer.email, name, password_hash, verified=True)
    slug = await invitations.accept(token, user.id)
    return await complete_sign_in(request, user.id, f"/t/{slug}/home")


async def _identify_visitor(offer: InvitationOffer, visitor: SignedInVisitor | None) -> InvitationVisitor:
    if visitor is not None:
        same = visitor.person.email == offer.email
        return InvitationVisitor(same, "" if same else visitor.person.email)
    async with db.transaction() as session:
        return InvitationVisitor(
            False, has_account=await users.get_by_email(session, offer.email) is not None
        )


async def _render_invitation(
    request: Request,
    token: str,
    offer: InvitationOffer,
    visitor: SignedInVisitor | None,
    problem: DomainError | None = None,
    typed: dict[str, str] | None = None,
) -> Response:
    values: dict[str, Any] = {
        "token": token,
        "offer": offer,
        "role": offer.role,
        "masked": invitations.mask_email(offer.email),
        "standing": await _identify_visitor(offer, visitor),
        "sign_in": _sign_in_url(offer, token),
    }
    if problem is not None:
        return public_pages.render_form_again(request, "accept.html", problem, typed or {}, **values)
    return public_pages.render_page(request, "accept.html", **values)


async def _handle_unusable_link(request: Request, problem: DomainError) -> Response:
    """Redirect to the organisation when the signed-in person has just accepted this invitation."""
    if problem.reason == "already_accepted" and await request_identity.find_visitor(request) is not None:
        return redirect_to("/")
    return _render_unusable_link(request, problem)


def _render_unusable_link(request: Request, problem: DomainError) -> Response:
    return public_pages.render_refusal_page(request.scope, problem, {})


def _sign_in_url(offer: InvitationOffer, token: str) -> str:
    back = quote(f"/invitations/accept?token={token}", safe="/")
    return f"/sign-in?next={back}&email={quote(offer.email, safe='')}"


ROUTES = [
    Route("/invitations/accept", show_invitation),
    Route("/invitations/accept", accept_invitation, methods=["POST"]),
]
