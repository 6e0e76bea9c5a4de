"""The guard of sockets, uploads and pages. The app behind it is a stand-in that answers REACHED."""

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from shared.backoffice import tenant_directory
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.identity import sessions
from shared.identity.realms import USER
from shared.tenancy import members, tenants
from shared.web.app_sites import ADMIN, TENANT, Site
from shared.web.client_tokens import MemoryClientTokenStore
from shared.web.request_middleware import RequestMiddleware
from shared.web.same_origin import SameOriginMiddleware
from shared.web.session_guard import SessionGuard
from tests.conftest import Cast
from tests.support import session_rows

REACHED = b"behind the guard"
TOKEN = "0b6e1d0e-8f0f-4b7c-9f3e-6f0c1d2e3f4a"


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    socket: str = ""  # "accepted" or the close code


async def answer_reached(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": REACHED})


@dataclass
class GuardedApp:
    site: Site = TENANT

    def __post_init__(self) -> None:
        self.guard = SessionGuard(answer_reached, site=self.site)
        self.app = RequestMiddleware(SameOriginMiddleware(self.guard, site=self.site), site=self.site)

    async def ask(
        self,
        path: str,
        *,
        kind: str = "http",
        method: str = "GET",
        cookie: str = "",
        origin: str | None = "",
        accept: str = "text/html",
        query: str = "",
        raw: bytes = b"",
        body: bytes = b"",
        **headers: str,
    ) -> Answer:
        answer = Answer()
        sent = {"accept": accept, **({"cookie": cookie} if cookie else {}), **headers}
        if origin is not None:
            sent["origin"] = origin or self.site.origin
        scope = {
            "type": kind,
            "path": path,
            "raw_path": raw or path.encode(),
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()],
        }
        if kind == "http":
            scope["method"] = method
        messages = (
            [{"type": "http.request", "body": body}] if kind == "http" else [{"type": "websocket.connect"}]
        )

        async def receive() -> dict[str, Any]:
            if kind == "websocket" and not messages:
                await asyncio.Event().wait()  # the socket stays open
            assert messages, "waits for a message that never comes"
            return messages.pop(0)

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            elif message["type"] == "http.response.body":
                answer.body += message.get("body", b"")
            else:
                answer.socket = "accepted" if message["type"] == "websocket.accept" else str(message["code"])

        await self.app(scope, receive, send)  # type: ignore[arg-type]
        return answer

    async def socket(
        self, cookie: str = "", *, token: str = TOKEN, path: str = "/_event/", **more: Any
    ) -> str:
        query = urlencode({"transport": "websocket", "token": token})
        return (await self.ask(path, kind="websocket", cookie=cookie, query=query, **more)).socket


async def test_socket_opens_for_a_live_session_and_own_origin(cast: Cast) -> None:
    assert await GuardedApp().socket(cast.ann.cookie) == "accepted"
    assert await GuardedApp(ADMIN).socket(cast.olga.cookie) == "accepted"


@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://evil.test", "https://localhost:3000", "http://localhost:3001", "http://localhost:3000.evil.test",
     "http://LOCALHOST:3000", "http://localhost:3000/", "http://127.0.0.1:3000"],
)  # fmt: skip
async def test_socket_is_refused_for_a_foreign_origin(cast: Cast, origin: str | None) -> None:
    assert await GuardedApp().socket(cast.ann.cookie, origin=origin) == "4403"


async def test_socket_is_refused_without_a_live_session_of_the_realm(cast: Cast) -> None:
    guarded_app, token = GuardedApp(), cast.ann.cookie.partition("=")[2]
    for cookie in ("", "x=1", cast.ann.cookie + "x", cast.olga.cookie, f"__Host-bulkhead-admin={token}"):
        assert await guarded_app.socket(cookie) == "4403"
    assert await GuardedApp(ADMIN).socket(cast.ann.cookie) == "4403"
    await end_session(cast.ann.cookie)
    assert await guarded_app.socket(cast.ann.cookie) == "4403"


@pytest.mark.parametrize("token", ["", "short", "x" * 200, "a b c d e f g h", "é" * 20, "../../../../etc"])
async def test_socket_is_refused_for_a_malformed_token(cast: Cast, token: str) -> None:
    assert await GuardedApp().socket(cast.ann.cookie, token=token) == "4403"


async def test_socket_on_another_path_and_polling_are_refused(cast: Cast) -> None:
    guarded_app = GuardedApp()
    assert await guarded_app.socket(cast.ann.cookie, path="/other") == "4403"
    assert await guarded_app.socket(cast.ann.cookie, path="/_upload") == "4403"
    await guarded_app.socket(cast.ann.cookie)
    for method in ("GET", "POST"):
        polled = await guarded_app.ask(
            "/_event/",
            method=method,
            cookie=cast.ann.cookie,
            query=urlencode({"transport": "polling", "token": TOKEN}),
        )
        assert polled.status == 403


