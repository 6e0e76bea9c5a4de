"""The provider of random histories: with coupons, inclusive tax and archived prices, and with looks ahead."""

import copy
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from shared.billing.provider import ProviderRefused
from shared.billing.provider_values import (
    CanceledAddon,
    ChangePreview,
    Checkout,
    CheckoutOrder,
    InvoiceLine,
    OrderLine,
    PendingChange,
)
from tests.support.billing import memory_provider
from tests.support.billing.memory_provider import Buyer, Deal, MemoryProvider, Position, Transaction

HOUR = timedelta(hours=1)
PAYABLE_FOR = 23 * HOUR
RAW_SENTENCE = "The price specified is inactive."  # the provider's words, which aren't for customers


def due_of(bill: Transaction) -> int:
    return max(0, bill.sum - bill.from_wallet)


class HistoryProvider(MemoryProvider):
    """Takes no proration before the running period and no usage of an invoice that is final.

    `tax_percent`: contained in all prices. `charged`: the exact cost of a period, by deal and offer.
    """

    def __init__(self, now: datetime, *, tax_percent: int = 0) -> None:
        super().__init__(now)
        self.tax_percent = tax_percent
        self.percent_off: dict[str, int] = {}  # by deal
        self.charged: dict[tuple[str, str], Fraction] = {}
        self.on_period_end: Callable[[Deal, datetime], None] | None = None
        self.on_held_change_paid: Callable[[Deal], None] | None = None
        self.on_held_change_dropped: Callable[[Deal], None] | None = None
        self.lost_usage: list[str] = []
        self._was_billed = False

    # ── taxes and discounts ────────────────────────────────────────────────────────────────────────────────────────

    def is_taxing(self, deal: Deal) -> bool:
        return bool(self.tax_percent)

    def sum_included_tax(self, rows: Sequence[InvoiceLine]) -> int:
        tax = 0
        for row in rows:
            exact = Fraction(abs(row.amount) * self.tax_percent, 100 + self.tax_percent)
            tax += memory_provider._round_half_up(exact) * (1 if row.amount > 0 else -1)
        return tax

    def get_customer_currency(self, buyer: Buyer) -> str:
        """None before the first order."""
        deals = self._list_deals(buyer.id)
        return self._get_currency(deals[0]) if deals else ""

    def _build_rows(self, deal: Deal, at: datetime, *, past: bool = True) -> list[InvoiceLine]:
        rows = super()._build_rows(deal, at, past=past)
        total = sum(row.amount for row in rows if not row.proration)
        if (percent := self.percent_off.get(deal.id, 0)) and total > 0:
            discount = memory_provider._round_half_up(Fraction(total * percent, 100))
            rows.append(InvoiceLine("Coupon", -discount, None, at, at, proration=False))
        return rows

    def _compute_proration(self, before: Deal, after: Deal, at: datetime) -> list[InvoiceLine]:
        """Back what was charged for the unused time, and the rest of what is new less its discount."""
        period_s, remaining_s = (int((before.ends - since).total_seconds()) for since in (before.starts, at))
        is_other_period = self._is_other_period(before, after)
        counts_before = {position.offer: position.count for position in before.positions}
        counts_after = {position.offer: position.count for position in after.positions}
        rows = []
        for offer in sorted({*counts_before, *counts_after}):
            tag, count = self.offers[offer].tag, counts_after.get(offer)
            if tag.kind == "metered" or counts_before.get(offer) == count:
                continue
            costs = [(-1, self.charged.get((before.id, offer), Fraction(0)))]
            if not is_other_period and count:
                costs.append((1, self._net_cost(before, offer, count)))
            for sign, cost in costs:
                amount = sign * memory_provider._round_half_up(cost * Fraction(remaining_s, period_s))
                period = (at, before.ends)
                rows.append(
                    InvoiceLine(tag.product_name, amount, count, *period, proration=True, from_item=True)
                )
        return rows

    def _net_cost(self, deal: Deal, offer: str, count: int) -> Fraction:
        percent = 100 - self.percent_off.get(deal.id, 0)
        return Fraction(self.offers[offer].tag.amount * count * percent, 100)

    def _is_other_period(self, before: Deal, after: Deal) -> bool:
        return memory_provider._get_period(self, after) != memory_provider._get_period(self, before)

    def _note_charged(self, deal: Deal, before: Sequence[Position] = (), *, prorated: bool = True) -> None:
        """`before`: positions whose running period goes on, so that what didn't change was charged as it was."""
        counts_before = {position.offer: position.count for position in before}
        charged = {offer: cost for (deal_id, offer), cost in self.charged.items() if deal_id == deal.id}
        for offer in charged:
            del self.charged[deal.id, offer]
        for position in deal.positions:
            is_kept = not prorated or (
                position.offer in counts_before and counts_before[position.offer] == position.count
            )
            cost = (
                charged.get(position.offer, Fraction(0))
                if is_kept
                else self._net_cost(deal, position.offer, position.count or 0)
            )
            self.charged[deal.id, position.offer] = cost

    # ── what was charged ───────────────────────────────────────────────────────────────────────────────────────────

    def _start_period(self, deal: Deal, at: datetime, *, renews: bool = False, pays: bool = False) -> None:
        super()._start_period(deal, at, renews=renews, pays=pays)
        self._note_charged(deal)

    def _start_planned(self, deal: Deal) -> None:
        super()._start_planned(deal)
        self._note_charged(deal)

    def _end_period(self, deal: Deal) -> None:
        super()._end_period(deal)
        if self.on_period_end is not None:
            self.on_period_end(deal, self.clock)

    def _charge_transaction(self, bill: Transaction, *, pays: bool = False) -> None:
        deal = self.deals[bill.deal]
        was_held = deal.held is not None and deal.held.transaction == bill.id
        before, starts = deal.positions, deal.starts
        super()._charge_transaction(bill, pays=pays)
        if was_held and deal.held is None:
            self._note_charged(deal, before if deal.starts == starts else ())
            if self.on_held_change_paid is not None:
                self.on_held_change_paid(deal)

    def _bill_change(self, deal: Deal, after: Deal, *, other: bool) -> None:
        self._was_billed = True
        super()._bill_change(deal, after, other=other)

    def _drop_held_changes(self) -> None:
        """A resumption too has to be paid within a day."""
        for deal in self.deals.values():
            bill = self.transactions.get(deal.resumption)
            if bill is not None and self.clock - bill.at >= PAYABLE_FOR:
                bill.state, deal.resumption = "waived", ""
                self.buyers[deal.buyer].wallet += bill.from_wallet
        for deal in [deal for deal in self.deals.values() if deal.held and deal.held.until <= self.clock]:
            self.drop_held_change(deal)

    def drop_held_change(self, deal: Deal) -> None:
        assert deal.held is not None
        bill = self.transactions[deal.held.transaction]
        bill.state, deal.held = "waived", None
        self.buyers[deal.buyer].wallet += bill.from_wallet
        if self.on_held_change_dropped is not None:
            self.on_held_change_dropped(deal)

    async def void_invoice(self, invoice_id: str, key: str) -> None:
        deal = self.deals[self.transactions[invoice_id].deal]
        if deal.held is not None and deal.held.transaction == invoice_id:
            self.drop_held_change(deal)
        else:
            await super().void_invoice(invoice_id, key)

    # ── verbs ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create_checkout(self, order: CheckoutOrder) -> Checkout:
        self._require_sold(order.lines)
        return await super().create_checkout(order)

    async def preview_change(
        self,
        customer_id: str,
        subscription_id: str,
        lines: Sequence[OrderLine],
        as_of: datetime | None = None,
        *,
        bill_now: bool = False,
    ) -> ChangePreview:
        self._require_current_period(subscription_id, as_of)
        self._require_sold(lines, self.deals[subscription_id])
        return await super().preview_change(customer_id, subscription_id, lines, as_of, bill_now=bill_now)

    async def change_subscription(
        self,
        subscription_id: str,
        lines: Sequence[OrderLine],
        *,
        as_of: datetime | None,
        prorate: bool,
        bill_now: bool = False,
        canceled_addons: Sequence[CanceledAddon] = (),
        key: str,
    ) -> PendingChange | None:
        self._require_current_period(subscription_id, as_of)
        deal = self.deals[subscription_id]
        is_new = key not in self._results_by_key
        if is_new:
            self._require_sold(lines, deal)
            if deal.held is not None:  # another change replaces it
                self.drop_held_change(deal)
        before, self._was_billed = deal.positions, False
        pending_change = await super().change_subscription(
            subscription_id,
            lines,
            as_of=as_of,
            prorate=prorate,
            bill_now=bill_now,
            canceled_addons=canceled_addons,
            key=key,
        )
        if is_new and not self._was_billed:  # else it is noted when it is paid
            self._note_charged(deal, before, prorated=prorate and deal.state != "trial")
        return pending_change

    async def schedule_change(self, subscription_id: str, lines: Sequence[OrderLine], key: str) -> None:
        self._require_sold(lines, self.deals[subscription_id])
        await super().schedule_change(subscription_id, lines, key)

    def _require_current_period(self, deal_id: str, as_of: datetime | None) -> None:
        if as_of is not None and deal_id in self.deals and as_of < self.deals[deal_id].starts:
            raise ProviderRefused("The proration date is before the period.", "proration_date")

    def _require_sold(self, lines: Sequence[OrderLine], deal: Deal | None = None) -> None:
        """What a deal has already may stay."""
        kept = {position.offer for position in deal.positions} if deal else set[str]()
        if any(
            not self.offers[line.external_price_id].sold
            for line in lines
            if line.external_price_id not in kept
        ):
            raise ProviderRefused(RAW_SENTENCE, "price_inactive", kind="price")

    async def report_usage(
        self, customer_id: str, meter: str, quantity: int, at: datetime, identifier: str
    ) -> None:
        await super().report_usage(customer_id, meter, quantity, at, identifier)
        live = [deal for deal in self._list_deals(customer_id) if deal.state in ("running", "behind")]
        if not live or meter not in {self.offers[each.offer].tag.meter for each in live[0].positions}:
            return
        is_free = at < (live[0].trial_until or live[0].begun)
        if not is_free and at < live[0].starts and self.clock - live[0].starts > HOUR:
            self.lost_usage.append(identifier)

    def look_ahead(
        self, duration: timedelta, *, pays: bool = False
    ) -> tuple["HistoryProvider", list[Transaction]]:
        """What would happen without another click, and the transactions of it. `pays`: with a card that pays."""
        hooks = self.on_period_end, self.on_held_change_paid, self.on_held_change_dropped
        self.on_period_end = self.on_held_change_paid = self.on_held_change_dropped = None
        kept: tuple[Any, ...] = (self.calls, self.carts, self.offers)
        self.calls, self.carts, self.offers = [], {}, {}
        future = copy.deepcopy(self)
        self.on_period_end, self.on_held_change_paid, self.on_held_change_dropped = hooks
        self.calls, self.carts, self.offers = kept
        future.offers = self.offers
        earlier_ids = set(future.transactions)
        if pays:
            for buyer in future.buyers.values():
                buyer.card = True
        future.advance(duration)
        return future, [bill for id_, bill in future.transactions.items() if id_ not in earlier_ids]
