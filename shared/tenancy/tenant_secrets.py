"""Seal secrets of a tenant with its own data key. Destroying the key erases them everywhere.

`field` is "table.column", as the table's contract lists it among the sealed ones: a renewal of keys seals it again.
"""

from shared.core import crypto
from shared.core.context import Ctx
from shared.tenancy import tenant_repository


async def seal(ctx: Ctx, plain: str, field: str, row_id: str) -> bytes:
    """Shares a lock of the tenant's key until the transaction ends, so that a renewal doesn't miss the row."""
    return crypto.seal(await _lock_key(ctx), plain.encode(), ctx.tenant_id, field, row_id)


async def read_key(ctx: Ctx) -> bytes:
    """The data key, for `unseal`. The tenant must have sealed something."""
    return crypto.unwrap_dek(await tenant_repository.get_key(ctx))


def unseal(ctx: Ctx, key: bytes, blob: bytes, *, field: str, row_id: str) -> str:
    """Raises DecryptionError for a value of another tenant, field or row."""
    return crypto.open_sealed(key, blob, ctx.tenant_id, field, row_id).decode()


async def _lock_key(ctx: Ctx) -> bytes:
    """The data key; a tenant whose set-up has not come so far gets one now."""
    key = await tenant_repository.find_key(ctx)
    if key is None:
        wrapped = crypto.new_dek()
        await tenant_repository.add_key(ctx, wrapped.kek_id, wrapped.wrapped)
        key = await tenant_repository.get_key(ctx, locks=True)
    return crypto.unwrap_dek(key)