async def test_client_token_belongs_to_its_first_session(cast: Cast) -> None:
    guarded_app = GuardedApp()
    assert await guarded_app.socket(cast.ann.cookie) == "accepted"
    assert await guarded_app.socket(cast.gil.cookie) == "4403"
    assert await guarded_app.socket(cast.ann.cookie) == "accepted"
    await end_session(cast.ann.cookie)
    assert await guarded_app.socket(cast.gil.cookie) == "accepted"


async def test_upload_requires_the_session_of_the_client_token(cast: Cast) -> None:
    guarded_app = GuardedApp()
    await guarded_app.socket(cast.ann.cookie)
    for cookie, status in (("", 403), (cast.gil.cookie, 403), (cast.ann.cookie, 200)):
        answer = await guarded_app.ask(
            "/_upload", method="POST", cookie=cookie, body=b"x" * 1000, **{"reflex_client_token": TOKEN}
        )
        assert answer.status == status
    assert (await guarded_app.ask("/_upload", method="POST", cookie=cast.ann.cookie)).status == 403
    assert (await guarded_app.ask("/_upload/secret.txt", cookie=cast.ann.cookie)).status == 403


async def test_page_without_a_session_leads_to_sign_in_and_back(cast: Cast) -> None:
    guarded_app = GuardedApp()
    answer = await guarded_app.ask(f"/t/{cast.ann.slug}/home")
    assert (answer.status, answer.headers["location"]) == (303, f"/sign-in?next=/t/{cast.ann.slug}/home")
    assert (await guarded_app.ask(f"/t/{cast.ann.slug}/home", cookie=cast.ann.cookie)).body == REACHED
    assert (await guarded_app.ask("/anything", cookie=cast.ann.cookie)).body == REACHED
    assert (await GuardedApp(ADMIN).ask("/tenants")).headers["location"] == "/sign-in?next=/tenants"
    assert (await GuardedApp(ADMIN).ask("/tenants", cookie=cast.olga.cookie)).body == REACHED


async def test_webhook_routes_are_open_in_the_tenant_app_only(cast: Cast) -> None:
    for path in ("/webhooks/stripe", "/webhooks/stripe/token"):
        assert (await GuardedApp().ask(path, method="POST", origin="https://stripe.test")).body == REACHED
        forged = await GuardedApp(ADMIN).ask(
            path, method="POST", cookie=cast.olga.cookie, origin="https://stripe.test"
        )
        assert forged.status == 403
    for path in ("/webhooks/", "/webhooks/platform/evt_1/"):
        unknown, olga = (
            await GuardedApp(ADMIN).ask(path),
            await GuardedApp(ADMIN).ask(path, cookie=cast.olga.cookie),
        )
        assert (unknown.status, unknown.headers["location"].partition("?")[0]) == (303, "/sign-in")
        assert olga.body == REACHED


async def test_foreign_and_unknown_tenants_get_the_same_page(cast: Cast) -> None:
    guarded_app = GuardedApp()
    answers = [
        await guarded_app.ask(f"/t/{slug}/home", cookie=cast.ann.cookie)
        for slug in (cast.gil.slug, "nobody-has-this", "UPPER", "x" * 300, "ten_1", "")
    ]
    assert {answer.status for answer in answers} == {404}
    assert len({answer.body for answer in answers}) == 1
    stripped = [{**answer.headers, "x-request-id": ""} for answer in answers]
    assert all(answer == stripped[0] for answer in stripped)


