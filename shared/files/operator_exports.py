"""What operators' exports need of files: the newest ones of an operator, and their files. The callers check the permission."""

from collections.abc import Sequence

from shared.core.context import Ctx
from shared.files import export_repository, file_repository
from shared.files.models import ExportJob, StoredFile


async def lock_exports(ctx: Ctx) -> None:
    """Until the transaction ends, no other export of the tenant begins."""
    await export_repository.lock_open_exports(ctx)


async def list_newest(
    ctx: Ctx, owner_id: str, *, kind: str, limit: int
) -> Sequence[tuple[ExportJob, StoredFile | None]]:
    """Of one owner and kind, the newest first, with their files."""
    return await export_repository.list_exports(ctx, owner_id, kind=kind, limit=limit)


async def get_file(ctx: Ctx, file_id: str) -> StoredFile | None:
    return await file_repository.get_file(ctx, file_id)
