"""Add-ons as the page shows them."""

from dataclasses import dataclass

from shared.billing.subscriptions.overview import BillingOverview, PurchaseOption
from shared.core import money
from tenant_app.pages.billing.plan_rows import describe_other_currencies, period_text
from tenant_app.pages.billing.rows import iso_or_empty


@dataclass(frozen=True)
class AddonRow:
    id: str
    name: str
    sentence: str
    cost: str
    count: int
    status: str  # "" where there is none
    tone: str
    paid_until: str  # ISO, of what was given up
    add_label: str  # what the button that adds says; "" for none
    can_remove: bool
    refusal: str


def addon_rows(overview: BillingOverview, period: str) -> list[AddonRow]:
    subscription = overview.subscription
    rows = []
    for addon in overview.addons:
        parts = addon.prices_by_period.get(subscription.period if subscription else period)
        other_currency_text = describe_other_currencies(addon, overview.shown_currency)
        if other_currency_text:
            rows.append(_unsold_addon_row(addon, overview.shown_currency, other_currency_text))
        if parts is None or parts.flat is None:
            continue
        count = subscription.addons.get(addon.offer.id, 0) if subscription else 0
        removed_addon = subscription.canceled_by_version.get(addon.offer.id) if subscription else None
        kept_quantity = removed_addon.quantity if removed_addon else 0
        status = f"{count} now" if count > 1 else "Active" if count else ""
        if kept_quantity > count:
            status = "Ends"
        more = "" if count and not addon.offer.limits else "Add one more" if count else "Add"
        if kept_quantity > count:
            more = "Keep"
        rows.append(
            AddonRow(
                addon.offer.id,
                addon.offer.name,
                addon.sentence,
                f"{money.format_amount(parts.flat.amount, parts.currency, short=True)} {period_text(subscription.period if subscription else period)}",
                count,
                status,
                "warn" if kept_quantity > count else "ok",
                iso_or_empty(removed_addon.until) if removed_addon and kept_quantity > count else "",
                more,
                count > 0,
                " ".join(overview.obstacle or ())
                if subscription
                else "Add-ons belong to a subscription. Choose a plan first.",
            )
        )
    return rows


def _unsold_addon_row(addon: PurchaseOption, currency: str, refusal: str) -> AddonRow:
    return AddonRow(
        id=addon.offer.id,
        name=addon.offer.name,
        sentence=addon.sentence,
        cost=f"Not in {currency.upper()}",
        count=0,
        status="",
        tone="idle",
        paid_until="",
        add_label="Add",
        can_remove=False,
        refusal=refusal,
    )
