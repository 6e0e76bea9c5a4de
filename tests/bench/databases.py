"""The databases of the bench, built by the migrations on a server of its own.

Those of the lists take long, so they are kept: built under another name and renamed when whole. The one of the pages
is made anew in every run, its people in through the product's own services where they act.
"""

from contextlib import closing
from dataclasses import dataclass

import psycopg
from psycopg import sql

from shared.core import db
from tests.bench.people import MEMBERS, fill
from tests.support import database, factories

SMALL, LARGE = 10_000, 1_000_000  # memberships
# A copy without row security, and one that has no index either. The same SQL finds them by the search path.
COPIES = """
create schema plain;
create table plain.membership (like public.membership including all);
create schema scan;
create table scan.membership (like public.membership including defaults);
insert into plain.membership select * from public.membership;
insert into scan.membership select * from public.membership;
grant usage on schema plain, scan to bulkhead_app;
grant select on plain.membership, scan.membership to bulkhead_app;
"""
TENANTS = """
insert into tenant (id, slug, name, state, plan)
select 'ten_b' || lpad(number::text, 6, '0'), 'bench-' || number, 'Bench ' || number, 'active', 'enterprise'
from generate_series(1, %s) as number
returning id
"""
ROLES = """
insert into role (tenant_id, id, key, name, builtin)
select id, 'rol_' || key, key, key, true from tenant, unnest(array['owner', 'admin', 'billing', 'member', 'viewer']) as key
"""


@dataclass(frozen=True, slots=True)
class House:
    """What the pages are looked at with: a signed-in owner of two tenants of 2,000, whose pages differ in size."""

    cookie: str
    database: str
    tenant_id: str
    slug: str
    heavy_id: str
    heavy_slug: str


def sized(rows: int) -> str:
    """The name of the database with that many memberships, 2,000 per tenant."""
    name = f"bulkhead_bench_{rows}_{database.fingerprint()}"
    with closing(psycopg.connect(database.admin_url(), autocommit=True)) as connection:
        if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            return name
        draft = f"{name}_build"
        database.build(draft)
        _fill_sized(draft, rows)
        rename = sql.SQL("alter database {} rename to {}")
        connection.execute(rename.format(sql.Identifier(draft), sql.Identifier(name)))
    return name


def _fill_sized(name: str, rows: int) -> None:
    with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
        tenants = [one for (one,) in connection.execute(TENANTS, [rows // MEMBERS]).fetchall()]
        connection.execute(ROLES)
        fill(connection, tenants)
        connection.execute(COPIES)
        connection.execute("vacuum analyze")


async def house() -> House:
    name = database.build("bulkhead_bench_pages")
    owner = await factories.create_account("Ann")
    tenant = await factories.create_tenant(owner, "Bench", plan="enterprise")
    heavy = await factories.create_tenant(owner, "Heavy", plan="enterprise")
    await db.dispose()
    with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
        fill(connection, [tenant.id, heavy.id], MEMBERS - 1)
        connection.execute("vacuum analyze")
    return House(owner.cookie, name, tenant.id, tenant.slug, heavy.id, heavy.slug)
