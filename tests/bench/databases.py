"""The databases of the bench, built by the migrations.

A full run has a server of its own. Its databases of the lists take long, so they are kept: built under another name and
renamed when whole. A tiny run makes small ones on the server of the tests and drops them at its end, or the next run
of the tests does.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import psycopg

from shared.core import db
from tests.bench.people import MEMBERS, fill
from tests.support import database, factories

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
insert into tenant (id, slug, name, state)
select 'ten_b' || lpad(number::text, 6, '0'), 'bench-' || number, 'Bench ' || number, 'active'
from generate_series(1, %s) as number
returning id
"""
LARGE_TENANT = "ten_large"
LARGE = """
insert into tenant (id, slug, name, state) values (%s, 'bench-large', 'Bench large', 'active')
"""
ROLES = """
insert into role (tenant_id, id, key, name, builtin)
select id, 'rol_' || key, key, key, true from tenant, unnest(array['owner', 'admin', 'billing', 'member', 'viewer']) as key
"""


@dataclass(frozen=True, slots=True)
class PageTenants:
    """What the pages are looked at with: a signed-in owner of two tenants of 2,000, whose pages differ in size."""

    cookie: str
    database: str
    tenant_id: str
    slug: str
    heavy_id: str
    heavy_slug: str


@dataclass(frozen=True, slots=True)
class Sized:
    """Memberships: `rows` in tenants of 2,000, and `large` more in one tenant; multiples of 2,000."""

    rows: int
    large: int = 0


@contextmanager
def built(part: str) -> Iterator[str]:
    """The name of a new database, dropped at the end. The settings point at it."""
    name = database.build(f"{database.MINE}{os.getpid()}_bench_{part}")
    try:
        yield name
    finally:
        database.drop(name)


@contextmanager
def built_sized(size: Sized) -> Iterator[str]:
    """The same with memberships."""
    with built(f"lists_{size.rows}") as name:
        _fill_sized(name, size)
        yield name


def kept(size: Sized) -> str:
    """The name of a database with these memberships, which stays. Those of older sources go."""
    prefix = f"bulkhead_bench_{size.rows}_"
    name = prefix + _fingerprint(size)
    with closing(psycopg.connect(database.admin_url(), autocommit=True)) as connection:
        names = {
            database_name
            for (database_name,) in connection.execute("select datname from pg_database").fetchall()
        }
        if name in names:
            return name
        for old in names:
            if old.startswith(prefix):
                database.drop(old)
        draft = f"{name}_build"
        database.build(draft)
        _fill_sized(draft, size)
        database.rename(connection, draft, name)
    return name


def _fingerprint(size: Sized) -> str:
    """Of the schema and of what fills it."""
    sources = [
        (database.ROOT / "tests" / "bench" / name).read_bytes() for name in ("databases.py", "people.py")
    ]
    return hashlib.sha256(
        b"".join([database.fingerprint().encode(), repr(size).encode(), *sources])
    ).hexdigest()[:8]


def _fill_sized(name: str, size: Sized) -> None:
    with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
        tenants = [
            tenant_id for (tenant_id,) in connection.execute(TENANTS, [size.rows // MEMBERS]).fetchall()
        ]
        if size.large:
            connection.execute(LARGE, [LARGE_TENANT])
        connection.execute(ROLES)
        fill(connection, tenants)
        if size.large:
            fill(connection, [LARGE_TENANT] * (size.large // MEMBERS), start=size.rows)
        connection.execute(COPIES)
        connection.execute("vacuum analyze")


async def create_page_tenants(name: str) -> PageTenants:
    """Its people come in through the product's own services where they act."""
    owner = await factories.create_account("Ann")
    tenant = await factories.create_tenant(owner, "Bench", plan="enterprise")
    heavy = await factories.create_tenant(owner, "Heavy", plan="enterprise")
    await db.dispose()
    with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
        fill(connection, [tenant.id, heavy.id], MEMBERS - 1)
        connection.execute("vacuum analyze")
    return PageTenants(owner.cookie, name, tenant.id, tenant.slug, heavy.id, heavy.slug)
