"""The name, address and tax id on a tenant's invoices. They are kept at the provider only.

So the form always shows what is on the next invoice, including changes that were made in the provider's portal.
"""

import re
from dataclasses import dataclass

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import customers, provider_errors, provider_registry
from shared.billing.models import PLATFORM
from shared.billing.provider import BillingDetails
from shared.core import rate_limits
from shared.core.context import Ctx
from shared.core.displayed_text import clean_line
from shared.core.errors import Invalid
from shared.core.rate_limits import RateLimit
from shared.identity import email_addresses

MAX_LINE_LENGTH = 200  # characters
TAX_ID_LABELS = {  # types that the form offers
    "ch_vat": "Swiss VAT number",
    "eu_vat": "EU VAT number",
    "gb_vat": "UK VAT number",
    "us_ein": "US EIN",
}
COUNTRY_PATTERN = re.compile(r"[A-Z]{2}")
SPACED_TYPES = ("ch_vat",)  # whose numbers have a blank in them
ADDRESS_FIELDS = ("line1", "line2", "postal_code", "city", "state")


@dataclass(frozen=True, slots=True)
class BillingDetailsChange:
    tenant_id: str
    details: BillingDetails


async def prepare_view(ctx: Ctx) -> str:
    """Id of the tenant whose details `fetch` returns."""
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    return ctx.tenant_id


async def fetch(tenant_id: str) -> BillingDetails:
    """The details at the provider, outside of any transaction. Raises Conflict."""
    async with provider_errors.translate_provider_errors():
        provider = await provider_registry.get(PLATFORM)
        return await customers.call_with_customer(tenant_id, provider.fetch_billing_details)


async def prepare_change(ctx: Ctx, details: BillingDetails) -> BillingDetailsChange:
    """Checks and records a change. Raises Invalid."""
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    details = _clean_details(details)
    audit_log.record(ctx, "billing.details_changed", ctx.tenant_id)
    return BillingDetailsChange(ctx.tenant_id, details)


async def submit(change: BillingDetailsChange) -> None:
    """Stores the details at the provider, outside of any transaction. Raises Conflict."""
    async with provider_errors.translate_provider_errors():
        provider = await provider_registry.get(PLATFORM)
        await customers.call_with_customer(
            change.tenant_id,
            lambda customer_id: provider.update_billing_details(customer_id, change.details),
        )


def _clean_details(details: BillingDetails) -> BillingDetails:
    """Raises Invalid."""
    email = email_addresses.parse_address(details.email)
    name = clean_line(
        details.name,
        noun="name",
        missing="Enter the name for the invoices.",
        max_length=MAX_LINE_LENGTH,
        fields=("name",),
    )
    lines = {
        field: clean_line(
            getattr(details, field), noun="address", missing="", max_length=MAX_LINE_LENGTH, fields=(field,)
        )
        for field in ADDRESS_FIELDS
    }
    country = details.country.strip().upper()
    if country and not COUNTRY_PATTERN.fullmatch(country):
        raise Invalid(
            "The country must have two letters.", "Enter one such as DE or US.", fields={"country": "Invalid"}
        )
    tax_id = (" " if details.tax_id_type in SPACED_TYPES else "").join(details.tax_id.upper().split())
    if bool(tax_id) != bool(details.tax_id_type) or details.tax_id_type not in ("", *TAX_ID_LABELS):
        raise Invalid(
            "A tax ID needs a type and a number.",
            "Enter both, or leave both empty.",
            fields={"tax_id": "Needs a type and a number"},
        )
    return BillingDetails(
        name=name, email=email, country=country, tax_id_type=details.tax_id_type, tax_id=tax_id, **lines
    )
