"""Reset a forgotten password. The response never reveals whether an account exists; only the email does."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.core import db
from shared.core.errors import DomainError, Invalid
from shared.core.rate_limits import RateLimit, begin_attempt, enforce_rate_limit
from shared.identity import email_addresses, passwords, tokens, users
from shared.identity.realms import USER
from shared.web import forms, public_pages, request_identity
from shared.web.sign_in import account_limit_key, redirect_to


async def show_request_form(request: Request) -> Response:
    return public_pages.render_page(request, "forgot.html", sent=False)


async def request_reset(request: Request) -> Response:
    typed = dict[str, str]()
    try:
        typed = await forms.read(request)
        email = email_addresses.parse_address(typed.get("email", ""))
        await enforce_rate_limit(RateLimit.FORGOT_ADDRESS, request_identity.get_client_address(request))
        await enforce_rate_limit(
            RateLimit.FORGOT_ACCOUNT,
            account_limit_key(USER, email),
            request_identity.get_client_address(request),
        )
        await enforce_rate_limit(RateLimit.FORGOT_ACCOUNT_ANYWHERE, account_limit_key(USER, email))
    except DomainError as problem:
        return public_pages.render_form_again(request, "forgot.html", problem, typed, sent=False)
    async with db.transaction() as session:
        await users.request_reset(session, email)
    return redirect_to("/forgot/sent")


async def show_request_sent(request: Request) -> Response:
    return public_pages.render_page(request, "forgot.html", sent=True)


async def show_reset(request: Request) -> Response:
    token = request.query_params.get("token", "")
    async with db.transaction() as session:
        works = await tokens.find_usable(session, "reset", token) is not None
    notice = public_pages.notice_text(request) if works else ""
    return public_pages.render_page(
        request, "reset.html", 200 if works else 422, token=token, works=works, notice=notice
    )


async def reset_password(request: Request) -> Response:
    typed = await forms.read(request)
    token, password = typed.get("token", ""), typed.get("password", "")
    works = True
    try:
        attempt = await begin_attempt(
            (RateLimit.TOKEN_ADDRESS, (request_identity.get_client_address(request),))
        )
        async with db.transaction() as session:
            row = await tokens.find_usable(session, "reset", token)
            user = await users.get(session, row.user_id) if row else None
        works = user is not None
        if user is None:
            raise Invalid("This link has been used or has expired.", "Request a new link.")
        await attempt.succeed()
        await users.require_strong_password(password, user.name, user.email)
        password_hash = await passwords.hash_password(password)
        async with db.transaction() as session:
            await users.reset_password(session, token, password_hash)
    except DomainError as problem:
        return public_pages.render_form_again(request, "reset.html", problem, {}, token=token, works=works)
    return redirect_to("/sign-in?notice=reset")


ROUTES = [
    Route("/forgot", show_request_form),
    Route("/forgot/sent", show_request_sent),
    Route("/reset", show_reset),
    Route("/auth/forgot", request_reset, methods=["POST"]),
    Route("/auth/reset", reset_password, methods=["POST"]),
]
