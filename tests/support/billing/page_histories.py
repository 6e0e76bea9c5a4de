"""Random histories of one customer: what the page said before each click against what is charged by it.

Customers order in several tabs, let pages grow old, change, cancel and resume, replace their card by one that declines or
asks for a confirmation; operators give credit and coupons, and change or delete things in the provider's dashboard; webhooks
come at once or later; time passes. The provider is the one in memory; `billing_oracle` judges every amount.
"""

import copy
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from shared.billing import usage_periods
from shared.billing.inbound_webhooks.signature import EventData, EventObject, PreviousAttributes, WebhookEvent
from shared.billing.models import BillingAdjustment
from shared.billing.provider import (
    ChangePreview,
    InvoiceLine,
    PendingChange,
    ProviderRefused,
)
from shared.billing.subscriptions import cancellation, changes, checkout
from shared.billing.subscriptions.changes import ChangeRequest, Quote
from shared.billing.subscriptions.overview import BillingOverview
from shared.billing.sync import provider_records
from shared.core import money
from shared.core.errors import Conflict, Invalid
from tenant_app.pages.billing.plan_rows import plan_rows
from tenant_app.pages.billing.quote_rows import preview_row
from tenant_app.pages.billing.remaining_rows import remaining_row
from tenant_app.pages.billing.rows import NextInvoiceRow, next_invoice_row
from tests.support.billing import access_reference, memory_tenant
from tests.support.billing.billing_oracle import ListPrice, Oracle
from tests.support.billing.memory_provider import Deal, MemoryProvider, Transaction
from tests.support.billing.memory_tenant import MemoryTenant, Shelf

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
START = datetime.fromisoformat("2027-01-29T12:00:00+00:00")  # the next months end earlier
PLANS = ("plv_starter_1", "plv_pro_1", "plv_business_1")
ADDON, ADDON_LIMIT = "plv_extra_seats_1", 3
METER = "api_calls"
USED_BEFORE = (MINUTE, 50 * MINUTE, 3 * HOUR)
CANCEL_REASON = "other"
NOTHING_MORE = "You won’t be charged again."
STEPS = 14


class Fault(AssertionError):
    """The page, or the product behind it, was wrong."""


def check(holds: bool, *words: object) -> None:
    if not holds:
        raise Fault(" ".join(map(str, words)))


