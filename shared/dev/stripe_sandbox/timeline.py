"""Time passes: whatever became due happens, in order and at the moment it was due."""

from shared.dev.stripe_sandbox.store import Account


def tick(account: Account) -> None:
    """Let everything happen that is due by now. Called on each request and by a timer."""


def advance(account: Account, seconds: int) -> None:
    """Move the whole account (all that has no test clock) into the future."""
    account.settings["offset"] += seconds
    account.put(account.settings)
    tick(account)


def advance_clock(account: Account, clock: str, to: int) -> None:
    """Move one test clock."""
    raise NotImplementedError
