"""Whether a worker is alive, and which jobs have failed."""

from collections.abc import Iterator

from shared.cli.doctor.check_results import CheckResult, failed, ok, warning
from shared.cli.doctor.database_checks import find_login_url
from shared.core import db
from shared.core.database_logins import DatabaseRole
from shared.jobs import queue_status
from shared.jobs.worker import STALLED_AFTER_SECONDS

START_WORKER = "Start `bulkhead worker`; `bulkhead up` starts one too."


async def check_jobs() -> Iterator[CheckResult]:
    """The operator's login reads jobs and not workers."""
    is_app = find_login_url("app") is not None
    role: DatabaseRole = "app" if is_app else "operator"
    async with db.transaction(role) as session:
        counts = await queue_status.count_by_status(session)
        heartbeat_age_s = await queue_status.get_heartbeat_age_s(session) if is_app else None
    worker = _judge_worker(heartbeat_age_s) if is_app else _worker_not_read()
    return iter([worker, _judge_jobs(counts)])


def _worker_not_read() -> CheckResult:
    return warning(
        "worker",
        "This wasn't read: only the app's login sees workers.",
        "Run `bulkhead doctor` in the environment of the tenant app or the worker as well.",
    )


def _judge_worker(heartbeat_age_s: float | None) -> CheckResult:
    if heartbeat_age_s is None:
        return failed("worker", "No worker is running, so that no mail is sent.", START_WORKER)
    text = f"The last sign of life of a worker is {heartbeat_age_s:,.0f} s old."
    if heartbeat_age_s > STALLED_AFTER_SECONDS:
        return failed("worker", text, START_WORKER)
    return ok("worker", text)


def _judge_jobs(counts: dict[str, int]) -> CheckResult:
    text = ", ".join(f"{number:,} {status}" for status, number in counts.items()) + "."
    if counts["failed"]:
        return warning(
            "jobs",
            text,
            "`bulkhead jobs list --status failed` shows why; `bulkhead jobs retry` or `drop` ends it.",
        )
    return ok("jobs", text)
