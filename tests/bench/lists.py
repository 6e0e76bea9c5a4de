"""The members' list in the database: the SQL the product sends, with row security and without, alone on the wire.

Every sample is a page somewhere in a tenant's list, asked of all sides in shuffled order. What is timed is the
statement and its rows. The tenant is set in a statement of its own before, on every side: that one belongs to the
transaction and not to the list. A million memberships are more than the server's shared buffers and less than the
system's cache: no side waits for a disk. Its largest tenant has 20,000 members and rows of its own here.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import event

from shared.core import db
from shared.core.paging import encode_cursor
from shared.tenancy import entry, member_repository
from tests.bench import databases
from tests.bench.broken import Broken
from tests.bench.databases import LARGE_TENANT, Sized
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.people import MEMBERS, PAGE
from tests.bench.rows import Result, counted, p95, ratios, without_warm_up
from tests.support import database

SCAN_EVERY = 10  # it costs a hundred times as much, and need not be known as well
ROWS = {  # the side of ours, the side it is compared with, and the control
    "list/rls": ("rls", "plain", "scan"),
    "list/rls@1e6": ("rls", "rls-small", "scan"),
    "list/rls@one-large-tenant": ("rls-large-tenant", "rls-small", "scan-large-tenant"),
}
ROWS_BEFORE = (
    'select lower(u.name), m.id from membership m join "user" u on u.id = m.user_id where m.tenant_id = %s'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """`places`: different pages of a database; `samples`: of a side in a round."""

    small: Sized
    large: Sized
    places: int
    samples: int


FULL = Size(small=Sized(10_000), large=Sized(1_000_000, large=20_000), places=60, samples=44)
TINY = Size(small=Sized(2_000), large=Sized(4_000, large=4_000), places=4, samples=4)


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


async def places(name: str, chance: random.Random, number: int, *, large: bool = False) -> list[Place]:
    """Asked through the product, as the role of its apps; the statement is taken as it leaves for the database.

    `large`: of the large tenant, and of the others otherwise.
    """
    database.use(name)
    places = []
    async with _overheard() as statements:
        for tenant_id, cursor in _cursors(name, chance, number, large=large):
            async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
                statements.clear()
                listed = await member_repository.list_members(
                    ctx, query="", role="", sort="name", descending=False, after=cursor, limit=PAGE
                )
                (statement, values) = statements[-1]
            places.append(Place(tenant_id, statement, values, tuple(member.id for member, *_ in listed)))
    await db.dispose()
    return places


@asynccontextmanager
async def _overheard() -> AsyncIterator[list[tuple[str, dict[str, Any]]]]:
    statements: list[tuple[str, dict[str, Any]]] = []

    def hear(_: Any, __: Any, statement: str, values: dict[str, Any], *___: Any) -> None:
        statements.append((statement, values))

    engine = db.engine("app").sync_engine
    event.listen(engine, "before_cursor_execute", hear)
    yield statements
    event.remove(engine, "before_cursor_execute", hear)


def _cursors(name: str, chance: random.Random, number: int, *, large: bool) -> list[tuple[str, str]]:
    """Tenants and members of theirs with a whole page behind them; those by another SQL than the product's."""
    with psycopg.connect(database.admin_url(name)) as connection:
        statement = f"select id from tenant where id {'=' if large else '<>'} %s order by id"
        tenants = [tenant_id for (tenant_id,) in connection.execute(statement, [LARGE_TENANT]).fetchall()]
        cursors = []
        for _ in range(number):
            tenant_id = chance.choice(tenants)
            rows = sorted(connection.execute(ROWS_BEFORE, [tenant_id]).fetchall())
            if len(rows) < MEMBERS or (len(rows) > MEMBERS) != large:
                raise Broken(f"a tenant of {name} has {len(rows)} members")
            member_name, member_id = chance.choice(rows[: -PAGE - 1])
            cursors.append((tenant_id, encode_cursor(member_name, member_id)))
    return cursors


@contextmanager
def sides(small: str, large: str, size: Size, chance: random.Random) -> Iterator[list[Side]]:
    """`small`, `large`: names of databases."""
    of_small = asyncio.run(places(small, chance, size.places))
    of_large = asyncio.run(places(large, chance, size.places))
    of_large_tenant = asyncio.run(places(large, chance, size.places, large=True))
    with ExitStack() as stack:

        def side(name: str, where: str, schema: str, places: Sequence[Place]) -> Side:
            database.use(where)
            connection = stack.enter_context(psycopg.connect(db.login_url("app"), autocommit=True))
            connection.execute("select set_config('search_path', %s, false)", [f"{schema}, public"])
            return Side(name, connection, places)

        yield [
            side("rls", large, "public", of_large),
            side("plain", large, "plain", of_large),
            side("scan", large, "scan", of_large),
            side("rls-large-tenant", large, "public", of_large_tenant),
            side("scan-large-tenant", large, "scan", of_large_tenant),
            side("rls-small", small, "public", of_small),
        ]


def check(all_sides: Sequence[Side]) -> None:
    """Every side has the answers of the product, and row security works where it should and nowhere else."""
    for side in all_sides:
        guarded = side.name.startswith("rls")
        active = side.connection.execute("select row_security_active('membership')").fetchone()
        seen = side.connection.execute("select exists (select from membership)").fetchone()
        if active != (guarded,) or seen != (not guarded,):
            raise Broken(f"row security of the side {side.name} is not what it should be")
        for place in side.places[: 3 if side.name.startswith("scan") else 20]:
            _, ids = side.ask(place)
            if ids != place.ids or len(ids) != PAGE:
                raise Broken(f"the side {side.name} gives other rows than the product")


def a_round(all_sides: Sequence[Side], size: Size, chance: random.Random) -> dict[str, float]:
    """p95 of every side in milliseconds."""
    samples: dict[str, list[float]] = {side.name: [] for side in all_sides}
    for number in range(size.samples):
        place = chance.randrange(size.places)
        for side in chance.sample(list(all_sides), len(all_sides)):
            if not side.name.startswith("scan") or number % SCAN_EVERY == 0 or number < 2:
                samples[side.name].append(side.ask(side.places[place])[0])
    return {name: p95(without_warm_up(times)) for name, times in samples.items()}


@dataclass
class Lists:
    """p95 of every side in milliseconds, by round."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def result(self, goal: Goal) -> Result:
        our_side, peer_side, control = ROWS[goal.control_of or goal.name]
        names = (control if goal.control_of else our_side, peer_side)
        return Result(goal, ratios(*([timings[name] for timings in counted(self.rounds)] for name in names)))


def measure(options: Options) -> Lists:
    size, chance, measured = TINY if options.tiny else FULL, options.chance(), Lists()
    with ExitStack() as stack:
        if options.tiny:
            names = [
                stack.enter_context(databases.built_sized(dataset)) for dataset in (size.small, size.large)
            ]
        else:
            names = [databases.kept(dataset) for dataset in (size.small, size.large)]
        all_sides = stack.enter_context(sides(*names, size, chance))
        check(all_sides)
        for _ in options.numbered("lists"):
            measured.rounds.append(a_round(all_sides, size, chance))
        check(all_sides)
    return measured
