"""Calls to the provider for a person who waits for the answer: what went wrong, in words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.billing.models import PLATFORM
from shared.billing.provider import KeyRefused, ProviderBusy, ProviderDown, ProviderRefused
from shared.billing.sync import customer_sync
from shared.core import log
from shared.core.errors import Conflict


@asynccontextmanager
async def translate_provider_errors() -> AsyncIterator[None]:
    """Raises Conflict. Whether something happened that nobody answered for is found out by the next look.

    Every order carries its own key at the provider, so that trying again is never paying twice.
    """
    try:
        yield
    except ProviderRefused as refusal:
        raise Conflict(
            refusal.message or "The payment provider said no.",
            "Nothing was changed. Check the payment method, or ask us.",
            reason="provider_refused",
        ) from refusal
    except ProviderBusy as problem:
        raise Conflict(
            "The payment provider is busy.", "Try again in a few seconds.", reason="provider_down"
        ) from problem
    except ProviderDown as problem:
        raise Conflict(
            "The payment provider does not answer.",
            "Try again in a minute; nothing is done or paid twice. What you have keeps working.",
            reason="provider_down",
        ) from problem
    except KeyRefused as problem:
        log.get_logger(__name__).error("provider_key_refused", account=PLATFORM)
        raise Conflict(
            "Nothing can be paid at the moment, and that is our fault.",
            "Nothing was changed. Try again later, or write to support.",
            reason="provider_down",
        ) from problem


async def try_sync_customer(tenant_id: str, customer_id: str) -> bool:
    """So that the person sees at once what a webhook would bring. False: it will have to."""
    try:
        await customer_sync.sync_customer(PLATFORM, customer_id, tenant_id, cause="return")
    except (ProviderDown, ProviderRefused, KeyRefused) as problem:
        log.get_logger(__name__).warning("look_failed", tenant_id=tenant_id, problem=type(problem).__name__)
        return False
    return True
