"""The audit log: contents of an event, append-only tables, one hash chain per tenant, filters and pages."""

import ast
import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, LiteralString

import psycopg
import pytest
from sqlalchemy import text

from admin_app import labels
from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.audit.event_types import REASON_REQUIRED, AuditAction, OperatorAuditAction
from shared.audit.verification import LogVerification
from shared.backoffice import operators
from shared.core import db
from shared.core.context import Ctx
from shared.core.errors import Invalid
from shared.core.ids import new_id
from shared.tenancy import audit_reader, entry, members, tenants
from tests.conftest import Cast, Person
from tests.support import audit_chains, source
from tests.support.database import admin_url


def execute_as_superuser(name: str, statement: LiteralString, *values: Any) -> None:
    """A superuser bypasses row security, grants and triggers."""
    with psycopg.connect(admin_url(name)) as connection:
        connection.execute("set session_replication_role = replica")
        assert connection.execute(statement, values).rowcount > 0


async def verify_audit_log(person: Person) -> LogVerification:
    """From the first event."""
    return await audit_chains.verify(person)


async def rename_tenant(person: Person, *names: str) -> None:
    for name in names:
        async with person.ctx() as ctx:
            await tenants.rename(ctx, name, version=None)


# ── what a row says ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_event_names_actor_action_object_request_and_both_values(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        (row,) = (await members.list_members(ctx, query=cast.max.email)).rows
        await members.set_role(ctx, row.id, "viewer", version=None)
        request_id = ctx.request_id
    async with cast.ann.ctx() as ctx:
        event = (await audit_reader.list_events(ctx, limit=1)).rows[0]
    assert (event.actor_type, event.actor_id, event.actor_name) == ("user", cast.adam.user_id, "Adam")
    assert (event.action, event.object_id, event.request_id) == (
        "membership.role_changed",
        row.id,
        request_id,
    )
    assert (event.before, event.after) == ({"role": "member"}, {"role": "viewer"})
    assert event.at is not None
    assert abs(db.now() - event.at) < timedelta(seconds=30)


async def test_event_keeps_the_actor_name_when_the_person_is_renamed(cast: Cast) -> None:
    await rename_tenant(cast.adam, "Acme Works")
    async with db.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text("update \"user\" set name = 'Somebody Else' where id = :id"), {"id": cast.adam.user_id}
        )
    async with cast.ann.ctx() as ctx:
        assert (await audit_reader.list_events(ctx, limit=1)).rows[0].actor_name == "Adam"


async def test_time_transaction_and_hash_of_an_event_are_set_by_the_database(cast: Cast) -> None:
    """Values that a client supplies are overwritten."""
    async with cast.ann.ctx() as ctx:
        audit_log.record(ctx, "checklist.completed", "brand")
        (row,) = [row for row in ctx.session.new if isinstance(row, audit_log.AuditEvent)]
        row.seq, row.at, row.hash = 1, db.now() - timedelta(days=900), b"forged"
        row.prev, row.format, row.transaction_id = b"forged", 1, 7
    async with cast.ann.ctx() as ctx:
        event = (await audit_reader.list_events(ctx, limit=1)).rows[0]
    assert (event.seq, event.prev, event.format) == (None, None, 2)
    assert event.transaction_id is not None
    assert event.transaction_id > 7
    assert event.at is not None
    assert event.at > db.now() - timedelta(minutes=1)
    assert len(event.hash or b"") == hashlib.sha256().digest_size
    assert (await verify_audit_log(cast.ann)).is_intact


