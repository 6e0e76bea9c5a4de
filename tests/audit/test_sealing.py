"""Events are written without a lock, and sealed once no older transaction is still writing."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import LiteralString

import psycopg
import pytest

from shared.audit import audit_log, sealing
from shared.audit.audit_filter import AuditFilter
from shared.core import db
from shared.core.ids import new_id
from shared.tenancy import audit_reader, tenants
from tests.conftest import Cast, Person
from tests.support import audit_chains, forked
from tests.support.database import admin_url

INSERT: LiteralString = """
insert into audit_event (tenant_id, id, actor_type, actor_id, actor_name, action, object_id, before, after, details, request_id)
values (%s, %s, 'job', 'j', 'j', 'checklist.completed', %s, '{}', '{}', '{}', 'r')
"""
SEALS = "select id, seq, previous_hash, hash from audit_seal where tenant_id = %s order by seq"
FORGERIES: dict[str, LiteralString] = {
    "seal": "insert into audit_seal values (current_setting('app.tenant_id'), 'aud_x', 99, '\\x00', '\\x00')",
    "sealing function": "select seal_audit_events(array[current_setting('app.tenant_id')], 0, 9999999999, 10)",
    "sealing switch": "select set_config('app.sealing', 'on', true); insert into audit_seal"
    " values (current_setting('app.tenant_id'), 'aud_x', 99, '\\x00', '\\x00')",
    "head": "update audit_head set seq = 0",
    "deleted head": "delete from audit_head",
    "new head": "insert into audit_head values ('x')",
    "locked head": "select * from audit_head for update",
    "sealer": "update audit_sealer set next_transaction = 99999999999",
    "locked sealer": "select * from audit_sealer for update",
}


@contextmanager
def writing(tenant_id: str, *objects: str) -> Iterator[psycopg.Connection]:
    """A transaction of the app's role that has written events and is still open."""
    with psycopg.connect(db.login_url("app")) as connection:
        connection.execute("select set_config('app.tenant_id', %s, true)", [tenant_id])
        for name in objects:
            connection.execute(INSERT, [tenant_id, new_id("aud"), name])
        yield connection


def list_seals(name: str, tenant_id: str) -> list[tuple[str, int, bytes, bytes]]:
    with psycopg.connect(admin_url(name)) as connection:
        return connection.execute(SEALS, [tenant_id]).fetchall()


def list_sealed_objects(name: str, tenant_id: str) -> list[str]:
    """Of the test's own events, in the order of the chain."""
    query = (
        "select object_id from audit_seal s join audit_event e using (tenant_id, id)"
        " where tenant_id = %s and e.actor_id = 'j' order by s.seq"
    )
    with psycopg.connect(admin_url(name)) as connection:
        return [row[0] for row in connection.execute(query, [tenant_id]).fetchall()]


async def record_event(person: Person, name: str) -> None:
    async with person.ctx() as ctx:
        audit_log.record(ctx, "checklist.completed", name)


# ── writing without a lock ───────────────────────────────────────────────────────────────────────────────────────


async def test_two_open_transactions_of_one_tenant_write_without_waiting(cast: Cast, schema: str) -> None:
    """Each writes twice, so that a lock in either order would be a deadlock."""
    with writing(cast.acme, "a1") as first, writing(cast.acme, "b1") as second:
        for connection in (first, second):
            connection.execute("set local lock_timeout = '200ms'")
        first.execute(INSERT, [cast.acme, new_id("aud"), "a2"])
        second.execute(INSERT, [cast.acme, new_id("aud"), "b2"])
        second.commit()
        first.commit()
    assert (await audit_chains.verify(cast.ann)).is_intact
    assert list_sealed_objects(schema, cast.acme) == ["a1", "a2", "b1", "b2"]


async def test_events_of_an_open_transaction_are_sealed_after_its_end(cast: Cast, schema: str) -> None:
    with writing(cast.acme, "slow") as slow:
        await record_event(cast.ann, "fast")
        await audit_chains.run_sealer()
        async with cast.ann.ctx() as ctx:
            await sealing.seal_tenant(ctx)
        assert not list_sealed_objects(schema, cast.acme)
        slow.commit()
    await record_event(cast.ann, "later")
    await audit_chains.seal_as_worker(schema, cast.acme)
    assert list_sealed_objects(schema, cast.acme) == ["slow"]  # the other two are not the test's own rows
    assert (await audit_chains.verify(cast.ann)).is_intact


async def test_open_reader_does_not_delay_the_seals(cast: Cast, schema: str) -> None:
    with psycopg.connect(admin_url(schema)) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select count(*) from audit_event")
        with writing(cast.acme, "seen") as connection:
            connection.commit()
        await audit_chains.seal_as_worker(schema, cast.acme)  # or it waits for ever
        assert list_sealed_objects(schema, cast.acme) == ["seen"]


# ── the chain ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_seals_are_numbered_without_a_gap_and_each_continues_from_the_one_before(
    cast: Cast, schema: str
) -> None:
    for name in ("one", "two", "three"):
        await record_event(cast.ann, name)
        await audit_chains.seal(cast.ann)
    seals = list_seals(schema, cast.acme)
    assert [seq for _, seq, *_ in seals] == list(range(1, len(seals) + 1))
    assert seals[0][2] == b"\x00"
    assert all(seal[2] == before[3] for before, seal in pairwise(seals))


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.parametrize("role", ["app", "operator"])
async def test_seal_cannot_be_forged_by_the_apps_roles(cast: Cast, role: db.DatabaseRole, name: str) -> None:
    await audit_chains.seal(cast.ann)
    with psycopg.connect(db.login_url(role)) as connection:
        connection.execute("select set_config('app.tenant_id', %s, true)", [cast.acme])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(FORGERIES[name])


