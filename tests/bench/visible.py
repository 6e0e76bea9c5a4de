"""How soon the processes of the app know that an entitlement has changed, against a bare NOTIFY.

One process changes a tenant's feature by the operators' own service; three others keep its rights, among those of many
more. Measured is from just before the commit until a process has heard it and dropped what it kept, wall time, since
waiting is the subject. `bare` is one updated row and a NOTIFY, heard by the same connections: the same durability.
Being right does not depend on it: after every commit one of the processes is asked, and one wrong answer fails the row. The
control keeps rights for a time instead, so it is asked until it is right.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle
from random import Random
from typing import IO, Any

import psycopg

from shared.access.refusal_codes import Reason
from shared.backoffice import tenant_access
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.db import now
from shared.core.live_events import CHANNEL
from shared.tenancy import entry
from shared.tenancy.models import Tenant
from tests.bench import databases
from tests.bench.broken import Broken, with_last_line
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.rows import Result, counted, nearest, ratios
from tests.bench.servers import ROOT, START_WITHIN
from tests.support import database, factories


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """`processes` that are asked; `changes` of a round for each size of `kept`; `late`: those that the control sees.

    `tenants` are changed in turn, so that none has a longer history than a tenant has.
    """

    processes: int
    changes: int
    late: int
    tenants: int
    kept: Mapping[str, int]


FULL = Size(processes=3, changes=380, late=12, tenants=100, kept={"": 1_000, "@100k": 100_000})
TINY = Size(processes=1, changes=3, late=2, tenants=2, kept={"": 5, "@100k": 10})
SECONDS = 0.25  # of the control
WITHIN = 30.0  # seconds, for a process to hear or answer
SAID = "entitlement-visible/notify"
FEATURE = "exports.csv"


class Asker:
    def __init__(self, process: asyncio.subprocess.Process, errors: IO[bytes]) -> None:
        self._process, self._errors = process, errors

    async def hears(self, message: str) -> int:
        while (answer := await self._read(WITHIN)).get("heard") != message:
            if "reason" in answer or "kept" in answer:
                raise Broken("a process answered before it had heard")
        return int(answer["at"])

    async def says(self, key: str, *, within: float = WITHIN, **words: Any) -> Any:
        assert self._process.stdin is not None
        if words:
            self._process.stdin.write(json.dumps(words).encode() + b"\n")
        while key not in (answer := await self._read(within)):
            pass
        return answer[key]

    async def _read(self, within: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), within)
        if not line:
            raise Broken(with_last_line("a process that is asked has ended", self._errors))
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def asking(*arguments: str) -> AsyncIterator[Asker]:
    pipe, command = asyncio.subprocess.PIPE, [sys.executable, "-m", "tests.bench.asker", *arguments]
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=errors
        )
        try:
            asker = Asker(process, errors)
            await asker.says("listening", within=START_WITHIN)
            yield asker
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


class Visible:
    """Tenants, those who are asked about them, and milliseconds by round."""

    def __init__(self, tenants: Sequence[Tenant], cookie: str, chance: Random, size: Size) -> None:
        self._cookie, self._chance, self._size = cookie, chance, size
        self._on = {tenant.id: True for tenant in tenants}
        self._turns = cycle(tenants)
        self.rounds: list[dict[str, float]] = []
        self.asked = self.stale = 0  # `stale`: answers of the control

    async def a_round(self, askers: Sequence[Asker], late: Asker, bare: psycopg.AsyncConnection) -> None:
        kept, changes = self._size.kept, self._size.changes
        times: dict[str, list[float]] = {name: [] for name in ("bare", "late", *kept)}
        for place in self._chance.sample(list(kept), len(kept)):
            for asker in askers:
                await self._ask(asker, next(self._turns))
                await asker.says("kept", keep=kept[place], among=list(self._on))
            for number in range(changes):
                for kind in self._chance.sample((place, "bare"), 2):
                    heard = await (self._bare(askers, bare) if kind == "bare" else self._change(askers))
                    if number >= changes // 10:
                        times[kind] += heard
        for _ in range(self._size.late):
            times["late"].append(await self._lateness(askers, late))
        self.rounds.append({name: nearest(values, 0.99) for name, values in times.items()})

    async def _bare(self, askers: Sequence[Asker], connection: psycopg.AsyncConnection) -> list[float]:
        async with connection.transaction():
            await connection.execute("update bare set number = number + 1")
            await connection.execute("select pg_notify(%s, %s)", [CHANNEL, "bare bench"])
            began = time.monotonic_ns()
        return [(await asker.hears("bare bench") - began) / 1e6 for asker in askers]

    async def _change(self, askers: Sequence[Asker], tenant: Tenant | None = None) -> list[float]:
        """And nobody may be wrong afterwards: one of the processes is asked, they take turns by chance."""
        tenant = tenant or next(self._turns)
        self._on[tenant.id] = on = not self._on[tenant.id]
        async with entry.enter_platform("bench") as octx:
            end = now() + timedelta(days=1)
            await tenant_access.override_feature(
                octx,
                tenant.id,
                FEATURE,
                on,
                state_reason(octx, "Bench, ticket 4471", tenant_id=tenant.id),
                ends_at=end,
            )
            await octx.session.flush()
            began = time.monotonic_ns()
        heard = [(await asker.hears(f"rights {tenant.id}") - began) / 1e6 for asker in askers]
        if not await self._is_right(self._chance.choice(askers), tenant):
            raise Broken("a stale answer after the commit")
        return heard

    async def _lateness(self, askers: Sequence[Asker], late: Asker) -> float:
        """Milliseconds until the control is right about what it knew before."""
        tenant = next(self._turns)
        await self._ask(late, tenant)
        await self._change(askers, tenant)
        began = time.monotonic_ns()
        while not await self._is_right(late, tenant):
            self.stale += 1
            await asyncio.sleep(0.005)
        return (time.monotonic_ns() - began) / 1e6

    async def _is_right(self, asker: Asker, tenant: Tenant) -> bool:
        self.asked += 1
        expected = Reason.ALLOWED if self._on[tenant.id] else Reason.NOT_IN_PLAN
        return await self._ask(asker, tenant) == expected

    async def _ask(self, asker: Asker, tenant: Tenant) -> str:
        return str(await asker.says("reason", cookie=self._cookie, slug=tenant.slug))

    def result(self, goal: Goal) -> Result:
        place = (goal.control_of or goal.name).removeprefix(SAID)
        if goal.control_of and not self.stale:
            return Result(goal, reason="the control gave no stale answer")
        our_times = [times["late" if goal.control_of else place] for times in counted(self.rounds)]
        return Result(goal, ratios(our_times, [times["bare"] for times in counted(self.rounds)]))


async def _measure(options: Options, name: str) -> Visible:
    size, chance = TINY if options.tiny else FULL, options.chance()
    with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
        connection.execute("create table bare as select 0 as number")
        connection.execute("grant select, update on bare to bulkhead_app")
    owner = await factories.create_account("Ann")
    tenants = [
        await factories.create_tenant(owner, f"Bench {number}", plan="pro") for number in range(size.tenants)
    ]
    measured = Visible(tenants, owner.cookie, chance, size)
    try:
        async with AsyncExitStack() as stack:
            askers = [await stack.enter_async_context(asking()) for _ in range(size.processes)]
            late = await stack.enter_async_context(asking(str(SECONDS)))
            bare = await psycopg.AsyncConnection.connect(db.login_url("app"), autocommit=True)
            await stack.enter_async_context(bare)
            for _ in options.numbered("visible"):
                await measured.a_round(askers, late, bare)
    except TimeoutError:
        raise Broken(f"a process has not heard or answered within {WITHIN:g} seconds") from None
    finally:
        await db.dispose()
    return measured


def measure(options: Options) -> Visible:
    with databases.built("visible") as name:
        return asyncio.run(_measure(options, name))
