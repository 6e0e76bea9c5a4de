"""`python -m tests.attack [--mutate]`: prints attempts by kind; 0 only when none passed."""

import asyncio
import os
import sys
from pathlib import Path

os.environ.setdefault("BULKHEAD_DATA_DIR", str(Path(__file__).parents[2] / ".bulkhead" / "test"))

from shared.core import db, log  # noqa: E402
from tests import database  # noqa: E402
from tests.attack import suite  # noqa: E402


async def main(arguments: list[str]) -> int:
    log.configure("CRITICAL")
    database.build("attack")
    try:
        if "--mutate" in arguments:
            from tests.attack import mutations  # noqa: PLC0415

            return await mutations.main()
        report = await suite.run()
        print("\n".join(report.lines()))  # noqa: T201
        return 0 if report.clean else 1
    finally:
        await db.dispose()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
