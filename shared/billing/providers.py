"""Which provider stands behind an account."""

from shared.billing.provider import Provider

_known: dict[str, Provider] = {}


def use(account_id: str, provider: Provider) -> None:
    """From now on, in this process."""
    _known[account_id] = provider


def get(account_id: str) -> Provider:
    return _known[account_id]