class HistoryProvider(MemoryProvider):
    """Also has coupons, and takes no proration before the running period and no usage of an invoice that is final."""

    def __init__(self, now: datetime) -> None:
        super().__init__(now)
        self.percent_off: dict[str, int] = {}  # by deal
        self.on_period_end: Callable[[Deal, datetime], None] | None = None
        self.on_held_change_paid: Callable[[Deal], None] | None = None
        self.on_held_change_dropped: Callable[[Deal], None] | None = None
        self.lost_usage: list[str] = []

    def _build_rows(self, deal: Deal, at: datetime, *, past: bool = True) -> list[InvoiceLine]:
        rows = super()._build_rows(deal, at, past=past)
        total = sum(row.amount for row in rows)
        if (percent := self.percent_off.get(deal.id, 0)) and total > 0:
            discount = (Fraction(total * percent, 100) + Fraction(1, 2)) // 1
            rows.append(InvoiceLine("Coupon", -int(discount), None, at, at, proration=False))
        return rows

    def _end_period(self, deal: Deal) -> None:
        super()._end_period(deal)
        if self.on_period_end is not None:
            self.on_period_end(deal, self.clock)

    def _charge_transaction(self, bill: Transaction, *, pays: bool = False) -> None:
        deal = self.deals[bill.deal]
        was_held = deal.held is not None and deal.held.transaction == bill.id
        super()._charge_transaction(bill, pays=pays)
        if was_held and deal.held is None and self.on_held_change_paid is not None:
            self.on_held_change_paid(deal)

    def _drop_held_changes(self) -> None:
        for deal in [deal for deal in self.deals.values() if deal.held and deal.held.until <= self.clock]:
            self.drop_held_change(deal)

    def drop_held_change(self, deal: Deal) -> None:
        assert deal.held is not None
        bill = self.transactions[deal.held.transaction]
        bill.state, deal.held = "waived", None
        self.buyers[deal.buyer].wallet += bill.from_wallet
        if self.on_held_change_dropped is not None:
            self.on_held_change_dropped(deal)

    async def preview_change(
        self, customer_id: str, subscription_id: str, *args: Any, **kwargs: Any
    ) -> ChangePreview:
        self._require_current_period(subscription_id, args[1] if len(args) > 1 else kwargs.get("as_of"))
        return await super().preview_change(customer_id, subscription_id, *args, **kwargs)

    async def change_subscription(
        self,
        subscription_id: str,
        lines: Any,
        *,
        as_of: datetime | None,
        prorate: bool,
        bill_now: bool = False,
        canceled_addons: Any = (),
        key: str,
    ) -> PendingChange | None:
        self._require_current_period(subscription_id, as_of)
        deal = self.deals[subscription_id]
        if deal.held is not None and key not in self._results_by_key:  # another change replaces it
            self.drop_held_change(deal)
        return await super().change_subscription(
            subscription_id,
            lines,
            as_of=as_of,
            prorate=prorate,
            bill_now=bill_now,
            canceled_addons=canceled_addons,
            key=key,
        )

    def _require_current_period(self, deal_id: str, as_of: datetime | None) -> None:
        if as_of is not None and deal_id in self.deals and as_of < self.deals[deal_id].starts:
            raise ProviderRefused("The proration date is before the period.", "proration_date")

    async def report_usage(
        self, customer_id: str, meter: str, quantity: int, at: datetime, identifier: str
    ) -> None:
        await super().report_usage(customer_id, meter, quantity, at, identifier)
        live = [deal for deal in self._list_deals(customer_id) if deal.state in ("running", "behind")]
        is_final = live and at < live[0].starts and self.clock - live[0].starts > HOUR
        if is_final:
            self.lost_usage.append(identifier)

    def look_ahead(
        self, duration: timedelta, *, pays: bool = False
    ) -> tuple["HistoryProvider", list[Transaction]]:
        """What would happen without another click, and the transactions of it. `pays`: with a card that pays."""
        hooks = self.on_period_end, self.on_held_change_paid, self.on_held_change_dropped
        self.on_period_end = self.on_held_change_paid = self.on_held_change_dropped = None
        calls, self.calls = self.calls, []
        future = copy.deepcopy(self)
        self.on_period_end, self.on_held_change_paid, self.on_held_change_dropped = hooks
        self.calls = calls
        known = set(future.transactions)
        if pays:
            for buyer in future.buyers.values():
                buyer.card = True
        future.advance(duration)
        return future, [bill for id_, bill in future.transactions.items() if id_ not in known]


@dataclass(frozen=True)
class OpenOrder:
    url: str
    promised: int  # cents, at once
    items: dict[str, int]
    has_trial: bool


@dataclass(frozen=True)
class HeldItems:
    items: dict[str, int]
    at: datetime
    pending: int


def due_of(bill: Transaction) -> int:
    return max(0, bill.sum - bill.from_wallet)


