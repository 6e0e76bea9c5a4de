"""Which provider stands behind an account: Stripe, unless another one was put in its place."""

from shared.billing import accounts, stripe_gateway
from shared.billing.models import PLATFORM
from shared.billing.provider import Provider
from shared.core import db
from shared.core.config import settings

_known: dict[str, Provider] = {}


def use(account_id: str, provider: Provider) -> None:
    """From now on, in this process."""
    _known[account_id] = provider


async def get(account_id: str, role: db.Role = "app") -> Provider:
    """Raises NotFound for an account that nobody added. `role`: of the database, to look it up."""
    if account_id in _known:
        return _known[account_id]
    account = accounts.platform()
    if account_id != PLATFORM:
        async with db.transaction(role) as session:
            account = await accounts.get(session, account_id)
    return stripe_gateway.gateway(account.key, settings().stripe_base)


async def close() -> None:
    """Connections of this event loop, which ends."""
    await stripe_gateway.close()
