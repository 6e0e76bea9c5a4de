"""Stripe: whether it answers with our key, and whether the settings of the customer portal are saved there."""

from shared.billing import provider_registry
from shared.billing.models import PLATFORM
from shared.billing.provider import KeyRefused, ProviderDown, ProviderRefused
from shared.cli.doctor.check_results import CheckResult, failed, ok, warning
from shared.core.config import settings


async def check_stripe() -> list[CheckResult]:
    if not settings().stripe_key:
        return [warning("stripe", "STRIPE_SECRET_KEY is not set: nothing can be sold.", "Set it.")]
    try:
        provider = await provider_registry.get(PLATFORM)
        has_settings = await provider.has_portal_settings()
    except KeyRefused:
        return [failed("stripe", "Stripe refuses the key.", "Correct STRIPE_SECRET_KEY.")]
    except (ProviderDown, ProviderRefused) as problem:
        return [_describe_missing_provider(problem)]
    finally:
        await provider_registry.close()
    if not has_settings:
        return [
            warning(
                "stripe",
                "It answers, but the settings of the customer portal are not those of this version.",
                "Run `bulkhead stripe-setup`, or leave it to the first visit of the portal.",
            )
        ]
    return [ok("stripe", "It answers, and the settings of the customer portal are saved.")]


def _describe_missing_provider(problem: Exception) -> CheckResult:
    text = f"Stripe doesn't answer ({type(problem).__name__})."
    if settings().stripe_base is not None:
        return warning("stripe", text, "This is the stand-in: `bulkhead up` starts it.")
    return failed("stripe", text, "Check the network from here to api.stripe.com, and Stripe's status page.")