async def test_removed_member_reads_who_removed_them(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        listed = await members.list_members(ctx)
        (max_,) = [row for row in listed.rows if row.email == cast.max.email]
        await members.remove(ctx, max_.id)
    answer = await GuardedApp().ask(f"/t/{cast.ann.slug}/home", cookie=cast.max.cookie)
    assert answer.status == 403
    assert b"Your access to Acme was removed by Ann" in answer.body
    json = await GuardedApp().ask(
        f"/t/{cast.ann.slug}/home", cookie=cast.max.cookie, accept="application/json"
    )
    assert b'"reason":"membership_ended"' in json.body


async def test_suspended_tenant_is_refused_with_its_state(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        await tenant_directory.suspend_tenant(
            octx, cast.acme, state_reason(octx, "unpaid for a year", tenant_id=cast.acme)
        )
    answer = await GuardedApp().ask(f"/t/{cast.ann.slug}/home", cookie=cast.ann.cookie)
    assert answer.status == 403
    assert b"suspended" in answer.body


async def test_compiled_files_are_public_and_tenant_paths_are_not(cast: Cast) -> None:
    guarded_app = GuardedApp()
    for path in ("/assets/root-1.js", "/look.css", "/favicon.svg", "/fonts/inter.woff2"):
        assert (await guarded_app.ask(path, accept="*/*")).body == REACHED
    for path in (f"/t/{cast.ann.slug}/x.js", f"/t/{cast.ann.slug}/assets/x.js", "/a/look.css"):
        assert (await guarded_app.ask(path, accept="*/*")).status == 303


@pytest.mark.parametrize("path", ["/_all_routes", "/_health", "/auth-codespace", "/ping"])
async def test_reflex_internal_paths_are_closed(path: str) -> None:
    assert (await GuardedApp().ask(path)).status == 404


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("//_event", b"//_event"),
        ("/x/../_event", b"/x/../_event"),
        ("/_event", b"/%5fevent"),
        ("/t/acme/home", b"/t/%61cme/home"),
        ("/t/a/b", b"/t/a%2fb"),
        ("/t\\acme", b"/t%5cacme"),
        ("/t/acme\x00", b"/t/acme%00"),
        ("/t/acme\n", b"/t/acme%0a"),
        ("/t/é", "/t/é".encode()),
        ("/" + "x" * 5000, b""),
    ],
)
async def test_path_in_another_spelling_is_not_found(cast: Cast, path: str, raw: bytes) -> None:
    answer = await GuardedApp().ask(path, raw=raw, cookie=cast.ann.cookie)
    assert answer.status == 404
    assert answer.body != REACHED


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_form_from_a_foreign_origin_is_refused(cast: Cast, method: str) -> None:
    guarded_app = GuardedApp()
    path = "/auth/sign-in"
    for origin in ("http://evil.test", "null", guarded_app.site.origin + "/", None):
        answer = await guarded_app.ask(
            path, method=method, origin=origin, body=b"x", accept="application/json"
        )
        assert (answer.status, b'"reason":"foreign_origin"' in answer.body) == (403, True)
        assert (
            await guarded_app.ask(path, method=method, origin=origin, body=b"x", sec_fetch_site="cross-site")
        ).status == 403
    forged = await guarded_app.ask(
        path, method=method, origin="http://evil.test", sec_fetch_site="same-origin"
    )
    assert forged.status == 403
    assert (await guarded_app.ask(path, method=method)).status == 200
    assert (
        await guarded_app.ask(path, method=method, origin=None, sec_fetch_site="same-origin")
    ).status == 200


async def test_every_answer_has_a_request_id_and_security_headers(cast: Cast) -> None:
    guarded_app, seen = GuardedApp(), set()
    for path in ("/", "/t/x/home", "/ping", "/look.css", "/_upload"):
        answer = await guarded_app.ask(path)
        seen.add(answer.headers["x-request-id"])
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
    assert len(seen) == 5
    page = await guarded_app.ask(f"/t/{cast.ann.slug}/home", cookie=cast.ann.cookie)
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "connect-src 'self' ws://localhost:3000" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"


async def test_client_token_claimed_by_two_at_once_goes_to_one(cast: Cast) -> None:
    async def is_live(_: str) -> bool:
        await asyncio.sleep(0.01)
        return False

    owners = MemoryClientTokenStore(is_live, 60)
    assert await owners.claim_token(TOKEN, "dead")
    claims = await asyncio.gather(*(owners.claim_token(TOKEN, f"session {number}") for number in range(5)))
    assert sorted(claims) == [False] * 4 + [True]


async def end_session(cookie: str) -> None:
    async with db.transaction() as session:
        live_session = await sessions.find(session, USER, cookie)
        assert live_session is not None
        await sessions.end(session, USER, live_session.session_hash)


async def test_page_request_extends_the_idle_time_and_a_socket_does_not(cast: Cast) -> None:
    """A socket reconnects by itself, whether or not a person is there."""
    guarded_app = GuardedApp()
    before = session_rows.age_session(cast.ann.cookie, "last_seen_at", timedelta(minutes=5))
    assert await guarded_app.socket(cast.ann.cookie) == "accepted"
    assert session_rows.read_times(cast.ann.cookie).last_seen_at == before
    await guarded_app.ask(f"/t/{cast.ann.slug}/members", cookie=cast.ann.cookie)
    assert session_rows.read_times(cast.ann.cookie).last_seen_at > before


async def test_former_slug_redirects_members_and_is_unknown_to_strangers(cast: Cast) -> None:
    slug = f"works-{cast.acme[-10:]}"
    async with cast.ann.ctx() as ctx:
        await tenants.change_slug(ctx, slug, version=None)
    guarded_app, former = GuardedApp(), cast.ann.slug
    for alias in (former, cast.acme):
        answer = await guarded_app.ask(f"/t/{alias}/billing", query="back=portal", cookie=cast.max.cookie)
        assert (answer.status, answer.headers["location"]) == (307, f"/t/{slug}/billing?back=portal")
    answer = await guarded_app.ask(f"/t/{former}/members.csv", method="POST", cookie=cast.max.cookie)
    assert (answer.status, answer.headers["location"]) == (307, f"/t/{slug}/members.csv")
    for alias in (former, cast.acme):
        answer_to_stranger = await guarded_app.ask(f"/t/{alias}/home", cookie=cast.gil.cookie)
        unknown = await guarded_app.ask("/t/nobody-has-it/home", cookie=cast.gil.cookie)
        assert (answer_to_stranger.status, answer_to_stranger.body) == (404, unknown.body)
