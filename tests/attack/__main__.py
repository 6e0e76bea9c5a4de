"""Attacks the product across tenants and prints the attempts by kind. `--help` says how."""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("BULKHEAD_DATA_DIR", str(Path(__file__).parents[2] / ".bulkhead" / "test"))
os.environ.setdefault("BULKHEAD_SANDBOX_URL", "http://localhost:1")  # nobody

from shared.core import db, log
from tests.attack import mutations, suite
from tests.attack.world import close_connections
from tests.support import database, sizes

RECORD = Path(__file__).parents[2] / ".artifacts" / "isolation.json"
SEED = "ATTACK_SEED"


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Raises SystemExit after printing the help, and for anything unknown."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.attack",
        description="Generated attempts to cross tenants. Exits with 0 only when none passed. With --mutate, guards are"
        " removed one at a time, and it exits with 0 only when the attempts noticed every removal.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--mutate",
        nargs="*",
        metavar="REMOVAL",
        help='remove these guards, as in "token binding"; without a name all of them, unless --sample is given',
    )
    parser.add_argument(
        "--sample", type=_count, metavar="N", help="with --mutate: remove N guards chosen at random besides"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help=f"choose the sample of an earlier run; {SEED} does the same"
    )
    parser.add_argument("--list", action="store_true", help="print the names of what can be removed, and end")
    chosen = parser.parse_args(words)
    if chosen.mutate is None and (chosen.sample is not None or chosen.seed is not None):
        parser.error("--sample and --seed belong to --mutate")
    if names := mutations.unknown(chosen.mutate or ()):
        parser.error(f"there is nothing called {', '.join(names)} to remove; --list prints all names")
    return chosen


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) == 0:
        raise argparse.ArgumentTypeError(f"{word} is not a number from 1 on")
    return int(word)


async def main(chosen: argparse.Namespace) -> int:
    log.configure("CRITICAL")
    name = database.build()
    try:
        if chosen.mutate is not None:
            return await mutations.main(name, [*chosen.mutate, *_sample(chosen)])
        return await _attack()
    finally:
        await db.dispose()
        close_connections()
        database.drop(name)
        database.stop_unused_server()


def _sample(chosen: argparse.Namespace) -> list[str]:
    if chosen.sample is None:
        return []
    seed = chosen.seed
    if seed is None:
        seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(10**6))
    print(f"the sample has the seed {seed}", flush=True)
    return mutations.sample(chosen.sample, seed, besides=chosen.mutate)


async def _attack() -> int:
    began = time.monotonic()
    report = await suite.run(await suite.build())
    seconds = round(time.monotonic() - began, 1)
    print("\n".join([*report.lines(), f"{seconds} seconds"]))
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps({"clean": report.clean, "seconds": seconds, **report.record()}, indent=1))
    return 0 if report.clean else 1


if __name__ == "__main__":
    os.environ.setdefault(sizes.VARIABLE, sizes.FULL)  # `make test` has chosen
    arguments = parse(sys.argv[1:])
    if arguments.list:
        print("\n".join(mutations.find()))
        sys.exit(0)
    sys.exit(asyncio.run(main(arguments)))
