"""Disable and enable a person's account from the command line."""

from shared.backoffice import user_accounts
from shared.backoffice.reasons import state_reason
from shared.tenancy import entry

WORKER_HINT = "A worker applies it within seconds, once one is running."


async def disable(email: str, reason: str) -> str:
    """Returns a text that says what was done."""
    async with entry.enter_platform("command line") as octx:
        user = await user_accounts.disable(octx, email, reason=state_reason(octx, reason))
    return f"{user.email} is signed out everywhere and can't sign in. Memberships are kept. {WORKER_HINT}"


async def enable(email: str, reason: str) -> str:
    async with entry.enter_platform("command line") as octx:
        user = await user_accounts.enable(octx, email, reason=state_reason(octx, reason))
    return f"{user.email} can sign in again, with the previous password and second factor. {WORKER_HINT}"
