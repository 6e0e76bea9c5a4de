"""New data keys in the place of the old ones: what they seal is opened, and sealed again.

Each tenant is one transaction that also records that it is done, so that a renewal that was interrupted goes on where it was.
A process that seals for a tenant locks the row of its key first.
"""

from functools import partial

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import key_renewal_repository as repository
from shared.backoffice import tenant_directory_repository
from shared.backoffice.reasons import Reason, use_reason
from shared.billing import accounts
from shared.core import crypto, db, registry
from shared.core.context import OperatorCtx
from shared.tenancy import entry

ACCOUNTS = "accounts"


async def list_due_tenants(octx: OperatorCtx, reason: Reason) -> tuple[list[str], int]:
    """Ids of the tenants whose key is to be renewed, and how many an interrupted renewal has done. Raises Invalid."""
    policy.require_operator(octx, actions.OP_KEY_ROTATE)
    async with entry.read_across_tenants(octx, use_reason(octx, reason)) as session:
        tenant_ids = [tenant_id for tenant_id, _, _ in await tenant_directory_repository.list_keys(session)]
    renewed = await repository.list_renewed(octx.session, crypto.get_newest_kek_id())
    due_ids = [tenant_id for tenant_id in tenant_ids if tenant_id not in renewed]
    return due_ids, len(tenant_ids) - len(due_ids)


async def renew_tenant_key(octx: OperatorCtx, tenant_id: str) -> int:
    """Give a tenant a new data key, and seal again what the old one sealed. Returns how many values."""
    policy.require_operator(octx, actions.OP_KEY_ROTATE)
    await db.set_tenant(octx.session, tenant_id)
    row = await tenant_directory_repository.lock_key(octx.session, tenant_id)
    old_key, new_key = crypto.unwrap_dek(crypto.WrappedKey(row.kek_id, row.wrapped)), crypto.new_dek()
    count = 0
    for table, contract in registry.list_tables().items():
        for column in contract.sealed:
            reseal = partial(
                _reseal,
                keys=(old_key, crypto.unwrap_dek(new_key)),
                tenant_id=tenant_id,
                field=f"{table}.{column}",
            )
            count += await repository.reseal_column(octx.session, tenant_id, table, column, reseal)
    row.kek_id, row.wrapped = new_key.kek_id, new_key.wrapped
    octx.session.add(row)
    await db.clear_scope(octx.session)
    await repository.add_renewed(octx.session, tenant_id, new_key.kek_id)
    return count


def _reseal(value: bytes, row_id: str, *, keys: tuple[bytes, bytes], tenant_id: str, field: str) -> bytes:
    return crypto.reseal(value, keys, tenant_id, field, row_id)


async def renew_account_keys(octx: OperatorCtx) -> int:
    """Seal the credentials of every Stripe account with a new data key. Returns how many; 0 where that is done."""
    policy.require_operator(octx, actions.OP_KEY_ROTATE)
    if ACCOUNTS in await repository.list_renewed(octx.session, crypto.get_newest_kek_id()):
        return 0
    count = 0
    for row in await accounts.lock_all(octx.session):
        if row.kek_id is not None:
            credentials = accounts.unseal(row)
            accounts.seal(row, crypto.new_dek(), credentials.key, credentials.secrets)
            octx.session.add(row)
            count += 1
    await octx.session.flush()
    await repository.add_renewed(octx.session, ACCOUNTS, crypto.get_newest_kek_id())
    return count


async def is_realm_renewed(octx: OperatorCtx, realm: str) -> bool:
    """Whether an interrupted renewal has done this realm, "user" or "operator"."""
    policy.require_operator(octx, actions.OP_KEY_ROTATE)
    return realm in await repository.list_renewed(octx.session, crypto.get_newest_kek_id())


async def record_realm(octx: OperatorCtx, realm: str) -> None:
    policy.require_operator(octx, actions.OP_KEY_ROTATE)
    await repository.add_renewed(octx.session, realm, crypto.get_newest_kek_id())


async def finish(octx: OperatorCtx, keys: int, reason: Reason) -> None:
    """Record a renewal of so many keys. The next one starts with none done. Raises Invalid without a reason."""
    policy.require_operator(octx, actions.OP_KEY_ROTATE)
    await repository.delete_renewed(octx.session)
    audit_log.record_operator(
        octx,
        "keys.rotated",
        "*",
        reason=use_reason(octx, reason),
        keys=keys,
        to=crypto.get_newest_kek_id(),
        renewed=True,
    )
