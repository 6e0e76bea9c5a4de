"""Which provider stands behind an account: Stripe, unless another one was put in its place."""

from shared.billing import accounts
from shared.billing.models import PLATFORM
from shared.billing.provider import Provider
from shared.billing.stripe_adapter import gateway
from shared.core import db
from shared.core.config import settings

_providers: dict[str, Provider] = {}


def register(account_id: str, provider: Provider) -> None:
    """From now on, in this process."""
    _providers[account_id] = provider


async def get(account_id: str, role: db.DatabaseRole = "app") -> Provider:
    """Raises NotFound for an account that nobody added. `role`: of the database, to look it up."""
    if account_id in _providers:
        return _providers[account_id]
    account = accounts.get_platform_account()
    if account_id != PLATFORM:
        async with db.transaction(role) as session:
            account = await accounts.get(session, account_id)
    return gateway.get_gateway(account.key, settings().stripe_base)


async def close() -> None:
    """Connections of this event loop, which ends."""
    await gateway.close_gateways()
