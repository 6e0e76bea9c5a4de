"""Both whole documents under Schemathesis: callers of several rights, own, foreign and unknown ids, one request and several."""

import asyncio
import random
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from shared.core import look_ups
from shared.outbound_webhooks import endpoints
from shared.tenancy import members, notifications, roles, service_accounts
from shared.tenancy.invitations import invite
from shared.web import admin_http, tenant_http
from shared.web.rest import api
from shared.web.rest.api_realms import OPERATOR_API
from tests.conftest import Cast, Person
from tests.support import api_clients, factories, operator_clients
from tests.support.api_fuzzing import Caller, Fuzzer, Report
from tests.support.billing.stub_server import serve_app
from tests.support.sizes import size

UNKNOWN = "xyz_01jz0000000000000000000000"


async def create_rows(owner: Person, member_names: Sequence[str]) -> dict[str, str]:
    """One of each kind, for callers to read and to change: its id by path parameter. `member_names`: who may be ended."""
    async with owner.ctx() as ctx:
        people = {member.name: member.id for member in (await members.list_members(ctx)).rows}
        role = await roles.create(ctx, "Auditor", "", ["audit:read"])
        account = await service_accounts.create(ctx, "Import", "member")
        invitation = await invite(ctx, f"maria@{owner.slug}.test", "viewer")
        notification = await notifications.add(ctx, owner.user_id, "k", "Title", "Body", dedupe="fuzzing")
        webhook = await endpoints.create(ctx, "https://hooks.example.com/", "", ["member.removed"])
        await ctx.session.flush()
        delivery_id = await endpoints.send_test(ctx, webhook.endpoint.id)
    key = await api_clients.create_key(owner)
    return {
        "member_id": people[member_names[0]] if member_names else UNKNOWN,
        "role_id": role.key,
        "service_account_id": account.id,
        "invitation_id": invitation.id,
        "notification_id": notification,
        "key_id": key.key_id,
        "webhook_id": webhook.endpoint.id,
        "delivery_id": delivery_id,
    }


@pytest.fixture(autouse=True)
def known_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every host has this public address: tests have no name server."""
    monkeypatch.setattr(look_ups, "_ask_system", lambda *_: [ip_address("93.184.216.34")])


async def create_callers(cast: Cast) -> list[Caller]:
    acme_words = (cast.ann.email, cast.acme)
    owner, admin = await api_clients.create_key(cast.ann), await api_clients.create_key(cast.adam)
    reader = await api_clients.create_key(cast.ann, "home:read", "member:read", "role:read")
    stranger = await api_clients.create_key(cast.gil)
    account = await api_clients.create_account_key(cast.ann, "viewer")
    return [
        Caller(name="owner", key=owner.text, hidden_words=(cast.gil.email, cast.globex)),
        Caller(name="admin", key=admin.text, hidden_words=(cast.gil.email, cast.globex)),
        Caller(name="reader", key=reader.text),
        Caller(name="service account", key=account.text),
        Caller(name="stranger", key=stranger.text, hidden_words=acme_words),
        Caller(name="nobody", hidden_words=acme_words),
    ]


async def test_every_answer_is_one_that_the_document_names(cast: Cast) -> None:
    acme_ids, globex_ids = await create_rows(cast.ann, ["Max"]), await create_rows(cast.gil, [])
    ids = {name: (row_id, globex_ids[name], UNKNOWN) for name, row_id in acme_ids.items()}
    callers, report = await create_callers(cast), Report()
    async with serve_app(tenant_http.app) as address:
        fuzzer = Fuzzer(document=api.build_document(), address=address, ids=ids, report=report)
        while report.case_count < size("api.all_cases"):
            await asyncio.to_thread(
                fuzzer.run,
                random.sample(callers, len(callers)),
                callers_per_operation=size("api.callers_per_operation"),
                cases=size("api.cases"),
            )
        await asyncio.to_thread(fuzzer.run_scenarios, callers[0], count=size("api.scenarios"))
    assert report.problems == {}
    assert {status: report.count_status(status) > 0 for status in (200, 401, 403, 404, 422)} == dict.fromkeys(
        (200, 401, 403, 404, 422), True
    )


async def create_operator_callers(cast: Cast) -> list[Caller]:
    cookies = {role: await factories.create_operator(role.title(), role) for role in ("owner", "support")}
    owner = await operator_clients.create_key(cookies["owner"])
    support = await operator_clients.create_key(cookies["support"])
    reader = await operator_clients.create_key(cookies["owner"], "operator:catalog:read")
    tenants_key = await api_clients.create_key(cast.ann)
    hidden_words = (cast.ann.email, cast.acme, cast.globex)
    return [
        Caller(name="owner", key=owner.text),
        Caller(name="support", key=support.text),
        Caller(name="reader", key=reader.text, hidden_words=hidden_words),
        Caller(name="tenant", key=tenants_key.text, hidden_words=hidden_words),
        Caller(name="nobody", hidden_words=hidden_words),
    ]


async def test_every_answer_to_operators_is_one_that_their_document_names(cast: Cast) -> None:
    ids = {
        "tenant_id": (cast.acme, cast.globex, UNKNOWN),
        "flag": ("role_editor", "no_such"),
        "override_id": (UNKNOWN,),
    }
    callers, report = await create_operator_callers(cast), Report()
    document = api.build_document(OPERATOR_API)
    async with serve_app(admin_http.app) as address:
        fuzzer = Fuzzer(document=document, address=address, ids=ids, report=report)
        while report.case_count < size("api.operator_cases"):
            await asyncio.to_thread(
                fuzzer.run,
                random.sample(callers, len(callers)),
                callers_per_operation=size("api.callers_per_operation"),
                cases=size("api.cases"),
            )
        await asyncio.to_thread(fuzzer.run_scenarios, callers[0], count=size("api.scenarios"))
    assert report.problems == {}
    assert {status: report.count_status(status) > 0 for status in (401, 422)} == dict.fromkeys(
        (401, 422), True
    )
