"""Guards removed one at a time, each in a copy of the same world: every removal must turn the report red.

A run without any hole comes first and has to be clean, or red would mean nothing. A run with a hole ends with the first
attempt that passes, unless it is a short one.

Filters of repositories are removed in turn in one copy. For each, only those calls are repeated that execute it, until
one of them notices.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial

from tests.attack import filters, holes, mutants, suite
from tests.attack.mutants import Mutants
from tests.attack.report import Report
from tests.attack.suite import Target

BOTH, TENANT, ADMIN = ("tenant", "admin"), ("tenant",), ("admin",)
NOTICED_BY: dict[
    str, tuple[tuple[str, ...], tuple[str, ...]]
] = {  # holes in apps: the apps, and what must see it
    "closed": (TENANT, ("routes",)),
    "door": (TENANT, ("routes",)),
    "gate": (BOTH, ("gate",)),
    "grammar of changed frames": (TENANT, ("envelopes",)),
    "grammar of frames": (TENANT, ("frames",)),
    "holders of links": (TENANT, ("files",)),
    "handshake": (BOTH, ("sockets",)),
    "mark": (BOTH, ("inventory", "unmarked")),
    "membership": (TENANT, ("routes", "handlers")),
    "notifications of others": (TENANT, ("people",)),
    "not yours": (TENANT, ("routes", "handlers")),
    "number of sockets": (TENANT, ("frames",)),
    "origin of forms": (ADMIN, ("routes",)),
    "origin of sockets": (BOTH, ("sockets",)),
    "other object": (ADMIN, ("handlers",)),
    "planted handler": (BOTH, ("inventory", "unmarked")),
    "planted route": (BOTH, ("inventory",)),
    "realm": (ADMIN, ("sockets",)),
    "reason": (ADMIN, ("handlers",)),
    "mode of keys": (TENANT, ("endpoints",)),
    "networks of keys": (TENANT, ("endpoints",)),
    "redaction": (TENANT, ("canary",)),
    "revocation of keys": (TENANT, ("endpoints",)),
    "scopes of keys": (TENANT, ("endpoints",)),
    "revocation of operators' keys": (ADMIN, ("endpoints",)),
    "roles of operators' keys": (ADMIN, ("endpoints",)),
    "scopes of operators' keys": (ADMIN, ("endpoints",)),
    "session": (ADMIN, ("handlers",)),
    "signature": (TENANT, ("hooks",)),
    "signatures of links": (TENANT, ("files",)),
    "strict forms": (ADMIN, ("handlers",)),
    "strict ids": (TENANT, ("handlers",)),
    "tab": (TENANT, ("handlers",)),
    "token binding": (BOTH, ("sockets",)),
}

LONG_PARTS = {"endpoints", "envelopes", "files", "frames", "handlers", "people", "routes"}


class Mutations:
    def __init__(self, target: Target, selection: list[str]) -> None:
        """`selection`: names, or nothing for all."""
        self.target, self.selection = target, selection
        self.tried, self.missed = 0, list[str]()

    async def run(self) -> None:
        for hole, (app_names, parts) in NOTICED_BY.items():
            await self.open(hole, partial(self._in_apps, hole, parts, app_names))
        for hole, statement in holes.IN_DATABASE.items():
            await self.open(hole, partial(self._in_database, statement))
        for hole, statement in holes.IN_TEST_MODE.items():
            await self.open(hole, partial(self._in_database, statement, ("siblings",)))
        for hole, (part, opened) in holes.IN_PROCESS.items():
            await self.open(hole, partial(self._in_process, part, opened))
        if filter_names := [
            name for name in mutants.find() if self.is_selected(FILTERS) or self.is_selected(name)
        ]:
            await self._filters(filter_names)

    def is_selected(self, hole: str) -> bool:
        return not self.selection or hole in self.selection

    async def open(self, hole: str, attack: Callable[[], Awaitable[Report]]) -> None:
        """In copies of its own, whatever it breaks."""
        if self.is_selected(hole):
            self.judge(hole, await attack())

    def judge(self, hole: str, report: Report, reason: str = "") -> None:
        """`reason`: why nothing could be noticed, where that is known."""
        self.tried += 1
        if not report.bad:
            self.missed.append(f"{hole}: {reason}" if reason else hole)
        others = (
            f", {len(report.void)} controls and {len(report.unknowns)} unknown" if not report.passed else ""
        )
        caught = f"caught by {_describe(report)}{others}" if report.bad else "NOT CAUGHT"
        print(f"{hole:<58} {caught}", flush=True)

    async def _in_apps(self, hole: str, parts: Collection[str], app_names: Collection[str]) -> Report:
        report = Report()
        attack = asyncio.create_task(suite.run(self.target, parts, [hole], app_names, report=report))
        if not LONG_PARTS.isdisjoint(parts):
            report.on_passed = attack.cancel
        with suppress(asyncio.CancelledError):
            await attack
        return report

    async def _in_database(
        self, statement: str, parts: Collection[str] = ("tables", "jobs", "logins")
    ) -> Report:
        await self.target.renew()
        with self.target.world.superuser() as superuser:
            superuser.execute(statement)
        return await suite.run(self.target, parts, renews=False)

    async def _in_process(self, part: str, opened: Callable[[], object]) -> Report:
        with opened():  # type: ignore[attr-defined]
            return await suite.run(self.target, (part,))

    async def _filters(self, filter_names: Collection[str]) -> None:
        """Filters of repositories, with nothing else between Acme and Globex."""
        await self.target.renew()
        world = self.target.world
        with filters.without_decision_counts(), world.keeping_rows():
            deployed = await filters.call_as_deployed(world, Report(), self._list_probes(filter_names))
            with (
                filters.without_policies(world),
                filters.without_session_filter(),
                mutants.marked() as marked,
            ):
                await self._without_filters(filter_names, deployed, marked)

    def _list_probes(self, filter_names: Collection[str]) -> set[str] | None:
        """Those that execute one of these filters; None before anybody has seen which."""
        probes = self.target.probes
        return set[str]().union(*(probes.get(name, ()) for name in filter_names)) if probes else None

    async def _without_filters(
        self, filter_names: Collection[str], deployed: filters.Seen, marked: Mutants
    ) -> None:
        """Whole statements first and last: red has to be the mutants' doing."""
        attack = partial(filters.attack_own_filters, world=self.target.world, marked=marked)
        report = Report()
        only = self._list_probes(filter_names)
        deployed = filters.keep_equal(deployed, await attack({}, report=report, only=only))
        self._require_clean(report)
        reasons = marked.blind()
        probes = {name: marked.executed_by.get(name, set()) for name in filter_names}
        for name in filter_names:
            report = Report()
            with marked.without(name):
                await attack(deployed, report=report, only=probes[name])
            self.judge(name, report, reasons.get(name, ROWS_UNSEEN))
        report = Report()
        await attack(deployed, report=report, only=set().union(*probes.values()))
        self._require_clean(report)

    def _require_clean(self, report: Report) -> None:
        if report.bad:
            self.missed.append(f"nothing was removed, and it is red: {report.bad}")


