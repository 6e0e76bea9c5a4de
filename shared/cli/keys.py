"""A new master key, put before the old ones in BULKHEAD_MASTER_KEYS, takes over every data key. No data is touched."""

from shared.core.config import settings
from shared.identity import keys as platform
from shared.tenancy import entry
from shared.tenancy import keys as tenants


async def rotate() -> str:
    """What was done, and what can be dropped now."""
    async with entry.enter_platform("command line") as octx:
        count = await tenants.rotate(octx, "Rotation from the command line")
    realms = await platform.rotate()
    newest, *older = settings().keys()
    said = f"{count} keys of tenants and {realms} of the platform are wrapped anew; all are under key {newest} now."
    names = ", ".join(str(number) for number in older)
    return f"{said} BULKHEAD_MASTER_KEYS needs {names} no more." if older else said
