"""Signing up and proving an address. What the browser sees is the same whether or not there was an account."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.api import doors, forms, visitors
from shared.api.sign_in import account_key, let_in, redirect
from shared.core import db
from shared.core.config import settings
from shared.core.errors import DomainError, Refused
from shared.core.limits import Limit, hit
from shared.identity import emails, tokens, users
from shared.identity.realms import USER
from shared.tenancy import signups


async def show(request: Request) -> Response:
    if await visitors.look(request) is not None:
        return redirect("/")
    return doors.page(request, "sign_up.html")


async def sign_up(request: Request) -> Response:
    typed = dict[str, str]()
    try:
        typed = await forms.read(request)
        email, password = typed.get("email", ""), typed.get("password", "")
        await hit(Limit.SIGN_UP_ADDRESS, visitors.address(request))
        sign_up_id = await signups.sign_up(
            email, password, typed.get("name", ""), typed.get("organisation", "")
        )
    except DomainError as problem:
        return doors.again(request, "sign_up.html", problem, typed)
    response = redirect("/verify")
    visitors.set_pending(response, emails.same(email), sign_up_id)
    return response


async def show_verify(request: Request) -> Response:
    """With a link: a button, because programs that read mail open links too. Without: where the mail is."""
    if token := request.query_params.get("token", ""):
        async with db.transaction() as session:
            works = await tokens.look(session, "verify", token) is not None
        status, email = 200 if works else 422, await _waiting(request)
        return doors.page(request, "verify_link.html", status, token=token, works=works, email=email)
    visitor, email = await visitors.look(request), await _waiting(request)
    if not email:
        return redirect("/organisations" if visitor else "/sign-in")
    mailbox = "" if settings().production or settings().smtp_url else f"{settings().sandbox_url}/mail"
    return doors.page(
        request,
        "verify.html",
        email=email,
        signed_in=visitor is not None,
        mailbox=mailbox,
        notice=doors.notice(request),
    )


async def _waiting(request: Request) -> str:
    """The address that is to be verified here, "" when there is none."""
    visitor = await visitors.look(request)
    if visitor is None:
        return visitors.pending(request).email
    return str(visitor.person.email) if visitor.person.email_verified_at is None else ""


async def verify(request: Request) -> Response:
    """In the browser that signed up: straight in. Elsewhere, on a phone say, one chooses a password first."""
    token = (await forms.read(request)).get("token", "")
    pending = visitors.pending(request)
    waiting = {pending.email, await _waiting(request)} - {""}
    try:
        await hit(Limit.TOKEN_ADDRESS, visitors.address(request))
        verified = await signups.verify(token, pending.sign_up_id)
    except Refused as problem:
        return doors.again(request, "verify_link.html", problem, {}, token=token, works=True, email="")
    except DomainError as problem:
        return await _not_verified(request, token, problem)
    if verified.choose:
        response: Response = redirect(f"/reset?token={verified.choose}&notice=choose")
    elif verified.email in waiting:
        response = await let_in(
            request, verified.user_id, f"/onboarding?t={verified.slug}" if verified.slug else "/"
        )
    else:
        response = redirect("/sign-in?notice=verified")
    visitors.clear_pending(response)
    return response


async def _not_verified(request: Request, token: str, problem: DomainError) -> Response:
    """A second click on a link that did its work is not an error."""
    async with db.transaction() as session:
        user_id = await tokens.owner(session, "verify", token)
        user = await users.get(session, user_id) if user_id else None
    if user is not None and user.email_verified_at is not None:
        return redirect("/sign-in?notice=verified")
    email = await _waiting(request)
    return doors.again(request, "verify_link.html", problem, {}, token=token, works=False, email=email)


async def resend(request: Request) -> Response:
    """To the address this browser waits with; one that is only typed in is no reason to send mail."""
    await forms.read(request)
    email = await _waiting(request)
    if not email:
        return redirect("/sign-in")
    try:
        await hit(Limit.TOKEN_ADDRESS, visitors.address(request))
        await hit(Limit.RESEND_ACCOUNT, account_key(USER, email))
    except Refused as problem:
        return doors.again(request, "verify.html", problem, {}, email=email, signed_in=False, mailbox="")
    async with db.transaction() as session:
        await users.request_verification(session, email)
    response, pending = redirect("/verify?notice=sent"), visitors.pending(request)
    if pending.email == email:  # for as long as the new link works
        visitors.set_pending(response, email, pending.sign_up_id)
    return response


ROUTES = [
    Route("/sign-up", show),
    Route("/verify", show_verify),
    Route("/auth/sign-up", sign_up, methods=["POST"]),
    Route("/auth/verify", verify, methods=["POST"]),
    Route("/auth/resend", resend, methods=["POST"]),
]
