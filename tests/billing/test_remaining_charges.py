"""What is still charged after cancelling, from what the provider told us."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.billing.models import Price
from shared.billing.provider_values import InvoiceLine, Subscription, UpcomingCharges, UpcomingInvoice
from shared.billing.stripe_adapter import invoice_mapping, subscription_mapping
from shared.billing.subscriptions import remaining_charges
from shared.billing.subscriptions.remaining_charges import RemainingCharges, UnpaidInvoices
from shared.billing.subscriptions.subscriptions import PlanSubscription

T = datetime(2026, 11, 24, 12, tzinfo=UTC)
ACTIVE = Subscription("sub_1", "active", T, currency="usd")
NO_INVOICES = UnpaidInvoices(drafts=(), open=(), pending=())


def build_upcoming(subscription_id: str, *lines: InvoiceLine) -> UpcomingInvoice:
    total = sum(line.amount for line in lines)
    return UpcomingInvoice(
        subscription_id=subscription_id, currency="usd", at=T, total=total, due=total, lines=lines
    )


def find_remaining(
    *upcoming: UpcomingInvoice,
    balance: int = 0,
    snapshot: Subscription = ACTIVE,
    prices: dict[str, Price] | None = None,
) -> RemainingCharges:
    live = PlanSubscription("sub_1", "cus_1", snapshot, None, "month", None, {}, {}, prices or {}, 1)
    return remaining_charges.find_remaining_charges(
        [live], UpcomingCharges(upcoming), NO_INVOICES, balance=balance, at=T
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "unpaid"},
        {"paused_collection": "void"},
        {"status": "trialing", "after_trial": "cancel"},
        {"status": "trialing", "after_trial": "pause"},
    ],
)
def test_invoice_that_is_not_charged_is_not_the_next_one(changes: dict[str, Any]) -> None:
    uncharged, later = replace(ACTIVE, **changes), replace(ACTIVE, id="sub_2")
    invoices = (build_upcoming("sub_1"), replace(build_upcoming("sub_2"), at=T + timedelta(days=1)))
    next_invoice = remaining_charges.find_next_invoice(UpcomingCharges(invoices), [uncharged, later])
    assert next_invoice is invoices[1]
    assert remaining_charges.find_next_invoice(UpcomingCharges(invoices[:1]), [uncharged]) is None


@pytest.mark.parametrize(("status", "has_usage"), [("active", True), ("trialing", False), ("paused", False)])
def test_usage_is_charged_only_where_it_is_billed(status: str, has_usage: bool) -> None:
    """That before a pause is among its pending items."""
    snapshot = replace(ACTIVE, status=status)
    remaining = find_remaining(snapshot=snapshot, prices={"prc_1": Price(id="prc_1", kind="metered")})
    assert remaining.has_usage is has_usage


@pytest.mark.parametrize("changes", [{"pays": True}, {"after_trial": "invoice"}])
def test_trial_is_charged_with_a_payment_method_or_by_invoice(changes: dict[str, Any]) -> None:
    trial = replace(ACTIVE, **({"status": "trialing", "after_trial": "cancel"} | changes))
    invoice = build_upcoming("sub_1")
    assert remaining_charges.find_next_invoice(UpcomingCharges((invoice,)), [trial]) is invoice


def test_item_of_no_subscription_is_counted_once() -> None:
    raw: dict[str, Any] = {"amount": 700, "parent": {"invoice_item_details": {"invoice_item": "ii_1"}}}
    (previewed,) = invoice_mapping.to_upcoming_invoice(
        {"total": 700, "lines": {"data": [raw]}}, subscription_id="sub_1"
    ).lines
    (last,) = subscription_mapping.to_last_invoices({}, [{"id": "sub_2"}], [{"id": "ii_1", "amount": 700}])
    remaining = find_remaining(build_upcoming("sub_1", previewed), last)
    assert (remaining.pending_amount, len(remaining.pending_lines)) == (700, 1)


@pytest.mark.parametrize(("balance", "amount"), [(-300, 400), (-900, 0), (200, 900)])
def test_balance_is_part_of_the_last_invoice(balance: int, amount: int) -> None:
    item = InvoiceLine("Seats", 700, 1, T, T, proration=True, from_item=True)
    remaining = find_remaining(build_upcoming("sub_1", item), balance=balance)
    assert (remaining.pending_amount, remaining.is_nothing) == (amount, amount == 0)
