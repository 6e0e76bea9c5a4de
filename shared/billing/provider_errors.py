"""Provider errors as messages for people who wait for the answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.billing.models import PLATFORM
from shared.billing.provider import KeyRefused, ProviderBusy, ProviderDown, ProviderRefused
from shared.billing.sync import customer_sync
from shared.core import log
from shared.core.errors import Conflict


@asynccontextmanager
async def translate_provider_errors() -> AsyncIterator[None]:
    """Turns provider errors into Conflict. The next sync finds out whether an unanswered request took effect.

    Every order has an idempotency key at the provider, so that a retry never charges twice.
    """
    try:
        yield
    except ProviderRefused as refusal:
        raise Conflict(
            refusal.message or "The payment provider declined the request.",
            "Nothing was changed. Check the payment method, or contact support.",
            reason="provider_refused",
        ) from refusal
    except ProviderBusy as problem:
        raise Conflict(
            "The payment provider is busy.", "Try again in a few seconds.", reason="provider_down"
        ) from problem
    except ProviderDown as problem:
        raise Conflict(
            "The payment provider isn't responding.",
            "Try again in a minute. Nothing is charged twice, and you keep your current access.",
            reason="provider_down",
        ) from problem
    except KeyRefused as problem:
        log.get_logger(__name__).error("provider_key_refused", account=PLATFORM)
        raise Conflict(
            "Payments are unavailable because of a problem on our side.",
            "Nothing was changed. Try again later, or contact support.",
            reason="provider_down",
        ) from problem


async def try_sync_customer(tenant_id: str, customer_id: str) -> bool:
    """Syncs the customer now instead of waiting for a webhook. False where the provider didn't respond."""
    try:
        await customer_sync.sync_customer(PLATFORM, customer_id, tenant_id, cause="return")
    except (ProviderDown, ProviderRefused, KeyRefused) as problem:
        log.get_logger(__name__).warning("look_failed", tenant_id=tenant_id, problem=type(problem).__name__)
        return False
    return True
