"""A browser without a screen: cookies, our origin, forms. Over the real HTTP apps, on the real database."""

import re
from typing import Any

import httpx

from shared.core import db
from shared.core.config import settings
from shared.identity import repository, tokens
from shared.identity.realms import USER
from shared.web import admin_http, tenant_http
from tests.support import factories

PASSWORD = "seven lanterns over quiet water"


def browser(*, operators: bool = False, cookie: str = "") -> httpx.AsyncClient:
    """A client of one app. Its address is `https`, because httpx sends secure cookies nowhere else."""
    app = admin_http.app if operators else tenant_http.app
    origin = settings().admin_url if operators else settings().tenant_url
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="https://bulkhead.test",
        headers={"origin": origin, "accept": "text/html", "user-agent": "Mozilla/5.0 (Macintosh) Chrome/140"},
    )
    if cookie:
        name, _, value = cookie.partition("=")
        client.cookies.set(name, value, domain="bulkhead.test")
    return client


def alerts(answer: httpx.Response) -> str:
    return " ".join(re.findall(r'role="alert"[^>]*>([^<]*)', answer.text))


def session_of(client: httpx.AsyncClient) -> str:
    return str(client.cookies.get(USER.session_cookie, domain="bulkhead.test") or "")


async def link_of(email: str, purpose: str) -> str:
    """The signed part of the newest link that was made for this person."""
    await factories.run_sign_ups()
    async with db.transaction() as session:
        user = await repository.get_person_by_email(session, USER, email)
        assert user is not None
        token = await tokens.issue(session, user.id, purpose)
    return tokens.build_link(token).partition("token=")[2]


def sign_up_form(email: str, **changed: str) -> dict[str, Any]:
    return {"email": email, "password": PASSWORD, "name": "Zoe", "organisation": "Harbour", **changed}


def shape(answer: httpx.Response) -> tuple[Any, ...]:
    """The part of a response that must be equal for known and unknown addresses."""
    headers = sorted(
        (name, re.sub(r"=[^;]+;", "=…;", value, count=1) if name == "set-cookie" else value)
        for name, value in answer.headers.multi_items()
        if name not in ("x-request-id", "content-length")
    )
    return answer.status_code, headers