async def test_recording_an_unregistered_action_raises(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        with pytest.raises(ValueError, match="is in the audit texts of no manifest"):
            audit_log.record(ctx, "tenant.painted", ctx.tenant_id)
    async with cast.olga.octx() as octx:
        with pytest.raises(ValueError, match="not a valid OperatorAuditAction"):
            audit_log.record_operator(octx, "tenant.painted", "*", reason="why")


@pytest.mark.parametrize("action", sorted(REASON_REQUIRED))
async def test_privileged_action_without_a_reason_is_refused(cast: Cast, action: AuditAction) -> None:
    async with cast.ann.ctx() as ctx:
        for reason in ("", " \n"):
            with pytest.raises(Invalid, match="Enter a reason"):
                audit_log.record(ctx, action, ctx.tenant_id, reason=reason)


@cache
def list_strings_in_calls() -> set[str]:
    """Every string, and value of an audit action, that the source passes to some function: by position, or as `event`."""
    arguments = [
        argument
        for path, tree in source.load_trees().items()
        if path != "shared/audit/event_types.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for argument in [*node.args, *(word.value for word in node.keywords if word.arg == "event")]
    ]
    texts = {argument.value for argument in arguments if isinstance(argument, ast.Constant)}
    names = {argument.attr for argument in arguments if isinstance(argument, ast.Attribute)}
    return {text for text in texts if isinstance(text, str)} | {
        action.value for kind in (AuditAction, OperatorAuditAction) for action in kind if action.name in names
    }


@pytest.mark.parametrize("kind", [AuditAction, OperatorAuditAction])
def test_every_audit_action_is_recorded_by_some_service(
    kind: type[AuditAction] | type[OperatorAuditAction],
) -> None:
    assert {action.value for action in kind} - list_strings_in_calls() == set()


def test_every_operator_audit_action_has_a_text() -> None:
    assert set(labels.OPERATOR_AUDIT_TEXTS) == set(OperatorAuditAction)


def test_audit_actions_are_sorted_and_named_like_their_values() -> None:
    for kind in (AuditAction, OperatorAuditAction):
        assert [action.value for action in kind] == sorted(action.value for action in kind)
        assert [action.name for action in kind] == [action.value.replace(".", "_").upper() for action in kind]


# ── nobody changes it ────────────────────────────────────────────────────────────────────────────────────────────

CHANGES = ("update {} set id = 'nothing'", "delete from {}", "truncate {}")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("table", ["audit_event", "audit_seal", "operator_event"])
@pytest.mark.parametrize("role", ["app", "operator", "owner"])
async def test_app_roles_cannot_change_or_delete_audit_events(
    cast: Cast, role: db.DatabaseRole, table: str, change: str
) -> None:
    """Row security and grants do not stop the owner of the tables; the triggers do."""
    await audit_chains.seal(cast.ann)
    async with await psycopg.AsyncConnection.connect(db.login_url(role)) as connection:
        await connection.execute("select set_config('app.tenant_id', %s, true)", [cast.acme])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(change.format(table))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("table", ["audit_event", "audit_seal", "operator_event"])
async def test_superuser_cannot_change_audit_events_while_triggers_are_on(
    cast: Cast, schema: str, table: str, change: str
) -> None:
    async with cast.olga.octx() as octx, entry.read_across_tenants(octx, "so that there is a line"):
        pass
    await audit_chains.seal(cast.ann)
    refused = pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only")
    with psycopg.connect(admin_url(schema)) as connection, refused:
        connection.execute(change.format(table))  # type: ignore[arg-type]


# ── one chain for each tenant ────────────────────────────────────────────────────────────────────────────────────


async def test_concurrent_writers_keep_one_intact_chain_per_tenant(cast: Cast) -> None:
    before = (await verify_audit_log(cast.ann)).checked_count
    everybody = asyncio.Barrier(12)

    async def write_event(person: Person, number: int) -> None:
        async with person.ctx() as ctx:
            await everybody.wait()
            for _ in range(3):
                audit_log.record(ctx, "checklist.completed", f"item-{number}")
                await ctx.session.flush()

    people = (cast.ann, cast.adam, cast.max, cast.gil)
    await asyncio.gather(*(write_event(people[number % 4], number) for number in range(12)))
    verification = await verify_audit_log(cast.ann)
    assert (verification.is_intact, verification.checked_count) == (True, before + 27)
    assert (await verify_audit_log(cast.gil)).is_intact


async def test_rollback_leaves_no_gap_in_the_chain(cast: Cast) -> None:
    async def change_mind() -> None:
        async with cast.ann.ctx() as ctx:
            await tenants.rename(ctx, "Never", version=None)
            await ctx.session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change_mind()
    await rename_tenant(cast.ann, "After all")
    assert (await verify_audit_log(cast.ann)).is_intact


# ── finding in it ────────────────────────────────────────────────────────────────────────────────────────────────


async def create_events(cast: Cast) -> str:
    """Events by Ann, Adam and an operator. Returns the request id of Adam's second event."""
    await rename_tenant(cast.ann, "One")
    await rename_tenant(cast.adam, "Two")
    async with cast.adam.ctx() as ctx:
        await tenants.set_colour(ctx, "#112233", version=None)
        request_id = ctx.request_id
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, "ticket 7"):
        pass
    return request_id


