"""The operators' API: who may call it, what it answers, how it refuses."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from sqlmodel import select

from shared.access.endpoints import OPERATOR_ENDPOINTS
from shared.audit import audit_log
from shared.backoffice import operator_keys, operators
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.db import now
from shared.core.ids import new_id
from shared.identity import encryption_keys, tokens, users
from shared.identity.models import OperatorIdempotencyKey, UserToken
from shared.identity.realms import OPERATOR
from shared.identity.tasks import PLATFORM_TASKS
from shared.tenancy import entry, provisioning, signups
from shared.web.rest import api
from shared.web.rest.api_realms import OPERATOR_API
from tests.conftest import Cast, Operating
from tests.support import factories, operator_clients
from tests.support.operator_clients import REASON

API = "/api/operator/v1"
WHY = {"reason": REASON}


@pytest.fixture
async def client(cast: Cast) -> AsyncIterator[httpx.AsyncClient]:
    program = await operator_clients.create_key(cast.olga.cookie)
    async with program_client(program.text) as client:
        yield client


def program_client(text: str) -> httpx.AsyncClient:
    return operator_clients.client(text)


def build_order(**changed: str) -> dict[str, str]:
    word = new_id("x")[-8:]
    return {
        "owner_email": f"maria@{word}.test",
        "owner_name": "Maria",
        "name": f"Initech {word}",
        "reason": REASON,
        **changed,
    }


async def test_key_says_whose_it_is(cast: Cast) -> None:
    program = await operator_clients.create_key(cast.olga.cookie, "operator:tenant:read")
    async with program_client(program.text) as client:
        me = (await client.get(f"{API}/me")).json()
    assert (me["key_id"], me["role"]) == (program.key_id, "owner")
    assert me["permissions"] == me["scopes"] == ["operator:tenant:read"]


async def test_tenants_are_searched_in_pages_and_read_with_a_reason(
    cast: Cast, client: httpx.AsyncClient
) -> None:
    first = (await client.get(f"{API}/tenants", params={"limit": 1})).json()
    second = (await client.get(f"{API}/tenants", params={"limit": 1, "after": first["next"]})).json()
    assert first["items"][0]["id"] != second["items"][0]["id"]
    tenant_list = (await client.get(f"{API}/tenants", params={"search": cast.acme})).json()
    assert [item["id"] for item in tenant_list["items"]] == [cast.acme]
    read = await client.get(f"{API}/tenants/{cast.acme}", params=WHY)
    assert read.json() == tenant_list["items"][0]
    refused = await client.get(f"{API}/tenants/{cast.acme}")
    assert (refused.status_code, refused.json()["fields"].keys()) == (422, {"reason"})
    short = await client.get(f"{API}/tenants/{cast.acme}", params={"reason": "because"})
    assert (short.status_code, short.json()["fields"].keys()) == (422, {"reason"})


async def test_unknown_and_malformed_ids_get_the_same_answer(client: httpx.AsyncClient, cast: Cast) -> None:
    answers = [
        await client.get(f"{API}/tenants/{tenant_id}", params=WHY)
        for tenant_id in (f"{cast.acme}x", "ten_01jz0000000000000000000000", "key_1")
    ]
    problems = [{**answer.json(), "request_id": ""} for answer in answers]
    assert [answer.status_code for answer in answers] == [404] * 3
    assert problems[0] == problems[1] == problems[2]


async def test_tenant_is_suspended_once_and_restored(cast: Cast, client: httpx.AsyncClient) -> None:
    address = f"{API}/tenants/{cast.acme}"
    suspension = {**WHY, "message": "We check a payment."}
    first = await client.post(f"{address}/suspend", json=suspension)
    again = await client.post(f"{address}/suspend", json=suspension)
    assert (first.status_code, again.status_code) == (204, 409)
    tenant = (await client.get(address, params=WHY)).json()
    assert (tenant["state"], tenant["suspension_message"]) == ("suspended", "We check a payment.")
    restored = await client.post(f"{address}/restore", json=WHY)
    assert (restored.status_code, (await client.post(f"{address}/restore", json=WHY)).status_code) == (
        204,
        409,
    )


async def test_change_is_recorded_with_operator_key_and_reason(cast: Cast) -> None:
    program = await operator_clients.create_key(cast.olga.cookie)
    async with program_client(program.text) as client:
        await client.post(f"{API}/tenants/{cast.acme}/suspend", json=WHY)
        created = await client.post(f"{API}/tenants", json=build_order())
    async with cast.olga.octx() as octx:
        event = next(
            event
            for event in await audit_log.list_operator_events(octx)
            if event.object_id == created.json()["id"]
        )
        assert (event.action, event.actor_id, event.reason) == ("tenant.created", octx.actor_id, REASON)
        assert event.details["operator_key"] == program.key_id
        operator_id = octx.actor_id
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, REASON) as ctx:
        events = (await audit_log.list_events(ctx)).rows
        suspended = next(event for event in events if event.action == "tenant.suspended")
    assert (suspended.actor_type, suspended.actor_id) == ("operator", operator_id)
    assert (suspended.details["operator_key"], suspended.reason) == (program.key_id, REASON)


async def test_created_tenant_is_set_up_as_after_a_sign_up(client: httpx.AsyncClient, schema: str) -> None:
    order = build_order()
    created = await client.post(f"{API}/tenants", json=order)
    assert (created.status_code, created.json()["state"]) == (201, "pending_verification")
    user_id, tenant_id = created.json()["owner_id"], created.json()["id"]
    async with db.transaction() as session:  # the job of the mail
        await PLATFORM_TASKS["platform.request_verification"](session, email=order["owner_email"])
    async with db.transaction() as session:
        token = (await session.exec(select(UserToken).where(UserToken.user_id == user_id))).one()
        link = tokens.sign_token(token)
    verified = await signups.verify_email(link, "")
    assert (verified.user_id, verified.slug) == (user_id, created.json()["slug"])
    assert verified.reset_token  # nobody has chosen a password yet
    while await run_step(tenant_id):
        pass
    tenant = (await client.get(f"{API}/tenants/{tenant_id}", params=WHY)).json()
    assert (tenant["state"], tenant["owner"], tenant["plan"]) == ("active", "Maria", "Free")
    assert (tenant["steps"], tenant["steps_done"]) == (len(provisioning.STEPS),) * 2


async def run_step(tenant_id: str) -> str:
    async with entry.enter_job(tenant_id, "tenant.provision", new_id("req")) as ctx:
        return await provisioning.run_next_step(ctx)


async def test_verified_owner_has_the_tenant_at_once_with_slug_and_plan(
    cast: Cast, client: httpx.AsyncClient
) -> None:
    plans = (await client.get(f"{API}/plans")).json()["items"]
    version = next(plan["plan_version_id"] for plan in plans if plan["key"] == "business")
    slug = f"initech-{new_id('x')[-8:]}"
    order = build_order(owner_email=cast.carl.email, slug=slug, plan_version_id=version)
    created = (await client.post(f"{API}/tenants", json=order)).json()
    assert (created["state"], created["slug"], created["owner_id"]) == ("active", slug, cast.carl.user_id)
    async with entry.enter_tenant(cast.carl.cookie, slug) as ctx:
        assert (ctx.role, ctx.rights.plan) == ("owner", "business")
    second = build_order(slug=slug)
    refused = await client.post(f"{API}/tenants", json=second)
    assert (refused.status_code, refused.json()["reason"]) == (409, "slug_taken")
    async with db.transaction() as session:  # nothing is half done
        assert await users.get_by_email(session, second["owner_email"]) is None


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"owner_email": "nobody"}, "email"),
        ({"owner_name": ""}, "name"),
        ({"name": ""}, "organisation"),
        ({"slug": "admin"}, "slug"),
        ({"reason": "because"}, "reason"),
        ({"colour": "red"}, "colour"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_wrong_field_of_an_order_is_named(
    client: httpx.AsyncClient, changed: dict[str, str], field: str
) -> None:
    answer = await client.post(f"{API}/tenants", json=build_order(**changed))
    assert answer.status_code == 422
    assert field in answer.json()["fields"]


async def test_order_with_a_plan_needs_the_right_to_assign_plans(cast: Cast) -> None:
    program = await operator_clients.create_key(cast.olga.cookie, "operator:tenant:create")
    async with program_client(program.text) as client:
        answer = await client.post(f"{API}/tenants", json=build_order(plan_version_id="plv_x"))
    assert (answer.status_code, answer.json()["reason"]) == (403, "missing_scope")


async def test_repeated_order_has_one_effect_and_one_answer(client: httpx.AsyncClient) -> None:
    order, headers = build_order(), {"idempotency-key": new_id("x")}
    answers = await asyncio.gather(
        *(client.post(f"{API}/tenants", json=order, headers=headers) for _ in range(4))
    )
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.text for answer in answers}) == 1
    tenant_list = (await client.get(f"{API}/tenants", params={"search": order["name"]})).json()
    assert len(tenant_list["items"]) == 1
    other = await client.post(f"{API}/tenants", json=build_order(), headers=headers)
    assert (other.status_code, other.json()["reason"]) == (422, "idempotency_key_reused")


async def test_kept_answer_is_sealed_and_survives_another_data_key(client: httpx.AsyncClient) -> None:
    order, headers = build_order(), {"idempotency-key": new_id("x")}
    first = await client.post(f"{API}/tenants", json=order, headers=headers)
    async with db.transaction("operator") as session:
        bodies = (await session.exec(select(OperatorIdempotencyKey.body))).all()
    assert not any(order["name"].encode() in (body or b"") for body in bodies)
    await encryption_keys.renew_realm_key(OPERATOR, lambda _: None)
    again = await client.post(f"{API}/tenants", json=order, headers=headers)
    assert (again.headers["idempotency-replayed"], again.text) == ("true", first.text)


async def test_plan_and_flags_are_changed_with_the_version_that_was_read(
    cast: Cast, client: httpx.AsyncClient
) -> None:
    address = f"{API}/tenants/{cast.acme}"
    read = await client.get(f"{address}/entitlements", params=WHY)
    assert read.headers["etag"] == f'"{read.json()["version"]}"'
    plans = (await client.get(f"{API}/plans")).json()["items"]
    version = next(plan["plan_version_id"] for plan in plans if plan["key"] == "enterprise")
    assignment, stale = {**WHY, "plan_version_id": version}, {"if-match": read.headers["etag"]}
    missing = await client.put(f"{address}/plan", json=assignment)
    assert (missing.status_code, missing.json()["reason"]) == (428, "precondition_missing")
    assert (await client.put(f"{address}/plan", json=assignment, headers=stale)).status_code == 204
    flag = (await client.get(f"{API}/flags")).json()["items"][0]["key"]
    refused = await client.put(f"{address}/flags/{flag}", json={**WHY, "enabled": False}, headers=stale)
    problem = refused.json()
    assert (refused.status_code, problem["reason"]) == (412, "changed_meanwhile")
    assert "Olga changed" in problem["detail"]
    present = await client.get(f"{address}/entitlements", params=WHY)
    assert (present.json()["plan"], problem["version"]) == ("enterprise", present.json()["version"])
    fresh = {"if-match": present.headers["etag"]}
    changed = await client.put(f"{address}/flags/{flag}", json={**WHY, "enabled": False}, headers=fresh)
    assert changed.status_code == 204
    flags = (await client.get(f"{address}/entitlements", params=WHY)).json()["flags"]
    assert next(item for item in flags if item["key"] == flag)["override"] is False


async def test_overrides_are_added_listed_and_ended(cast: Cast, client: httpx.AsyncClient) -> None:
    address = f"{API}/tenants/{cast.acme}/overrides"
    ends_at = (now() + timedelta(days=30)).isoformat()
    limit = {**WHY, "limit": "members", "amount": None, "ends_at": ends_at}
    feature = {**WHY, "feature": "custom_roles", "included": False, "ends_at": ends_at}
    added = [
        (await client.post(f"{address}/limits", json=limit)).json(),
        (await client.post(f"{address}/features", json=feature)).json(),
    ]
    assert [(row["target"], row["included"], row["is_hard"]) for row in added] == [
        ("limit", None, True),
        ("feature", False, None),
    ]
    listed = (await client.get(address, params=WHY)).json()["items"]
    assert {row["id"] for row in listed} == {row["id"] for row in added}
    ended = await client.post(f"{address}/{added[0]['id']}/end", json=WHY)
    again = await client.post(f"{address}/{added[0]['id']}/end", json=WHY)
    assert (ended.status_code, again.status_code) == (204, 409)
    assert [row["id"] for row in (await client.get(address, params=WHY)).json()["items"]] == [added[1]["id"]]
    unknown = await client.post(f"{address}/features", json={**feature, "feature": "no_such"})
    assert (unknown.status_code, unknown.json()["fields"].keys()) == (422, {"name"})


async def test_key_loses_what_its_operator_loses_at_the_next_request(cast: Cast) -> None:
    cookie = await factories.create_operator("Bill", "billing")
    program = await operator_clients.create_key(cookie)
    async with Operating(cookie).octx() as octx:
        operator_id = octx.actor_id
    path, suspension = f"{API}/tenants/{cast.globex}/suspend", WHY
    async with program_client(program.text) as client:
        assert (await client.post(path, json=suspension)).status_code == 204
        async with cast.olga.octx() as octx:
            reason = state_reason(octx, REASON)
            await operators.set_role(octx, operator_id, "support", version=None, reason=reason)
        demoted = await client.post(f"{API}/tenants/{cast.globex}/restore", json=WHY)
        async with cast.olga.octx() as octx:
            await operators.disable(octx, operator_id, reason=state_reason(octx, REASON))
        disabled = await client.get(f"{API}/tenants")
    assert (demoted.status_code, demoted.json()["reason"]) == (403, "missing_permission")
    assert (disabled.status_code, disabled.json()["reason"]) == (401, "key_revoked")


async def test_cookie_of_an_operator_is_ignored(cast: Cast) -> None:
    async with operator_clients.client() as client:
        answer = await client.get(f"{API}/tenants", headers={"cookie": cast.olga.cookie})
    assert (answer.status_code, answer.json()["reason"]) == (401, "not_signed_in")


async def test_body_of_ten_megabytes_is_refused_without_an_effect(client: httpx.AsyncClient) -> None:
    body = b'{"name": "' + b"x" * 10_000_000 + b'"}'
    answer = await client.post(f"{API}/tenants", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["reason"]) == (413, "body_too_large")


async def test_answers_say_how_many_requests_are_left_and_allow_no_web_page(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get(f"{API}/me", headers={"origin": "https://app.example.com"})
    assert answer.headers["ratelimit-policy"].startswith('"key";q=')
    assert '"operator";q=' in answer.headers["ratelimit-policy"]
    assert "access-control-allow-origin" not in answer.headers
    preflight = await client.options(f"{API}/me", headers={"origin": "https://app.example.com"})
    assert (preflight.status_code, "access-control-allow-origin" in preflight.headers) == (204, False)


async def test_document_describes_every_endpoint_of_operators_and_none_of_tenants() -> None:
    async with operator_clients.client() as client:
        document = (await client.get(f"{API}/openapi.json")).json()
    assert document == api.build_document(OPERATOR_API)
    assert document["paths"].keys() == {f"{API}{endpoint.path}" for endpoint in OPERATOR_ENDPOINTS}
    assert document["components"]["securitySchemes"]["key"]["bearerFormat"] == "bk_op_…"
    scopes = operator_keys.list_all_scopes()
    assert "operator:tenant:create" in scopes
    assert not scopes & {"operator:operator:write", "operator:api_key:write", "operator:key:rotate"}
