"""Which provider stands behind an account."""

from shared.billing import stripe_gateway
from shared.billing.models import PLATFORM
from shared.billing.provider import Provider
from shared.core.config import settings

_known: dict[str, Provider] = {}


def use(account_id: str, provider: Provider) -> None:
    """From now on, in this process."""
    _known[account_id] = provider


def get(account_id: str) -> Provider:
    """Raises KeyError. Behind the platform's account stands Stripe, or its stand-in, as the settings say."""
    if account_id == PLATFORM and account_id not in _known:
        return stripe_gateway.gateway(settings().stripe_key, settings().stripe_base)
    return _known[account_id]
