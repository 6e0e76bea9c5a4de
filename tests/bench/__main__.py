"""`python -m tests.bench [--row NAME] [--rounds N] [--tiny]`: one line per row on standard output.

Progress goes to standard error, raw figures go to .artifacts/bench.json. Ends with 0 when every row was measured and
every control failed as it must, with 1 otherwise: on a noisy machine a missed goal is a `fail` in its line and no reason
to end with an error. With `--tiny` every row is measured once, over little data, and nothing is said about speed.
"""

import argparse
import fcntl
import json
import os
import platform
import random
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path

# Before anything of ours is imported: data, database and addresses of its own, whatever the shell has set. A tiny run
# uses the database server of the tests, and the frontend of the browser tests, which is built for their addresses.
os.environ.update(
    {
        "BULKHEAD_DATA_DIR": str(Path(__file__).parents[2] / ".bulkhead" / "test"),
        "BULKHEAD_TENANT_URL": "http://localhost:3100",
        "BULKHEAD_ADMIN_URL": "http://localhost:3101",
        "BULKHEAD_SANDBOX_URL": "http://localhost:1",  # nobody
    }
    if "--tiny" in sys.argv
    else {
        "BULKHEAD_DATA_DIR": str(Path(__file__).parents[2] / ".bulkhead" / "bench"),
        "BULKHEAD_TENANT_URL": "http://localhost:3300",
        "BULKHEAD_ADMIN_URL": "http://localhost:3301",
        "BULKHEAD_SANDBOX_URL": "http://localhost:3302",
        "DATABASE_URL": "",
    }
)

from shared.core import log
from shared.core.config import settings
from shared.dev.postgres import EmbeddedPostgres
from tests.bench.goals import GOALS, Goal
from tests.bench.options import Options
from tests.bench.rows import ROUNDS, is_sound, lines
from tests.bench.run import PARTS, Run

ROOT = Path(__file__).parents[2]
REPORT = ROOT / ".artifacts" / "bench.json"
PEERS = ROOT / "tests" / "bench" / "peers.in"


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


def chosen(row: str, parts: Sequence[str]) -> list[Goal]:
    """All, or one row with its controls, or the rows of some parts."""
    prefixes = tuple(prefix for name in parts or PARTS for prefix in PARTS[name].prefixes)
    goals = [goal for goal in GOALS if goal.name.startswith(prefixes)]
    selection = [goal for goal in goals if not row or row in (goal.name, goal.control_of)]
    if not selection:
        sys.exit(f"no row {row}; there are {', '.join(goal.name for goal in goals if not goal.control_of)}")
    return selection


def report(run: Run, load: list[str]) -> None:
    record = {
        "load average": load,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("reflex", "psycopg", "sqlalchemy", "uvicorn")},
        "peers": [line for line in PEERS.read_text().splitlines() if "==" in line],
        "seed": run.options.seed,
        "rows": {result.goal.name: list(result.ratios) or result.reason for result in run.results()},
    }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(record | run.raw, indent=1))
    say(f"load average {load[0]} before, {load[1]} after, on {os.cpu_count()} cores; raw figures in {REPORT}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bulkhead bench")
    parser.add_argument("--row", default="", help="only this one, with its controls")
    parser.add_argument(
        "--part", action="append", default=[], choices=PARTS, help="only its rows; several add up"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"fewer than {ROUNDS} never pass")
    parser.add_argument("--tiny", action="store_true", help="one round over little data, without a verdict")
    parser.add_argument("--no-peers", action="store_true", help="with --tiny: without their environment")
    args = parser.parse_args()
    if args.no_peers and not args.tiny:
        parser.error("--no-peers needs --tiny")
    return args


def main() -> int:
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    log.configure("CRITICAL")
    seed = random.SystemRandom().randrange(10**9)
    options = Options(rounds=args.rounds, seed=seed, say=say, tiny=args.tiny, peers=not args.no_peers)
    run, load = Run(options, chosen(args.row, args.part)), [_load()]
    with nullcontext() if options.tiny else database_of_ours():
        try:
            run.measure()
        finally:  # hours of a run that is killed are not lost
            print("\n".join(lines(run.results(), judged=not options.tiny)), flush=True)
            if not options.tiny:
                report(run, [*load, _load()])
    return 0 if is_sound(run.results(), judged=not options.tiny) else 1


def _load() -> str:
    return " ".join(f"{average:.2f}" for average in os.getloadavg())


if __name__ == "__main__":
    sys.exit(main())