@dataclass
class History:
    rng: random.Random
    tenant: MemoryTenant
    provider: HistoryProvider
    oracle: Oracle
    orders: list[OpenOrder] = field(default_factory=list)
    quotes: list[Quote] = field(default_factory=list)
    confirmed: list[Quote] = field(default_factory=list)
    tabs: list[BillingOverview] = field(default_factory=list)  # as they were opened
    held: dict[str, HeldItems] = field(default_factory=dict)
    is_fresh: bool = True  # our records are those of the provider
    log: list[str] = field(default_factory=list)

    @classmethod
    async def create(cls, seed: int, shelf: Shelf) -> "History":
        provider = HistoryProvider(START)
        tenant = MemoryTenant(shelf, provider, await shelf.push_all(provider))
        prices = {
            price.id: ListPrice(price.amount, price.period == "year")
            for price, _, _ in shelf.priced_versions
            if price.kind != "metered"
        }
        history = cls(random.Random(seed), tenant, provider, Oracle(prices))
        provider.on_period_end = history._note_period_end
        provider.on_held_change_paid = history._note_held_paid
        provider.on_held_change_dropped = history._note_held_dropped
        return history

    # ── facts for the oracle ───────────────────────────────────────────────────────────────────────────────────────

    def _note_period_end(self, deal: Deal, at: datetime) -> None:
        account = self.oracle.accounts.get(deal.id)
        if account is None:
            return
        if deal.state == "over" and not account.is_ending:  # a trial without a card
            del self.oracle.accounts[deal.id]
            return
        bills = [
            bill for bill in self.provider.transactions.values() if bill.deal == deal.id and bill.at == at
        ]
        expected = self.oracle.renew(deal.id, at)
        charged = due_of(bills[-1]) if bills else 0
        check(charged == expected, "renewal of", deal.id, "charged", charged, "instead of", expected)

    def _note_held_paid(self, deal: Deal) -> None:
        if (held := self.held.pop(deal.id, None)) is not None:
            self.oracle.accounts[deal.id].pending = held.pending
            self.oracle.change(deal.id, held.items, held.at)
            self.oracle.accounts[deal.id].starts, self.oracle.accounts[deal.id].ends = deal.starts, deal.ends

    def _note_held_dropped(self, deal: Deal) -> None:
        self.held.pop(deal.id, None)

    # ── what is known ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def customer_id(self) -> str:
        return self.tenant.customers[-1].id if self.tenant.customers else ""

    def list_live(self) -> list[Deal]:
        """Of all customers of the tenant."""
        ids = {customer.id for customer in self.tenant.customers}
        return [deal for deal in self.provider.deals.values() if deal.buyer in ids and deal.state != "over"]

    def items_of(self, deal: Deal) -> dict[str, int]:
        return {
            self.provider.offers[position.offer].tag.id: position.count
            for position in deal.positions
            if position.count is not None
        }

    def list_bills(self) -> dict[str, Transaction]:
        return dict(self.provider.transactions)

    async def webhook(self) -> None:
        """Something changed at the provider. Its webhook comes now, or with a later one."""
        self.is_fresh = False
        if self.rng.random() < 0.7:
            await self.sync()

    async def sync(self) -> None:
        await self.tenant.sync()
        self.is_fresh = True
        self._check_access()

    async def open_tab(self) -> BillingOverview:
        if not self.tabs or self.rng.random() < 0.7:
            self.tabs.append(await self.tenant.get_overview())
        return self.rng.choice(self.tabs[-3:])

    # ── checks ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _check_access(self) -> None:
        schedule, now = self.tenant.schedule, self.tenant.now()
        subscriptions = [provider_records.to_subscription(row) for row in self.tenant.list_subscriptions()]
        expected = access_reference.expected_access(subscriptions, now) if subscriptions else None
        check(
            (schedule.status_at(now) if schedule else None) == expected,
            "access",
            schedule,
            "instead of",
            expected,
        )
        if schedule is None or expected != "active":
            return
        (deal, *_) = self.list_live()
        bought = {
            price: count
            for price, count in self.items_of(deal).items()
            if count and self.tenant.shelf.catalog_prices[price].is_addon
        }
        kept = {addon.price_id: addon.quantity for addon in deal.notes if addon.until > now}
        expected_addons: Counter[str] = Counter()
        for price, count in [
            *bought.items(),
            *kept.items(),
        ]:  # there is one add-on here, for a month or a year
            version_id = self.tenant.shelf.catalog_prices[price].version_id
            expected_addons[version_id] = max(expected_addons[version_id], count)
        addons: Counter[str] = Counter()
        for addon in schedule.addons:
            addons[addon.version_id] += addon.quantity
        check(addons == expected_addons, "add-ons", addons, "instead of", expected_addons)

    async def check_page(self) -> None:
        """The next invoice and the payment method, on a page with records of now."""
        await self.sync()
        page = await self.tenant.get_overview()
        live = [deal for deal in self.list_live() if deal.buyer == self.customer_id]
        buyer = self.provider.buyers.get(self.customer_id)
        check(bool(page.method) == bool(buyer and buyer.card is not None), "method", page.method)
        if len(live) != 1 or live[0].held is not None or page.subscription is None:
            return
        deal = live[0]
        row = next_invoice_row(page)
        _, bills = self.provider.look_ahead(deal.ends - self.provider.clock + timedelta(seconds=1))
        charged = sum(due_of(bill) for bill in bills)
        ends_unpaid = deal.state == "trial" and self.provider.buyers[deal.buyer].card is None
        expected = 0 if ends_unpaid else self.oracle.next_invoice(deal.id)
        check(
            charged == expected, "next invoice is", charged, "by the provider and", expected, "by the rules"
        )
        zero = money.format_amount(0, "usd")
        shown = zero if row.amount == NextInvoiceRow().amount else row.amount
        check(
            shown == money.format_amount(charged, "usd"),
            "page says next invoice",
            shown,
            "but it is",
            charged,
        )

    def _check_one_subscription(self) -> None:
        live = [deal for deal in self.list_live() if deal.buyer == self.customer_id]
        check(len(live) <= 1, "two subscriptions:", [deal.id for deal in live])

    # ── steps ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def order(self) -> None:
        page, period = await self.open_tab(), self.rng.choice(("month", "month", "year"))
        option = self.rng.choice([plan for plan in page.plans if plan.offer.id in PLANS])
        parts, seats = option.prices_by_period[period], self.rng.randint(1, 6)
        (row,) = [row for row in plan_rows(page, period, "") if row.id == option.offer.id]
        items = {parts.flat.id: 1} if parts.flat else {}
        items |= {parts.seat.id: seats} if parts.seat else {}
        if page.subscription is not None:  # its button changes the plan
            return
        try:
            request = await checkout.prepare(
                self.tenant.shelf.ctx, row.id, period, seats=seats, expects_trial=row.has_trial or None
            )
            url = await checkout.submit(request)
        except Conflict as refusal:
            is_live = any(deal.buyer == self.customer_id for deal in self.list_live())
            is_gone = row.has_trial and self.tenant.subscriptions
            check(bool(is_live or is_gone), "an order was refused:", refusal)
            return
        promised = 0 if row.has_trial else self.oracle.price_of(items)
        self.orders.append(OpenOrder(url, promised, items, row.has_trial))

    async def pay(self) -> None:
        orders = [order for order in self.orders if order.url not in self.provider.closed_carts]
        if not orders:
            return
        order = self.rng.choice(orders)
        cart = self.provider.carts[order.url]
        if (
            self.provider.clock - self.provider.opened_at[order.url] >= HOUR
            or self.provider.buyers[cart.customer_id].gone
        ):
            return
        before = self.list_bills()
        deal = self.provider.deals[self.provider.pay(order.url, card=self.rng.random() < 0.8)]
        bills = [bill for id_, bill in self.list_bills().items() if id_ not in before]
        trial_until = deal.trial_until if deal.state == "trial" else None
        expected = self.oracle.subscribe(deal.id, self.items_of(deal), self.provider.clock, trial_until)
        charged = sum(due_of(bill) for bill in bills)
        check(charged == expected, "order charged", charged, "instead of", expected)
        credit = sum(bill.from_wallet for bill in bills)
        check(
            charged + credit == order.promised, "page promised", order.promised, "and the order cost", charged
        )
        self._check_one_subscription()
        await self.webhook()

    async def quote(self) -> None:
        page = await self.open_tab()
        if page.subscription is None:
            return
        request = self.rng.choice(
            (
                ChangeRequest(
                    self.rng.choice(PLANS), self.rng.choice(("month", "year")), self.rng.randint(1, 6)
                ),
                ChangeRequest(seats=self.rng.randint(1, 9)),
                ChangeRequest(addon_id=ADDON, addon_quantity=self.rng.randint(0, ADDON_LIMIT)),
            )
        ).with_timing("now")
        try:
            change = await changes.plan_change(self.tenant.shelf.ctx, request)
            quote = await changes.quote_change(change)
        except (Conflict, Invalid):
            return
        deal = self.provider.deals[change.subscription_id]
        if deal.state == "over" or deal.id not in self.oracle.accounts:
            return
        items = {line.price_id: line.quantity for line in change.lines if line.quantity is not None}
        preview = preview_row(quote)
        shown, label = preview.total, preview.label
        if change.prorate and deal.held is None:
            verdict = self.oracle.judge_change(deal.id, items, quote.preview.as_of)
            is_today = label == "Due today"
            check(
                not shown or is_today == (verdict.charged == "today"),
                "page says",
                label,
                "but it is",
                verdict,
            )
            expected = money.format_amount(verdict.amount, "usd")
            check(
                (shown or money.format_amount(0, "usd")) == expected, "page says", shown, "but it is", verdict
            )
        self.quotes.append(quote)

    async def confirm(self) -> None:
        if not self.quotes:
            return
        quote = self.quotes[-1] if self.rng.random() < 0.6 else self.rng.choice(self.quotes[-3:])
        change, deal = quote.change, self.provider.deals[quote.change.subscription_id]
        before, pending_before = self.list_bills(), sum(row.amount for row in deal.pending)
        items_before, replaces_held = self.items_of(deal), deal.held is not None
        items = {line.price_id: line.quantity for line in change.lines if line.quantity is not None}
        preview = preview_row(quote)
        shown, label = preview.total, preview.label
        is_refused = is_open = False
        try:
            await changes.prepare(self.tenant.shelf.ctx, quote)
            await changes.submit(quote)
        except Conflict as refusal:
            is_open = refusal.reason == changes.PAYMENT_OPEN
            is_refused = not is_open
        bills = [bill for id_, bill in self.list_bills().items() if id_ not in before]
        charged = money.format_amount(sum(due_of(bill) for bill in bills), "usd")
        pending = sum(row.amount for row in deal.pending)
        if is_refused:
            check(not bills and self.items_of(deal) == items_before, "a refused change took effect")
            return
        if any(quote is known for known in self.confirmed):  # clicked twice: one effect
            check(not bills and self.items_of(deal) == items_before, "the same change took effect twice")
            return
        self.confirmed.append(quote)
        zero = money.format_amount(0, "usd")
        if replaces_held:  # the credit in the invoice that is voided comes back, so that it may cost less
            pass
        elif label == "Due today":
            check(charged == shown, "page said due today", shown, "and", charged, "was charged")
        else:
            check(not bills, "page said", label or "nothing", "and", charged, "was charged")
            added = money.format_amount(pending - pending_before, "usd")
            check(added == (shown or zero), "page said", shown, "and", added, "was added")
        if is_open:
            check(self.items_of(deal) == items_before, "a change that isn't paid took effect")
            account = self.oracle.accounts[deal.id]
            self.held[deal.id] = HeldItems(items, quote.preview.as_of, account.pending)
            account.pending = 0
        else:
            check(self.items_of(deal) == items, "page said that the plan was changed, and it wasn't")
            check(all(bill.state == "settled" for bill in bills), "a change took effect before it was paid")
            self.oracle.change(deal.id, items, quote.preview.as_of, prorated=change.prorate)
            account = self.oracle.accounts[deal.id]
            account.starts, account.ends = deal.starts, deal.ends
        self.is_fresh = True
        self._check_access()

    async def change_at_once(self) -> None:
        """Without a pause; the card may have begun to decline."""
        quotes = len(self.quotes)
        await self.quote()
        if len(self.quotes) > quotes:
            if self.rng.random() < 0.4:
                self.provider.set_card(self.customer_id, pays=False)
            await self.confirm()

    async def start_paying(self) -> None:
        """The trial ends and is paid for."""
        for deal in self.list_live():
            if deal.state == "trial":
                self.provider.set_card(deal.buyer, pays=True)
                self.provider.advance(15 * DAY)
        await self.webhook()

    async def cancel(self) -> None:
        await self.sync()
        page = await self.tenant.get_overview()
        if page.subscription is None or page.remaining_charges is None:
            return
        said = remaining_row(page).sentence
        try:
            request = await cancellation.prepare_cancel(self.tenant.shelf.ctx, CANCEL_REASON)
            await cancellation.submit(request)
        except Conflict:
            return
        for deal in self.list_live():
            if deal.id in self.oracle.accounts and deal.stops is not None:
                self.oracle.accounts[deal.id].is_ending = True
        self.is_fresh = True
        live = self.list_live()
        if any(deal.held for deal in live):
            return
        owed = sum(due_of(bill) for bill in self.provider.transactions.values() if bill.state == "owed")
        _, bills = self.provider.look_ahead(800 * DAY, pays=True)
        charged = owed + sum(due_of(bill) for bill in bills)
        pending = sum(self.oracle.next_invoice(deal.id) for deal in live if deal.id in self.oracle.accounts)
        check(charged == owed + pending, "after cancelling", charged, "is charged instead of", owed + pending)
        page = await self.tenant.get_overview()
        for sentence in (said, remaining_row(page).sentence):
            has_usage = page.remaining_charges is not None and page.remaining_charges.has_usage
            check(
                (sentence == NOTHING_MORE) == (charged == 0 and not has_usage),
                "page says",
                sentence,
                "but",
                charged,
            )
        if page.remaining_charges is not None:
            shown = page.remaining_charges.pending_amount
            check(shown == pending, "page says", shown, "is still charged, but it is", pending)

    async def resume(self) -> None:
        try:
            request = await cancellation.prepare_resume(self.tenant.shelf.ctx)
            await cancellation.submit(request)
        except Conflict:
            return
        for deal in self.list_live():
            if deal.id in self.oracle.accounts and deal.stops is None:
                self.oracle.accounts[deal.id].is_ending = False
        self.is_fresh = True

    async def replace_card(self) -> None:
        """In the portal; a card that declines is as good as one whose bank asks for a confirmation that never comes."""
        if self.customer_id:
            self.provider.set_card(self.customer_id, pays=self.rng.random() < 0.6)
            await self.webhook()

    async def confirm_payment(self) -> None:
        """The person confirms with the bank what waits for a payment."""
        for bill in list(self.provider.transactions.values()):
            if bill.state == "owed" and bill.buyer == self.customer_id:
                self.provider._charge_transaction(bill, pays=True)
        await self.webhook()

    async def detach_card(self) -> None:
        """The webhook names the customer only as the former one."""
        if not self.customer_id or any(deal.state != "trial" for deal in self.list_live()):
            return
        self.provider.buyers[self.customer_id].card = None
        event = WebhookEvent(
            "evt_1",
            "event",
            "payment_method.detached",
            0,
            False,
            EventData(EventObject("payment_method", "pm_1"), PreviousAttributes(self.customer_id)),
        )
        if event.customer_id:
            await self.sync()
        page = await self.tenant.get_overview()
        check(not page.method, "the page shows a card that was taken away")

    async def dispute(self) -> None:
        """The webhook names neither the customer nor a former one, only the charge."""
        bills = [bill for bill in self.provider.transactions.values() if bill.buyer == self.customer_id]
        if not bills:
            return
        self.provider.dispute_payment(self.customer_id)
        dispute = EventObject("dispute", "dp_1", charge=bills[-1].id)
        event = WebhookEvent("evt_1", "event", "charge.dispute.created", 0, False, EventData(dispute))
        count = self.tenant.sync_count
        customer_id = event.customer_id or (
            await self.provider.find_customer_id(event.object_id) if event.object_id else ""
        )
        if customer_id:
            await self.sync()
        check(self.tenant.sync_count > count, "nobody heard of a dispute")
        self.provider.end_dispute(won=True)

    async def fail_refund(self) -> None:
        """An operator refunds a payment, and the bank sends it back."""
        bills = [
            bill
            for bill in self.provider.transactions.values()
            if bill.buyer == self.customer_id and bill.state == "settled" and due_of(bill) > bill.given_back
        ]
        if not bills:
            return
        adjustment = BillingAdjustment(
            tenant_id=self.tenant.shelf.ctx.tenant_id,
            kind="refund",
            amount=1,
            currency="usd",
            reason_code="goodwill",
            reason="A test",
            by_id="opr_1",
            by_name="Olga",
            invoice_id=bills[-1].id,
            state="done",
        )
        self.tenant.adjustments[adjustment.id] = adjustment
        await self.provider.refund_invoice(bills[-1].id, 1, adjustment.id)
        self.provider.fail_refund()
        await self.sync()
        check(adjustment.state == "failed", "a refund that failed is", adjustment.state)

    async def use(self) -> None:
        """Usage is recorded late. It has to be billed in some period, or not be sold at all."""
        if not self.customer_id:
            return
        await self.sync()
        now = self.provider.clock
        used_at = now - self.rng.choice(USED_BEFORE)
        for deal in self.list_live():
            if (
                deal.starts > (deal.trial_until or deal.begun) and self.rng.random() < 0.5
            ):  # in the period before
                used_at = deal.starts - 5 * MINUTE
        meters = {price.id: price.meter for price, _, _ in self.tenant.shelf.priced_versions if price.meter}
        rows = self.tenant.list_subscriptions()
        terms = usage_periods.find_terms(
            [(row.customer_id, provider_records.to_subscription(row)) for row in rows],
            meters,
            self.customer_id,
            now,
        )
        placement = usage_periods.place_usage(used_at, terms.get(METER, ()), now)
        if placement.outcome == "send" and terms.get(METER):
            identifier = f"use-{len(self.log)}"
            await self.provider.report_usage(self.customer_id, METER, 1, placement.counted_at, identifier)
            check(
                identifier not in self.provider.lost_usage, "usage was reported for an invoice that is final"
            )

    async def give_credit(self) -> None:
        if self.customer_id and not self.provider.buyers[self.customer_id].gone and not self.held:
            amount = self.rng.choice((500, 1_999, 40_000))
            await self.provider.add_credit(self.customer_id, amount, "usd", "", f"credit-{len(self.log)}")
            self.oracle.credit += amount
            await self.webhook()

    async def give_coupon(self) -> None:
        for deal in self.list_live():
            percent = self.rng.choice((15, 33, 100))
            if deal.id in self.oracle.accounts and not self.held:
                self.provider.percent_off[deal.id] = self.oracle.accounts[deal.id].percent_off = percent
        self.quotes.clear()  # of other totals; the provider computes the due sum with the coupon
        await self.webhook()

    async def edit_quantity(self) -> None:
        """In the dashboard, without proration; an add-on may become 0. Its webhook may come late."""
        for deal in self.list_live():
            if deal.held is not None or deal.id not in self.oracle.accounts:
                continue
            position = self.rng.choice(
                [position for position in deal.positions if position.count is not None]
            )
            tag = self.provider.offers[position.offer].tag
            is_addon = self.tenant.shelf.catalog_prices[tag.id].is_addon
            position.count = 0 if is_addon else self.rng.randint(1, 4)
            self.oracle.change(deal.id, self.items_of(deal), self.provider.clock, prorated=False)
        if self.rng.random() < 0.5:
            await self.sync()

    async def delete_customer(self) -> None:
        if not self.customer_id or self.rng.random() < 0.5:
            return
        self.provider.delete_customer(self.customer_id)
        for deal in self.provider.deals.values():
            if deal.buyer == self.customer_id:
                self.oracle.accounts.pop(deal.id, None)
                self.held.pop(deal.id, None)
        self.oracle.credit = 0
        await self.webhook()

    async def pass_time(self) -> None:
        self.provider.advance(
            self.rng.choice((MINUTE, 9 * MINUTE, 20 * MINUTE, 5 * HOUR, 3 * DAY, 17 * DAY, 33 * DAY))
        )
        await self.webhook()

    async def run(self) -> None:
        steps: list[Callable[[], Awaitable[None]]] = [
            *[self.order, self.pay, self.change_at_once] * 2,
            *[self.quote, self.confirm, self.quote, self.confirm, self.pass_time, self.check_page] * 2,
            *(self.cancel, self.resume, self.replace_card, self.confirm_payment, self.detach_card),
            *(self.dispute, self.fail_refund, self.use, self.give_credit, self.give_coupon),
            *(self.edit_quantity, self.delete_customer, self.pass_time),
        ]
        # Most of what can go wrong needs a subscription.
        first_steps = [self.order, self.pay, *[self.start_paying] * self.rng.randint(0, 1)]
        chosen = [*first_steps, *(self.rng.choice(steps) for _ in range(STEPS))]
        for step in chosen:
            self.log.append(step.__name__)
            await step()
            self.provider.advance(timedelta(seconds=1))  # nobody clicks twice in a second


async def find_fault(seed: int, shelf: Shelf) -> str:
    """What was wrong in the history of this seed, "" where nothing was."""
    history = await History.create(seed, shelf)
    memory_tenant.enter(history.tenant)
    try:
        await history.run()
    except Fault as fault:
        return f"seed {seed}: {fault} ({', '.join(history.log)})"
    return ""
