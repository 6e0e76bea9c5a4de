"""Sign up and verify an address. The response is the same whether or not the account exists."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.core import db
from shared.core.config import settings
from shared.core.errors import DomainError, Refused
from shared.core.rate_limits import RateLimit, begin_attempt, enforce_rate_limit
from shared.identity import email_addresses, tokens, users
from shared.identity.realms import USER
from shared.tenancy import signups
from shared.web import forms, public_pages, request_identity
from shared.web.sign_in import account_limit_key, complete_sign_in, redirect_to


async def show_sign_up(request: Request) -> Response:
    if await request_identity.find_visitor(request) is not None:
        return redirect_to("/")
    return public_pages.render_page(request, "sign_up.html")


async def sign_up(request: Request) -> Response:
    typed = dict[str, str]()
    try:
        typed = await forms.read(request)
        email, password = typed.get("email", ""), typed.get("password", "")
        await enforce_rate_limit(RateLimit.SIGN_UP_ADDRESS, request_identity.get_client_address(request))
        sign_up_id = await signups.sign_up(
            email, password, typed.get("name", ""), typed.get("organisation", "")
        )
    except DomainError as problem:
        return public_pages.render_form_again(request, "sign_up.html", problem, typed)
    response = redirect_to("/verify")
    request_identity.set_pending(response, email_addresses.normalise_for_lookup(email), sign_up_id)
    return response


async def show_verify(request: Request) -> Response:
    """With a token: a confirm button, because mail scanners open links. Without: instructions to check the email."""
    if token := request.query_params.get("token", ""):
        async with db.transaction() as session:
            works = await tokens.find_usable(session, "verify", token) is not None
        status, email = 200 if works else 422, await _find_unverified_email(request)
        return public_pages.render_page(
            request, "verify_link.html", status, token=token, works=works, email=email
        )
    visitor, email = await request_identity.find_visitor(request), await _find_unverified_email(request)
    if not email:
        return redirect_to("/organisations" if visitor else "/sign-in")
    mailbox = "" if settings().is_production or settings().smtp_url else f"{settings().sandbox_url}/mail"
    return public_pages.render_page(
        request,
        "verify.html",
        email=email,
        signed_in=visitor is not None,
        mailbox=mailbox,
        notice=public_pages.notice_text(request),
    )


async def _find_unverified_email(request: Request) -> str:
    """The unverified address of this browser, "" without one."""
    visitor = await request_identity.find_visitor(request)
    if visitor is None:
        return request_identity.get_pending_sign_up(request).email
    return str(visitor.person.email) if visitor.person.email_verified_at is None else ""


async def verify_email(request: Request) -> Response:
    """Sign in directly in the browser that signed up. In another browser, ask for a new password first."""
    token = (await forms.read(request)).get("token", "")
    pending = request_identity.get_pending_sign_up(request)
    waiting = {pending.email, await _find_unverified_email(request)} - {""}
    try:
        attempt = await begin_attempt(
            (RateLimit.TOKEN_ADDRESS, (request_identity.get_client_address(request),))
        )
        verified = await signups.verify_email(token, pending.sign_up_id)
        await attempt.succeed()
    except Refused as problem:
        return public_pages.render_form_again(
            request, "verify_link.html", problem, {}, token=token, works=True, email=""
        )
    except DomainError as problem:
        return await _render_failed_verification(request, token, problem)
    if verified.reset_token:
        response: Response = redirect_to(f"/reset?token={verified.reset_token}&notice=choose")
    elif verified.email in waiting:
        response = await complete_sign_in(
            request, verified.user_id, f"/onboarding?t={verified.slug}" if verified.slug else "/"
        )
    else:
        response = redirect_to("/sign-in?notice=verified")
    request_identity.clear_pending(response)
    return response


async def _render_failed_verification(request: Request, token: str, problem: DomainError) -> Response:
    """Redirect to sign-in when the address is verified already: a second click is no error."""
    async with db.transaction() as session:
        user_id = await tokens.get_owner_id(session, "verify", token)
        user = await users.get(session, user_id) if user_id else None
    if user is not None and user.email_verified_at is not None:
        return redirect_to("/sign-in?notice=verified")
    email = await _find_unverified_email(request)
    return public_pages.render_form_again(
        request, "verify_link.html", problem, {}, token=token, works=False, email=email
    )


async def resend_verification(request: Request) -> Response:
    """Resend to the pending address of this browser. It takes no address from the form."""
    await forms.read(request)
    email = await _find_unverified_email(request)
    if not email:
        return redirect_to("/sign-in")
    try:
        await enforce_rate_limit(RateLimit.TOKEN_ADDRESS, request_identity.get_client_address(request))
        await enforce_rate_limit(RateLimit.RESEND_ACCOUNT, account_limit_key(USER, email))
    except Refused as problem:
        return public_pages.render_form_again(
            request, "verify.html", problem, {}, email=email, signed_in=False, mailbox=""
        )
    async with db.transaction() as session:
        await users.request_verification(session, email)
    response, pending = redirect_to("/verify?notice=sent"), request_identity.get_pending_sign_up(request)
    if pending.email == email:  # renew the cookie for the lifetime of the new link
        request_identity.set_pending(response, email, pending.sign_up_id)
    return response


ROUTES = [
    Route("/sign-up", show_sign_up),
    Route("/verify", show_verify),
    Route("/auth/sign-up", sign_up, methods=["POST"]),
    Route("/auth/verify", verify_email, methods=["POST"]),
    Route("/auth/resend", resend_verification, methods=["POST"]),
]
