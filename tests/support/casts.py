"""A pool of casts: made once by the factories in a template, copied with it, and each handed to one test.

`python -m tests.support.casts 100` adds so many to the database that DATABASE_URL names.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import psycopg
from sqlalchemy import text
from sqlalchemy.orm import make_transient_to_detached

from shared.access import decision_counts
from shared.core import db, rate_limits
from shared.core.config import settings
from shared.identity.models import User
from tests.support import factories
from tests.support.factories import SignedInUser

TABLE = """
create schema tests;
create table tests.cast_record (id bigint generated always as identity primary key, content jsonb not null)
"""
DEFER = text("""
select procrastinate_defer_jobs_v1(array[
    row(:queue, :task, 0, :lock, null, cast(:args as jsonb), null)::procrastinate_job_to_defer_v1])
""")
TAKE_JOBS = """
with taken as (delete from procrastinate_jobs where args->>'tenant_id' = any(%s)
    returning id, queue_name, task_name, lock, args::text)
select queue_name, task_name, lock, args from taken order by id
"""
NAMES = ("Ann", "Adam", "Max", "Gil", "Carl")


@dataclass(frozen=True, slots=True)
class TenantRecord:
    id: str
    slug: str


@dataclass(frozen=True, slots=True)
class Job:
    queue: str
    task: str
    lock: str | None
    args: str  # JSON


@dataclass(frozen=True, slots=True)
class CastRecord:
    """Acme: Ann owns it, Adam is its admin, Max a member. Globex: Gil owns it. Carl belongs to nobody."""

    accounts: Mapping[str, SignedInUser]  # by name in lower case
    acme: TenantRecord
    globex: TenantRecord
    jobs: Sequence[Job] = ()  # of these tenants, to be enqueued when a test takes the cast


async def create() -> CastRecord:
    accounts = {name.lower(): await factories.create_account(name) for name in NAMES}
    ann = accounts["ann"]
    acme = await factories.create_tenant(ann, "Acme")
    globex = await factories.create_tenant(accounts["gil"], "Globex")
    await factories.join_tenant(ann, acme.slug, accounts["adam"], "admin")
    await factories.join_tenant(ann, acme.slug, accounts["max"], "member")
    return CastRecord(accounts, TenantRecord(acme.id, acme.slug), TenantRecord(globex.id, globex.slug))


class Pool:
    """Casts of one database that no test has used."""

    def __init__(self, database: str, unused: list[CastRecord]) -> None:
        self.database = database
        self._unused = unused

    @classmethod
    def load(cls, database: str, url: str) -> "Pool":
        """`url`: of a superuser."""
        with psycopg.connect(url) as connection:
            rows = connection.execute("select content from tests.cast_record order by id desc").fetchall()
        return cls(database, [decode(content) for (content,) in rows])

    async def take(self) -> CastRecord | None:
        """None when there is no unused cast in the database that this process uses now."""
        if not self._unused or _current_database() != self.database:
            return None
        record = self._unused.pop()
        async with db.transaction() as session:
            connection = await session.connection()
            for job in record.jobs:
                await connection.execute(DEFER, asdict(job))
        return record


def _current_database() -> str:
    return db.login_url("app").rpartition("/")[2].partition("?")[0]


def encode(record: CastRecord) -> str:
    accounts = {
        name: {"user": account.user.model_dump(mode="json"), "cookie": account.cookie}
        for name, account in record.accounts.items()
    }
    tenants = {"acme": [record.acme.id, record.acme.slug], "globex": [record.globex.id, record.globex.slug]}
    return json.dumps({"accounts": accounts, **tenants, "jobs": [asdict(job) for job in record.jobs]})


def decode(content: dict[str, Any]) -> CastRecord:
    accounts = {
        name: SignedInUser(_decode_user(each["user"]), each["cookie"])
        for name, each in content["accounts"].items()
    }
    jobs = tuple(Job(**each) for each in content["jobs"])
    return CastRecord(accounts, TenantRecord(*content["acme"]), TenantRecord(*content["globex"]), jobs)


def _decode_user(fields: dict[str, Any]) -> User:
    """As the factory returns it: an object of a session that has ended."""
    user = User.model_validate(fields)
    make_transient_to_detached(user)
    return user


async def _fill(count: int) -> None:
    database_url = settings().database_url
    assert database_url is not None
    with psycopg.connect(database_url.get_secret_value(), autocommit=True) as connection:
        for _ in range(count):
            await rate_limits.clear_counts()
            record = await create()
            rows = connection.execute(TAKE_JOBS, [[record.acme.id, record.globex.id]]).fetchall()
            record = replace(record, jobs=tuple(Job(*row) for row in rows))
            decision_counts._pending.clear()
            connection.execute("insert into tests.cast_record (content) values (%s)", [encode(record)])
    await db.dispose()


if __name__ == "__main__":
    asyncio.run(_fill(int(sys.argv[1])))
