"""A merchant of record, held in memory: another one than Stripe, with words, shapes and habits of its own.

It proves that `provider.Provider` asks for nothing that only Stripe has. Inside there are deals, positions, offers and
transactions, which it tells in our words. Proofs of others use its controls: the clock, what a customer has at a stroke
(`set_subscriptions`), a fetch that is held after it has looked (`hold_fetch`), and failures to come (`fail_next`).
"""

import asyncio
import itertools
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from dateutil.relativedelta import relativedelta

from shared.billing.provider import CHECKOUT_PAID, MIN_CHECKOUT_LEFT, ProviderRefused
from shared.billing.provider_values import (
    NO_REASON,
    BillingDetails,
    CanceledAddon,
    Cancellation,
    ChangePreview,
    Checkout,
    CheckoutOrder,
    CustomerState,
    Dispute,
    FraudWarning,
    Invoice,
    InvoiceLine,
    OpenCheckouts,
    OrderLine,
    PendingChange,
    PriceTag,
    Refund,
    RemotePrice,
    ScheduledChange,
    SingleCharge,
    Subscription,
    SubscriptionItem,
    TaxSetup,
    TransferOrder,
    UpcomingCharges,
    UpcomingInvoice,
)

STATUS_BY_STATE = {
    "trial": "trialing",
    "running": "active",
    "behind": "past_due",
    "frozen": "paused",
    "over": "canceled",
}
INVOICE_STATUS_BY_STATE = {"owed": "open", "settled": "paid", "waived": "void", "draft": "draft"}
PAGES_URL = "https://pay.memory.test"
CART_LIFETIME = timedelta(hours=1)


@dataclass
class MemoryOffer:
    tag: PriceTag
    sold: bool = True


@dataclass
class Position:
    id: str
    offer: str
    count: int | None


@dataclass
class Transaction:
    id: str
    buyer: str
    deal: str
    at: datetime
    rows: list[InvoiceLine]
    state: str = "owed"
    tries: int = 0
    from_wallet: int = 0
    given_back: int = 0
    key: str = ""  # of the single charge that made it
    by_transfer: bool = False  # how it was settled

    @property
    def sum(self) -> int:
        return sum(row.amount for row in self.rows)


@dataclass
class HeldChange:
    """What becomes of a deal when its transaction is paid."""

    transaction: str
    until: datetime
    positions: list[Position]
    notes: tuple[CanceledAddon, ...]
    starts: datetime
    ends: datetime


@dataclass
class Deal:
    id: str
    buyer: str
    positions: list[Position]
    begun: datetime
    starts: datetime
    ends: datetime
    state: str = "running"
    anchor: datetime | None = None  # the day that its periods end on, where the month has it
    trial_until: datetime | None = None
    stops: datetime | None = None
    over_at: datetime | None = None
    notes: tuple[CanceledAddon, ...] = ()
    pending: list[InvoiceLine] = field(default_factory=list)
    held: "HeldChange | None" = None
    planned: list[Position] | None = None  # from the next period on
    frozen_at: datetime | None = None  # on request
    resumption: str = ""  # the transaction that has to be paid before it runs again
    farewell: Cancellation = NO_REASON  # why it was cancelled
    claim: str = ""  # because of which nothing is collected; the mark stays until it is resumed
    collects: bool = True
    days_to_pay: int = 0  # of its bills, which nobody is charged for; 0: they are charged
    order: str = ""  # the key of the order that began it


@dataclass
class Buyer:
    id: str
    owner: str
    mail: str
    details: BillingDetails = field(default_factory=BillingDetails)
    card: bool | None = None  # whether it pays; None: there is none
    card_number: str = ""  # "": one that nobody else has
    wallet: int = 0  # what we owe them
    gone: bool = False


