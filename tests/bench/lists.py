"""The members' list in the database: the SQL the product sends, with row security and without, alone on the wire.

Every sample is a page somewhere in a tenant's list, asked of all sides in shuffled order. What is timed is the
statement and its rows. The tenant is set in a statement of its own before, on every side: that one belongs to the
transaction and not to the list. A million memberships are more than the server's shared buffers and less than the
system's cache: no side waits for a disk.
"""

import json
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import event

from shared.core import db
from shared.tenancy import entry, member_repository
from tests.bench import databases
from tests.bench.broken import Broken
from tests.bench.people import MEMBERS, PAGE
from tests.bench.rows import p95, without_warm_up
from tests.support import database

PLACES, SAMPLES = 60, 44  # different pages, samples of a side in a round
SCAN_EVERY = 10  # it costs a hundred times as much, and need not be known as well
ROWS_BEFORE = (
    'select lower(u.name), m.id from membership m join "user" u on u.id = m.user_id where m.tenant_id = %s'
)


@dataclass(frozen=True, slots=True)
class Place:
    """A page of one tenant's list: what the product asked for it, and what it got."""

    tenant_id: str
    statement: str
    values: dict[str, Any]
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Side:
    name: str
    connection: psycopg.Connection
    places: Sequence[Place]

    def ask(self, place: Place) -> tuple[float, tuple[str, ...]]:
        """Milliseconds, and the ids of the rows."""
        with self.connection.transaction():
            self.connection.execute("select set_config('app.tenant_id', %s, true)", [place.tenant_id])
            began = time.perf_counter()
            cursor = self.connection.execute(place.statement, place.values)
            rows = cursor.fetchall()
            took = time.perf_counter() - began
        assert cursor.description is not None
        at = [column.name for column in cursor.description].index("id")
        return took * 1_000, tuple(row[at] for row in rows)


async def places(name: str, chance: random.Random) -> list[Place]:
    """Asked through the product, as the role of its apps; the statement is taken as it leaves for the database."""
    database.use(name)
    found = []
    async with _overheard() as said:
        for tenant_id, cursor in _cursors(name, chance):
            async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
                said.clear()
                listed = await member_repository.list_members(
                    ctx, query="", role="", sort="name", descending=False, after=cursor, limit=PAGE
                )
                (statement, values) = said[-1]
            found.append(Place(tenant_id, statement, values, tuple(one.id for one, _ in listed)))
    await db.dispose()
    return found


@asynccontextmanager
async def _overheard() -> AsyncIterator[list[tuple[str, dict[str, Any]]]]:
    said: list[tuple[str, dict[str, Any]]] = []

    def hear(_: Any, __: Any, statement: str, values: dict[str, Any], *___: Any) -> None:
        said.append((statement, values))

    engine = db.engine("app").sync_engine
    event.listen(engine, "before_cursor_execute", hear)
    yield said
    event.remove(engine, "before_cursor_execute", hear)


def _cursors(name: str, chance: random.Random) -> list[tuple[str, str]]:
    """Tenants and places in their lists with a whole page behind them; the places by another SQL than the product's."""
    with psycopg.connect(database.admin_url(name)) as connection:
        tenants = [one for (one,) in connection.execute("select id from tenant order by id").fetchall()]
        found = []
        for _ in range(PLACES):
            tenant_id = chance.choice(tenants)
            rows = sorted(connection.execute(ROWS_BEFORE, [tenant_id]).fetchall())
            if len(rows) != MEMBERS:
                raise Broken(f"a tenant of {name} has {len(rows)} members")
            found.append((tenant_id, json.dumps(list(chance.choice(rows[: -PAGE - 1])))))
    return found


@contextmanager
def sides(small: Sequence[Place], large: Sequence[Place], names: tuple[str, str]) -> Iterator[list[Side]]:
    with ExitStack() as stack:

        def side(name: str, where: str, schema: str, places: Sequence[Place]) -> Side:
            database.use(where)
            connection = stack.enter_context(psycopg.connect(db.login_url("app"), autocommit=True))
            connection.execute("select set_config('search_path', %s, false)", [f"{schema}, public"])
            return Side(name, connection, places)

        yield [
            side("rls", names[1], "public", large),
            side("plain", names[1], "plain", large),
            side("scan", names[1], "scan", large),
            side("rls-small", names[0], "public", small),
        ]


def check(all_sides: Sequence[Side]) -> None:
    """Every side has the answers of the product, and row security works where it should and nowhere else."""
    for side in all_sides:
        guarded = side.name.startswith("rls")
        active = side.connection.execute("select row_security_active('membership')").fetchone()
        seen = side.connection.execute("select exists (select from membership)").fetchone()
        if active != (guarded,) or seen != (not guarded,):
            raise Broken(f"row security of the side {side.name} is not what it should be")
        for place in side.places[: 3 if side.name == "scan" else 20]:
            _, ids = side.ask(place)
            if ids != place.ids or len(ids) != PAGE:
                raise Broken(f"the side {side.name} gives other rows than the product")


def a_round(all_sides: Sequence[Side], chance: random.Random) -> dict[str, float]:
    """p95 of every side in milliseconds."""
    samples: dict[str, list[float]] = {side.name: [] for side in all_sides}
    for number in range(SAMPLES):
        place = chance.randrange(PLACES)
        for side in chance.sample(list(all_sides), len(all_sides)):
            if side.name != "scan" or number % SCAN_EVERY == 0:
                samples[side.name].append(side.ask(side.places[place])[0])
    return {name: p95(without_warm_up(found)) for name, found in samples.items()}


async def prepare(chance: random.Random) -> tuple[list[Place], list[Place], tuple[str, str]]:
    names = databases.sized(databases.SMALL), databases.sized(databases.LARGE)
    return await places(names[0], chance), await places(names[1], chance), names
