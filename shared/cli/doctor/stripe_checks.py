"""Stripe: whether it answers with our key, and whether what we need is set up there: the customer portal, and taxes."""

from shared.billing import provider_registry
from shared.billing.models import PLATFORM
from shared.billing.provider import KeyRefused, ProviderDown, ProviderRefused
from shared.billing.provider_values import TaxSetup
from shared.cli.doctor.check_results import CheckResult, failed, ok, warning
from shared.core.config import settings

TAX_SETTINGS_URL = "https://dashboard.stripe.com/settings/tax"


async def check_stripe() -> list[CheckResult]:
    if not settings().stripe_key:
        return [warning("stripe", "STRIPE_SECRET_KEY is not set: nothing can be sold.", "Set it.")]
    try:
        provider = await provider_registry.get(PLATFORM)
        has_settings = await provider.has_portal_settings()
        tax_setup = await provider.get_tax_setup() if settings().automatic_tax else None
    except KeyRefused:
        return [failed("stripe", "Stripe refuses the key.", "Correct STRIPE_SECRET_KEY.")]
    except (ProviderDown, ProviderRefused) as problem:
        return [_describe_missing_provider(problem)]
    finally:
        await provider_registry.close()
    return [_check_portal(has_settings=has_settings), *([_check_tax(tax_setup)] if tax_setup else [])]


def _check_portal(*, has_settings: bool) -> CheckResult:
    if has_settings:
        return ok("stripe", "It answers, and the settings of the customer portal are saved.")
    return warning(
        "stripe",
        "It answers, but the settings of the customer portal are not those of this version.",
        "Run `bulkhead stripe-setup`, or leave it to the first visit of the portal.",
    )


def _check_tax(setup: TaxSetup) -> CheckResult:
    if not setup.is_ready:
        return failed(
            "stripe",
            "BULKHEAD_AUTOMATIC_TAX is on, but Stripe doesn't have the address of your business: it refuses every"
            " checkout and change.",
            f"Enter it at {_get_tax_settings_url()}, or turn the setting off.",
        )
    if not setup.has_default:
        return warning(
            "stripe",
            "Stripe calculates taxes, but refuses prices without a tax behavior.",
            f"Set a tax behavior for every price, or a default at {_get_tax_settings_url()}.",
        )
    return ok("stripe", "It calculates taxes.")


def _get_tax_settings_url() -> str:
    if (base := settings().stripe_base) is not None:
        return f"{base}/_control"
    return TAX_SETTINGS_URL


def _describe_missing_provider(problem: Exception) -> CheckResult:
    text = f"Stripe doesn't answer ({type(problem).__name__})."
    if settings().stripe_base is not None:
        return warning("stripe", text, "This is the stand-in: `bulkhead up` starts it.")
    return failed("stripe", text, "Check the network from here to api.stripe.com, and Stripe's status page.")
