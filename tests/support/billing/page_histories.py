"""Random histories of one customer: what the page said before each click against what is charged by it.

Customers order in several tabs and currencies, let pages grow old, change at once or at the end of the period, take that back,
cancel, pause and resume, replace their card by one that declines or asks for a confirmation; operators give credit and coupons,
and change, archive or delete things in the provider's dashboard; webhooks come at once or later; time passes. The provider is
the one in memory; `billing_oracle` judges every amount, `expected_refusals` every refusal.
"""

import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.billing import usage_periods
from shared.billing.inbound_webhooks.signature import EventData, EventObject, PreviousAttributes, WebhookEvent
from shared.billing.models import BillingAdjustment
from shared.billing.subscriptions import cancellation, changes, checkout, pausing, scheduled_changes
from shared.billing.subscriptions.changes import ChangeRequest, Quote
from shared.billing.subscriptions.overview import BillingOverview
from shared.billing.subscriptions.pausing import PauseQuote
from shared.billing.sync import provider_records
from shared.core.errors import DomainError
from tenant_app.pages.billing.plan_rows import plan_rows
from tenant_app.pages.billing.quote_rows import PreviewRow, describe_next_price, pause_rows, preview_row
from tenant_app.pages.billing.remaining_rows import remaining_row
from tenant_app.pages.billing.rows import (
    PAUSE_SENTENCES,
    NextInvoiceRow,
    next_invoice_row,
    scheduled_texts,
)
from tests.support.billing import access_reference, expected_refusals, memory_tenant
from tests.support.billing.billing_oracle import ListPrice, Oracle
from tests.support.billing.expected_refusals import DealRecord, Reason, Rules
from tests.support.billing.history_provider import HOUR, HistoryProvider, due_of
from tests.support.billing.memory_provider import Deal, Transaction
from tests.support.billing.memory_tenant import MemoryTenant, Shelf

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
STARTS = [  # a trial of two weeks later the month ends, and the next one is shorter
    datetime.fromisoformat(f"{day}T12:00:00+00:00") for day in ("2027-01-15", "2027-01-17", "2028-01-16")
]
PLANS = ("plv_starter_1", "plv_pro_1", "plv_business_1")  # from the smallest
ADDON, ADDON_LIMIT = "plv_extra_seats_1", 3
TOO_MANY_SEATS = 30  # for Pro
METER = "api_calls"
USED_BEFORE = (MINUTE, 50 * MINUTE, 3 * HOUR)
CANCEL_REASON = "other"
NOTHING_MORE = "You won’t be charged again."
STEPS = 14
MONEY = {"usd": ("$", 2), "eur": ("€", 2), "jpy": ("¥", 0)}  # symbol and digits
MARKETS = (
    ("usd", "", 0),
    ("usd", "", 0),
    ("eur", "inclusive", 19),
    ("jpy", "", 0),
)  # with the tax that prices contain


class Fault(AssertionError):
    """The page, or the product behind it, was wrong."""


def check(holds: object, *words: object) -> None:
    if not holds:
        raise Fault(" ".join(map(str, words)))


def read_amount(text: str, currency: str) -> int:
    """What a page shows, in the smallest unit; "" is nothing."""
    symbol, digits = MONEY[currency]
    match = re.fullmatch(rf"(−?){re.escape(symbol)}([\d,]+)(?:\.(\d+))?", text or f"{symbol}0")
    check(match and len(match[3] or "0" * digits) == digits, "no amount in", currency, text)
    assert match
    number = int(match[2].replace(",", "") + (match[3] or "0" * digits))
    return -number if match[1] else number


def read_tax(note: str, currency: str) -> int:
    """As in "Includes €4.63 tax"; "" is none."""
    return read_amount(note.removeprefix("Includes ").removesuffix(" tax"), currency)


@dataclass(frozen=True)
class OpenOrder:
    url: str
    promised: int  # at once
    items: dict[str, int]
    has_trial: bool


@dataclass(frozen=True)
class HeldItems:
    items: dict[str, int]
    at: datetime
    begins: datetime
    pending: list[int]


@dataclass(frozen=True)
class ShownQuote:
    """`record`, `truth`: of the deal when the price was shown, by our records and at the provider."""

    quote: Quote
    record: DealRecord
    truth: object


@dataclass(frozen=True)
class ShownPause:
    quote: PauseQuote
    row: PreviewRow
    record: DealRecord
    truth: object


