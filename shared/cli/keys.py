"""A new master key, put before the old ones in BULKHEAD_MASTER_KEYS, takes over every data key. No data is touched.

Every process has to know it before: what one wraps anew, the others open. Links in mails are not wrapped but signed,
with the newest key at the time, so that the older keys stay until the last of those links has expired.
"""

from shared.billing import accounts
from shared.core.config import settings
from shared.identity import keys as platform
from shared.identity import tokens
from shared.tenancy import entry, invitations
from shared.tenancy import keys as tenants

REASON = "Rotation from the command line"


async def rotate() -> str:
    """What was done, and what can be dropped when."""
    async with entry.enter_platform("command line") as octx:
        count = await tenants.rotate(octx, REASON)
        others = await accounts.rewrap(octx, REASON)
    others += await platform.rotate()
    newest, *older = settings().keys()
    said = f"{count} keys of tenants and {others} of the platform are wrapped anew; all are under key {newest} now."
    names = ", ".join(str(number) for number in older)
    days = max(invitations.LIVES, *tokens.LIVES.values()).days
    later = (
        f"BULKHEAD_MASTER_KEYS needs {names} for {days} more days, for links in mails that were sent before."
    )
    return f"{said} {later}" if older else said
