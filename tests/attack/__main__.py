"""Attacks the product across tenants and prints the attempts by kind. `--help` says how."""

import argparse
import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("BULKHEAD_DATA_DIR", str(Path(__file__).parents[2] / ".bulkhead" / "test"))
os.environ.setdefault("BULKHEAD_SANDBOX_URL", "http://localhost:1")  # nobody

from shared.core import db, log
from tests.attack import mutations, suite, variety
from tests.attack.world import close_connections
from tests.support import database, sizes

RECORD = Path(__file__).parents[2] / ".artifacts" / "isolation.json"


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
        "--first",
        action="store_true",
        help="with --mutate: attack the product as it is first, in the same world",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help=f"choose what an earlier run chose; {variety.SEED} does the same",
    )
    parser.add_argument("--list", action="store_true", help="print the names of what can be removed, and end")
    chosen = parser.parse_args(words)
    if chosen.mutate is None and (chosen.sample is not None or chosen.first):
        parser.error("--sample and --first belong to --mutate")
    if names := mutations.unknown(chosen.mutate or ()):
        parser.error(f"there is nothing called {', '.join(names)} to remove; --list prints all names")
    return chosen


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) == 0:
        raise argparse.ArgumentTypeError(f"{word} is not a number from 1 on")
    return int(word)


async def main(chosen: argparse.Namespace) -> int:
    log.configure("CRITICAL")
    gc.freeze()  # what was imported stays
    gc.set_threshold(50_000, 10, 10)  # as in the product's own processes
    name = database.build()
    try:
        if chosen.seed is not None:
            os.environ[variety.SEED] = str(chosen.seed)
        print(f"the attempts have the seed {variety.seed()}", flush=True)
        return await _run(name, chosen)
    finally:
        await db.dispose()
        close_connections()
        database.drop(name)
        database.stop_unused_server()


def _sample(chosen: argparse.Namespace) -> list[str]:
    if chosen.sample is None:
        return []
    print(f"the sample has the seed {variety.seed()}", flush=True)
    return mutations.sample(chosen.sample, variety.seed(), besides=chosen.mutate)


async def _run(name: str, chosen: argparse.Namespace) -> int:
    """`name`: of the database in use."""
    removals = None if chosen.mutate is None else [*chosen.mutate, *_sample(chosen)]
    async with suite.built(name) as target:
        if (chosen.first or not removals) and not await _is_clean(target):
            return 1
        return 0 if removals is None else await mutations.main(target, removals)


async def _is_clean(target: suite.Target) -> bool:
    """Attacks the product as it is, prints what was tried and writes it to the record."""
    began = time.monotonic()
    report = await suite.run(target)
    seconds = round(time.monotonic() - began, 1)
    print("\n".join([*report.lines(), f"{seconds} seconds"]), flush=True)
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(
        json.dumps(
            {"clean": report.clean, "seconds": seconds, "seed": variety.seed(), **report.record()}, indent=1
        )
    )
    return report.clean


if __name__ == "__main__":
    os.environ.setdefault(sizes.VARIABLE, sizes.FULL)  # `make test` has chosen
    arguments = parse(sys.argv[1:])
    if arguments.list:
        print("\n".join(mutations.find()))
        sys.exit(0)
    sys.exit(asyncio.run(main(arguments)))
