"""Delete files whose time is over, and those of deleted tenants: the bytes first, then the rows.

So nothing stored is ever unknown to us. A round takes so many of each tenant that one with many holds up no other.
"""

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.file_kinds import EXPORT_LIFETIME
from shared.core import request_ids
from shared.core.context import Ctx
from shared.core.db import now
from shared.files import export_repository, file_repository, files, storage_registry
from shared.jobs.worker import ExternalJob
from shared.tenancy import cleaning, entry

TASK = "files.delete_expired"
ROUND_BATCHES = 5  # of `files.DELETE_BATCH`, of one tenant in one round
INTERVAL_S = 300.0


async def expire_all(ctx: Ctx) -> None:
    """No link opens the tenant's files any more; a later round deletes them. For services that have checked the permission."""
    await file_repository.expire_files(ctx, now())


async def run() -> None:
    """Until cancelled."""
    await cleaning.run_rounds(find_next, clean_tenant, interval_s=INTERVAL_S)


async def find_next(session: AsyncSession, former_tenant_id: str) -> str:
    """The tenant after this one that has something to delete; "" for none."""
    return await file_repository.find_next_with_ended_files(session, former_tenant_id)


async def clean_tenant(tenant_id: str) -> bool:
    """At most `ROUND_BATCHES`. True where there may be more. Raises StorageUnavailable: the rest stays for the next round."""
    storage = storage_registry.get_storage()
    for _ in range(ROUND_BATCHES):
        async with entry.enter_cleaning(tenant_id, TASK, request_ids.current()) as ctx:
            paths = await files.list_ended(ctx)
        for path in paths:
            await storage.delete(path)
        file_ids = [path.file_id for path in paths]
        async with entry.enter_cleaning(tenant_id, TASK, request_ids.current()) as ctx:
            await export_repository.delete_exports(ctx, file_ids, finished_before=now() - EXPORT_LIFETIME)
            await file_repository.delete_files(ctx, file_ids)
        if len(paths) < files.DELETE_BATCH:
            return False
    return True


async def delete_expired(job: ExternalJob) -> None:
    """Of a version before this one, which put a job for each file."""
    await clean_tenant(job.tenant_id)
