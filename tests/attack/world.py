"""Two tenants with a row in every table, the people of both, and an eye that sees everything."""

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from shared.core import db, limits
from shared.identity import tasks as identity
from shared.jobs import worker
from shared.tenancy import entry, invitations
from shared.tenancy import tasks as tenancy
from tests import database, factories
from tests.stand_in_mail import mailbox

MOVING = {"seen_at"}  # changes by looking


@dataclass(frozen=True)
class World:
    ann: factories.Account
    max: factories.Account  # a member of Acme
    vic: factories.Account  # a viewer of Acme
    gil: factories.Account
    carl: factories.Account
    olga: str  # cookies of operators
    acme: str
    acme_slug: str
    globex: str
    globex_slug: str
    canaries: tuple[str, ...]  # words that only Globex knows

    @staticmethod
    def eye() -> psycopg.Connection[dict[str, Any]]:
        """As superuser: row security does not apply."""
        given = db.url("app").split("//", 1)[1].split("@", 1)[1].split("?", 1)[0].lstrip("/")
        return psycopg.connect(database.admin_url(given), autocommit=True, row_factory=dict_row)

    def tables(self) -> dict[str, str]:
        """Every table that holds rows of tenants, from the catalog, with the column that says whose."""
        with self.eye() as eye:
            found = eye.execute(
                "select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid"
                " where a.attname = 'tenant_id' and not a.attisdropped and c.relkind in ('r', 'p')"
                " and not c.relispartition and c.relnamespace = 'public'::regnamespace order by 1"
            ).fetchall()
        return {"tenant": "id"} | {row["name"]: "tenant_id" for row in found}

    def rows(self, table: str, key: str, tenant_id: str) -> list[dict[str, Any]]:
        with self.eye() as eye:
            query = sql.SQL("select * from {} where {} = %s order by 1, 2")
            return eye.execute(
                query.format(sql.Identifier(table), sql.Identifier(key)), [tenant_id]
            ).fetchall()

    def print_of(self, tenant_id: str) -> str:
        """A fingerprint of everything that a tenant has; looking at it leaves no mark."""
        known = hashlib.sha256()
        for table, key in self.tables().items():
            for row in self.rows(table, key, tenant_id):
                known.update(
                    repr([(name, value) for name, value in row.items() if name not in MOVING]).encode()
                )
        return known.hexdigest()


async def build() -> World:
    await limits.clear()
    names = ("Ann", "Max", "Vic", "Gil", "Carl")
    ann, max_, vic, gil, carl = [await factories.account(name) for name in names]
    acme = await factories.tenant(ann, "Acme", plan="enterprise")
    globex = await factories.tenant(gil, "Globex Zanzibar", plan="enterprise")
    await factories.join(ann, acme.slug, max_, "member")
    await factories.join(ann, acme.slug, vic, "viewer")
    for owner, slug, email in ((ann, acme.slug, "zoe@acme.test"), (gil, globex.slug, "quetzal@globex.test")):
        async with entry.enter_tenant(owner.cookie, slug) as ctx:
            await invitations.invite(ctx, email, "member")
    await run_jobs()
    return World(
        ann,
        max_,
        vic,
        gil,
        carl,
        await factories.operator("Olga"),
        acme.id,
        acme.slug,
        globex.id,
        globex.slug,
        ("Globex Zanzibar", "quetzal@globex.test", gil.user.email, globex.id),
    )


async def run_jobs() -> None:
    """Until nothing is left: a tenant's jobs run one after another, each promising the next."""
    async with mailbox():
        for _ in range(40):
            await worker.run(
                {**identity.TASKS, **tenancy.TASKS},
                {**identity.PLATFORM_TASKS, **tenancy.PLATFORM_TASKS},
                entry.enter_job,
                wait=False,
            )
            with World.eye() as eye:
                left = eye.execute(
                    "select count(*) as n from procrastinate_jobs where status in ('todo', 'doing')"
                ).fetchone()
            if left is not None and left["n"] == 0:
                return
            await asyncio.sleep(0.05)
    raise AssertionError("jobs are left over")