async def test_sealing_leaves_the_tenant_of_the_transaction(cast: Cast) -> None:
    with writing(cast.acme) as connection:
        connection.execute("select seal_audit_log(100)")
        row = connection.execute(
            "select current_setting('app.tenant_id'), coalesce(current_setting('app.sealing', true), '')"
        ).fetchone()
    assert row == (cast.acme, "")


async def test_concurrent_sealers_seal_each_event_once(cast: Cast, schema: str) -> None:
    for name in range(20):
        await record_event(cast.ann, f"item-{name}")
    await asyncio.gather(
        *(audit_chains.run_sealer() for _ in range(4)), *(audit_chains.seal(cast.ann) for _ in range(3))
    )
    await audit_chains.seal_as_worker(schema, cast.acme)
    seals = list_seals(schema, cast.acme)
    assert [seq for _, seq, *_ in seals] == list(range(1, len(seals) + 1))
    assert (await audit_chains.verify(cast.ann)).is_intact


async def test_second_sealer_of_all_tenants_leaves_the_work_to_the_first(cast: Cast, schema: str) -> None:
    await audit_chains.seal_as_worker(schema, cast.acme)
    await record_event(cast.ann, "one")
    before = list_seals(schema, cast.acme)
    with psycopg.connect(admin_url(schema)) as first:
        first.execute("select * from audit_sealer for update")
        async with asyncio.timeout(2):
            await audit_chains.run_sealer()
        assert list_seals(schema, cast.acme) == before
    await audit_chains.seal_as_worker(schema, cast.acme)
    assert len(list_seals(schema, cast.acme)) == len(before) + 1


async def test_sealer_takes_a_large_transaction_in_several_batches(cast: Cast, schema: str) -> None:
    await audit_chains.seal_as_worker(schema, cast.acme)
    with writing(cast.acme, *[f"{number:03}" for number in range(70)]) as connection:
        connection.commit()
    counts = []
    async with asyncio.timeout(30):
        while len(list_sealed_objects(schema, cast.acme)) < 70:
            async with db.transaction() as session:
                await sealing.seal_all(session, 30)
            counts.append(len(list_sealed_objects(schema, cast.acme)))
    assert [count for count in dict.fromkeys(counts) if count] == [30, 60, 70]
    assert list_sealed_objects(schema, cast.acme) == [f"{number:03}" for number in range(70)]
    assert (await audit_chains.verify(cast.ann)).is_intact


async def test_killed_sealer_loses_nothing(cast: Cast, schema: str) -> None:
    """Killed between the seals and the commit."""
    await audit_chains.seal_as_worker(schema, cast.acme)
    await record_event(cast.ann, "one")
    before = list_seals(schema, cast.acme)
    with forked.run_piped(audit_chains.seal_without_commit) as sealer:
        assert await sealer.read_line() == "sealed"
        await asyncio.to_thread(sealer.kill)
    assert list_seals(schema, cast.acme) == before
    async with asyncio.timeout(10):
        while len(list_seals(schema, cast.acme)) == len(before):  # the server notices the dead session
            await audit_chains.run_sealer()
    assert (await audit_chains.verify(cast.ann)).is_intact


async def test_worker_seals_by_itself(cast: Cast, schema: str) -> None:
    """Within two seconds of the end of the oldest transaction; other processes of the tests may have one."""
    assert sealing.INTERVAL_S <= 1
    sealer = asyncio.create_task(sealing.run())
    try:
        with writing(cast.acme, "one") as connection:
            connection.commit()
        async with asyncio.timeout(30):
            while not list_sealed_objects(schema, cast.acme):  # noqa: ASYNC110  another process writes them
                await asyncio.sleep(0.05)
    finally:
        sealer.cancel()
        await asyncio.gather(sealer, return_exceptions=True)


async def test_database_from_a_server_with_higher_transaction_numbers_is_sealed(
    cast: Cast, schema: str
) -> None:
    """As after a dump was restored on another server: with its sealer's place and an event that was not sealed there."""
    await record_event(cast.ann, "sealed there")
    await audit_chains.seal_as_worker(schema, cast.acme)
    with writing(cast.acme, "not sealed there") as connection:
        connection.commit()
    with psycopg.connect(admin_url(schema)) as superuser:
        superuser.execute("set session_replication_role = replica")
        superuser.execute(
            "update audit_event set transaction_id = transaction_id + 1000000000 where tenant_id = %s",
            [cast.acme],
        )
        superuser.execute(
            "update audit_event e set hash = audit_event_hash(e) where tenant_id = %s"
            " and object_id = 'not sealed there'",
            [cast.acme],
        )
        superuser.execute("update audit_sealer set next_transaction = next_transaction + 1000000000")
    with writing(cast.acme, "written here") as connection:
        connection.commit()
    await audit_chains.seal_as_worker(schema, cast.acme)
    assert list_sealed_objects(schema, cast.acme) == ["not sealed there", "written here"]


async def test_export_numbers_every_event_before_it(cast: Cast) -> None:
    await tenants_renamed(cast.ann)
    await audit_chains.seal(cast.ann)
    async with cast.ann.ctx() as ctx:
        page = await audit_log.export_events(ctx, AuditFilter())
        chain = await audit_reader.get_chain_status(ctx)
    numbers = [numbered.number for numbered in page.rows]
    assert numbers == list(range(len(numbers), 0, -1))
    assert (chain.sealed_count, chain.sealed_at) == (len(numbers), page.rows[0].event.at)


async def tenants_renamed(person: Person) -> None:
    async with person.ctx() as ctx:
        await tenants.rename(ctx, "Acme Works", version=None)