def _describe(report: Report) -> str:
    if len(report.passed) == 1:
        kind, attempt = report.passed[0]
        return f"{kind}: {attempt}"
    return f"{len(report.passed)} attempts"


ROWS_UNSEEN = "rows of Globex came out of the statement, and no answer showed them"
FILTERS = "filters"


def find() -> list[str]:
    """Names of everything that can be removed."""
    return [*NOTICED_BY, *holes.IN_DATABASE, *holes.IN_TEST_MODE, *holes.IN_PROCESS, *mutants.find()]


def unknown(names: Collection[str]) -> list[str]:
    return sorted({*names} - {*find(), FILTERS})


def sample(count: int, seed: int, besides: Collection[str]) -> list[str]:
    """Of everything that can be removed, `besides` some. The same for the same seed and the same code."""
    others = [name for name in find() if name not in {*besides}]
    return random.Random(seed).sample(others, min(count, len(others)))


async def main(target: Target, selection: list[str]) -> int:
    """0 when every removal was noticed. `selection`: names, or nothing for all. Raises ValueError for an unknown name."""
    if names := unknown(selection):
        raise ValueError(f"There is nothing called {', '.join(names)} to remove.")
    began = time.monotonic()
    run = Mutations(target, selection)
    await run.run()
    seconds = round(time.monotonic() - began)
    print(f"{run.tried - len(run.missed)} of {run.tried} removals caught in {seconds} seconds")
    print("".join(f"  MISSED {hole}\n" for hole in run.missed), end="")
    return 1 if run.missed or not run.tried else 0
