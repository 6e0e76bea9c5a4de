"""The form that sets a price."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from shared.access import meters
from shared.billing.pricing import prices
from shared.billing.pricing.prices import Tier
from shared.core import money
from shared.core.errors import Invalid
from shared.core.stated_reason import MAX_REASON_LENGTH
from shared.ui.forms import Moment, VersionedForm, parse_whole_number

PERIOD_LABELS = {"month": "A month", "year": "A year"}
PART_LABELS = {
    "flat": "Base price",
    "seat": "Per seat",
    **{f"metered_{meter.key}": f"{meter.title}, by {meter.unit_text}" for meter in meters.list_sold()},
}
TAX_LABELS = {"": "As set in Stripe", "exclusive": "Added to the price", "inclusive": "Included in the price"}
ADDON_PART_LABELS = {"flat": "Per unit"}  # of an add-on
MAX_INCLUDED = prices.MAX_UNITS
ShortText = Annotated[str, StringConstraints(max_length=40)]


class PriceForm(VersionedForm):
    part: ShortText
    period: ShortText
    currency: ShortText
    price: ShortText
    included: ShortText = ""
    tax_behavior: ShortText = ""
    effective_at: Annotated[Moment, Field(title="In force from")] = None
    reason: Annotated[str, StringConstraints(min_length=1, max_length=MAX_REASON_LENGTH)]


def parse_price_form(form: PriceForm) -> dict[str, Any]:
    """The arguments of `price_admin.set_price`, except the reason and the number of known prices. Raises Invalid."""
    if form.part not in PART_LABELS:
        raise Invalid("Choose one of the options.", "Reload the page and try again.")
    kind, _, meter = form.part.partition("_")
    amount = money.parse_amount(form.price, form.currency, "price")
    if form.included and not meter:
        raise Invalid(
            "Only metered prices have included units.",
            "Leave the field empty.",
            fields={"included": "Only for metered prices"},
        )
    included = form.included.replace(",", "")
    included_units = parse_whole_number("included", included, 0, MAX_INCLUDED) if included else 0
    return {
        "period": form.period,
        "kind": kind,
        "meter": meter,
        "currency": form.currency,
        "amount": 0 if included_units else amount,
        "tiers": (Tier(included_units, 0), Tier(None, amount)) if included_units else (),
        "tax_behavior": form.tax_behavior,
        "effective_at": form.effective_at,
    }
