"""`python -m tests.attack [--mutate [hole …]]`: prints attempts by kind; 0 only when none passed."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("BULKHEAD_DATA_DIR", str(Path(__file__).parents[2] / ".bulkhead" / "test"))
os.environ.setdefault("BULKHEAD_SANDBOX_URL", "http://localhost:1")  # nobody

from shared.core import db, log
from tests.attack import mutations, suite
from tests.attack.world import close_eyes
from tests.support import database

RECORD = Path(__file__).parents[2] / ".artifacts" / "isolation.json"


async def main(arguments: list[str]) -> int:
    log.configure("CRITICAL")
    name = database.build()
    try:
        if "--mutate" in arguments:
            return await mutations.main(name, [one for one in arguments if one != "--mutate"])
        return await _attack()
    finally:
        await db.dispose()
        close_eyes()
        database.drop(name)


async def _attack() -> int:
    began = time.monotonic()
    report = await suite.run(await suite.build())
    seconds = round(time.monotonic() - began, 1)
    print("\n".join([*report.lines(), f"{seconds} seconds"]))
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps({"clean": report.clean, "seconds": seconds, **report.record()}, indent=1))
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
