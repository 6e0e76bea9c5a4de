"""The name, address and tax id on a tenant's invoices. They are kept at the provider only.

So the form always shows what is on the next invoice, including changes that were made at the provider meanwhile.
"""

from dataclasses import dataclass

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import customer_calls, customers, provider_errors, provider_registry
from shared.billing.models import PLATFORM
from shared.billing.provider import Provider, ProviderRefused
from shared.billing.provider_values import BillingDetails, TaxId
from shared.core import rate_limits
from shared.core.context import Ctx
from shared.core.countries import COUNTRY_NAMES
from shared.core.displayed_text import clean_line
from shared.core.errors import Conflict, Invalid
from shared.core.rate_limits import RateLimit
from shared.identity import email_addresses
from shared.tenancy import billing_contacts

MAX_LINE_LENGTH = 200  # characters
TAX_ID_LABELS = {  # types that the form offers
    "ch_vat": "Swiss VAT number",
    "eu_vat": "EU VAT number",
    "gb_vat": "UK VAT number",
    "us_ein": "US EIN",
}
SPACED_TYPES = ("ch_vat",)  # whose numbers have a blank in them
ADDRESS_FIELDS = ("line1", "line2", "postal_code", "city", "state")


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingDetailsView:
    """What `fetch` reads. `defaults`: what a new customer is created with."""

    customer_id: str
    defaults: BillingDetails


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingDetailsChange:
    tenant_id: str
    details: BillingDetails
    opened: BillingDetails  # as the form showed them


async def prepare_view(ctx: Ctx) -> BillingDetailsView:
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_DETAILS_TENANT, ctx.tenant_id)
    name, email = ctx.tenant_name, await billing_contacts.get_owner_email(ctx)
    return BillingDetailsView(
        customer_id=await customers.find_id(ctx), defaults=BillingDetails(name=name, email=email)
    )


async def fetch(view: BillingDetailsView) -> BillingDetails:
    """The details at the provider, or the defaults without a customer: only saving creates one.

    Outside of any transaction. Raises Conflict.
    """
    if not view.customer_id:
        return view.defaults
    async with provider_errors.translate_provider_errors():
        provider = await provider_registry.get(PLATFORM)
        try:
            return await provider.fetch_billing_details(view.customer_id)
        except ProviderRefused as refusal:
            if refusal.kind != "customer":
                raise
            return view.defaults  # it was deleted at the provider


async def prepare_change(ctx: Ctx, details: BillingDetails, opened: BillingDetails) -> BillingDetailsChange:
    """Checks and records a change. Raises Invalid.

    `details`: with the tax id that was typed, or without one. `opened`: the details that the form showed.
    """
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    details = _clean_details(details)
    audit_log.record(ctx, "billing.details_changed", ctx.tenant_id)
    return BillingDetailsChange(tenant_id=ctx.tenant_id, details=details, opened=opened)


async def submit(change: BillingDetailsChange) -> None:
    """Stores the details at the provider, outside of any transaction. A repeated call completes one that failed.

    Raises Conflict, including where they were changed after the form had been opened.
    """
    async with provider_errors.translate_provider_errors():
        provider = await provider_registry.get(PLATFORM)
        await customer_calls.call_with_customer(
            change.tenant_id, lambda customer_id: _update(provider, customer_id, change)
        )


async def _update(provider: Provider, customer_id: str, change: BillingDetailsChange) -> None:
    current = await provider.fetch_billing_details(customer_id)
    if _is_changed_meanwhile(current, change):
        raise Conflict(
            "The billing details were changed meanwhile.",
            "Nothing was changed. Close this form, open it again and repeat your change.",
            reason="changed_meanwhile",
        )
    kept = next(
        (tax_id for tax_id in current.tax_ids if _is_submitted(tax_id, change)),
        None,
    )
    removed_tax_ids = [tax_id.id for tax_id in list_editable_tax_ids(current) if tax_id != kept]
    await provider.update_billing_details(customer_id, change.details, removed_tax_ids=removed_tax_ids)


def list_editable_tax_ids(details: BillingDetails) -> list[TaxId]:
    """Those that the form replaces, the newest first. Other types are set at the provider and stay."""
    return [tax_id for tax_id in details.tax_ids if tax_id.type in TAX_ID_LABELS]


def _is_changed_meanwhile(current: BillingDetails, change: BillingDetailsChange) -> bool:
    """Whether they were changed by anything but this change. What an earlier try of this change has stored doesn't count."""
    if any(
        getattr(current, field) not in (getattr(change.opened, field), getattr(change.details, field))
        for field in ("name", "email", "country", *ADDRESS_FIELDS)
    ):
        return True
    opened_ids = {tax_id.id for tax_id in change.opened.tax_ids}
    current_ids = {tax_id.id for tax_id in current.tax_ids}
    is_added = any(
        tax_id.id not in opened_ids and not _is_submitted(tax_id, change) for tax_id in current.tax_ids
    )
    is_removed = any(
        _is_submitted(tax_id, change) and tax_id.id not in current_ids for tax_id in change.opened.tax_ids
    )
    return is_added or is_removed


def _is_submitted(tax_id: TaxId, change: BillingDetailsChange) -> bool:
    return any(tax_id.is_same_number(submitted) for submitted in change.details.tax_ids)


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
    if country and country not in COUNTRY_NAMES:
        raise Invalid(
            "Enter one such as DE or US.",
            "Nothing was changed. Correct this and try again.",
            fields={"country": "Enter one such as DE or US."},
        )
    tax_ids = tuple(_clean_tax_id(tax_id) for tax_id in details.tax_ids)
    return BillingDetails(name=name, email=email, country=country, tax_ids=tax_ids, **lines)


def _clean_tax_id(tax_id: TaxId) -> TaxId:
    """Raises Invalid."""
    value = (" " if tax_id.type in SPACED_TYPES else "").join(tax_id.value.upper().split())
    if not value or tax_id.type not in TAX_ID_LABELS:
        raise Invalid(
            "A tax ID needs a type and a number.",
            "Enter both, or leave both empty.",
            fields={"tax_id": "Needs a type and a number"},
        )
    return TaxId(tax_id.type, value)
