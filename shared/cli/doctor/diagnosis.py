"""All checks of `bulkhead doctor`, in the order in which a failure explains the next ones."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator

from shared import modules
from shared.cli import database
from shared.cli.doctor import file_checks, service_checks
from shared.cli.doctor.check_results import CheckResult, failed_by, ok, run_check
from shared.cli.doctor.database_checks import NAME as DATABASE
from shared.cli.doctor.database_checks import check_database
from shared.cli.doctor.job_checks import check_jobs
from shared.cli.doctor.key_checks import check_keys
from shared.cli.doctor.stripe_checks import check_stripe
from shared.core import db
from shared.core.config import ConfigurationError, settings


def examine() -> list[CheckResult]:
    """Never raises for a part that is away, and starts none. Without usable settings, they are the only result."""
    try:
        database.use_embedded_server()
        settings().load_master_keys()
    except ConfigurationError as problem:
        return list(_split_problems(str(problem)))
    modules.load()
    return [
        ok("settings", f"BULKHEAD_ENV is {settings().env}; every setting can be used."),
        *_examine_parts(),
    ]


def _split_problems(text: str) -> Iterator[CheckResult]:
    """`text`: one problem, or a heading and a line for each."""
    lines = text.splitlines()
    for line in lines[1:] or lines:
        yield failed_by("settings", ConfigurationError(line.removeprefix("- ")))


def _examine_parts() -> Iterator[CheckResult]:
    database_results = list(run_check(DATABASE, check_database))
    yield from database_results
    if any(result.status == "ok" and result.name == DATABASE for result in database_results):
        yield from run_check("data keys", lambda: _wait_for(check_keys))
        yield from run_check("jobs", lambda: _wait_for(check_jobs))
    yield from run_check("redis", service_checks.check_redis)
    yield from run_check("mail", service_checks.check_smtp)
    yield from run_check("stripe", lambda: _wait_for(check_stripe))
    yield from run_check("disk", file_checks.check_disk)
    yield from run_check("files", file_checks.check_files)
    yield from run_check("last runs", file_checks.check_last_runs)


def _wait_for(check: Callable[[], Awaitable[Iterable[CheckResult]]]) -> Iterable[CheckResult]:
    async def run() -> Iterable[CheckResult]:
        try:
            return await check()
        finally:
            await db.dispose()

    return asyncio.run(run())
