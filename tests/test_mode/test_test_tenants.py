"""Test mode: members, roles and plan of the live organisation, data of its own, and no money."""

import asyncio
from dataclasses import fields, replace

import psycopg
import pytest

from shared.access import policy
from shared.access.actions import SETTINGS_WRITE
from shared.access.endpoints import ReceivedFile
from shared.access.file_kinds import FileType
from shared.access.refusal_codes import Reason
from shared.api_keys import keys
from shared.api_keys.actions import API_KEY_CREATE
from shared.api_keys.keys import KeyRequest
from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.billing import usage
from shared.core import db
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.files import exports, files, retention, uploads
from shared.metering import call_counts, reconciliation
from shared.tenancy import entry, members, notifications, siblings, tenants, user_tenants
from shared.tenancy.key_entry import InvalidKey, authenticate_key, enter_key
from shared.tenancy.models import TenantMode
from shared.test_mode import test_tenants
from tests.conftest import Cast, Person
from tests.support import database

ADDRESS = "203.0.113.9"
TEST_KEY = KeyRequest(name="Trial run", scopes=["member:read", "home:read"], mode=TenantMode.TEST)


async def turn_on(owner: Person) -> test_tenants.TestModeView:
    async with owner.ctx() as ctx:
        return await test_tenants.turn_on(ctx)


async def create_test_key(person: Person) -> keys.CreatedKey:
    async with person.ctx() as ctx:
        return await keys.create(ctx, TEST_KEY)


async def add_upload(ctx: Ctx) -> str:
    """The id of an upload that is finished. Its bytes are nowhere."""
    path = await uploads.reserve(ctx)
    received = ReceivedFile(file_id=path.file_id, type=FileType.PDF, size=5, sha256="0" * 64)
    return (await uploads.finish(ctx, received, "Marked")).id


def run_as_superuser(statement: str, *values: str) -> list[tuple[object, ...]]:
    url = database.admin_url(db.engine("app").url.database or "")
    with psycopg.connect(url, autocommit=True) as superuser:
        cursor = superuser.execute(statement, values)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


async def set_role(cast: Cast, person: Person, role: str) -> None:
    async with cast.ann.ctx() as ctx:
        (member,) = (await members.list_members(ctx, query=person.email)).rows
        await members.set_role(ctx, member.id, role, version=None)


async def test_turn_on_creates_one_test_tenant(cast: Cast) -> None:
    first = await turn_on(cast.ann)
    assert await turn_on(cast.adam) == first
    assert first.slug == f"{cast.ann.slug[:35]}-test"
    async with cast.ann.ctx() as ctx:
        assert await test_tenants.get(ctx) == first


async def test_turn_on_is_refused_to_members_and_in_test_mode(cast: Cast) -> None:
    with pytest.raises(Refused, match=Reason.MISSING_PERMISSION):
        await turn_on(cast.max)
    test_mode = await turn_on(cast.ann)
    async with cast.ann.ctx(test_mode.slug) as ctx:
        with pytest.raises(Refused, match=Reason.TEST_MODE):
            await test_tenants.turn_on(ctx)


