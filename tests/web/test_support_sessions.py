"""The cookie of a support session over HTTP: who gets it, beside what other cookies, and how it ends."""

from urllib.parse import urlsplit

import httpx
import pytest

from shared.core import config
from shared.identity.realms import OPERATOR, USER
from shared.tenancy import authentication, entry, impersonation_sessions
from shared.web.same_origin import SUPPORT_PATH
from tests.conftest import Cast
from tests.support import support_sessions
from tests.support.http_visitor import browser


async def post_code(client: httpx.AsyncClient, code: str, *, origin: str = "") -> httpx.Response:
    return await client.post(
        SUPPORT_PATH, data={"code": code}, headers={"origin": origin or config.settings().admin_url}
    )


async def request_code(cast: Cast) -> str:
    membership = await support_sessions.find_membership(cast.ann.cookie, cast.ann.slug, cast.adam.user_id)
    return (await support_sessions.request(cast.olga.cookie, cast.acme, membership)).code


def read_cookie(client: httpx.AsyncClient) -> str:
    value = client.cookies.get(impersonation_sessions.COOKIE, domain="bulkhead.test")
    return f"{impersonation_sessions.COOKIE}={value}" if value else ""


async def test_code_of_the_admin_app_becomes_a_cookie_of_its_own(cast: Cast) -> None:
    async with browser(cookie=cast.adam.cookie) as client:
        before = client.cookies.get(USER.session_cookie, domain="bulkhead.test")
        answer = await post_code(client, await request_code(cast))
        assert (answer.status_code, urlsplit(answer.headers["location"]).path) == (
            303,
            f"/t/{cast.ann.slug}/home",
        )
        (set_cookie,) = answer.headers.get_list("set-cookie")
        assert client.cookies.get(USER.session_cookie, domain="bulkhead.test") == before
        async with entry.enter_tenant(read_cookie(client), cast.ann.slug) as ctx:
            assert ctx.on_behalf_of is not None
    assert set_cookie.startswith(f"{impersonation_sessions.COOKIE}=")
    for attribute in ("HttpOnly", "Secure", "Path=/", "SameSite=lax"):
        assert attribute in set_cookie
    assert int(set_cookie.partition("Max-Age=")[2].partition(";")[0]) <= 30 * 60


async def test_code_from_another_origin_is_refused(cast: Cast) -> None:
    code = await request_code(cast)
    async with browser() as client:
        for origin in (config.settings().tenant_url, "https://evil.test", "null"):
            answer = await post_code(client, code, origin=origin)
            assert answer.status_code == 403
        assert read_cookie(client) == ""
        assert (await post_code(client, code)).status_code == 303
        assert (await post_code(client, code)).status_code == 403  # once


async def test_end_of_a_support_session_clears_its_cookie_and_its_row(cast: Cast) -> None:
    async with browser() as client:
        await post_code(client, await request_code(cast))
        cookie = read_cookie(client)
        answer = await client.post("/auth/support/end")
        assert answer.headers["location"] == "/sign-in?notice=support-ended"
        assert read_cookie(client) == ""
        assert await impersonation_sessions.find(impersonation_sessions.get_session_hash(cookie)) is None
        assert (await client.post("/auth/support/end")).status_code == 303


@pytest.mark.parametrize("path", ["/account", "/organisations", "/"])
async def test_support_session_opens_no_account_page(cast: Cast, path: str) -> None:
    """Passwords, factors and sessions belong to people: this cookie is no session of one."""
    async with browser() as client:
        await post_code(client, await request_code(cast))
        answer = await client.get(path)
    assert answer.headers.get("location", "").startswith("/sign-in")


async def test_cookies_of_one_realm_are_nobody_in_the_other(cast: Cast) -> None:
    """Neither is a support session an operator's session in the admin app."""
    operator_token = cast.olga.cookie.partition("=")[2]
    async with browser() as client:
        await post_code(client, await request_code(cast))
        support = read_cookie(client)
    names = {OPERATOR.session_cookie, USER.session_cookie, impersonation_sessions.COOKIE}
    assert len(names) == 3
    for name in names - {OPERATOR.session_cookie}:
        assert await authentication.authenticate(f"{name}={operator_token}", cast.ann.slug) is None
    assert await authentication.authenticate_operator(support) is None
    assert await authentication.authenticate_operator(cast.adam.cookie) is None
