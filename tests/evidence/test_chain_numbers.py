"""Statements that find the ends of a range in a chain, without row security: each tenant's own filters give its own numbers."""

import re
from datetime import datetime
from typing import Any

import psycopg

from shared.audit import sealing
from shared.core import db
from shared.evidence import chain_repository
from shared.tenancy import tenants
from tests.conftest import Cast
from tests.support.database import admin_url

NUMBERED = """
    select coalesce(e.seq, s.seq) as number, e.at from audit_event e
    left join audit_seal s on s.tenant_id = e.tenant_id and s.id = e.id where e.tenant_id = %s and coalesce(e.seq, s.seq) is not null order by e.at
"""


def ask(schema: str, statement: Any, **values: Any) -> Any:
    """As a superuser, whom no policy keeps from other tenants' rows."""
    command = re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", str(statement)).replace("'\\\\x'", "'\\x'")
    with psycopg.connect(admin_url(schema), autocommit=True) as superuser:
        row = superuser.execute(command, values).fetchone()  # type: ignore[call-overload]
        return row[0] if row else None


async def test_ends_of_a_range_are_those_of_the_own_chain(cast: Cast, schema: str) -> None:
    for name in ("First", "Second", "Third"):
        for person in (cast.ann, cast.gil, cast.ann):
            async with person.ctx() as ctx:
                await tenants.rename(ctx, f"{name} {person.name}", version=None)
    async with db.transaction() as session:
        while await sealing.seal_all(session):
            pass
    events: dict[str, list[tuple[int, datetime]]] = {}
    with psycopg.connect(admin_url(schema), autocommit=True) as superuser:
        for tenant_id in (cast.acme, cast.globex):
            events[tenant_id] = superuser.execute(NUMBERED, [tenant_id]).fetchall()  # type: ignore[assignment]
    times = sorted(at for numbered in events.values() for _, at in numbered)
    for tenant_id, numbered in events.items():
        for time in times:
            later = [number for number, at in numbered if at >= time]
            earlier = [number for number, at in numbered if at < time]
            values = {"tenant_id": tenant_id, "overlap": chain_repository.OVERLAP}
            first = ask(schema, chain_repository.FIND_FIRST, since=time, **values)
            last = ask(schema, chain_repository.FIND_LAST, until=time, **values)
            assert (first, last) == (min(later, default=None), max(earlier, default=None))


async def test_hash_of_a_number_is_that_of_the_own_chain(cast: Cast, schema: str) -> None:
    for person in (cast.ann, cast.gil):
        async with person.ctx() as ctx:
            await tenants.rename(ctx, f"Renamed {person.name}", version=None)
    async with db.transaction() as session:
        while await sealing.seal_all(session):
            pass
    hashes = {
        ask(schema, chain_repository.FIND_HASH, tenant_id=tenant_id, seq=1)
        for tenant_id in (cast.acme, cast.globex)
    }
    assert len(hashes - {None}) == 2
