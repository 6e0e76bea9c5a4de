"""Wraps tenants' data keys again when there is a newer master key. The keys and sealed values stay the same."""

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import tenant_directory_repository
from shared.backoffice.reasons import Reason, use_reason
from shared.core import crypto, db
from shared.core.context import OperatorCtx
from shared.tenancy import entry


async def list_wrapped_keys(octx: OperatorCtx, reason: Reason) -> list[tuple[str, crypto.WrappedKey]]:
    """Tenant id and wrapped data key of every tenant. Raises Invalid without a reason."""
    policy.require_operator(octx, actions.OP_KEY_ROTATE)
    async with entry.read_across_tenants(octx, use_reason(octx, reason)) as session:
        return [
            (tenant_id, crypto.WrappedKey(kek_id, wrapped))
            for tenant_id, kek_id, wrapped in await tenant_directory_repository.list_keys(session)
        ]


async def rotate_tenant_keys(octx: OperatorCtx, reason: Reason) -> int:
    """Returns how many used an older key. Idempotent. Raises Invalid without a reason."""
    policy.require_operator(octx, actions.OP_KEY_ROTATE)
    reason_text = use_reason(octx, reason)
    async with entry.read_across_tenants(octx, reason_text) as session:
        tenant_ids = [
            tenant_id
            for tenant_id, kek_id, wrapped in await tenant_directory_repository.list_keys(session)
            if crypto.needs_rewrap(crypto.WrappedKey(kek_id, wrapped))
        ]
    for tenant_id in tenant_ids:
        await db.set_tenant(octx.session, tenant_id)
        row = await tenant_directory_repository.lock_key(octx.session, tenant_id)
        key = crypto.WrappedKey(row.kek_id, row.wrapped)
        if crypto.needs_rewrap(key):  # otherwise another transaction has rotated it
            rewrapped_key = crypto.rewrap_dek(key)
            row.kek_id, row.wrapped = rewrapped_key.kek_id, rewrapped_key.wrapped
            octx.session.add(row)
    await db.clear_scope(octx.session)
    if tenant_ids:
        audit_log.record_operator(
            octx, "keys.rotated", "*", reason=reason_text, keys=len(tenant_ids), to=crypto.get_newest_kek_id()
        )
    return len(tenant_ids)
