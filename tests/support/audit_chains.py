"""Seal and verify the audit log of a tenant from its first event, in as many steps as it takes."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import LiteralString, Protocol

import psycopg
from sqlalchemy import text

from shared.audit import sealing, verification
from shared.audit.verification import LogVerification
from shared.core import db
from shared.core.context import Ctx
from tests.support import database_catalog

SECONDS_TO_WAIT = 60
UNSEALED_BY_WORKER: LiteralString = """
select exists (select from audit_event e where tenant_id = %s and format = 2
    and not exists (select from audit_seal s where s.tenant_id = e.tenant_id and s.id = e.id))
"""
UNSEALED = text("""
select exists (select from audit_event e where tenant_id = :tenant_id and format = 2
    and transaction_id is distinct from cast(cast(pg_current_xact_id_if_assigned() as text) as bigint)
    and not exists (select from audit_seal s where s.tenant_id = e.tenant_id and s.id = e.id))
""")
# Numbers and chains the oldest events as the version before the seals wrote them.
MAKE_FORMER: LiteralString = """
do $$
declare e audit_event; number bigint := 0; last_hash bytea := '\\x00';
begin
    for e in select * from audit_event where tenant_id = '{tenant_id}' order by transaction_id, at, id limit {count} loop
        number := number + 1;
        e.format := 1; e.transaction_id := null; e.seq := number; e.prev := last_hash;
        last_hash := audit_hash(e);
        update audit_event set format = 1, transaction_id = null, seq = number, prev = e.prev, hash = last_hash
        where tenant_id = e.tenant_id and id = e.id;
    end loop;
    insert into audit_head values ('{tenant_id}', 'head', number, last_hash);
end $$
"""


class Person(Protocol):
    def ctx(self) -> AbstractAsyncContextManager[Ctx]: ...


def seal_without_commit() -> None:
    """Runs in a child that is killed: seals all audit logs, says so and waits."""

    async def seal_and_wait() -> None:
        async with db.transaction() as session:
            await sealing.seal_all(session)
            print("sealed", flush=True)
            await asyncio.sleep(60)

    asyncio.run(seal_and_wait())


async def verify(person: Person) -> LogVerification:
    """Without the jobs and the rate limit of the page."""
    async with person.ctx() as ctx:
        return await verify_within(ctx)


async def verify_within(ctx: Ctx) -> LogVerification:
    """Events that the transaction of `ctx` has written itself are not sealed, so they are not counted."""
    await seal_within(ctx)
    return await check_within(ctx)


async def check_within(ctx: Ctx) -> LogVerification:
    """Without sealing before."""
    checkpoint = await verification.lock(ctx)
    verification.start(checkpoint, from_start=True)
    while verification.describe(checkpoint).is_running:
        await verification.run_step(ctx, checkpoint)
    return verification.describe(checkpoint)


async def seal(person: Person) -> None:
    async with person.ctx() as ctx:
        await seal_within(ctx)


async def seal_within(ctx: Ctx) -> None:
    """Until every event of the tenant is sealed: other processes of the tests may be writing on the same server."""
    connection = await ctx.session.connection()
    async with asyncio.timeout(SECONDS_TO_WAIT):
        while True:
            await sealing.seal_tenant(ctx)
            if not (await connection.execute(UNSEALED, {"tenant_id": ctx.tenant_id})).scalar_one():
                return
            await asyncio.sleep(0.02)


async def seal_as_worker(name: str, tenant_id: str) -> None:
    """The events of all tenants, until those of this one are sealed. `name`: of the database."""
    async with asyncio.timeout(SECONDS_TO_WAIT):
        while True:
            await run_sealer()
            if not database_catalog.run_query(UNSEALED_BY_WORKER, tenant_id, name=name)[0][0]:
                return
            await asyncio.sleep(0.02)


async def run_sealer() -> None:
    """Once, until it says that there is no more. Events of transactions that are open, anywhere on the server, stay."""
    has_more = True
    while has_more:
        async with db.transaction() as session:
            has_more = await sealing.seal_all(session)


def make_former(connection: psycopg.Connection, tenant_id: str, count: int) -> None:
    """Turn the tenant's oldest events into events of format 1, as a superuser. Nothing of it may be sealed yet."""
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute(MAKE_FORMER.format(tenant_id=tenant_id, count=count).encode())