async def search_events(cast: Cast, **criteria: Any) -> list[tuple[str, str]]:
    async with cast.ann.ctx() as ctx:
        page = await audit_reader.list_events(ctx, AuditFilter(**criteria), limit=100)
    return [(event.action, event.actor_name) for event in page.rows]


async def test_events_are_filtered_by_actor_action_object_and_request(cast: Cast) -> None:
    request_id = await create_events(cast)
    branded = ("tenant.branded", "Adam")
    assert await search_events(cast, request_id=request_id) == [branded]
    assert await search_events(cast, action="tenant.branded") == [branded]
    assert await search_events(cast, actor="adAM", action="tenant.") == [branded, ("tenant.renamed", "Adam")]
    assert await search_events(cast, actor=cast.ann.user_id, action="tenant.renamed") == [
        ("tenant.renamed", "Ann")
    ]
    assert await search_events(cast, actor="Olga") == [("operator.looked", "Olga")]
    assert len(await search_events(cast, object_id=cast.acme)) >= 4
    assert await search_events(cast, action="%.") == []
    assert await search_events(cast, actor="%") == []


async def test_events_are_filtered_by_time_with_an_exclusive_end(cast: Cast) -> None:
    await create_events(cast)
    async with cast.ann.ctx() as ctx:
        newest, second = (await audit_reader.list_events(ctx, limit=2)).rows
    assert await search_events(cast, since=newest.at) == [(newest.action, newest.actor_name)]
    assert (await search_events(cast, until=newest.at))[0] == (second.action, second.actor_name)
    assert await search_events(cast, since=newest.at, until=newest.at) == []


async def test_pages_of_events_add_up_to_the_whole_log_newest_first(cast: Cast) -> None:
    await create_events(cast)
    async with cast.ann.ctx() as ctx:
        whole = (await audit_reader.list_events(ctx, limit=100)).rows
        pieces, after = [], ""
        for _ in range(len(whole)):
            page = await audit_reader.list_events(ctx, after=after, limit=2)
            pieces += page.rows
            after = page.next_cursor
            if not after:
                break
    assert [row.id for row in pieces] == [row.id for row in whole]
    assert [row.at for row in whole] == sorted((row.at for row in whole), reverse=True)


@pytest.mark.parametrize(
    "after", ["x", "a b c", "2020-01-01 x", "\x00 \x00 \x00", "2020-01-01T00:00:00+00:00 ten_x \ud800"]
)
async def test_event_list_with_an_unknown_cursor_is_refused(cast: Cast, after: str) -> None:
    with pytest.raises(Invalid):
        async with cast.ann.ctx() as ctx:
            await audit_reader.list_events(ctx, after=after)


# ── the operators' own ───────────────────────────────────────────────────────────────────────────────────────────


async def test_operator_event_requires_a_reason(cast: Cast) -> None:
    async with cast.sam.octx() as octx:
        for reason in ("", "  "):
            with pytest.raises(Invalid, match="Enter a reason"):
                audit_log.record_operator(octx, "tenants.read_across", "*", reason=reason)
        audit_log.record_operator(octx, "tenants.read_across", "*", reason="a test", what="all")
        request_id = octx.request_id
    async with cast.olga.octx() as octx:
        event = (await audit_log.list_operator_events(octx, limit=1))[0]
    assert (event.actor_name, event.action, event.reason) == ("Sam", "tenants.read_across", "a test")
    assert (event.details, event.request_id) == ({"what": "all"}, request_id)


