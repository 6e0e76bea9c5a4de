"""Store reported bugs, so that operators find a reference that a person was shown.

A bug is reported while its transaction is being undone, and by code that must not wait for the database. So reports
wait in memory for a second. A killed process loses those; the log has every one of them.
"""

import asyncio

from shared.audit import bug_report_repository as repository
from shared.core import db, log

WRITE_INTERVAL_S = 1.0


async def run_writer(process: str, role: db.DatabaseRole = "app") -> None:
    """A lifespan task: stores what this process reports until it is cancelled. `process`: its name for operators."""
    try:
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S)
            await store_new_bugs(process, role)
    finally:
        await store_new_bugs(process, role)


async def store_new_bugs(process: str, role: db.DatabaseRole = "app") -> None:
    """Those that can't be stored now are stored later."""
    if not (bugs := log.take_new_bugs()):
        return
    try:
        async with db.transaction(role) as session:
            await repository.record_bugs(session, bugs, process)
    except BaseException as problem:  # the writer has to survive until the database is back
        log.put_back(bugs)
        if not isinstance(problem, Exception):
            raise
        log.get_logger(__name__).warning("bugs_not_stored", problem=type(problem).__name__)
