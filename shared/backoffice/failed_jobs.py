"""What operators do with jobs that failed or wait for another attempt: retry or drop, each with a reason."""

from collections.abc import Awaitable, Callable

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice.reasons import Reason, use_reason
from shared.core import live_events
from shared.core.context import OperatorCtx
from shared.core.errors import NotFound
from shared.jobs import queue_status


async def retry_job(octx: OperatorCtx, job_id: int, reason: Reason) -> str:
    """Queue the job again with all attempts ahead of it. Returns its task.

    Raises Invalid without a reason, NotFound for a job that neither failed nor waits for another attempt.
    """
    return await _change_job(octx, job_id, reason, "job.retried", queue_status.retry_job)


async def drop_job(octx: OperatorCtx, job_id: int, reason: Reason) -> str:
    """Delete the job: what it should have done is not done. Returns its task. Raises as `retry_job`."""
    return await _change_job(octx, job_id, reason, "job.dropped", queue_status.drop_job)


async def _change_job(
    octx: OperatorCtx,
    job_id: int,
    reason: Reason,
    event_type: str,
    change: Callable[[AsyncSession, int], Awaitable[str]],
) -> str:
    policy.require_operator(octx, actions.OP_JOB_WRITE)
    reason_text = use_reason(octx, reason)
    task = await change(octx.session, job_id)
    if not task:
        raise NotFound(
            "This job is running, has finished or was dropped.", "Reload the page to see its status."
        )
    audit_log.record_operator(octx, event_type, str(job_id), reason=reason_text, name=task, task=task)
    await live_events.refresh_pages(octx.session, "*", "jobs")
    return task
