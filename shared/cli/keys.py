"""A new master key, put before the old ones in BULKHEAD_MASTER_KEYS, takes over every data key.

Rotation wraps the same data keys again and touches no data. A renewal (`--deep`) makes new ones, so that an old master key
with an old dump opens nothing that is sealed later.

Every process needs the new key first, to unwrap the data keys that one process wraps with it. Links in mails are not
wrapped but signed, with the newest key at the time, so that the older keys stay until the last of those links has
expired.
"""

from functools import partial

from shared.backoffice import key_renewal, provider_accounts, tenant_keys
from shared.backoffice.reasons import state_reason
from shared.core import crypto, db
from shared.core.config import settings
from shared.core.progress import ProgressLine
from shared.identity import encryption_keys, session_proofs, tokens
from shared.identity.realms import OPERATOR, USER
from shared.jobs import signatures
from shared.tenancy import entry, invitations

REASON = "Rotation from the command line"
REALMS = (USER, OPERATOR)
TENANTS_SHARE, ACCOUNTS_SHARE = 0.8, 0.95  # of the whole work, for the progress


async def rotate_keys() -> str:
    """Wrap every data key with the newest master key. Returns a text: how many, and when older master keys can be dropped."""
    async with entry.enter_platform("command line") as octx:
        tenant_count = await tenant_keys.rotate_tenant_keys(octx, state_reason(octx, REASON))
        platform_count = await provider_accounts.rewrap_keys(octx, state_reason(octx, REASON))
    platform_count += await encryption_keys.rotate_realm_keys()
    done_text = f"{tenant_count} keys of tenants and {platform_count} of the platform are wrapped again"
    return f"{done_text}, {await _sign_again()} {_describe_older_keys()}".rstrip()


async def renew_keys(progress: ProgressLine) -> str:
    """Replace every data key and seal again what the old ones sealed. Returns a text: how many.

    Can be interrupted at any time: the next run goes on where this one was.
    """
    async with entry.enter_platform("command line") as octx:
        tenant_ids, done_count = await key_renewal.list_due_tenants(octx, state_reason(octx, REASON))
    value_count = 0
    for number, tenant_id in enumerate(tenant_ids):
        progress.show("tenants", TENANTS_SHARE * number / len(tenant_ids))
        async with entry.enter_platform("command line") as octx:
            value_count += await key_renewal.renew_tenant_key(octx, tenant_id)
    value_count += await _renew_realms(progress)
    progress.show("Stripe accounts, jobs and sessions", ACCOUNTS_SHARE)
    async with entry.enter_platform("command line") as octx:
        account_count = await key_renewal.renew_account_keys(octx)
    signed_text = await _sign_again()
    key_count = done_count + len(tenant_ids) + account_count + len(REALMS)
    async with entry.enter_platform("command line") as octx:
        await key_renewal.finish(octx, key_count, state_reason(octx, REASON))
    progress.finish()
    return (
        f"{key_count} data keys are new, {value_count + account_count} values are sealed again, {signed_text}"
        f" {_describe_older_keys()}"
    ).rstrip()


async def describe_renewal() -> str:
    """What `renew_keys` would do. Changes nothing."""
    async with entry.enter_platform("command line") as octx:
        tenant_ids, done_count = await key_renewal.list_due_tenants(octx, state_reason(octx, REASON))
    seed_count = sum([await encryption_keys.count_seeds(realm) for realm in REALMS])
    done_text = f" {done_count} tenants are done already." if done_count else ""
    return (
        f"Would renew the data keys of {len(tenant_ids)} tenants, of both realms with {seed_count} second factors, and of"
        f" the Stripe accounts, under master key {crypto.get_newest_kek_id()}.{done_text} Nothing was changed."
    )


async def _renew_realms(progress: ProgressLine) -> int:
    """Returns how many seeds were sealed again."""
    count = 0
    for realm in REALMS:
        async with entry.enter_platform("command line") as octx:
            if await key_renewal.is_realm_renewed(octx, realm.name):
                continue
        step = f"second factors of {realm.name}s"
        count += await encryption_keys.renew_realm_key(realm, partial(_show_seeds, progress, step))
        async with entry.enter_platform("command line") as octx:
            await key_renewal.record_realm(octx, realm.name)
    return count


def _show_seeds(progress: ProgressLine, step: str, number: int) -> None:
    progress.show(step, TENANTS_SHARE, detail=f"{number} ")


async def _sign_again() -> str:
    async with db.transaction("owner") as session:
        job_count = await signatures.sign_waiting_jobs_again(session)
    session_count = await session_proofs.sign_sessions_again()
    return (
        f"and {job_count} jobs and {session_count} sessions are signed again; all use key"
        f" {crypto.get_newest_kek_id()} now."
    )


def _describe_older_keys() -> str:
    """How long they are needed for links in mails; "" where there are none."""
    _, *older = settings().load_master_keys()
    if not older:
        return ""
    older_numbers = ", ".join(str(number) for number in older)
    days = max(invitations.LIFETIME, *tokens.LIFETIMES.values()).days
    return f"BULKHEAD_MASTER_KEYS needs {older_numbers} for {days} more days, for links in mails that were sent before."