async def verify_operator_log(cast: Cast) -> audit_log.ChainVerification:
    async with cast.olga.octx() as octx:
        return await audit_log.verify_operator_chain(octx)


async def write_operator_events(cast: Cast, count: int) -> None:
    everybody = asyncio.Barrier(count)

    async def write_event(number: int) -> None:
        async with cast.sam.octx() as octx:
            await everybody.wait()
            audit_log.record_operator(octx, "tenants.read_across", "*", reason=f"test {number}")

    await asyncio.gather(*(write_event(number) for number in range(count)))


async def test_concurrent_operator_events_keep_one_intact_chain(cast: Cast) -> None:
    before = await verify_operator_log(cast)
    await write_operator_events(cast, 6)
    after = await verify_operator_log(cast)
    assert (after.is_intact, after.checked_count) == (True, before.checked_count + 6)


CHAIN_KEY = "hashtextextended('operator_event', 0)"
LOCKABLE_TABLES = """
    select quote_ident(relname) from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
        and has_table_privilege(oid, 'update') and relname <> all (%s)
"""
# An operator's action reads or writes these itself, so the app's role can delay it there, as long as a lock lasts.
SHARED_TABLES = ["user", "procrastinate_jobs", "procrastinate_events"]


@contextmanager
def held_by_app() -> Iterator[psycopg.Connection]:
    """A transaction of the app's role that holds every lock it can take."""
    with psycopg.connect(db.login_url("app")) as connection:
        connection.execute(f"select pg_advisory_xact_lock({CHAIN_KEY})")  # type: ignore[arg-type]
        tables = connection.execute(LOCKABLE_TABLES, [SHARED_TABLES]).fetchall()
        for (table,) in tables:
            connection.execute(f"lock table {table} in access exclusive mode")
        assert len(tables) > 10
        yield connection


async def test_app_role_cannot_block_an_operators_action(cast: Cast) -> None:
    with held_by_app():
        await write_operator_events(cast, 2)
        async with cast.olga.octx() as octx:
            await operators.create(octx, f"{new_id('x')}@bulkhead.test", "support", "Nina")
    verified = await verify_operator_log(cast)
    assert verified.is_intact


async def test_app_role_cannot_lock_the_operators_chain(cast: Cast) -> None:
    for statement in ("select * from operator_chain_lock for update", "lock table operator_chain_lock"):
        with (
            psycopg.connect(db.login_url("app")) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement)


@pytest.fixture
def restored_operator_log(schema: str) -> Iterator[None]:
    """The platform has one chain for all tests of a process, so changed rows are restored."""
    kept = "create table kept as table operator_event"
    with psycopg.connect(admin_url(schema), autocommit=True) as connection:
        connection.execute(kept)
        yield
        connection.execute("set session_replication_role = replica")
        connection.execute("delete from operator_event")
        connection.execute("insert into operator_event select * from kept")
        connection.execute("drop table kept")


@pytest.mark.usefixtures("restored_operator_log")
@pytest.mark.parametrize("bend", ["update operator_event set reason = 'x'", "delete from operator_event"])
async def test_verification_finds_changes_in_the_operator_log(
    cast: Cast, schema: str, bend: LiteralString
) -> None:
    await write_operator_events(cast, 3)
    last = (await verify_operator_log(cast)).checked_count
    execute_as_superuser(schema, bend + " where seq = %s", last - 1)
    verification = await verify_operator_log(cast)
    assert verification.broken_at == (last if bend.startswith("delete") else last - 1)


async def test_event_of_another_tenant_is_refused_inside_a_context(cast: Cast) -> None:
    """An event of one tenant cannot be written from the context of another."""
    async with cast.ann.ctx() as ctx:
        acme: Ctx = ctx
    with pytest.raises(Exception, match="another tenant"):
        async with cast.gil.ctx() as ctx:
            ctx.session.add(
                audit_log.AuditEvent(
                    tenant_id=acme.tenant_id,
                    actor_type="user",
                    actor_id="x",
                    actor_name="x",
                    action="tenant.renamed",
                    object_id="x",
                    request_id="x",
                )
            )
