"""Addresses that need no session: metrics for the monitoring only, and what is well known."""

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from shared.core.config import settings
from shared.core.db import now
from shared.web import admin_http, tenant_http

SetVariable = Callable[[str, str], None]
TOKEN = "a-token-of-the-monitoring"
APPS = pytest.mark.parametrize("app", [tenant_http.app, admin_http.app], ids=["tenant", "admin"])


async def ask(app: object, path: str, *, peer: str = "127.0.0.1", **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, client=(peer, 1))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=settings().tenant_url) as client:
        sent = [(name.replace("_", "-").encode(), text.encode("latin-1")) for name, text in headers.items()]
        return await client.get(path, headers=sent)


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("203.0.113.7", {}, 404),
        ("127.0.0.1", {"x_forwarded_for": "203.0.113.7"}, 404),
        ("127.0.0.1", {"forwarded": "for=127.0.0.1"}, 404),
        ("203.0.113.7", {"x_forwarded_for": "127.0.0.1"}, 404),
        ("testclient", {}, 404),
    ],
)
async def test_metrics_without_a_token_are_for_this_machine(
    peer: str, headers: dict[str, str], status: int
) -> None:
    answer = await ask(tenant_http.app, "/metrics", peer=peer, **headers)
    assert answer.status_code == status
    assert ("bulkhead_requests" in answer.text) is (status == 200)


@pytest.mark.parametrize(
    ("authorization", "status"),
    [(f"Bearer {TOKEN}", 200), (f"Bearer {TOKEN}x", 404), (TOKEN, 404), ("", 404), ("Bearer \xe9", 404)],
)
async def test_metrics_with_a_token_are_for_whoever_has_it(
    environment: SetVariable, authorization: str, status: int
) -> None:
    environment("BULKHEAD_METRICS_TOKEN", TOKEN)
    for peer in ("127.0.0.1", "203.0.113.7"):
        answer = await ask(tenant_http.app, "/metrics", peer=peer, authorization=authorization)
        assert answer.status_code == status


@APPS
async def test_security_contact_is_named_until_a_date(app: object, environment: SetVariable) -> None:
    path = "/.well-known/security.txt"
    assert (await ask(app, path)).status_code == 404
    environment("BULKHEAD_SECURITY_CONTACT", "mailto:security@example.com")
    answer = await ask(app, path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    fields = dict(line.split(": ", 1) for line in answer.text.splitlines())
    assert fields["Contact"] == "mailto:security@example.com"
    assert fields["Expires"] > f"{now() + timedelta(days=30):%Y-%m-%d}"


@APPS
async def test_address_for_a_new_password_leads_to_the_account(app: object) -> None:
    answer = await ask(app, "/.well-known/change-password")
    assert (answer.status_code, answer.headers["location"]) == (302, "/account")