@dataclass
class History:
    rng: random.Random
    tenant: MemoryTenant
    provider: HistoryProvider
    oracle: Oracle
    rules: Rules
    currency: str
    orders: list[OpenOrder] = field(default_factory=list)
    quotes: list[ShownQuote] = field(default_factory=list)
    confirmed: list[Quote] = field(default_factory=list)
    pauses: list[ShownPause] = field(default_factory=list)
    unpauses: list[ShownPause] = field(default_factory=list)
    tabs: list[BillingOverview] = field(default_factory=list)  # as they were opened
    held: dict[str, HeldItems] = field(default_factory=dict)
    deal_records: dict[str, list[DealRecord]] = field(default_factory=dict)  # by customer, of the last sync
    known_currency: str = ""  # of the customer
    log: list[str] = field(default_factory=list)

    @classmethod
    async def create(cls, seed: int, shelf: Shelf) -> "History":
        rng = random.Random(seed)
        currency, tax_behavior, tax_percent = MARKETS[seed % len(MARKETS)]
        provider = HistoryProvider(rng.choice(STARTS), tax_percent=tax_percent)
        if currency != "usd":
            shelf = shelf.sell_in(currency, tax_behavior)
        tenant = MemoryTenant(shelf, provider, await shelf.push_all(provider))
        prices = {
            price.id: ListPrice(price.amount, price.period == "year")
            for price, _, _ in shelf.priced_versions
            if price.kind != "metered"
        }
        oracle = Oracle(prices, tax_percent)
        history = cls(rng, tenant, provider, oracle, Rules(shelf, currency), currency)
        tenant.on_sync = history._note_sync
        provider.on_period_end = history._note_period_end
        provider.on_held_change_paid = history._note_held_paid
        provider.on_held_change_dropped = history._note_held_dropped
        return history

    # ── facts for the oracle ───────────────────────────────────────────────────────────────────────────────────────

    def _note_period_end(self, deal: Deal, at: datetime) -> None:
        account = self.oracle.accounts.get(deal.id)
        if account is None:
            return
        check(at == account.ends, "a period ended on", at, "instead of", account.ends)
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
            self.oracle.change(deal.id, held.items, held.at, begins=held.begins)

    def _note_held_dropped(self, deal: Deal) -> None:
        self.held.pop(deal.id, None)

    def _note_resumed(self) -> None:
        """A resumption may have been paid, or not in time."""
        for deal in self.list_live():
            if deal.id in self.oracle.accounts:
                self.oracle.accounts[deal.id].is_paused = deal.state == "frozen"

    def _note_sync(self, customer_id: str) -> None:
        """What our records say from now on."""
        deals = [
            deal
            for deal in self.provider.deals.values()
            if deal.buyer == customer_id and deal.state != "over"
        ]
        self.deal_records[customer_id] = [
            DealRecord.read(deal, self.items_of(deal), open_since_frozen=self._has_open_resumption(deal))
            for deal in deals
        ]
        if customer_id == self.customer_id:
            self.known_currency = self.provider.get_customer_currency(self.provider.buyers[customer_id])

    def _has_open_resumption(self, deal: Deal) -> bool:
        return any(
            bill.deal == deal.id and bill.state == "owed" and bill.at >= deal.frozen_at
            for bill in self.provider.transactions.values()
            if deal.frozen_at is not None
        )

    # ── what is known ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def customer_id(self) -> str:
        return self.tenant.customers[-1].id if self.tenant.customers else ""

    @property
    def record(self) -> DealRecord | None:
        """The subscription that our records have."""
        return next((deal for deals in self.deal_records.values() for deal in deals), None)

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

    def truth_of(self, deal: Deal) -> object:
        """Everything that a shown price depends on."""
        buyer = self.provider.buyers[deal.buyer]
        items, pending = tuple(sorted(self.items_of(deal).items())), sum(row.amount for row in deal.pending)
        discount = self.provider.percent_off.get(deal.id, 0)
        return (
            deal.state,
            items,
            deal.stops,
            deal.starts,
            deal.ends,
            pending,
            buyer.wallet,
            discount,
            deal.held,
        )

    def has_archived(self, items: dict[str, int], deal: Deal | None = None) -> bool:
        """Whether something new among them isn't sold."""
        kept = self.items_of(deal) if deal else {}
        sold = {offer.tag.id for offer in self.provider.offers.values() if offer.sold}
        return not sold.issuperset(set(items) - set(kept))

    def list_bills(self) -> dict[str, Transaction]:
        return dict(self.provider.transactions)

    def sum_new(self, before: dict[str, Transaction]) -> int:
        """What was charged since then."""
        return sum(due_of(bill) for id_, bill in self.list_bills().items() if id_ not in before)

    def read(self, text: str) -> int:
        return read_amount(text, self.currency)

    async def webhook(self) -> None:
        """Something changed at the provider. Its webhook comes now, or with a later one."""
        if self.rng.random() < 0.7:
            await self.sync()

    async def sync(self) -> None:
        await self.tenant.sync()
        self._check_access()

    async def open_tab(self) -> BillingOverview:
        if not self.tabs or self.rng.random() < 0.7:
            self.tabs.append(await self.tenant.get_overview(self.currency))
        return self.rng.choice(self.tabs[-3:])

    # ── checks ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def judge(
        self, click: str, refusal: DomainError | None, required: Reason, allowed: Reason = "", *more: Reason
    ) -> bool:
        """Whether it was refused, which it has to be for this reason, or may be for these."""
        reason = expected_refusals.name_reason(refusal)
        expected = [required] if required else ["", allowed, *more]
        check(reason in expected, click, "was refused as", repr(reason), "instead of", expected)
        return refusal is not None

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
        """The next invoice, the payment method, what is planned and why it is paused, on a page with records of now."""
        await self.sync()
        page = await self.tenant.get_overview(self.currency)
        live = [deal for deal in self.list_live() if deal.buyer == self.customer_id]
        buyer = self.provider.buyers.get(self.customer_id)
        check(bool(page.method) == bool(buyer and buyer.card is not None), "method", page.method)
        self._check_cards(page)
        if len(live) != 1 or page.subscription is None:
            return
        deal = live[0]
        check((page.scheduled_plan is not None) == (deal.planned is not None), "planned", page.scheduled_plan)
        if deal.planned is not None and page.scheduled_plan is not None:
            self._check_planned(page)
        if deal.state == "frozen":
            text, _ = PAUSE_SENTENCES[page.subscription.snapshot.pause_cause]
            check("on request" in text, "page explains the pause with", text)
        if deal.held is None:
            self._check_next_invoice(page, deal)

    def _check_next_invoice(self, page: BillingOverview, deal: Deal) -> None:
        row = next_invoice_row(page)
        _, bills = self.provider.look_ahead(max(timedelta(0), deal.ends - self.provider.clock) + MINUTE / 60)
        charged = sum(due_of(bill) for bill in bills)
        ends_unpaid = deal.state == "trial" and self.provider.buyers[deal.buyer].card is None
        expected = 0 if ends_unpaid else self.oracle.next_invoice(deal.id)
        check(
            charged == expected, "next invoice is", charged, "by the provider and", expected, "by the rules"
        )
        shown = 0 if row.amount == NextInvoiceRow().amount else self.read(row.amount)
        check(shown == charged, "page says next invoice", shown, "but it is", charged)
        account = self.oracle.accounts[deal.id]
        if row.tax_note and not account.percent_off:
            tax = self.oracle.next_tax(deal.id)
            check(read_tax(row.tax_note, self.currency) == tax, "page says", row.tax_note, "but it is", tax)
        if charged and self.oracle.tax_percent and not ends_unpaid:
            check(row.tax_note or account.pending, "page doesn't say that the next invoice contains tax")

    def _check_planned(self, page: BillingOverview) -> None:
        deals, plan = [deal for deal in self.list_live() if deal.planned is not None], page.scheduled_plan
        check(len(deals) == 1 and plan is not None, "the page shows a change that isn't planned, or none")
        account = self.oracle.accounts[deals[0].id]
        assert account.planned is not None
        assert plan is not None
        check(plan.at == account.ends, "page says that a change starts on", plan.at)
        note = scheduled_texts(page).note
        self._check_recurring(note.removeprefix("Then ").removesuffix("."), account.planned)

    def _check_recurring(self, text: str, items: dict[str, int]) -> None:
        """As in "$60.00 a month, plus usage"."""
        amount_text, unit = text.split(" ", 1)
        expected = self.oracle.price_of(items)
        check(self.read(amount_text) == expected, "page says", text, "but it is", expected)
        is_yearly = self.oracle.months_of(items) == 12
        check(unit.startswith("a year" if is_yearly else "a month"), "page says", text)
        if self.oracle.tax_percent:
            check("tax included" in unit, "page says nothing of tax:", text)

    def _check_cards(self, page: BillingOverview) -> None:
        """Figure, unit and seat price of each card."""
        for period in ("month", "year"):
            for row in plan_rows(page, period, ""):
                if row.id in PLANS:
                    self.read_card(page, row.id, period, seats=1)

    def read_card(self, page: BillingOverview, plan_id: str, period: str, *, seats: int) -> int:
        """What a period costs, by the words of the card."""
        (row,) = [row for row in plan_rows(page, period, "") if row.id == plan_id]
        figure = self.read(row.price_text)
        check(f"a {period}" in row.price_unit, "card of", plan_id, "says", row.price_unit)
        if row.price_unit.startswith("per seat"):
            total = figure * seats
        else:
            match = re.search(r"and (\S+) for each seat", row.price_note)
            total = figure + (self.read(match[1]) * seats if match else 0)
        expected = self.oracle.price_of(self.rules.build_items(plan_id, period, seats))
        check(total == expected, "card of", plan_id, "says", total, "instead of", expected)
        return total

    def _check_one_subscription(self) -> None:
        live = [deal for deal in self.list_live() if deal.buyer == self.customer_id]
        check(len(live) <= 1, "two subscriptions:", [deal.id for deal in live])

    # ── steps ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def order(self) -> None:
        page, period = await self.open_tab(), self.rng.choice(("month", "month", "year"))
        seats, plan_id = self.rng.randint(1, 6), self.rng.choice(PLANS)
        if page.subscription is not None:  # its button changes the plan
            return
        (row,) = [row for row in plan_rows(page, period, "") if row.id == plan_id]
        items = self.rules.build_items(plan_id, period, seats)
        promised = 0 if row.has_trial else self.read_card(page, plan_id, period, seats=seats)
        currency = self.currency if self.rng.random() < 0.9 or self.currency == "usd" else "usd"
        required, allowed = self._refuse_order(currency, has_trial=row.has_trial, items=items)
        refusal, url = None, ""
        try:
            request = await checkout.prepare(
                self.tenant.shelf.ctx,
                row.id,
                period,
                seats=seats,
                currency=currency,
                expects_trial=row.has_trial or None,
            )
            if currency == self.currency:
                url = await checkout.submit(request)
        except DomainError as error:
            refusal = error
        is_refused = self.judge("an order", refusal, required, allowed)
        if url and not is_refused:
            self.orders.append(OpenOrder(url, promised, items, row.has_trial))

    def _refuse_order(
        self, currency: str, *, has_trial: bool, items: dict[str, int]
    ) -> tuple[Reason, Reason]:
        """Why it has to be refused, and why it may be: the page of an equal order is open already."""
        if self.record is not None:
            return "subscribed", ""
        if self.known_currency and currency != self.known_currency:
            return "currency", ""
        if has_trial and self.tenant.subscriptions:
            return "no_trial", ""
        if currency != self.currency:
            return "", ""
        is_live = any(deal.buyer == self.customer_id for deal in self.list_live())
        return "subscribed" if is_live else "", "archived" if self.has_archived(items) else ""

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
        check((deal.state == "trial") == order.has_trial, "page promised a trial:", order.has_trial)
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

    def _draw_smaller(self, record: DealRecord) -> ChangeRequest:
        """What may wait for the end of the period."""
        version_id, _, seats, _ = self.rules.read_items(record)
        if seats is not None and seats > 1 and self.rng.random() < 0.5:
            return ChangeRequest(seats=seats - 1, timing="default")
        place = max(0, PLANS.index(version_id) - 1)
        return ChangeRequest(PLANS[place], "month", 1, timing="default")

    def _draw_change(self) -> ChangeRequest:
        period = self.rng.choice(("month", "year"))
        seats = TOO_MANY_SEATS if self.rng.random() < 0.05 else self.rng.randint(1, 6)
        return self.rng.choice(
            (
                ChangeRequest(self.rng.choice(PLANS), period, seats),
                ChangeRequest(seats=self.rng.randint(1, 9)),
                ChangeRequest(addon_id=ADDON, addon_quantity=self.rng.randint(0, ADDON_LIMIT)),
            )
        ).with_timing(self.rng.choice(("now", "now", "default")))

    async def quote(self, request: ChangeRequest | None = None) -> None:
        page = await self.open_tab()
        if page.subscription is None:
            return
        request, record = request or self._draw_change(), self.record
        required = self.rules.refuse_change(record, request, self.provider.clock)
        allowed: Reason = ""
        if not required and record is not None:
            target = self.rules.target_items(record, request)
            allowed = "archived" if self.has_archived(target, self.provider.deals[record.id]) else ""
        refusal, quote = None, None
        try:
            change = await changes.plan_change(self.tenant.shelf.ctx, request)
            quote = await changes.quote_change(change)
        except DomainError as error:
            refusal = error
        self.judge("a quote", refusal, required, allowed)
        if quote is None or record is None:
            return
        deal = self.provider.deals[quote.change.subscription_id]
        if deal.state == "over" or deal.id not in self.oracle.accounts:
            return
        self._check_quote(quote, record, deal)
        self.quotes.append(ShownQuote(quote, record, self.truth_of(deal)))

    def _check_quote(self, quote: Quote, record: DealRecord, deal: Deal) -> None:
        change = quote.change
        items = {line.price_id: line.quantity for line in change.lines if line.quantity is not None}
        waits = change.request.timing == "default" and self._can_wait(record, change.request)
        check(change.at_period_end == waits, "a change waits:", change.at_period_end, change.request)
        row = preview_row(quote)
        next_price, since = describe_next_price(quote)
        if change.prorate or waits:  # else it is about add-ons, of which some stay
            self._check_recurring(next_price, items)
        if waits:
            check(not row.total, "a change that waits costs", row.total)
            check(since == record.ends.isoformat(), "page says that the next price starts on", since)
            return
        if not change.prorate or deal.held is not None:
            return
        verdict = self.oracle.judge_change(deal.id, items, quote.preview.as_of)
        is_today = row.label == "Due today"
        check(
            not row.total or is_today == (verdict.charged == "today"),
            "page says",
            row.label,
            "but it is",
            verdict,
        )
        check(self.read(row.total) == verdict.amount, "page says", row.total, "but it is", verdict)
        if not self.oracle.accounts[deal.id].percent_off and verdict.amount > 0:
            tax = read_tax(row.tax_note, self.currency)
            check(tax == verdict.tax, "page says", row.tax_note, "but it is", verdict)

    def _can_wait(self, record: DealRecord, request: ChangeRequest) -> bool:
        if record.state != "running" or record.held or request.addon_id:
            return False
        items, target = dict(record.items), self.rules.target_items(record, request)
        if self.oracle.months_of(items) == self.oracle.months_of(target):
            return self.oracle.price_of(target) < self.oracle.price_of(items)
        version_id, *_ = self.rules.read_items(record)
        is_larger = PLANS.index(request.version_id or version_id) > PLANS.index(version_id)
        return self.oracle.months_of(target) == 1 and not is_larger

    async def confirm(self) -> None:
        if not self.quotes:
            return
        shown_quote = self.quotes[-1] if self.rng.random() < 0.6 else self.rng.choice(self.quotes[-3:])
        quote, change = shown_quote.quote, shown_quote.quote.change
        deal = self.provider.deals[change.subscription_id]
        required, allowed = self._refuse_confirmation(shown_quote, deal)
        before, pending_before = self.list_bills(), sum(row.amount for row in deal.pending)
        items_before, replaces_held = self.items_of(deal), deal.held is not None
        items = {line.price_id: line.quantity for line in change.lines if line.quantity is not None}
        row, refusal = preview_row(quote), None
        try:
            await changes.prepare(self.tenant.shelf.ctx, quote)
            await changes.submit(quote)
        except DomainError as error:
            refusal = error
        is_open = expected_refusals.name_reason(refusal) == "payment_open"
        was_confirmed = any(quote is record for record in self.confirmed)
        bills = [bill for id_, bill in self.list_bills().items() if id_ not in before]
        if is_open:
            is_unpaid = any(bill.state == "owed" for bill in bills)
            check(is_unpaid or was_confirmed, "a payment failed that nobody owes")
        elif self.judge("a change", refusal, required, *allowed):
            check(not bills and self.items_of(deal) == items_before, "a refused change took effect")
            return
        if was_confirmed:  # clicked twice: one effect
            check(not bills and self.items_of(deal) == items_before, "the same change took effect twice")
            return
        self.confirmed.append(quote)
        charged, shown = sum(due_of(bill) for bill in bills), self.read(row.total)
        added = sum(line.amount for line in deal.pending) - pending_before
        if replaces_held:  # the credit in the invoice that is voided comes back, so that it may cost less
            check(charged <= max(0, shown), "page said", shown, "and", charged, "was charged")
        elif row.label == "Due today":
            check(charged == shown, "page said due today", shown, "and", charged, "was charged")
        else:
            check(not bills, "page said", row.label or "nothing", "and", charged, "was charged")
            check(added == shown, "page said", shown, "and", added, "was added")
        if change.at_period_end:
            check(self.items_of(deal) == items_before, "a change that waits took effect")
            self.oracle.accounts[deal.id].planned = items
            self._check_planned(await self.tenant.get_overview(self.currency))
        elif is_open:
            check(self.items_of(deal) == items_before, "a change that isn't paid took effect")
            account, at = self.oracle.accounts[deal.id], quote.preview.as_of
            self.held[deal.id] = HeldItems(items, at, self.provider.clock, account.pending)
            account.pending = []
        else:
            check(self.items_of(deal) == items, "page said that the plan was changed, and it wasn’t")
            check(all(bill.state == "settled" for bill in bills), "a change took effect before it was paid")
            self.oracle.change(
                deal.id, items, quote.preview.as_of, begins=self.provider.clock, prorated=change.prorate
            )
        self._check_access()

    def _refuse_confirmation(self, shown: ShownQuote, deal: Deal) -> tuple[Reason, list[Reason]]:
        """Why it has to be refused, and why it may be."""
        quote, now = shown.quote, self.provider.clock
        change = quote.change
        if required := self.rules.refuse_confirmation(
            self.record, shown.record, change.request, quoted_at=quote.quoted_at, at=now
        ):
            return required, []
        items = {line.price_id: line.quantity for line in change.lines if line.quantity is not None}
        if change.prorate and quote.preview.as_of < deal.starts:
            return "other", []
        if self.has_archived(items, None if change.at_period_end else deal):
            return "archived", []
        if deal.state == "over":
            return "", ["ended", "outdated"]
        if change.at_period_end:
            return "other" if deal.state not in ("running", "behind") or deal.stops else "", []
        return "", ["outdated"] if shown.truth != self.truth_of(deal) else []

    async def change_at_once(self) -> None:
        """Without a pause; the card may have begun to decline."""
        quotes = len(self.quotes)
        await self.quote()
        if len(self.quotes) > quotes:
            if self.rng.random() < 0.4:
                self.provider.set_card(self.customer_id, pays=False)
            await self.confirm()

    async def schedule(self) -> None:
        record, quotes = self.record, len(self.quotes)
        if record is None:
            return
        await self.quote(self._draw_smaller(record))
        if len(self.quotes) > quotes:
            await self.confirm()

    async def reconsider(self) -> None:
        """A change is scheduled, taken back and, perhaps, scheduled again."""
        await self.schedule()
        await self.check_page()
        await self.keep_plan()
        if self.rng.random() < 0.5:
            self.provider.advance(MINUTE)
            await self.schedule()

    async def keep_plan(self) -> None:
        """A change that hasn't taken effect is taken back."""
        record, refusal = self.record, None
        required = self.rules.refuse_keep(record)
        live = self.list_live()
        is_changed = record is not None and not any(
            record.id == deal.id
            and record.planned == self._read_planned(deal)
            and record.held == (deal.held.transaction if deal.held else "")
            for deal in live
        )
        try:
            request = await scheduled_changes.prepare_keep(self.tenant.shelf.ctx)
            await scheduled_changes.submit_keep(request)
        except DomainError as error:
            refusal = error
        if self.judge("keeping the plan", refusal, required or ("changed_meanwhile" if is_changed else "")):
            return
        for deal in live:
            check(deal.planned is None and deal.held is None, "a change that was dropped is still planned")
            if deal.id in self.oracle.accounts:
                self.oracle.accounts[deal.id].planned = None

    def _read_planned(self, deal: Deal) -> object:
        return DealRecord.read(deal, {}, open_since_frozen=False).planned

    async def start_paying(self) -> None:
        """The trial ends and is paid for."""
        for deal in self.list_live():
            if deal.state == "trial":
                self.provider.set_card(deal.buyer, pays=True)
                self.provider.advance(15 * DAY)
        await self.webhook()

    async def cancel(self) -> None:
        await self.sync()
        page = await self.tenant.get_overview(self.currency)
        required, refusal, request = self.rules.refuse_cancel(self.record), None, None
        sentence_before = remaining_row(page).sentence
        try:
            request = await cancellation.prepare_cancel(self.tenant.shelf.ctx, CANCEL_REASON)
            await cancellation.submit(request)
        except DomainError as error:
            refusal = error
        if self.judge("cancelling", refusal, required) or request is None:
            return
        for deal in [self.provider.deals[id_] for id_ in request.keys]:
            if deal.id not in self.oracle.accounts:
                continue
            if deal.state == "over":
                self.oracle.end_paused(deal.id)
            else:
                account = self.oracle.accounts[deal.id]
                account.is_ending, account.planned = True, None
        live = self.list_live()
        if any(deal.held for deal in live):
            return
        owed = sum(due_of(bill) for bill in self.provider.transactions.values() if bill.state == "owed")
        _, bills = self.provider.look_ahead(800 * DAY, pays=True)
        charged = owed + sum(due_of(bill) for bill in bills)
        pending = sum(self.oracle.next_invoice(deal.id) for deal in live if deal.id in self.oracle.accounts)
        check(charged == owed + pending, "after cancelling", charged, "is charged instead of", owed + pending)
        has_usage = page.remaining_charges is not None and page.remaining_charges.has_usage
        page = await self.tenant.get_overview(self.currency)
        sentences = [sentence_before, *([remaining_row(page).sentence] if page.remaining_charges else [])]
        for sentence in sentences:
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
        record, refusal = self.record, None
        required = self.rules.refuse_resume(record)
        is_over = record is not None and self.provider.deals[record.id].state == "over"
        try:
            request = await cancellation.prepare_resume(self.tenant.shelf.ctx)
            await cancellation.submit(request)
        except DomainError as error:
            refusal = error
        if self.judge("resuming", refusal, required or ("ended" if is_over else "")):
            return
        for deal in self.list_live():
            if deal.id in self.oracle.accounts and deal.stops is None:
                self.oracle.accounts[deal.id].is_ending = False

    async def open_pause(self) -> None:
        record, refusal, quote = self.record, None, None
        try:
            target = await pausing.plan_pause(self.tenant.shelf.ctx, "pause")
            quote = await pausing.quote_pause(target)
        except DomainError as error:
            refusal = error
        self.judge("a pause", refusal, self.rules.refuse_pause(record))
        if quote is None or record is None:
            return
        deal = self.provider.deals[quote.target.subscription_id]
        row = pause_rows(quote.preview, is_due_now=False)
        self.pauses.append(ShownPause(quote, row, record, self.truth_of(deal)))

    async def confirm_pause(self) -> None:
        if not self.pauses:
            return
        shown, refusal, now = self.pauses.pop(), None, self.provider.clock
        required = self.rules.refuse_pause(self.record) or self._refuse_outdated(shown)
        deal = self.provider.deals[shown.quote.target.subscription_id]
        if not required and deal.state != "running":
            required = "ended" if deal.state == "over" else "other"
        try:
            await pausing.submit_pause(await pausing.prepare_pause(self.tenant.shelf.ctx, shown.quote))
        except DomainError as error:
            refusal = error
        allowed: Reason = "outdated" if shown.truth != self.truth_of(deal) else ""
        if self.judge("pausing", refusal, required, allowed):
            return
        credit = self.oracle.pause(deal.id, now)
        if shown.quote.target.quoted_at == now:
            check(self.read(shown.row.total) == credit, "page said", shown.row, "but it is", credit)

    async def pause_at_once(self) -> None:
        await self.open_pause()
        await self.confirm_pause()

    async def open_unpause(self) -> None:
        record, refusal, quote = self.record, None, None
        try:
            target = await pausing.plan_pause(self.tenant.shelf.ctx, "resume")
            quote = await pausing.quote_pause(target)
        except DomainError as error:
            refusal = error
        required = self.rules.refuse_unpause(record)
        is_running = record is not None and self.provider.deals[record.id].state != "frozen"
        self.judge("a resumption", refusal, required or ("other" if is_running else ""))
        if quote is None or record is None:
            return
        deal, row = (
            self.provider.deals[quote.target.subscription_id],
            pause_rows(quote.preview, is_due_now=True),
        )
        if not deal.resumption:
            verdict = self.oracle.judge_resume(deal.id)
            check(self.read(row.total) == verdict.amount, "page says", row, "but it is", verdict)
            if not self.oracle.accounts[deal.id].percent_off and verdict.amount > 0:
                tax = read_tax(row.tax_note, self.currency)
                check(tax == verdict.tax, "page says", row.tax_note, "but it is", verdict)
        self.unpauses.append(ShownPause(quote, row, record, self.truth_of(deal)))

    async def confirm_unpause(self) -> None:
        if not self.unpauses:
            return
        shown, refusal, now = self.unpauses.pop(), None, self.provider.clock
        deal = self.provider.deals[shown.quote.target.subscription_id]
        required = self.rules.refuse_unpause(self.record) or self._refuse_outdated(shown)
        if not required and deal.state == "over":
            required = "ended"
        elif not required and (deal.resumption or deal.state != "frozen"):
            required = "other"
        is_current, before = shown.truth == self.truth_of(deal), self.list_bills()
        try:
            await pausing.submit_pause(await pausing.prepare_pause(self.tenant.shelf.ctx, shown.quote))
        except DomainError as error:
            refusal = error
        is_open = expected_refusals.name_reason(refusal) == "payment_open"
        if not is_open and self.judge(
            "resuming after a pause", refusal, required, "" if is_current else "outdated"
        ):
            return
        charged, expected = self.sum_new(before), self.oracle.resume(deal.id, now)
        check(charged == expected, "a resumption charged", charged, "instead of", expected)
        check(
            charged == self.read(shown.row.total), "page said", shown.row.total, "and", charged, "was charged"
        )
        check(is_open == (deal.state == "frozen"), "the page says that it is resumed:", not is_open)
        self._note_resumed()

    async def pause_and_resume(self) -> None:
        await self.pause_at_once()
        self.provider.advance(self.rng.choice((MINUTE, 3 * DAY, 40 * DAY)))
        await self.open_unpause()
        if self.rng.random() < 0.2:
            await self.give_credit()
        if self.rng.random() < 0.3 and self.customer_id:
            self.provider.set_card(self.customer_id, pays=False)
        await self.confirm_unpause()

    def _refuse_outdated(self, shown: ShownPause) -> Reason:
        record, now = self.record, self.provider.clock
        assert record is not None
        is_same = self.rules.outline(record, now) == self.rules.outline(shown.record, now)
        is_new = now - shown.quote.target.quoted_at <= expected_refusals.QUOTE_LIFETIME
        return "" if is_same and is_new else "outdated"

    async def replace_card(self) -> None:
        """In the portal; a card that declines is as good as one whose bank asks for a confirmation that never comes."""
        if self.customer_id:
            self.provider.set_card(self.customer_id, pays=self.rng.random() < 0.6)
            self._note_resumed()
            await self.webhook()

    async def confirm_payment(self) -> None:
        """The person confirms with the bank what waits for a payment."""
        for bill in list(self.provider.transactions.values()):
            if bill.state == "owed" and bill.buyer == self.customer_id:
                self.provider._charge_transaction(bill, pays=True)
        self._note_resumed()
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
            currency=self.currency,
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
            await self.provider.add_credit(
                self.customer_id, amount, self.currency, "", f"credit-{len(self.log)}"
            )
            self.oracle.credit += amount
            await self.webhook()

    async def give_coupon(self) -> None:
        for deal in self.list_live():
            percent = self.rng.choice((15, 33, 100))
            if deal.id in self.oracle.accounts and not self.held:
                self.provider.percent_off[deal.id] = self.oracle.accounts[deal.id].percent_off = percent
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

    async def archive_price(self) -> None:
        """In the dashboard. Some day it is noticed."""
        offers = list(self.provider.offers.values())
        for offer in offers:
            offer.sold = True
        if self.rng.random() < 0.6:
            ours = [offer for offer in offers if offer.tag.currency == self.currency]
            self.rng.choice([offer for offer in ours if offer.tag.kind != "metered"]).sold = False

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

    async def renew(self) -> None:
        """Some hours after the end of the period usage of it comes in."""
        for deal in self.list_live():
            if deal.state != "frozen":
                self.provider.advance(max(timedelta(0), deal.ends - self.provider.clock) + 2 * HOUR)
        await self.use()

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
            *(self.edit_quantity, self.archive_price, self.delete_customer, self.pass_time),
            *(self.renew, self.renew, self.schedule, self.reconsider),
            *(self.keep_plan, self.open_pause, self.confirm_pause, self.pause_at_once, self.pause_and_resume),
            *(self.open_unpause, self.confirm_unpause, self.open_unpause, self.confirm_unpause),
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
    except AssertionError as fault:
        return f"seed {seed}: {fault} ({', '.join(history.log)})"
    return ""
