"""Jobs of files. Each may run twice."""

from collections.abc import Awaitable, Callable

from shared.files import export_runs, exports, retention
from shared.jobs import worker
from shared.jobs.worker import ExternalJob


@worker.file_job
async def run_export(job: ExternalJob, *, export_id: str) -> None:
    await export_runs.run(job, export_id)


@worker.file_job
async def delete_expired(job: ExternalJob) -> None:
    await retention.delete_expired(job)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    exports.RUN_TASK: run_export,
    retention.TASK: delete_expired,
}
