"""List, retry and drop jobs from the command line."""

from shared.backoffice import failed_jobs, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.jobs.queue_status import QueuedJob
from shared.tenancy import entry

ACTOR = "command line"


async def list_jobs(status: str, limit: int) -> str:
    """One line for each job, newest first. Raises Invalid for an unknown status."""
    async with entry.enter_platform(ACTOR) as octx:
        overview = await tenant_directory.list_jobs(octx, status, limit=limit)
    lines = [_format_job(job) for job in overview.page.rows]
    counts = ", ".join(f"{number:,} {name}" for name, number in overview.counts.items())
    more = ["More jobs follow; choose a status or a larger --limit."] if overview.page.next_cursor else []
    return "\n".join([f"{counts}.", *lines, *more])


async def retry_job(job_id: int, reason: str) -> str:
    """Returns a text that says what was done."""
    async with entry.enter_platform(ACTOR) as octx:
        task = await failed_jobs.retry_job(octx, job_id, state_reason(octx, reason))
    return f"Job {job_id} ({task}) is queued again. A worker runs it within seconds, once one is running."


async def drop_job(job_id: int, reason: str) -> str:
    """Returns a text that says what was done."""
    async with entry.enter_platform(ACTOR) as octx:
        task = await failed_jobs.drop_job(octx, job_id, state_reason(octx, reason))
    return f"Job {job_id} ({task}) was dropped. What it should have done is not done."


def _format_job(job: QueuedJob) -> str:
    parts = [
        f"{job.id:>8}",
        f"{job.status:<8}",
        job.task,
        job.tenant_id or "platform",
        f"attempts {job.attempts}",
    ]
    return "  ".join([*parts, job.error]).rstrip()
