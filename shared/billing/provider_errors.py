"""Provider errors as messages for people who wait for the answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.billing.models import PLATFORM
from shared.billing.pricing import comparison
from shared.billing.provider import KeyRefused, ProviderBusy, ProviderDown, ProviderRefused, RefusalKind
from shared.billing.sync import customer_sync
from shared.billing.sync.apply_state import SyncCause
from shared.core import db, log
from shared.core.errors import Conflict

CARD_STEP = "Nothing was changed. Use another payment method, or contact your bank."
REFUSAL_SENTENCES: dict[RefusalKind, tuple[str, str]] = {  # what happened, next step
    "card": ("The payment method was declined.", CARD_STEP),
    "checkout": ("This checkout was completed or has expired.", "Reload the page and start again."),
    "customer": (
        "Your billing account at the payment provider was deleted.",
        "Nothing was changed. Try again: a new one is set up for you.",
    ),
    "other": (
        "The payment provider couldn’t process this request.",
        "Nothing was changed. Reload the page and try again. If it happens again, contact support.",
    ),
    "price": (
        "This price can’t be bought right now because of a problem on our side.",
        "Nothing was changed. Our team has been alerted. Try again later, or choose another plan.",
    ),
    "tax_id": (
        "This tax ID isn’t valid.",
        "The other details were saved, the tax ID wasn’t. Check the number and its type.",
    ),
    "tax_location": (
        "The tax for your billing address can’t be calculated.",
        "Nothing was changed. Enter the country and the postal code under “Billing details”, then try again.",
    ),
    "tax_setup": (
        "The tax can’t be calculated right now because of a problem on our side.",
        "Nothing was changed. Try again later, or contact support.",
    ),
    "subscription": ("This subscription has ended.", "Reload the page to see the current state."),
}


@asynccontextmanager
async def translate_provider_errors() -> AsyncIterator[None]:
    """Turns provider errors into Conflict. The next sync finds out whether an unanswered request took effect.

    Every order has an idempotency key at the provider, so that a retry never charges twice. A refusal because of a
    price starts a comparison of all prices, whose differences alert the operators.
    """
    try:
        yield
    except ProviderRefused as refusal:
        if refusal.kind != "card":
            log.get_tenant_logger(__name__).error(
                "provider_refused", kind=refusal.kind, reason=refusal.code, said=refusal.message
            )
        if refusal.kind == "price":
            async with db.transaction() as session:
                await comparison.request_comparison(session)
        raise Conflict(*_describe_refusal(refusal), reason="provider_refused") from refusal
    except ProviderBusy as problem:
        raise Conflict(
            "The payment provider is busy.", "Try again in a few seconds.", reason="provider_down"
        ) from problem
    except ProviderDown as problem:
        raise Conflict(
            "The payment provider isn’t responding.",
            "Try again in a minute. Nothing is charged twice, and you keep your current access.",
            reason="provider_down",
        ) from problem
    except KeyRefused as problem:
        log.get_tenant_logger(__name__).error("provider_key_refused", account=PLATFORM)
        raise Conflict(
            "Payments are unavailable because of a problem on our side.",
            "Nothing was changed. Try again later, or contact support.",
            reason="provider_down",
        ) from problem


def _describe_refusal(refusal: ProviderRefused) -> tuple[str, str]:
    """What happened and the next step, for a customer."""
    if refusal.kind == "card" and refusal.message:
        return refusal.message, CARD_STEP
    return REFUSAL_SENTENCES[refusal.kind]


async def try_sync_customer(tenant_id: str, customer_id: str, *, cause: SyncCause = "member") -> bool:
    """Syncs the customer now instead of waiting for a webhook. False where the provider didn't respond."""
    try:
        await customer_sync.sync_customer(PLATFORM, customer_id, tenant_id, cause=cause)
    except (ProviderDown, ProviderRefused, KeyRefused) as problem:
        log.get_tenant_logger(__name__).warning(
            "look_failed", tenant_id=tenant_id, problem=type(problem).__name__
        )
        return False
    return True
