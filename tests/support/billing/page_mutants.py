"""Faults of former versions, planted into the product, by the number of issue 11 that describes them.

`tests/billing/test_page_histories.py` asserts that some history notices each.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from shared.billing import customers, usage_periods
from shared.billing.inbound_webhooks.signature import WebhookEvent
from shared.billing.models import BillingCustomer
from shared.billing.provider import OpenCheckouts, UpcomingInvoice
from shared.billing.subscriptions import changes, checkout, proration, remaining_charges
from shared.billing.subscriptions.remaining_charges import RemainingCharges
from shared.billing.sync import access_schedule, refund_results
from shared.billing.usage_periods import Placement
from shared.core.errors import Conflict
from tests.support.billing import memory_provider
from tests.support.billing.memory_provider import Deal, MemoryProvider
from tests.support.billing.memory_tenant import present

Plant = Callable[[pytest.MonkeyPatch], None]


def sell_twice(patch: pytest.MonkeyPatch) -> None:
    async def require_nothing(*_: Any) -> None: ...

    create_page = checkout._create_page

    async def keep_all_open(provider: Any, order: Any, customer_id: str, *, keep: str = "") -> OpenCheckouts:
        await create_page(provider, order, customer_id, str(len(present.tenant.provider.carts)))
        url, _ = list(present.tenant.provider.carts.items())[-1]
        return OpenCheckouts(checkout.Checkout(url, url), "")

    patch.setattr(checkout, "_require_unsubscribed", require_nothing)
    patch.setattr(checkout, "_close_checkouts", keep_all_open)


def bill_years_at_their_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(proration, "is_billed_now", lambda period, amount: False)


def say_that_an_unpaid_change_is_done(patch: pytest.MonkeyPatch) -> None:
    submit = changes.submit

    async def swallow(quote: changes.Quote) -> bool:
        try:
            return await submit(quote)
        except Conflict as refusal:
            if refusal.reason != changes.PAYMENT_OPEN:
                raise
            return True

    patch.setattr(changes, "submit", swallow)


def grant_before_the_money(patch: pytest.MonkeyPatch) -> None:
    def bill(provider: MemoryProvider, deal: Deal, after: Deal, *, other: bool) -> None:
        rows, deal.pending = provider._build_rows(after, provider.clock) if other else list(deal.pending), []
        deal.positions = after.positions
        if other:
            deal.starts = provider.clock
            deal.ends = provider.clock + memory_provider._get_period(provider, after)
        provider._bill_rows(deal, rows, provider.clock)

    patch.setattr(MemoryProvider, "_bill_change", bill)


def keep_a_deleted_customer(patch: pytest.MonkeyPatch) -> None:
    async def get_customer(ctx: Any, account_id: str) -> tuple[str, int]:
        row: BillingCustomer | None = await customers.repository.get_customer(ctx, account_id)
        return (row.id, row.generation) if row else ("", 0)

    patch.setattr(customers, "_get_usable_customer", get_customer)


def take_the_next_invoice_from_the_price_list(patch: pytest.MonkeyPatch) -> None:
    find = remaining_charges.find_next_invoice

    def find_listed(*args: Any) -> UpcomingInvoice | None:
        invoice = find(*args)
        if invoice is None:
            return None
        listed = [line for line in invoice.lines if not line.from_item and line.said != "Coupon"]
        return replace(invoice, due=sum(line.amount for line in listed))

    patch.setattr(remaining_charges, "find_next_invoice", find_listed)


def say_that_nothing_more_is_charged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RemainingCharges, "is_nothing", property(lambda _: True))


def report_late_usage_for_its_own_time(patch: pytest.MonkeyPatch) -> None:
    def place(used_at: datetime, *_: Any) -> Placement:
        return Placement("send", used_at)

    patch.setattr(usage_periods, "place_usage", place)


def take_a_requested_refund_for_done(patch: pytest.MonkeyPatch) -> None:
    async def ignore(*_: Any) -> None: ...

    patch.setattr(refund_results, "fail_adjustments", ignore)


def ignore_former_customers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WebhookEvent, "customer_id", property(lambda event: event.data.object.customer or ""))


def ignore_charges_of_disputes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WebhookEvent, "object_id", property(lambda _: ""))


def count_no_addon_as_one(patch: pytest.MonkeyPatch) -> None:
    count = access_schedule.count_addons

    def count_at_least_one(lines: Any, catalog_prices: Any) -> dict[str, int]:
        return count([replace(line, quantity=max(line.quantity, 1)) for line in lines], catalog_prices)

    patch.setattr(access_schedule, "count_addons", count_at_least_one)


def round_down(patch: pytest.MonkeyPatch) -> None:
    """The provider's arithmetic, which the oracle must not share."""
    patch.setattr(memory_provider, "_round_half_up", lambda exact: exact // 1)


MUTANTS: dict[str, Plant] = {
    "1 sells twice": sell_twice,
    "2 bills years at their end": bill_years_at_their_end,
    "3 says that an unpaid change is done": say_that_an_unpaid_change_is_done,
    "3 grants before the money": grant_before_the_money,
    "4 keeps a deleted customer": keep_a_deleted_customer,
    "5 next invoice from the price list": take_the_next_invoice_from_the_price_list,
    "5 nothing more is charged": say_that_nothing_more_is_charged,
    "6 reports late usage for its own time": report_late_usage_for_its_own_time,
    "8 takes a requested refund for done": take_a_requested_refund_for_done,
    "9 ignores former customers": ignore_former_customers,
    "9 ignores charges of disputes": ignore_charges_of_disputes,
    "11 counts no add-on as one": count_no_addon_as_one,
    "rounds down": round_down,
}