@dataclass
class Hold:
    """A fetch that has looked and does not come back yet."""

    seen: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryProvider:
    def __init__(self, now: datetime = datetime(2026, 11, 24, 12, tzinfo=UTC)) -> None:
        self.clock = now
        self.calls: list[str] = []  # verbs, as they were called
        self.buyers: dict[str, Buyer] = {}
        self.deals: dict[str, Deal] = {}
        self.transactions: dict[str, Transaction] = {}
        self.offers: dict[str, MemoryOffer] = {}
        self.carts: dict[str, CheckoutOrder] = {}
        self.has_wallet_rules = False
        self.opened_at: dict[str, datetime] = {}
        self.closed_carts: dict[str, str] = {}  # by address: "paid" or "closed"
        self.paid_while_closing: set[str] = set()  # pages that are found open and turn out to be paid
        self._results_by_key: dict[str, str] = {}  # by idempotency key
        self._usage: dict[str, tuple[str, str, int, datetime]] = {}
        self._fixed_subscriptions: dict[str, tuple[Subscription, ...]] = {}
        self._holds: list[Hold] = []
        self._failures: list[tuple[Exception, str]] = []
        self.tells_upcoming = True
        self.refunds: dict[str, Refund] = {}
        self.disputes: dict[str, Dispute] = {}
        self.suspicions: list[str] = []  # transactions
        self._numbers = itertools.count(1)

    # Control: what only tests may do.

    def set_subscriptions(self, customer_id: str, *subscriptions: Subscription) -> None:
        """From now on, whatever else happens. Makes the customer where there is none."""
        self.buyers.setdefault(customer_id, Buyer(customer_id, "", ""))
        self._fixed_subscriptions[customer_id] = subscriptions

    def hold_fetch(self) -> Hold:
        """The next fetch looks, sets `seen`, and comes back when somebody sets `go`."""
        self._holds.append(Hold())
        return self._holds[-1]

    def fail_next(self, problem: Exception, times: int = 1, *, verb: str = "") -> None:
        """`verb`: only that one; every other call passes by."""
        self._failures += [(problem, verb)] * times

    def delete_customer(self, customer_id: str) -> None:
        self.buyers[customer_id].gone = True
        for deal in self._list_deals(customer_id):
            self._end_deal(deal, self.clock)

    def pay(self, url: str, *, card: bool | None = True, number: str = "") -> str:
        """Somebody pays on the page. `card`: whether it will go on paying; None: without one. `number`: of the card, one of
        the buyer's own without it. The subscription.
        """
        opened_at = self.opened_at.get(url, self.clock)
        assert url not in self.closed_carts, f"this page is {self.closed_carts[url]}"
        assert self.clock - opened_at < CART_LIFETIME, "this page is too old"
        self.closed_carts[url] = "paid"
        order = self.carts[url]
        buyer = self.buyers[order.customer_id]
        buyer.card = card if card is not None else buyer.card
        buyer.card_number = number or buyer.card_number
        trial = timedelta(days=order.trial_days)
        deal = Deal(self._new_id("deal"), buyer.id, [], self.clock, self.clock, self.clock)
        deal.positions = [self._build_position(line) for line in order.lines]
        self.deals[deal.id] = deal
        if order.trial_days:
            deal.state, deal.trial_until, deal.ends = "trial", self.clock + trial, self.clock + trial
        else:
            self._start_period(deal, self.clock, pays=True)
        return deal.id

    def set_card(self, customer_id: str, *, pays: bool) -> None:
        """On the page of the portal. What is owed is paid by it."""
        self.buyers[customer_id].card = pays
        for transaction in self.transactions.values():
            if transaction.buyer == customer_id and transaction.state == "owed":
                self._charge_transaction(transaction)

    def get_newest_bill(self, subscription_id: str) -> Transaction:
        """The provider is shared by the tests of a process: others' subscriptions renew when its clock is moved."""
        return [bill for bill in self.transactions.values() if bill.deal == subscription_id][-1]

    def advance(self, duration: timedelta) -> None:
        """And all that is due by then happens, in order."""
        until = self.clock + duration
        while True:
            due = [
                (deal.ends, deal.id) for deal in self.deals.values() if deal.state not in ("over", "frozen")
            ]
            if not due or min(due)[0] > until:
                break
            self.clock, deal_id = min(due)
            self._drop_held_changes()
            self._end_period(self.deals[deal_id])
        self.clock = until
        self._drop_held_changes()

    # The provider's verbs.

    async def get_account_id(self) -> str:
        self._record_call("whoami")
        return "seller_1"

    async def create_customer(self, tenant_id: str, name: str, email: str, key: str) -> str:
        self._record_call("create_customer")
        for buyer in self.buyers.values():
            if buyer.owner == tenant_id and not buyer.gone:
                return buyer.id
        details = BillingDetails(name=name, email=email)
        return self._run_once(
            key,
            lambda: self._add_buyer(Buyer(self._new_id("buyer"), tenant_id, email, details)),
        )

    async def fetch_customer(self, customer_id: str) -> CustomerState:
        self._record_call("fetch")
        buyer = self._get_buyer(customer_id)
        state = CustomerState(
            buyer.id,
            deleted=buyer.gone,
            method="Card on file" if buyer.card is not None else "",
            card_fingerprints={
                deal.id: buyer.card_number or f"card of {buyer.id}" for deal in self._list_deals(buyer.id)
            }
            if buyer.card is not None
            else {},
            balance=-buyer.wallet,
            currency=self.get_customer_currency(buyer),
            subscriptions=self._fixed_subscriptions.get(
                buyer.id, tuple(self._build_subscription(deal) for deal in self._list_deals(buyer.id))
            ),
            invoices=tuple(self._build_invoices(buyer.id)),
            upcoming=self._build_upcoming(buyer),
            refunds=tuple(
                refund
                for refund in self.refunds.values()
                if self.transactions[refund.invoice_id].buyer == buyer.id
            ),
            disputes=tuple(
                dispute
                for dispute in self.disputes.values()
                if self.transactions[dispute.invoice_id].buyer == buyer.id
            ),
            fraud_warnings=tuple(
                self._build_fraud_warning(bill_id)
                for bill_id in self.suspicions
                if self.transactions[bill_id].buyer == buyer.id
            ),
        )
        if self._holds:
            hold = self._holds.pop(0)
            hold.seen.set()
            await hold.go.wait()
        return state

    async def fetch_billing_details(self, customer_id: str) -> BillingDetails:
        self._record_call("fetch_billing_details")
        return self._get_present_buyer(customer_id).details

    async def update_billing_details(
        self, customer_id: str, details: BillingDetails, *, removed_tax_ids: Sequence[str] = ()
    ) -> None:
        self._record_call("update_billing_details")
        buyer = self._get_present_buyer(customer_id)
        numbers = buyer.details.tax_ids
        buyer.details, buyer.mail = replace(details, tax_ids=numbers), details.email
        for tax_id in details.tax_ids:
            if tax_id.type == "eu_vat" and not tax_id.value[:2].isalpha():
                raise ProviderRefused("That is no VAT number.", "no_tax_id", kind="tax_id")
            if not any(tax_id.is_same_number(number) for number in numbers):
                numbers = (replace(tax_id, id=self._new_id("number")), *numbers)
        left = tuple(number for number in numbers if number.id not in removed_tax_ids)
        buyer.details = replace(buyer.details, tax_ids=left)

    async def get_tenant_id(self, customer_id: str) -> str:
        self._record_call("get_tenant_id")
        buyer = self._get_buyer(customer_id)
        return "" if buyer.gone else buyer.owner

    async def find_customer_id(self, object_id: str) -> str:
        self._record_call("find_customer_id")
        owned: dict[str, Deal | Transaction] = {**self.deals, **self.transactions}
        return owned[object_id].buyer if object_id in owned else ""

    async def create_checkout(self, order: CheckoutOrder) -> Checkout:
        self._record_call("checkout")
        self._get_present_buyer(order.customer_id)
        for line in order.lines:
            if line.external_price_id not in self.offers or not self.offers[line.external_price_id].sold:
                raise ProviderRefused("This is not sold.", "no_offer", kind="price")

        def open_cart() -> str:
            url = f"{PAGES_URL}/{self._new_id('cart')}"
            self.carts[url], self.opened_at[url] = order, self.clock
            return url

        url = self._run_once(order.key, open_cart)
        return Checkout(url, url)

    async def close_checkouts(self, customer_id: str, *, keep: str = "") -> OpenCheckouts:
        self._record_call("close_checkouts")
        carts = [url for url, order in self.carts.items() if order.customer_id == customer_id]
        kept: Checkout | None = None
        was_paid = False
        for url in reversed(carts):
            is_open = url not in self.closed_carts
            is_new = self.clock - self.opened_at[url] <= CART_LIFETIME - MIN_CHECKOUT_LEFT
            if kept is None and is_open and is_new and keep and self.carts[url].fingerprint == keep:
                kept = Checkout(url, url)
                continue
            self.closed_carts.setdefault(url, "closed")
            if url in self.paid_while_closing:
                self.paid_while_closing.discard(url)
                was_paid = True
        if was_paid:
            raise ProviderRefused("This was paid.", CHECKOUT_PAID, kind="checkout")
        return OpenCheckouts(kept, carts[-1] if carts else "")

    async def create_portal(self, customer_id: str, return_url: str) -> str:
        self._record_call("portal")
        return f"{PAGES_URL}/wallet/{self._get_present_buyer(customer_id).id}"

    async def save_portal_settings(self) -> bool:
        is_changed, self.has_wallet_rules = not self.has_wallet_rules, True
        return is_changed

    async def has_portal_settings(self) -> bool:
        return self.has_wallet_rules

    async def get_tax_setup(self) -> TaxSetup:
        self._record_call("tax_setup")
        return TaxSetup(is_ready=False, has_default=False)

    async def preview_change(
        self,
        customer_id: str,
        subscription_id: str,
        lines: Sequence[OrderLine],
        as_of: datetime | None = None,
        *,
        bill_now: bool = False,
    ) -> ChangePreview:
        self._record_call("preview")
        deal, at = self._get_deal(subscription_id), as_of or self.clock
        changed = replace(deal, positions=self._build_positions(deal, lines), pending=list(deal.pending))
        new_rows = self._compute_proration(deal, changed, at) if deal.state != "trial" else []
        changed.pending += new_rows
        if _get_period(self, changed) != _get_period(self, deal):
            changed.ends = at  # another period begins at once
        elif bill_now:
            return self._build_preview(deal, changed.pending, at, new_rows)
        return self._build_preview(deal, self._build_rows(changed, changed.ends), at, new_rows)

    def _build_preview(
        self, deal: Deal, rows: list[InvoiceLine], at: datetime, new_rows: Sequence[InvoiceLine] = ()
    ) -> ChangePreview:
        return ChangePreview(
            self._get_currency(deal),
            max(0, sum(row.amount for row in rows) - self.buyers[deal.buyer].wallet),
            tuple(rows),
            at,
            included_tax=self.sum_included_tax(rows),
            change_included_tax=self.sum_included_tax(new_rows),
        )

    def sum_included_tax(self, rows: Sequence[InvoiceLine]) -> int:
        """It knows no taxes."""
        return 0

    def is_taxing(self, deal: Deal) -> bool:
        return False

    def get_customer_currency(self, buyer: Buyer) -> str:
        return "usd"

    def _get_currency(self, deal: Deal | None) -> str:
        offers = [position.offer for position in deal.positions] if deal else []
        return self.offers[offers[0]].tag.currency if offers else "usd"

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
        self._record_call("change")
        deal = self._get_deal(subscription_id)
        if key not in self._results_by_key:
            self._require_open(deal)

        def do() -> str:
            after = replace(deal, positions=self._build_positions(deal, lines))
            deal.planned = None
            if prorate and deal.state != "trial":
                deal.pending += self._compute_proration(deal, after, as_of or self.clock)
            other = _get_period(self, after) != _get_period(self, deal)
            if prorate and deal.state != "trial" and (other or (bill_now and deal.pending)):
                self._bill_change(deal, replace(after, notes=tuple(canceled_addons)), other=other)
            else:
                deal.positions, deal.notes = after.positions, tuple(canceled_addons)
            return deal.id

        self._run_once(key, do)
        return self._build_pending_change(deal)

    async def schedule_change(self, subscription_id: str, lines: Sequence[OrderLine], key: str) -> None:
        self._record_call("schedule")
        deal = self._get_deal(subscription_id)
        self._require_open(deal)
        if deal.state not in ("running", "behind") or deal.stops:
            raise ProviderRefused("Only a running deal can be planned.", "not_running")
        if any(not self.offers[line.external_price_id].sold for line in lines):
            raise ProviderRefused("This is not sold.", "no_offer", kind="price")

        def do() -> str:
            deal.planned = self._build_positions(deal, lines)
            return deal.id

        self._run_once(key, do)

    async def drop_scheduled_change(self, subscription_id: str, key: str) -> None:
        self._record_call("drop_scheduled")
        self._get_deal(subscription_id).planned = None

    async def cancel_subscription(
        self, subscription_id: str, *, at_period_end: bool, reason: Cancellation = NO_REASON, key: str
    ) -> None:
        self._record_call("cancel")
        deal = self._get_deal(subscription_id)
        if deal.state != "over" and not (at_period_end and deal.stops):
            deal.farewell = replace(reason, canceled_at=self.clock)
        deal.planned = None
        if at_period_end:
            deal.stops = deal.ends
        elif deal.state != "over":
            if deal.state == "frozen":
                self.buyers[deal.buyer].wallet += max(0, -sum(row.amount for row in deal.pending))
            self._end_deal(deal, self.clock)

    async def resume_subscription(self, subscription_id: str, key: str) -> None:
        self._record_call("resume")
        deal = self._get_deal(subscription_id)
        self._require_open(deal)

        def resume() -> str:
            if deal.resumption:
                raise ProviderRefused("This deal runs again once it is paid.", "resumption_open")
            self._start_period(deal, self.clock)
            return deal.id

        if deal.state == "frozen":
            self._run_once(key, resume)
        deal.stops, deal.farewell = None, NO_REASON

    async def pause_subscription(self, subscription_id: str, key: str) -> None:
        self._record_call("pause")
        deal = self._get_deal(subscription_id)
        self._require_open(deal)

        def do() -> str:
            if deal.state != "running":
                raise ProviderRefused("Only a running deal can be frozen.", "not_running")
            deal.pending = self._build_frozen_rows(deal)
            deal.state, deal.frozen_at, deal.planned = "frozen", self.clock, None
            deal.starts = deal.ends = self.clock
            return deal.id

        self._run_once(key, do)

    async def pause_collection(self, subscription_id: str, dispute_id: str, key: str) -> None:
        self._record_call("pause_collection")
        deal = self._get_deal(subscription_id)
        if deal.collects and not deal.claim and deal.state != "over":
            deal.claim, deal.collects = dispute_id, False

    async def resume_collection(self, subscription_id: str, key: str) -> None:
        self._record_call("resume_collection")
        deal = self._get_deal(subscription_id)
        if not deal.claim:
            return
        deal.claim, deal.collects = "", True
        for bill in [bill for bill in self.transactions.values() if bill.deal == deal.id]:
            if bill.state == "draft":
                bill.state = "owed"
                self._charge_transaction(bill)

    async def preview_pause(self, customer_id: str, subscription_id: str) -> ChangePreview:
        self._record_call("preview_pause")
        deal = self._get_deal(subscription_id)
        preview = self._build_preview(deal, self._build_frozen_rows(deal), self.clock)
        return replace(preview, due=max(0, sum(row.amount for row in preview.lines)))

    async def preview_resume(self, customer_id: str, subscription_id: str) -> ChangePreview:
        self._record_call("preview_resume")
        deal = self._get_deal(subscription_id)
        if deal.state != "frozen":
            raise ProviderRefused("This deal isn't frozen.", "not_frozen")
        rows = self._build_rows(replace(deal, anchor=self.clock), self.clock, past=bool(deal.pending))
        return self._build_preview(deal, rows, self.clock)

    async def undo_unpaid_tax(self, subscription_id: str, before: datetime, key: str) -> None:
        """It knows no taxes."""
        self._record_call("undo_unpaid_tax")

    async def end_trial(self, subscription_id: str, key: str) -> None:
        self._record_call("end_trial")
        deal = self._get_deal(subscription_id)
        self._require_open(deal)
        if deal.state != "trial":
            return
        if not self.buyers[deal.buyer].card:
            raise ProviderRefused("Nobody pays.", "card_declined", kind="card")
        deal.trial_until = self.clock
        self._start_period(deal, self.clock)

    async def extend_trial(self, subscription_id: str, until: datetime, key: str) -> None:
        self._record_call("extend_trial")
        deal = self._get_deal(subscription_id)
        self._require_open(deal)
        if deal.state != "trial" or deal.trial_until is None:
            raise ProviderRefused("The trial has ended.", "no_trial", kind="subscription")
        if deal.trial_until < until:
            deal.trial_until = deal.ends = until

    async def start_transfer_subscription(self, order: TransferOrder) -> str:
        self._record_call("start_transfer")
        buyer = self._get_present_buyer(order.customer_id)
        for deal in self._list_deals(buyer.id):
            if deal.order == order.key:
                return deal.id
        if any(deal.state != "over" for deal in self._list_deals(buyer.id)):
            raise ProviderRefused("They buy already.", "subscribed")
        for line in order.lines:
            if line.external_price_id not in self.offers or not self.offers[line.external_price_id].sold:
                raise ProviderRefused("This is not sold.", "no_offer", kind="price")
        deal = Deal(self._new_id("deal"), buyer.id, [], self.clock, self.clock, self.clock)
        deal.positions = [self._build_position(line) for line in order.lines]
        deal.days_to_pay, deal.order = order.days_until_due, order.key
        self.deals[deal.id] = deal
        self._start_period(deal, self.clock)
        return deal.id

    async def mark_paid(self, invoice_id: str, key: str) -> None:
        self._record_call("mark_paid")
        bill = self.transactions.get(invoice_id)
        if bill is not None and bill.by_transfer:
            return
        if bill is None or bill.state != "owed":
            raise ProviderRefused("Only an open invoice can be marked as paid.", "not_owed")
        bill.state, bill.by_transfer = "settled", True
        self._judge_deal(self.deals[bill.deal])

    async def void_invoice(self, invoice_id: str, key: str) -> None:
        self._record_call("void")
        bill = self.transactions.get(invoice_id)
        if bill is None or bill.state == "settled":
            raise ProviderRefused("Only an open invoice can be voided.", "not_owed")
        bill.state = "waived"
        deal = self.deals[bill.deal]
        if deal.held and deal.held.transaction == bill.id:
            deal.held = None
        self._judge_deal(deal)

    async def push_price(self, tag: PriceTag) -> str:
        self._record_call("push_price")
        for id_, offer in self.offers.items():
            if offer.tag.id == tag.id:
                offer.tag, offer.sold = tag, True
                return id_
        new = self._new_id("offer")
        self.offers[new] = MemoryOffer(tag)
        return new

    async def read_price(self, tag: PriceTag) -> RemotePrice:
        self._record_call("read_price")
        for id_, offer in self.offers.items():
            if offer.tag.id == tag.id:
                return RemotePrice(id_, offer.tag, offer.sold)
        return RemotePrice("", None, active=False)

    async def add_credit(
        self, customer_id: str, amount: int, currency: str, description: str, key: str
    ) -> str:
        self._record_call("credit")
        buyer = self._get_buyer(customer_id)

        def do() -> str:
            buyer.wallet += amount
            return self._new_id("gift")

        return self._run_once(key, do)

    async def refund_invoice(self, invoice_id: str, amount: int, key: str) -> str:
        self._record_call("refund")
        bill = self.transactions.get(invoice_id)
        if key in self._results_by_key:
            return self._results_by_key[key]
        if bill is None or bill.state != "settled" or bill.given_back + amount > bill.sum - bill.from_wallet:
            raise ProviderRefused("That is more than was paid.", "too_much")
        if any(
            dispute.invoice_id == invoice_id and dispute.status == "needs_response"
            for dispute in self.disputes.values()
        ):
            raise ProviderRefused("The bank holds this payment.", "disputed")

        def do() -> str:
            bill.given_back += amount
            refund = Refund(
                id=self._new_id("back"),
                invoice_id=invoice_id,
                credit_note_id="",
                key=key,
                amount=amount,
                currency="usd",
                status="succeeded",
                failure_reason="",
                created_at=self.clock,
            )
            self.refunds[refund.id] = refund
            return refund.id

        return self._run_once(key, do)

    def fail_refund(self) -> None:
        """The bank sends back the newest one."""
        refund = list(self.refunds.values())[-1]
        self.refunds[refund.id] = replace(refund, status="failed", failure_reason="card closed")
        self.transactions[refund.invoice_id].given_back -= refund.amount

    def dispute_payment(self, customer_id: str) -> None:
        """The newest one."""
        bill = [bill for bill in self.transactions.values() if bill.buyer == customer_id][-1]
        dispute = Dispute(
            id=self._new_id("claim"),
            invoice_id=bill.id,
            amount=bill.sum - bill.from_wallet,
            currency="usd",
            reason="fraudulent",
            status="needs_response",
            is_refundable=False,
            respond_by=self.clock + timedelta(days=9),
            created_at=self.clock,
        )
        self.disputes[dispute.id] = dispute

    def warn_of_fraud(self, customer_id: str) -> None:
        """About the newest payment."""
        bill = [bill for bill in self.transactions.values() if bill.buyer == customer_id][-1]
        self.suspicions.append(bill.id)

    def end_dispute(self, *, won: bool) -> None:
        dispute = list(self.disputes.values())[-1]
        self.disputes[dispute.id] = replace(dispute, status="won" if won else "lost")

    async def charge_once(
        self, customer_id: str, amount: int, currency: str, description: str, *, method_id: str, key: str
    ) -> SingleCharge:
        self._record_call("charge")
        buyer = self._get_buyer(customer_id)
        if key in self._results_by_key:
            return SingleCharge(invoice_id=self._results_by_key[key], is_paid=True)
        if not buyer.card:
            raise ProviderRefused("Your card was declined.", "card_declined", kind="card")

        def do() -> str:
            line = InvoiceLine(description, amount, 1, self.clock, self.clock, proration=False)
            bill = Transaction(self._new_id("bill"), buyer.id, "", self.clock, [line], "settled", tries=1)
            bill.key = key
            self.transactions[bill.id] = bill
            return bill.id

        return SingleCharge(invoice_id=self._run_once(key, do), is_paid=True)

    async def close_charge(self, customer_id: str, key: str) -> SingleCharge | None:
        self._record_call("close_charge")
        self._get_buyer(customer_id)
        bill_id = self._results_by_key.get(key)
        return SingleCharge(invoice_id=bill_id, is_paid=True) if bill_id else None

    async def report_usage(
        self, customer_id: str, meter: str, quantity: int, at: datetime, identifier: str
    ) -> None:
        self._record_call("report_usage")
        self._usage.setdefault(identifier, (self._get_buyer(customer_id).id, meter, quantity, at))

    # How it bills.

    def _end_period(self, deal: Deal) -> None:
        """A period is over, or the trial."""
        unpaid = deal.state == "trial" and self.buyers[deal.buyer].card is None
        if unpaid or (deal.stops is not None and deal.stops <= deal.ends):
            if rows := self._build_last_rows(deal):
                self._charge_transaction(self._add_transaction(deal, deal.ends, rows))
            self._end_deal(deal, deal.ends)
        elif deal.planned is not None and deal.state != "trial":
            self._start_planned(deal)
        else:
            self._start_period(deal, deal.ends, renews=deal.state != "trial")

    def _find_end(self, deal: Deal, at: datetime) -> datetime:
        """Of the period that begins at `at`: on the day of the month on which the first one began, or the month's last."""
        anchor, period = deal.anchor or at, _get_period(self, deal)
        return next(end for number in itertools.count(1) if (end := anchor + number * period) > at)

    def _start_period(self, deal: Deal, at: datetime, *, renews: bool = False, pays: bool = False) -> None:
        """`pays`: it was paid on the page just now, whatever the card does later."""
        rows = (
            self._build_rows(deal, at) if renews or deal.pending else self._build_rows(deal, at, past=False)
        )
        if not renews:
            deal.anchor = at
        deal.pending, deal.starts, deal.ends = [], at, self._find_end(deal, at)
        if deal.state == "trial":
            deal.state = "running"
        bill = self._add_transaction(deal, at, rows)
        if deal.state == "frozen":
            deal.resumption = bill.id
        self._charge_transaction(bill, pays=pays)

    def _start_planned(self, deal: Deal) -> None:
        rows = self._build_planned_rows(deal)
        assert deal.planned is not None
        period_before = _get_period(self, deal)
        deal.positions, deal.planned, deal.pending = deal.planned, None, []
        if _get_period(self, deal) != period_before:
            deal.anchor = deal.ends
        deal.starts, deal.ends = deal.ends, self._find_end(deal, deal.ends)
        self._bill_rows(deal, rows, deal.starts)

    def _build_planned_rows(self, deal: Deal) -> list[InvoiceLine]:
        """What was used by the old positions, and the first period of the planned ones."""
        metered = [
            position for position in deal.positions if self.offers[position.offer].tag.kind == "metered"
        ]
        usage = self._build_rows(replace(deal, positions=metered, pending=[]), deal.ends)
        planned = replace(deal, positions=deal.planned or [], pending=[])
        return [*deal.pending, *usage, *self._build_rows(planned, deal.ends, past=False)]

    def _build_frozen_rows(self, deal: Deal) -> list[InvoiceLine]:
        """Back what isn't used, and what was used so far."""
        metered = [
            position for position in deal.positions if self.offers[position.offer].tag.kind == "metered"
        ]
        usage = self._build_rows(replace(deal, positions=metered, pending=[]), self.clock)
        credit = self._compute_proration(deal, replace(deal, positions=metered), self.clock)
        return [*deal.pending, *credit, *(row for row in usage if row.amount)]

    def _bill_rows(self, deal: Deal, rows: list[InvoiceLine], at: datetime, *, pays: bool = False) -> None:
        self._charge_transaction(self._add_transaction(deal, at, rows), pays=pays)

    def _add_transaction(self, deal: Deal, at: datetime, rows: list[InvoiceLine]) -> Transaction:
        bill = Transaction(self._new_id("txn"), deal.buyer, deal.id, at, rows)
        self.transactions[bill.id] = bill
        return bill

    def _build_last_rows(self, deal: Deal) -> list[InvoiceLine]:
        """What earlier changes left, and usage: a deal that ends owes them too."""
        metered = [
            position for position in deal.positions if self.offers[position.offer].tag.kind == "metered"
        ]
        if deal.state == "trial":
            return []
        usage_only = replace(deal, positions=metered, pending=[])
        usage = [row for row in self._build_rows(usage_only, deal.ends) if row.amount]
        return [*deal.pending, *usage]

    def _bill_change(self, deal: Deal, after: Deal, *, other: bool) -> None:
        """Money first: what was agreed stays until the bill is settled, a day at most."""
        at, ends = self.clock, deal.ends
        if other:
            after.anchor = at
            ends = self._find_end(after, at)
        rows = self._build_rows(after, at) if other else list(deal.pending)
        bill = Transaction(self._new_id("txn"), deal.buyer, deal.id, at, rows)
        self.transactions[bill.id] = bill
        deal.pending = []
        deal.held = HeldChange(
            bill.id,
            min(at + timedelta(hours=23), deal.ends),
            after.positions,
            after.notes,
            at if other else deal.starts,
            ends,
        )
        self._charge_transaction(bill)

    def _drop_held_changes(self) -> None:
        for deal in self.deals.values():
            if deal.held and deal.held.until <= self.clock:
                self.transactions[deal.held.transaction].state = "waived"
                deal.held = None

    def _build_pending_change(self, deal: Deal) -> PendingChange | None:
        return PendingChange(deal.held.transaction, deal.held.until) if deal.held else None

    def _build_rows(self, deal: Deal, at: datetime, *, past: bool = True) -> list[InvoiceLine]:
        ends = self._find_end(deal, at)
        rows = list(deal.pending)
        for position in deal.positions:
            tag = self.offers[position.offer].tag
            if tag.kind != "metered":
                rows.append(
                    InvoiceLine(
                        tag.product_name, tag.amount * (position.count or 0), position.count, at, ends, False
                    )
                )
            elif past:
                used = self._count_usage(deal, tag.meter, deal.starts, at)
                rows.append(
                    InvoiceLine(tag.meter, _compute_tiered_amount(tag, used), used, deal.starts, at, False)
                )
        return rows

    def _compute_proration(self, before: Deal, after: Deal, at: datetime) -> list[InvoiceLine]:
        """Back what is not used, and the rest of what is new."""
        remaining_share = Fraction(
            int((before.ends - at).total_seconds()), int((before.ends - before.starts).total_seconds())
        )
        counts_before = {position.offer: position.count for position in before.positions}
        counts_after = {position.offer: position.count for position in after.positions}
        rows = []
        for offer in sorted({*counts_before, *counts_after}):
            tag = self.offers[offer].tag
            if tag.kind == "metered" or counts_before.get(offer) == counts_after.get(offer):
                continue
            other = _get_period(self, after) != _get_period(self, before)
            for count, sign in (
                (counts_before.get(offer), -1),
                (None if other else counts_after.get(offer), 1),
            ):
                if count:
                    amount = sign * _round_half_up(tag.amount * count * remaining_share)
                    rows.append(
                        InvoiceLine(
                            *(tag.product_name, amount, count, at, before.ends),
                            proration=True,
                            from_item=True,
                        )
                    )
        return rows

    def _count_usage(self, deal: Deal, meter: str, starts: datetime, ends: datetime) -> int:
        records = self._usage.values()
        return sum(
            n
            for buyer_id, meter_name, n, at in records
            if (buyer_id, meter_name) == (deal.buyer, meter) and starts <= at < ends
        )

    def _charge_transaction(self, bill: Transaction, *, pays: bool = False) -> None:
        buyer, deal = self.buyers[bill.buyer], self.deals[bill.deal]
        if not deal.collects:
            bill.state = "draft"
            return
        bill.from_wallet = max(0, min(buyer.wallet, bill.sum)) if not bill.tries else bill.from_wallet
        buyer.wallet -= bill.from_wallet if not bill.tries else 0
        if bill.sum < 0:
            buyer.wallet -= bill.sum
        if deal.days_to_pay:
            bill.state = "settled" if bill.sum <= bill.from_wallet else "owed"
            self._judge_deal(deal)
            return
        bill.tries += 1
        if pays or buyer.card or bill.sum <= bill.from_wallet:
            bill.state = "settled"
            if deal.held and deal.held.transaction == bill.id:
                deal.positions, deal.notes = deal.held.positions, deal.held.notes
                if deal.held.starts != deal.starts:
                    deal.anchor = deal.held.starts
                deal.starts, deal.ends, deal.held = deal.held.starts, deal.held.ends, None
        self._judge_deal(deal)

    def _judge_deal(self, deal: Deal) -> None:
        owed = any(
            transaction.state == "owed" and transaction.at + timedelta(days=deal.days_to_pay) <= self.clock
            for transaction in self.transactions.values()
            if transaction.deal == deal.id and not (deal.held and deal.held.transaction == transaction.id)
        )
        if deal.state == "frozen" and deal.resumption:
            self._judge_resumption(deal)
        if deal.state in ("running", "behind"):
            deal.state = "behind" if owed else "running"

    def _judge_resumption(self, deal: Deal) -> None:
        state = self.transactions[deal.resumption].state
        if state == "settled":
            deal.state, deal.frozen_at = "running", None
        if state != "owed":
            deal.resumption = ""

    def _end_deal(self, deal: Deal, at: datetime) -> None:
        if deal.state != "over":
            deal.state, deal.over_at, deal.planned = "over", at, None

    # Its words in ours.

    def _build_subscription(self, deal: Deal) -> Subscription:
        if deal.days_to_pay:  # its bills fall due without anything happening
            self._judge_deal(deal)
        owed = [
            transaction.at + timedelta(days=deal.days_to_pay)
            for transaction in self.transactions.values()
            if transaction.deal == deal.id
            and transaction.state == "owed"
            and not (deal.held and deal.held.transaction == transaction.id)
        ]
        return Subscription(
            id=deal.id,
            status=STATUS_BY_STATE[deal.state],
            created_at=deal.begun,
            lines=tuple(
                SubscriptionItem(
                    position.id,
                    self.offers[position.offer].tag.id,
                    position.offer,
                    position.count or 0,
                    deal.starts,
                    deal.ends,
                )
                for position in deal.positions
            ),
            kept=deal.notes,
            trial_ends_at=deal.trial_until,
            after_trial="cancel",
            pays=bool(deal.days_to_pay) or self.buyers[deal.buyer].card is not None,
            days_until_due=deal.days_to_pay,
            pause_cause=""
            if deal.state != "frozen"
            else "request"
            if deal.frozen_at is not None
            else "trial",
            paused_at=deal.frozen_at,
            paused_collection="" if deal.collects else "keep_as_draft",
            dispute_mark=deal.claim,
            cancel_at=deal.stops,
            ended_at=deal.over_at,
            failed_since=min(owed, default=None),
            currency=self._get_currency(deal),
            is_taxed=self.is_taxing(deal),
            pending_change=self._build_pending_change(deal),
            cancellation=deal.farewell,
            scheduled_change=ScheduledChange(
                deal.ends,
                tuple(
                    OrderLine(self.offers[position.offer].tag.id, position.offer, position.count)
                    for position in deal.planned
                ),
            )
            if deal.planned is not None
            else None,
        )

    def _build_upcoming(self, buyer: Buyer) -> UpcomingCharges:
        invoices = []
        if not self.tells_upcoming:
            return UpcomingCharges((), tuple(deal.id for deal in self._list_deals(buyer.id)))
        for deal in self._list_deals(buyer.id):
            if buyer.gone or deal.state not in ("trial", "running", "behind"):
                continue
            is_last = deal.stops is not None and deal.stops <= deal.ends
            in_trial = deal.state == "trial"
            rows = list(deal.pending) if is_last else self._build_rows(deal, deal.ends, past=not in_trial)
            if deal.planned is not None and not (is_last or in_trial):
                rows = self._build_planned_rows(deal)
            if is_last and not rows:
                continue
            total = sum(row.amount for row in rows)
            invoices.append(
                UpcomingInvoice(
                    subscription_id=deal.id,
                    currency=self._get_currency(deal),
                    at=deal.ends,
                    total=total,
                    due=max(0, total - buyer.wallet),
                    lines=tuple(rows),
                    included_tax=self.sum_included_tax(rows),
                    is_last=is_last,
                )
            )
        return UpcomingCharges(tuple(invoices))

    def _build_fraud_warning(self, bill_id: str) -> FraudWarning:
        bill = self.transactions[bill_id]
        is_disputed = any(dispute.invoice_id == bill_id for dispute in self.disputes.values())
        return FraudWarning(
            id=f"suspicion_{bill_id}",
            invoice_id=bill_id,
            amount=bill.sum - bill.from_wallet,
            currency="usd",
            fraud_type="unauthorized_use_of_card",
            is_actionable=not is_disputed and bill.given_back < bill.sum - bill.from_wallet,
            created_at=bill.at,
        )

    def _build_invoices(self, customer_id: str) -> list[Invoice]:
        return [
            Invoice(
                id=transaction.id,
                number=transaction.id.upper(),
                status=INVOICE_STATUS_BY_STATE[transaction.state],
                currency=self._get_currency(self.deals.get(transaction.deal)),
                total=transaction.sum,
                due=max(0, transaction.sum - transaction.from_wallet)
                if transaction.state in ("owed", "draft")
                else 0,
                paid=max(0, transaction.sum - transaction.from_wallet)
                if transaction.state == "settled"
                else 0,
                attempts=transaction.tries,
                next_attempt_at=None,
                created_at=transaction.at,
                starts_at=deal.starts if (deal := self.deals.get(transaction.deal)) else transaction.at,
                ends_at=deal.ends if deal else transaction.at,
                page_url=f"{PAGES_URL}/{transaction.id}",
                pdf_url=f"{PAGES_URL}/{transaction.id}.pdf",
                subscription_id=transaction.deal,
                lines=tuple(transaction.rows),
                tax=(tax := self.sum_included_tax(transaction.rows)),
                included_tax=tax,
                key=transaction.key,
                due_at=transaction.at + timedelta(days=deal.days_to_pay)
                if deal and deal.days_to_pay
                else None,
            )
            for transaction in self.transactions.values()
            if transaction.buyer == customer_id
        ]

    def _record_call(self, verb: str) -> None:
        self.calls.append(verb)
        for at, (problem, only) in enumerate(self._failures):
            if only in ("", verb):
                del self._failures[at]
                raise problem

    def _run_once(self, key: str, do: Callable[[], str]) -> str:
        if key not in self._results_by_key:
            self._results_by_key[key] = do()
        return self._results_by_key[key]

    def _new_id(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers):06}"

    def _add_buyer(self, buyer: Buyer) -> str:
        self.buyers[buyer.id] = buyer
        return buyer.id

    def _list_deals(self, customer_id: str) -> list[Deal]:
        return [deal for deal in self.deals.values() if deal.buyer == customer_id]

    def _get_buyer(self, id_: str) -> Buyer:
        with suppress(KeyError):
            return self.buyers[id_]
        raise ProviderRefused("Nobody knows this customer.", "no_buyer", kind="customer")

    def _get_present_buyer(self, id_: str) -> Buyer:
        if self._get_buyer(id_).gone:
            raise ProviderRefused("This customer has left.", "no_buyer", kind="customer")
        return self.buyers[id_]

    def _get_deal(self, id_: str) -> Deal:
        with suppress(KeyError):
            return self.deals[id_]
        raise ProviderRefused("Nobody knows this subscription.", "no_deal", kind="subscription")

    def _require_open(self, deal: Deal) -> None:
        if deal.state == "over":
            raise ProviderRefused("This deal is over.", "deal_over", kind="subscription")

    def _build_position(self, line: OrderLine) -> Position:
        return Position(self._new_id("pos"), line.external_price_id, line.quantity)

    def _build_positions(self, deal: Deal, lines: Sequence[OrderLine]) -> list[Position]:
        ids_by_offer = {position.offer: position.id for position in deal.positions}
        return [
            Position(
                ids_by_offer.get(line.external_price_id) or self._new_id("pos"),
                line.external_price_id,
                line.quantity,
            )
            for line in lines
        ]


def _get_period(provider: MemoryProvider, deal: Deal) -> relativedelta:
    yearly = any(provider.offers[position.offer].tag.period == "year" for position in deal.positions)
    return relativedelta(years=1) if yearly else relativedelta(months=1)


def _compute_tiered_amount(tag: PriceTag, used: int) -> int:
    if not tag.tiers:
        return tag.amount * used
    if tag.tiers_mode == "volume":
        top = next(tier for tier in tag.tiers if tier[0] is None or used <= tier[0])
        return used * top[1] + top[2]
    amount, last = 0, 0
    for up_to, unit, flat in tag.tiers:
        units = max(0, min(used, up_to if up_to is not None else used) - last)
        amount += units * unit + (flat if units else 0)
        last = up_to or used
    return amount


def _round_half_up(exact: Fraction) -> int:
    """Half a cent goes up."""
    return math.floor(exact + Fraction(1, 2))
