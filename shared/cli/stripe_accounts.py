"""Add and update Stripe accounts from the command line."""

from collections.abc import Sequence

from shared.backoffice import provider_accounts
from shared.backoffice.reasons import state_reason
from shared.billing import provider_registry
from shared.billing.models import PLATFORM
from shared.billing.provider import KeyRefused, ProviderDown, ProviderRefused
from shared.core.config import ConfigurationError
from shared.tenancy import entry

ACTOR_NAME = "command line"


async def set_up() -> str:
    """Saves in our own account what the product needs there. Idempotent. Raises ConfigurationError."""
    try:
        provider = await provider_registry.get(PLATFORM)
        is_changed = await provider.save_portal_settings()
    except (KeyRefused, ProviderDown, ProviderRefused) as problem:
        raise ConfigurationError(
            f"Stripe refused the settings of the customer portal: {problem}"
        ) from problem
    finally:
        await provider_registry.close()
    return f"The settings of Stripe's customer portal {'are saved' if is_changed else 'were saved already'}."


async def add(name: str, key: str, secrets: Sequence[str], reason: str) -> str:
    """Returns a text with the webhook URL to enter at Stripe."""
    async with entry.enter_platform(ACTOR_NAME) as octx:
        address = await provider_accounts.add(octx, name, key, secrets, reason=state_reason(octx, reason))
    return f"{name} is ready to sell. Its webhook URL, shown once: {address}"


async def set_secrets(account_id: str, secrets: Sequence[str], reason: str) -> str:
    """Returns a text that says what was done."""
    async with entry.enter_platform(ACTOR_NAME) as octx:
        await provider_accounts.set_secrets(octx, account_id, secrets, reason=state_reason(octx, reason))
    replacement_hint = (
        " Set the newest alone when Stripe has stopped using the other." if len(secrets) > 1 else ""
    )
    return f"Webhooks of {account_id} are accepted when signed with the given secrets.{replacement_hint}"


async def unpause(account_id: str, reason: str) -> str:
    async with entry.enter_platform(ACTOR_NAME) as octx:
        await provider_accounts.unpause(octx, account_id, reason=state_reason(octx, reason))
    return f"{account_id} is active again. A worker processes its waiting webhooks."
