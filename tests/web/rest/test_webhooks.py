"""Webhooks over REST, as a program with a key of Acme's owner sees them."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.conftest import Cast
from tests.support import api_clients, database

API = "/api/v1"
WEBHOOK = {"url": "https://hooks.example.com/acme", "event_types": ["member.removed"]}


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of every host: tests have no name server."""
    addresses = ["93.184.216.34"]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (addresses[0], 443))])
    monkeypatch.setattr("shared.core.outbound.REFUSAL_TIME_S", 0.05)
    return addresses


@pytest.fixture
async def client(cast: Cast, addresses: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        yield client


async def test_webhook_is_created_changed_and_deleted(client: httpx.AsyncClient) -> None:
    created = await client.post(f"{API}/webhooks", json=WEBHOOK)
    webhook = created.json()
    assert (created.status_code, webhook["secret"][:6]) == (201, "whsec_")
    address = f"{API}/webhooks/{webhook.pop('id')}"
    read = await client.get(address)
    assert "secret" not in read.json()
    change = {**WEBHOOK, "description": "CRM"}
    changed = await client.put(address, json=change, headers={"if-match": read.headers["etag"]})
    assert (changed.status_code, changed.json()["description"], changed.headers["etag"]) == (
        200,
        "CRM",
        '"2"',
    )
    stale = await client.put(address, json=WEBHOOK, headers={"if-match": read.headers["etag"]})
    assert (stale.status_code, (await client.put(address, json=WEBHOOK)).status_code) == (412, 428)
    assert (await client.get(f"{API}/webhooks")).json()["items"] == [changed.json()]
    assert (await client.delete(address)).status_code == 204
    assert (await client.get(address)).status_code == 404


async def test_webhook_is_paused_resumed_and_tested_and_its_delivery_replayed(
    client: httpx.AsyncClient,
) -> None:
    address = f"{API}/webhooks/{(await client.post(f'{API}/webhooks', json=WEBHOOK)).json()['id']}"
    assert (await client.post(f"{address}/pause")).json()["pause_reason"] == "member"
    assert (await client.post(f"{address}/test")).status_code == 409
    assert (await client.post(f"{address}/resume")).json()["state"] == "active"
    tested = await client.post(f"{address}/test")
    delivery_id = tested.json()["delivery_id"]
    delivery = f"{API}/webhook-deliveries/{delivery_id}"
    assert (await client.post(f"{delivery}/replay")).status_code == 409
    database.connect().execute("update webhook_delivery set status = 'failed' where id = %s", [delivery_id])
    listed = (await client.get(f"{address}/deliveries", params={"status": "failed", "limit": 1})).json()
    assert [item["id"] for item in listed["items"]] == [delivery_id]
    assert (await client.post(f"{delivery}/replay")).status_code == 204
    read = (await client.get(delivery)).json()
    assert (read["status"], read["event_type"], read["log"]) == ("pending", "webhook.test", [])
    database.connect().execute("update webhook_delivery set status = 'failed' where id = %s", [delivery_id])
    since = {"since": "2026-01-01T00:00:00Z"}
    assert (await client.post(f"{address}/replay-failed", json=since)).json() == {"count": 1}


async def test_rotation_that_is_sent_again_rotates_once_and_tells_no_secret(
    client: httpx.AsyncClient,
) -> None:
    webhook_id = (await client.post(f"{API}/webhooks", json=WEBHOOK)).json()["id"]
    address, headers = f"{API}/webhooks/{webhook_id}/rotate-secret", {"idempotency-key": "one"}
    first = await client.post(address, json={}, headers=headers)
    second = await client.post(address, json={}, headers=headers)
    assert first.json()["secret"].startswith("whsec_")
    assert (second.status_code, second.json()["secret"]) == (200, None)
    statement = "select older_secret from webhook_endpoint where id = %s"
    assert database.connect().execute(statement, [webhook_id]).fetchone() == (None,)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254"])
async def test_webhook_of_a_private_host_is_refused_before_anything_is_stored(
    client: httpx.AsyncClient, addresses: list[str], address: str
) -> None:
    addresses[0] = address
    refused = await client.post(f"{API}/webhooks", json=WEBHOOK)
    assert (refused.status_code, list(refused.json()["fields"])) == (422, ["url"])
    assert (await client.get(f"{API}/webhooks")).json()["items"] == []


async def test_host_is_not_looked_up_for_a_key_without_the_scope(
    cast: Cast, addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()
    monkeypatch.setattr("socket.getaddrinfo", lambda host, *_, **__: asked.append(host))
    program = await api_clients.create_key(cast.ann, "webhook:read")
    async with program.client() as client:
        refused = await client.post(f"{API}/webhooks", json=WEBHOOK)
    assert (refused.status_code, refused.json()["reason"], asked) == (403, "missing_scope", [])


async def test_events_say_whether_the_caller_may_read_them(cast: Cast, addresses: list[str]) -> None:
    program = await api_clients.create_key(cast.ann, "webhook:read", "member:read")
    async with program.client() as client:
        items = (await client.get(f"{API}/webhook-events")).json()["items"]
    readable = {item["name"]: item["readable"] for item in items}
    assert (readable["member.removed"], readable["billing.status_changed"]) == (True, False)