async def test_members_enter_the_test_tenant_with_the_role_of_the_moment(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    async with cast.adam.ctx(test_mode.slug) as ctx:
        assert (ctx.tenant_id, ctx.role, ctx.rights.plan) == (test_mode.tenant_id, "admin", "business")
        assert ctx.tenant_name.endswith(" (test)")
    await set_role(cast, cast.adam, "viewer")
    await cast.ann.gets("enterprise")
    async with cast.adam.ctx(test_mode.slug) as ctx:
        assert (ctx.role, ctx.rights.plan) == ("viewer", "enterprise")
    async with cast.adam.ctx(test_mode.tenant_id) as ctx:  # as links in mails name it
        assert ctx.slug == test_mode.slug
    for stranger in (cast.gil, cast.carl):
        with pytest.raises(NotFound):
            async with stranger.ctx(test_mode.slug):
                pass


async def test_removed_member_is_refused_in_the_test_tenant(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    created = await create_test_key(cast.adam)
    async with cast.ann.ctx() as ctx:
        (member,) = (await members.list_members(ctx, query=cast.adam.email)).rows
        await members.remove(ctx, member.id)
    with pytest.raises(Refused, match="membership_ended"):
        async with cast.adam.ctx(test_mode.slug):
            pass
    with pytest.raises(InvalidKey):
        await authenticate_key(created.text, address=ADDRESS)


async def test_test_key_enters_the_test_tenant_only(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    created = await create_test_key(cast.ann)
    assert created.text.startswith("bk_test_")
    admission = await authenticate_key(created.text, address=ADDRESS)
    async with enter_key(admission) as ctx:
        assert (ctx.tenant_id, ctx.live_tenant_id) == (test_mode.tenant_id, cast.acme)
        assert ctx.permissions == {"member:read", "home:read"}
    async with cast.ann.ctx() as ctx:
        assert [key.id for key in (await keys.list_keys(ctx)).rows] == []
        with pytest.raises(NotFound):
            await keys.revoke(ctx, created.key.id)
    async with cast.ann.ctx(test_mode.slug) as ctx:
        assert [key.id for key in (await keys.list_keys(ctx)).rows] == [created.key.id]


@pytest.mark.parametrize("is_test", [True, False], ids=["test", "live"])
async def test_key_of_one_mode_is_refused_under_the_name_of_the_other(cast: Cast, is_test: bool) -> None:
    """Even where the other tenant has its hash."""
    test_mode = await turn_on(cast.ann)
    created = await create_test_key(cast.ann)
    tenant_id = test_mode.tenant_id if is_test else cast.acme
    prefix = "bk_live_" if is_test else "bk_test_"
    text = f"{prefix}{tenant_id.removeprefix('ten_')}_{created.text.rpartition('_')[2]}"
    run_as_superuser(
        "update api_key set secret_hash = encode(sha256(convert_to(%s, 'utf8')), 'hex'), tenant_id = %s where id = %s",
        *(text, tenant_id, created.key.id),
    )
    with pytest.raises(InvalidKey):
        await authenticate_key(text, address=ADDRESS)


async def test_live_key_is_refused_in_test_mode(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    async with cast.ann.ctx(test_mode.slug) as ctx:
        with pytest.raises(Refused, match=Reason.TEST_MODE):
            await keys.create(ctx, KeyRequest(name="Live", scopes=["home:read"], mode=TenantMode.LIVE))
        created = await keys.create(ctx, KeyRequest(name="Here", scopes=["home:read"]))
        rotated = await keys.rotate(ctx, created.key.id)
    assert created.text.startswith("bk_test_")
    assert rotated.text.startswith("bk_test_")


async def test_test_key_is_refused_while_test_mode_is_off_and_for_service_accounts(cast: Cast) -> None:
    with pytest.raises(Conflict, match="test_mode_off"):
        await create_test_key(cast.ann)
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid):
            await keys.create(
                ctx,
                KeyRequest(
                    name="Robot", scopes=["home:read"], service_account_id="sac_x", mode=TenantMode.TEST
                ),
            )


async def test_lost_permission_is_noticed_in_the_test_tenant(cast: Cast) -> None:
    """The lock reads the live membership again, as in the live tenant."""
    test_mode = await turn_on(cast.ann)
    async with cast.adam.ctx(test_mode.slug) as ctx:
        await set_role(cast, cast.adam, "viewer")
        with pytest.raises(Refused):
            await keys.create(ctx, KeyRequest(name="Late", scopes=["home:read"]))


async def test_suspension_of_the_live_tenant_holds_in_test_mode(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    run_as_superuser("update tenant set state = 'suspended' where id = %s", cast.acme)
    async with cast.ann.ctx(test_mode.slug) as ctx:
        assert ctx.tenant_state == "suspended"
    with pytest.raises(Refused, match="tenant_suspended"):
        async with entry.enter_job(test_mode.tenant_id, "test", "req_test"):
            pass


async def test_billing_has_no_way_into_a_test_tenant(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    with pytest.raises(NotFound):
        async with entry.enter_billing_sync(test_mode.tenant_id, "billing.create_customer"):
            pass
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        run_as_superuser(
            "insert into billing_customer (tenant_id, id, account_id) values (%s, 'cus_x', 'platform')",
            test_mode.tenant_id,
        )
    with pytest.raises(psycopg.errors.CheckViolation):
        run_as_superuser(
            "insert into billing_customer (tenant_id, id, account_id, tenant_mode) values (%s, 'cus_x', 'platform', 'test')",
            test_mode.tenant_id,
        )
    async with cast.ann.ctx(test_mode.slug) as ctx:
        assert await usage.record(ctx, "api_calls", 1, now(), "once")
    assert not run_as_superuser("select from billing_usage where tenant_id = %s", test_mode.tenant_id)


async def test_job_in_test_mode_may_do_nothing_that_is_live_only(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    with pytest.raises(Refused) as refusal:
        async with entry.enter_job(test_mode.tenant_id, "tests.do", "req_test") as ctx:
            policy.require(ctx, SETTINGS_WRITE)
    assert refusal.value.reason == Reason.TEST_MODE


async def test_usage_of_a_test_tenant_is_compared_with_no_bill(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    call_counts.count_call(test_mode.tenant_id)
    await call_counts.record_calls()
    async with cast.ann.ctx(test_mode.slug) as ctx:
        assert not any(row.is_billed for row in await reconciliation.compare_month(ctx, now()))
    async with cast.ann.ctx() as ctx:
        assert all(row.is_billed for row in await reconciliation.compare_month(ctx, now()))


async def test_database_refuses_a_second_test_tenant_and_one_of_a_test_tenant(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    insert = (
        "insert into tenant (id, slug, name, state, mode, live_tenant_id, live_tenant_mode)"
        " values (%s, %s, 'x', 'active', 'test', %s, 'live')"
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        run_as_superuser(insert, "ten_second", "second", cast.acme)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        run_as_superuser(insert, "ten_nested", "nested", test_mode.tenant_id)


async def test_delete_data_empties_the_test_tenant_and_keeps_it_usable(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    created = await create_test_key(cast.ann)
    async with cast.ann.ctx(test_mode.slug) as ctx:
        await exports.begin(ctx, "audit", "csv", {})
    async with cast.ann.ctx() as ctx:
        await notifications.add(ctx, cast.ann.user_id, "test", "Live", "Live", dedupe="x")
    with pytest.raises(Refused):
        async with cast.adam.ctx() as ctx:
            await test_tenants.delete_data(ctx)
    async with cast.ann.ctx() as ctx:
        await test_tenants.delete_data(ctx)
        events = [event.action for event in (await audit_log.list_events(ctx, AuditFilter())).rows]
    assert events[:3] == ["test_data.deleted", "action.attempted", "test_mode.turned_on"]
    for table in ("notification", "export_job", "event_outbox", "idempotency_key"):
        counts = run_as_superuser(f"select count(*) from {table} where tenant_id = %s", test_mode.tenant_id)
        assert counts == [(0,)], table
    async with cast.ann.ctx() as ctx:
        assert await notifications.count_unread(ctx) == 1
    admission = await authenticate_key(created.text, address=ADDRESS)
    async with enter_key(admission) as ctx:
        assert ctx.tenant_id == test_mode.tenant_id


async def test_delete_data_ends_uploaded_files(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    async with cast.ann.ctx(test_mode.slug) as ctx:
        tested = await add_upload(ctx)
    async with cast.ann.ctx() as ctx:
        kept = await add_upload(ctx)
        await test_tenants.delete_data(ctx)
        assert (await uploads.get(ctx, kept)).name == "Marked"
    async with cast.ann.ctx(test_mode.slug) as ctx:
        with pytest.raises(NotFound):
            await uploads.get(ctx, tested)
        assert [path.file_id for path in await files.list_ended(ctx)] == [tested]


async def test_delete_data_does_not_wait_for_the_live_tenant(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    async with cast.adam.ctx() as busy_ctx:
        await tenants.lock(busy_ctx)
        async with asyncio.timeout(2), cast.ann.ctx() as ctx:
            await test_tenants.delete_data(ctx)
    assert test_mode.is_on


async def test_files_of_the_test_tenant_end_with_a_deleted_live_tenant(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    async with cast.ann.ctx(test_mode.slug) as ctx:
        await add_upload(ctx)
    former_id = test_mode.tenant_id[:-1]
    async with db.transaction() as session:
        assert await retention.find_next(session, former_id) != test_mode.tenant_id
    run_as_superuser("update tenant set state = 'deleted' where id = %s", cast.acme)
    async with db.transaction() as session:
        assert await retention.find_next(session, former_id) == test_mode.tenant_id


@pytest.mark.parametrize("table", ["audit_event", "audit_seal", "tenant_key"])
async def test_database_keeps_the_audit_log_and_the_key_of_a_test_tenant(cast: Cast, table: str) -> None:
    test_mode = await turn_on(cast.ann)
    async with cast.ann.ctx(test_mode.slug) as ctx:
        with pytest.raises(Exception, match="never deleted"):
            await (await ctx.session.connection()).exec_driver_sql("select delete_test_rows(%s)", ([table],))


async def test_test_keys_of_a_former_member_do_not_return_with_them(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    created = await create_test_key(cast.adam)
    async with cast.ann.ctx() as ctx:
        (member,) = (await members.list_members(ctx, query=cast.adam.email)).rows
        await members.deactivate(ctx, member.id)
    async with cast.ann.ctx() as ctx:
        await members.reactivate(ctx, member.id)
    with pytest.raises(InvalidKey) as refusal:
        await authenticate_key(created.text, address=ADDRESS)
    assert refusal.value.reason == "key_revoked"
    async with cast.ann.ctx(test_mode.slug) as ctx:
        (event, *_) = (await audit_log.list_events(ctx, AuditFilter())).rows
    assert (event.action, event.object_id) == ("api_key.revoked", created.key.id)


async def test_context_of_the_other_tenant_differs_in_tenant_and_rights_alone(cast: Cast) -> None:
    await turn_on(cast.ann)
    own = {"tenant_id", "slug", "tenant_name", "live_tenant_id", "rights"}
    async with cast.ann.ctx() as ctx:
        ctx = replace(ctx, surface="rest", operator_key_id="opk_x")
        policy.require(ctx, API_KEY_CREATE)
        async with siblings.enter_test_tenant(ctx, await siblings.require_test_tenant(ctx)) as test_ctx:
            changed = {f.name for f in fields(ctx) if getattr(ctx, f.name) != getattr(test_ctx, f.name)}
            assert changed <= own
            async with siblings.enter_live_tenant(test_ctx) as live_ctx:
                assert (live_ctx.surface, live_ctx.operator_key_id) == ("rest", "opk_x")
                assert live_ctx.tenant_id == cast.acme


async def test_database_deletes_rows_of_test_tenants_only(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Exception, match="only rows of a test tenant"):
            await (await ctx.session.connection()).exec_driver_sql(
                "select delete_test_rows(%s)", (["notification"],)
            )


async def test_nobody_is_notified_of_what_happens_in_test_mode(cast: Cast) -> None:
    test_mode = await turn_on(cast.ann)
    async with cast.ann.ctx(test_mode.slug) as ctx:
        assert not await notifications.add(ctx, cast.ann.user_id, "test", "Marked", "Marked", dedupe="x")
    async with cast.ann.ctx() as ctx:
        assert await notifications.count_unread(ctx) == 0


async def test_slug_of_test_tenants_is_reserved(cast: Cast) -> None:
    async with cast.gil.ctx() as ctx:
        with pytest.raises(Invalid) as refusal:
            await tenants.change_slug(ctx, "initech-test", version=None)
    assert "slug" in refusal.value.fields


async def test_test_tenant_is_in_no_list_of_organisations(cast: Cast) -> None:
    await turn_on(cast.ann)
    places = await user_tenants.list_user_tenants(cast.ann.cookie)
    assert [place.slug for place in places if place.slug.endswith("-test")] == []
