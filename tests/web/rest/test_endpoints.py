"""What each endpoint does, once, as a program with a key of Acme's owner sees it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from shared.tenancy import notifications
from tests.conftest import Cast
from tests.support import api_clients

API = "/api/v1"


@pytest.fixture
async def client(cast: Cast) -> AsyncIterator[httpx.AsyncClient]:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        yield client


async def test_invitation_is_created_listed_resent_and_revoked(client: httpx.AsyncClient) -> None:
    created = await client.post(f"{API}/invitations", json={"email": "maria@acme.test", "role": "member"})
    invitation = created.json()
    assert (created.status_code, invitation["email"]) == (201, "maria@acme.test")
    assert (await client.get(f"{API}/invitations")).json()["items"] == [invitation]
    resent = await client.post(f"{API}/invitations/{invitation['id']}/resend")
    assert resent.json()["expires_at"] > invitation["expires_at"]
    again = await client.post(f"{API}/invitations", json={"email": "maria@acme.test", "role": "member"})
    assert again.status_code == 409
    revoked = await client.delete(f"{API}/invitations/{invitation['id']}")
    assert (revoked.status_code, revoked.content) == (204, b"")
    assert (await client.get(f"{API}/invitations")).json() == {"items": [], "next": None}


async def test_role_is_created_changed_and_deleted(client: httpx.AsyncClient) -> None:
    created = await client.post(f"{API}/roles", json={"name": "Auditor", "permissions": ["audit:read"]})
    role = created.json()
    assert (created.status_code, role["built_in"]) == (201, False)
    change = {"name": "Auditor", "description": "Reads.", "permissions": ["member:read"]}
    changed = await client.put(f"{API}/roles/{role['id']}", json=change, headers={"if-match": '"1"'})
    assert (changed.headers["etag"], changed.json()["description"]) == ('"2"', "Reads.")
    assert (await client.get(f"{API}/roles/{role['id']}")).json() == changed.json()
    assert (await client.delete(f"{API}/roles/{role['id']}")).status_code == 204
    assert (await client.get(f"{API}/roles/{role['id']}")).status_code == 404
    names = [item["name"] for item in (await client.get(f"{API}/roles")).json()["items"]]
    assert names == ["Owner", "Admin", "Billing", "Member", "Viewer"]


async def test_service_account_is_created_changed_and_deleted(client: httpx.AsyncClient) -> None:
    created = await client.post(f"{API}/service-accounts", json={"name": "Import", "role": "member"})
    address = f"{API}/service-accounts/{created.json()['id']}"
    change = {"name": "Export", "role": "viewer"}
    changed = await client.put(address, json=change, headers={"if-match": created.headers["etag"]})
    assert (await client.get(address)).json() == changed.json()
    assert [item["name"] for item in (await client.get(f"{API}/service-accounts")).json()["items"]] == [
        "Export"
    ]
    assert (await client.delete(address)).status_code == 204
    assert (await client.get(address)).status_code == 404


async def test_audit_events_are_filtered_and_read(client: httpx.AsyncClient) -> None:
    await client.post(f"{API}/roles", json={"name": "Auditor", "permissions": ["audit:read"]})
    answer = await client.get(f"{API}/audit-events", params={"action": "role.", "since": "2026-01-01"})
    (event,) = answer.json()["items"]
    assert (event["action"], event["actor_type"]) == ("role.created", "api_key")
    assert (await client.get(f"{API}/audit-events/{event['id']}")).json() == event


async def test_settings_and_branding_have_versions_of_their_own(client: httpx.AsyncClient) -> None:
    read = await client.get(f"{API}/settings")
    renamed = await client.patch(
        f"{API}/settings", json={"name": "Acme 2"}, headers={"if-match": read.headers["etag"]}
    )
    assert (renamed.json()["name"], renamed.headers["etag"]) == ("Acme 2", '"2"')
    branding = await client.get(f"{API}/settings/branding")
    coloured = await client.patch(
        f"{API}/settings/branding", json={"colour": "#0A7D5A"}, headers={"if-match": branding.headers["etag"]}
    )
    assert (coloured.json()["colour"], coloured.headers["etag"]) == ("#0a7d5a", '"2"')


async def test_notification_of_the_own_person_is_read(client: httpx.AsyncClient, cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        mine = await notifications.add(ctx, cast.ann.user_id, "k", "Mine", "Body", dedupe="mine")
        other = await notifications.add(ctx, cast.max.user_id, "k", "Other", "Body", dedupe="other")
    (item,) = (await client.get(f"{API}/notifications", params={"limit": 1})).json()["items"]
    assert (item["id"], item["read_at"]) == (mine, None)
    assert (await client.post(f"{API}/notifications/{mine}/read")).status_code == 204
    assert (await client.post(f"{API}/notifications/{other}/read")).status_code == 404


async def test_entitlements_name_their_source(client: httpx.AsyncClient) -> None:
    answer = (await client.get(f"{API}/entitlements")).json()
    feature = next(item for item in answer["features"] if item["key"] == "custom_roles")
    assert feature["included"]
    assert feature["source_id"].startswith("plv_business")
    seats = next(item for item in answer["limits"] if item["key"] == "members")
    assert seats["used"] == 3


async def test_decision_has_a_line_for_each_layer(client: httpx.AsyncClient) -> None:
    answer = (await client.post(f"{API}/decisions", json={"action": "role:create"})).json()
    assert answer["allowed"]
    layers = [line["layer"] for line in answer["trace"]]
    assert layers[0] == "permission"
    assert len(layers) == 10
    names = [item["name"] for item in (await client.get(f"{API}/actions")).json()["items"]]
    assert "role:create" in names
