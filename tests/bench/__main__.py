"""`python -m tests.bench [--row NAME] [--rounds N]`: one line per row on standard output, progress on standard error.

Ends with 0 when every row was measured and every control failed as it must, with 1 otherwise: on a noisy machine a
missed goal is a `fail` in its line and no reason to end with an error. Raw figures go to .artifacts/bench.json.
"""

import argparse
import asyncio
import fcntl
import json
import os
import platform
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Before anything of ours is imported: data, database and addresses of its own, whatever the shell has set.
os.environ.update(
    BULKHEAD_DATA_DIR=str(Path(__file__).parents[2] / ".bulkhead" / "bench"),
    BULKHEAD_TENANT_URL="http://localhost:3300",
    BULKHEAD_ADMIN_URL="http://localhost:3301",
    BULKHEAD_SANDBOX_URL="http://localhost:3302",
    DATABASE_URL="",
)

import psycopg

from shared.core import log
from shared.core.config import settings
from shared.dev.postgres import EmbeddedPostgres
from tests.bench import databases, decisions, envelopes, lists, pages, storms, visible
from tests.bench.broken import Broken, reason
from tests.bench.rows import GOALS, ROUNDS, Goal, Result, is_sound, lines, ratios

ROOT = Path(__file__).parents[2]
REPORT = ROOT / ".artifacts" / "bench.json"
PEERS = ROOT / "tests" / "bench" / "peers.in"
LISTS = {"list/rls": ("rls", "plain"), "list/rls@1e6": ("rls", "rls-small")}


@dataclass
class Run:
    rounds: int
    goals: list[Goal]
    seed: int = field(default_factory=lambda: random.SystemRandom().randrange(10**9))
    raw: dict[str, Any] = field(default_factory=dict)

    def results(self) -> list[Result]:
        parts = {
            "decision/": self._decisions,
            "entitlement-visible/": self._visible,
            "envelope/": self._envelopes,
            "intake": self._intake,
            "list/": self._lists,
        }
        found: list[Result] = []
        rest = self.goals
        for prefix, measured in parts.items():
            goals = [goal for goal in self.goals if goal.name.startswith(prefix)]
            rest = [goal for goal in rest if goal not in goals]
            found += measured(goals) if goals else []
        return [*found, *(self._pages(rest) if rest else [])]

    def _decisions(self, goals: list[Goal]) -> list[Result]:
        try:
            seen = decisions.measure(self.rounds, random.Random(self.seed), say)
        except (Broken, psycopg.Error) as problem:
            return [Result(goal, reason=reason(problem)) for goal in goals]
        self.raw["decisions, ns"] = seen.rounds
        return [seen.result(goal) for goal in goals]

    def _visible(self, goals: list[Goal]) -> list[Result]:
        try:
            seen = visible.measure(self.rounds, random.Random(self.seed), say)
        except (Broken, psycopg.Error) as problem:
            return [Result(goal, reason=reason(problem)) for goal in goals]
        self.raw["entitlement-visible, p99 in ms"] = seen.rounds
        return [seen.result(goal) for goal in goals]

    def _envelopes(self, goals: list[Goal]) -> list[Result]:
        seen = envelopes.measure(self.rounds, random.Random(self.seed), say)
        self.raw["envelopes, µs"] = seen.rounds
        return [seen.result(goal) for goal in goals]

    def _intake(self, goals: list[Goal]) -> list[Result]:
        try:
            seen = storms.measure(self.rounds, random.Random(self.seed), say)
        except (Broken, psycopg.Error) as problem:
            return [Result(goal, reason=reason(problem)) for goal in goals]
        self.raw["intake, CPU µs"] = seen.rounds
        return [seen.result(goal) for goal in goals]

    def _lists(self, goals: list[Goal]) -> list[Result]:
        chance = random.Random(self.seed)
        try:
            small, large, names = asyncio.run(lists.prepare(chance))
            with lists.sides(small, large, names) as sides:
                lists.check(sides)
                rounds = []
                for number in range(self.rounds):
                    rounds.append(lists.a_round(sides, chance))
                    say(f"lists: round {number + 1} of {self.rounds}")
                lists.check(sides)
        except (Broken, psycopg.Error) as problem:
            return [Result(goal, reason=reason(problem)) for goal in goals]
        self.raw["lists, p95 in ms"] = rounds
        found = []
        for goal in goals:
            ours, theirs = LISTS[goal.control_of or goal.name]
            ours = "scan" if goal.control_of else ours
            found.append(Result(goal, ratios([one[ours] for one in rounds], [one[theirs] for one in rounds])))
        return found

    def _pages(self, goals: list[Goal]) -> list[Result]:
        try:
            build = [sys.executable, "-m", "shared.cli", "build"]
            subprocess.run(build, cwd=ROOT, check=True, stdout=sys.stderr)
            seen = pages.measure(asyncio.run(databases.house()), self.rounds, random.Random(self.seed), say)
        except (Broken, psycopg.Error, subprocess.CalledProcessError) as problem:
            return [Result(goal, reason=reason(problem)) for goal in goals]
        self.raw["pages, ms and bytes"] = seen.raw()
        return [seen.result(goal) for goal in goals]


@contextmanager
def database_of_ours() -> Iterator[None]:
    """Stopped at the end, also the one that a killed bench left running: nobody else works in this directory."""
    root = settings().absolute_data_dir
    root.mkdir(parents=True, exist_ok=True)
    with (root / "bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another bench is running here, and the two would measure each other")
        server = EmbeddedPostgres(root / "postgres").start()
        try:
            yield
        finally:
            server.stop()


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def chosen(name: str) -> list[Goal]:
    """All, or one row with its controls."""
    found = [goal for goal in GOALS if not name or name in (goal.name, goal.control_of)]
    if not found:
        sys.exit(f"no row {name}; there are {', '.join(goal.name for goal in GOALS if not goal.control_of)}")
    return found


def report(run: Run, results: list[Result], load: list[str]) -> None:
    known = {
        "load average": load,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("reflex", "psycopg", "sqlalchemy", "uvicorn")},
        "peers": [line for line in PEERS.read_text().splitlines() if "==" in line],
        "seed": run.seed,
        "rows": {one.goal.name: list(one.ratios) or one.reason for one in results},
    }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(known | run.raw, indent=1))


def main() -> int:
    parser = argparse.ArgumentParser(prog="bulkhead bench")
    parser.add_argument("--row", default="", help="only this one, with its controls")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"fewer than {ROUNDS} never pass")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    log.configure("CRITICAL")
    run, load = Run(given.rounds, chosen(given.row)), [_load()]
    with database_of_ours():
        results = run.results()
    load.append(_load())
    report(run, results, load)
    say(f"load average {load[0]} before, {load[1]} after, on {os.cpu_count()} cores; raw figures in {REPORT}")
    print("\n".join(lines(results)))
    return 0 if is_sound(results) else 1


def _load() -> str:
    return " ".join(f"{one:.2f}" for one in os.getloadavg())


if __name__ == "__main__":
    sys.exit(main())
