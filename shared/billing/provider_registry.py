"""The provider of each account: Stripe, unless another one is registered."""

from shared.billing import accounts
from shared.billing.models import PLATFORM
from shared.billing.provider import Provider
from shared.billing.stripe_adapter import gateway
from shared.core import db, transaction_retries
from shared.core.config import settings

_providers: dict[str, Provider] = {}


def register(account_id: str, provider: Provider) -> None:
    """Registers a provider in this process."""
    _providers[account_id] = provider


async def get(account_id: str, role: db.DatabaseRole = "app") -> Provider:
    """The provider of an account. Raises NotFound for an unknown account. `role`: database role for the lookup."""
    transaction_retries.note_effect()
    if account_id in _providers:
        return _providers[account_id]
    account = accounts.get_platform_account()
    if account_id != PLATFORM:
        async with db.transaction(role) as session:
            account = await accounts.get(session, account_id)
    return gateway.get_gateway(account.key, settings().stripe_base, automatic_tax=settings().automatic_tax)


async def close() -> None:
    """Closes the connections of this event loop."""
    await gateway.close_gateways()
