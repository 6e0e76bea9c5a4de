"""`python -m tests.attack [--mutate]`: prints attempts by kind; 0 only when none passed."""

import asyncio
import os
import sys
from pathlib import Path

os.environ.setdefault("BULKHEAD_DATA_DIR", str(Path(__file__).parents[2] / ".bulkhead" / "test"))

from shared.core import db, log
from tests import database
from tests.attack import suite


async def main(arguments: list[str]) -> int:
    log.configure("CRITICAL")
    database.build("attack")
    try:
        if "--mutate" in arguments:
            from tests.attack import mutations

            return await mutations.main()
        report = await suite.run()
        print("\n".join(report.lines()))
        return 0 if report.clean else 1
    finally:
        await db.dispose()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
