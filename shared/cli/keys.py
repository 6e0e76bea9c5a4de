"""A new master key, put before the old ones in BULKHEAD_MASTER_KEYS, takes over every data key. No data is touched.

Every process needs the new key first, to unwrap the data keys that one process wraps with it. Links in mails are not
wrapped but signed, with the newest key at the time, so that the older keys stay until the last of those links has
expired.
"""

from shared.backoffice import provider_accounts, tenant_keys
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.config import settings
from shared.identity import encryption_keys, tokens
from shared.jobs import signatures
from shared.tenancy import entry, invitations

REASON = "Rotation from the command line"


async def rotate_keys() -> str:
    """Wrap every data key with the newest master key. Returns a text: how many, and when older master keys can be dropped."""
    async with entry.enter_platform("command line") as octx:
        tenant_count = await tenant_keys.rotate_tenant_keys(octx, state_reason(octx, REASON))
        platform_count = await provider_accounts.rewrap_keys(octx, state_reason(octx, REASON))
    platform_count += await encryption_keys.rotate_realm_keys()
    async with db.transaction("owner") as session:
        job_count = await signatures.sign_waiting_jobs_again(session)
    newest, *older = settings().load_master_keys()
    done_text = f"{tenant_count} keys of tenants and {platform_count} of the platform are wrapped again and {job_count} jobs are signed again; all use key {newest} now."
    older_numbers = ", ".join(str(number) for number in older)
    days = max(invitations.LIFETIME, *tokens.LIFETIMES.values()).days
    links_text = f"BULKHEAD_MASTER_KEYS needs {older_numbers} for {days} more days, for links in mails that were sent before."
    return f"{done_text} {links_text}" if older else done_text
