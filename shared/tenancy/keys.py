"""Tenants' data keys, wrapped anew when there is a newer master key. The keys, and all they sealed, stay the same."""

from shared.access import actions, policy
from shared.audit import trail
from shared.core import crypto, db
from shared.core.ctx import OperatorCtx
from shared.tenancy import directory_repository, entry


async def rotate(octx: OperatorCtx, reason: str) -> int:
    """How many were under an older key. Twice is once. Raises Invalid without a reason."""
    policy.require_operator(octx, actions.OP_KEY_ROTATE)
    async with entry.across(octx, reason) as session:
        outdated = await directory_repository.list_outdated_keys(session, crypto.newest())
    for tenant_id in outdated:
        await db.enter(octx.session, tenant_id)
        row = await directory_repository.lock_key(octx.session, tenant_id)
        if row.kek_id != crypto.newest():  # or somebody else was first
            found = crypto.rewrap(crypto.WrappedKey(row.kek_id, row.wrapped))
            row.kek_id, row.wrapped = found.kek_id, found.wrapped
            octx.session.add(row)
    await db.leave(octx.session)
    if outdated:
        trail.record_operator(
            octx, "keys.rotated", "*", reason=reason, keys=len(outdated), to=crypto.newest()
        )
    return len(outdated)
