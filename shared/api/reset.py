"""A forgotten password. Asking gives one answer for every address; whether there is an account, the mail says."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.api import doors, forms, visitors
from shared.api.sign_in import account_key, redirect
from shared.core import db
from shared.core.errors import DomainError, Invalid
from shared.core.limits import Limit, hit
from shared.identity import emails, passwords, tokens, users
from shared.identity.realms import USER


async def show_forgot(request: Request) -> Response:
    return doors.page(request, "forgot.html", sent=False)


async def forgot(request: Request) -> Response:
    typed = dict[str, str]()
    try:
        typed = await forms.read(request)
        email = emails.clean(typed.get("email", ""))
        await hit(Limit.FORGOT_ADDRESS, visitors.address(request))
        await hit(Limit.FORGOT_ACCOUNT, account_key(USER, email), visitors.address(request))
        await hit(Limit.FORGOT_ACCOUNT_ANYWHERE, account_key(USER, email))
    except DomainError as problem:
        return doors.again(request, "forgot.html", problem, typed, sent=False)
    async with db.transaction() as session:
        await users.request_reset(session, email)
    return redirect("/forgot/sent")


async def show_sent(request: Request) -> Response:
    return doors.page(request, "forgot.html", sent=True)


async def show_reset(request: Request) -> Response:
    token = request.query_params.get("token", "")
    async with db.transaction() as session:
        works = await tokens.look(session, "reset", token) is not None
    notice = doors.notice(request) if works else ""
    return doors.page(request, "reset.html", 200 if works else 422, token=token, works=works, notice=notice)


async def reset(request: Request) -> Response:
    typed = await forms.read(request)
    token, password = typed.get("token", ""), typed.get("password", "")
    works = True
    try:
        await hit(Limit.TOKEN_ADDRESS, visitors.address(request))
        async with db.transaction() as session:
            row = await tokens.look(session, "reset", token)
            user = await users.get(session, row.user_id) if row else None
        works = user is not None
        if user is None:
            raise Invalid("This link was used already or has expired.", "Ask for a new one.")
        await users.judge_password(password, user.name, user.email)
        password_hash = await passwords.hash(password)
        async with db.transaction() as session:
            await users.reset(session, token, password_hash)
    except DomainError as problem:
        return doors.again(request, "reset.html", problem, {}, token=token, works=works)
    return redirect("/sign-in?notice=reset")


ROUTES = [
    Route("/forgot", show_forgot),
    Route("/forgot/sent", show_sent),
    Route("/reset", show_reset),
    Route("/auth/forgot", forgot, methods=["POST"]),
    Route("/auth/reset", reset, methods=["POST"]),
]
