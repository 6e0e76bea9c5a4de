"""Delete files whose time is over: the bytes first, then the rows, so that nothing stored is ever unknown to us."""

from shared.access.file_kinds import FILE_KINDS
from shared.core.context import Ctx
from shared.core.db import now
from shared.files import export_repository, export_runs, file_repository, files, storage_registry
from shared.jobs import queue
from shared.jobs.worker import ExternalJob
from shared.tenancy import entry


async def expire_all(ctx: Ctx) -> None:
    """No link opens the tenant's files any more; a job deletes them. For services that have checked the permission."""
    await file_repository.expire_files(ctx, now())
    await queue.put(ctx, export_runs.DELETE_TASK)


async def delete_expired(job: ExternalJob) -> None:
    """All of one tenant. Raises StorageUnavailable; the job is retried."""
    storage = storage_registry.get_storage()
    kept = max(kind.lifetime for kind in FILE_KINDS.values())
    while True:
        async with entry.enter_job(job.tenant_id, export_runs.DELETE_TASK, job.request_id) as ctx:
            paths = await files.list_expired(ctx)
        for path in paths:
            await storage.delete(path)
        file_ids = [path.file_id for path in paths]
        async with entry.enter_job(job.tenant_id, export_runs.DELETE_TASK, job.request_id) as ctx:
            await export_repository.delete_exports(ctx, file_ids, finished_before=now() - kept)
            await file_repository.delete_files(ctx, file_ids)
        if len(paths) < files.DELETE_BATCH:
            return
