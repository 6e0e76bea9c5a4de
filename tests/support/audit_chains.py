"""Seal and verify the audit log of a tenant from its first event, in as many steps as it takes."""

from contextlib import AbstractAsyncContextManager
from typing import LiteralString, Protocol

import psycopg

from shared.audit import sealing, verification
from shared.audit.verification import LogVerification
from shared.core.context import Ctx

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


async def verify(person: Person) -> LogVerification:
    """Without the jobs and the rate limit of the page."""
    async with person.ctx() as ctx:
        return await verify_within(ctx)


async def verify_within(ctx: Ctx) -> LogVerification:
    """Events that the transaction of `ctx` has written itself are not sealed, so they are not counted."""
    while await sealing.seal_tenant(ctx):
        pass
    checkpoint = await verification.lock(ctx)
    verification.start(checkpoint, from_start=True)
    while verification.describe(checkpoint).is_running:
        await verification.run_step(ctx, checkpoint)
    return verification.describe(checkpoint)


async def seal(person: Person) -> int:
    """Returns how many events were sealed."""
    async with person.ctx() as ctx:
        return await sealing.seal_tenant(ctx)


def make_former(connection: psycopg.Connection, tenant_id: str, count: int) -> None:
    """Turn the tenant's oldest events into events of format 1, as a superuser. Nothing of it may be sealed yet."""
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute(MAKE_FORMER.format(tenant_id=tenant_id, count=count).encode())
