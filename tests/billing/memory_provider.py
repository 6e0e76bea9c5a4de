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

from shared.billing.provider import (
    CheckoutOrder,
    CustomerState,
    Invoice,
    InvoiceLine,
    Kept,
    Line,
    OrderLine,
    Preview,
    PriceTag,
    PriceThere,
    ProviderRefused,
    Subscription,
)

SAID = {
    "trial": "trialing",
    "running": "active",
    "behind": "past_due",
    "frozen": "paused",
    "over": "canceled",
}
TOLD = {"owed": "open", "settled": "paid", "waived": "void"}
PAGES = "https://pay.memory.test"


@dataclass
class Offer:
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

    @property
    def sum(self) -> int:
        return sum(row.amount for row in self.rows)


@dataclass
class Deal:
    id: str
    buyer: str
    positions: list[Position]
    begun: datetime
    starts: datetime
    ends: datetime
    state: str = "running"
    trial_until: datetime | None = None
    stops: datetime | None = None
    over_at: datetime | None = None
    notes: tuple[Kept, ...] = ()
    pending: list[InvoiceLine] = field(default_factory=list)


@dataclass
class Buyer:
    id: str
    owner: str
    mail: str
    card: bool | None = None  # whether it pays; None: there is none
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
        self.asked: list[str] = []  # verbs, as they were called
        self.buyers: dict[str, Buyer] = {}
        self.deals: dict[str, Deal] = {}
        self.transactions: dict[str, Transaction] = {}
        self.offers: dict[str, Offer] = {}
        self.carts: dict[str, CheckoutOrder] = {}
        self._done: dict[str, str] = {}  # by idempotency key
        self._usage: dict[str, tuple[str, str, int, datetime]] = {}
        self._set: dict[str, tuple[Subscription, ...]] = {}
        self._holds: list[Hold] = []
        self._failures: list[tuple[Exception, str]] = []
        self._numbers = itertools.count(1)

    # Control: what only tests may do.

    def set_subscriptions(self, customer_id: str, *found: Subscription) -> None:
        """From now on, whatever else happens. Makes the customer where there is none."""
        self.buyers.setdefault(customer_id, Buyer(customer_id, "", ""))
        self._set[customer_id] = found

    def hold_fetch(self) -> Hold:
        """The next fetch looks, sets `seen`, and comes back when somebody sets `go`."""
        self._holds.append(Hold())
        return self._holds[-1]

    def fail_next(self, problem: Exception, times: int = 1, *, verb: str = "") -> None:
        """`verb`: only that one; every other call passes by."""
        self._failures += [(problem, verb)] * times

    def delete_customer(self, customer_id: str) -> None:
        self.buyers[customer_id].gone = True
        for deal in self._of(customer_id):
            self._end(deal, self.clock)

    def pay(self, url: str, *, card: bool | None = True) -> str:
        """Somebody pays on the page. `card`: whether it will go on paying; None: without one. The subscription."""
        order = self.carts[url]
        buyer = self.buyers[order.customer_id]
        buyer.card = card if card is not None else buyer.card
        trial = timedelta(days=order.trial_days)
        deal = Deal(self._id("deal"), buyer.id, [], self.clock, self.clock, self.clock)
        deal.positions = [self._position(line) for line in order.lines]
        self.deals[deal.id] = deal
        if order.trial_days:
            deal.state, deal.trial_until, deal.ends = "trial", self.clock + trial, self.clock + trial
        else:
            self._begin(deal, self.clock, pays=True)
        return deal.id

    def set_card(self, customer_id: str, *, pays: bool) -> None:
        """On the page of the portal. What is owed is paid by it."""
        self.buyers[customer_id].card = pays
        for one in self.transactions.values():
            if one.buyer == customer_id and one.state == "owed":
                self._charge(one)

    def advance(self, by: timedelta) -> None:
        """And all that is due by then happens, in order."""
        until = self.clock + by
        while True:
            due = [
                (deal.ends, deal.id) for deal in self.deals.values() if deal.state not in ("over", "frozen")
            ]
            if not due or min(due)[0] > until:
                break
            self.clock, first = min(due)
            self._turn(self.deals[first])
        self.clock = until

    # The provider's verbs.

    async def whoami(self) -> str:
        self._ask("whoami")
        return "seller_1"

    async def create_customer(self, tenant_id: str, name: str, email: str, key: str) -> str:
        self._ask("create_customer")
        for buyer in self.buyers.values():
            if buyer.owner == tenant_id and not buyer.gone:
                return buyer.id
        return self._once(key, lambda: self._add(Buyer(self._id("buyer"), tenant_id, email)))

    async def fetch(self, customer_id: str) -> CustomerState:
        self._ask("fetch")
        buyer = self._buyer(customer_id)
        state = CustomerState(
            buyer.id,
            deleted=buyer.gone,
            method="Card on file" if buyer.card is not None else "",
            balance=-buyer.wallet,
            currency="usd",
            subscriptions=self._set.get(buyer.id, tuple(self._told(deal) for deal in self._of(buyer.id))),
            invoices=tuple(self._billed(buyer.id)),
        )
        if self._holds:
            hold = self._holds.pop(0)
            hold.seen.set()
            await hold.go.wait()
        return state

    async def checkout(self, order: CheckoutOrder) -> str:
        self._ask("checkout")
        self._buyer(order.customer_id)
        for line in order.lines:
            if line.external_price_id not in self.offers:
                raise ProviderRefused("This is not sold.", "no_offer")

        def open_cart() -> str:
            url = f"{PAGES}/{self._id('cart')}"
            self.carts[url] = order
            return url

        return self._once(order.key, open_cart)

    async def portal(self, customer_id: str, return_url: str) -> str:
        self._ask("portal")
        return f"{PAGES}/wallet/{self._buyer(customer_id).id}"

    async def preview(
        self,
        customer_id: str,
        subscription_id: str,
        lines: Sequence[OrderLine],
        as_of: datetime | None = None,
    ) -> Preview:
        self._ask("preview")
        deal, at = self._deal(subscription_id), as_of or self.clock
        changed = replace(deal, positions=self._positions(deal, lines), pending=list(deal.pending))
        if deal.state != "trial":
            changed.pending += self._difference(deal, changed, at)
        if _period(self, changed) != _period(self, deal):
            changed.ends = at  # another period begins at once
        rows = self._rows(changed, changed.ends)
        due = max(0, sum(row.amount for row in rows) - self.buyers[deal.buyer].wallet)
        return Preview("usd", due, tuple(rows), at)

    async def change(
        self,
        subscription_id: str,
        lines: Sequence[OrderLine],
        *,
        as_of: datetime | None,
        prorate: bool,
        kept: Sequence[Kept] = (),
        key: str,
    ) -> None:
        self._ask("change")
        deal = self._deal(subscription_id)

        def do() -> str:
            after = replace(deal, positions=self._positions(deal, lines))
            if prorate and deal.state != "trial":
                deal.pending += self._difference(deal, after, as_of or self.clock)
            other = _period(self, after) != _period(self, deal)
            deal.positions, deal.notes = after.positions, tuple(kept)
            if other and deal.state != "trial":
                self._begin(deal, self.clock)
            return deal.id

        self._once(key, do)

    async def cancel(self, subscription_id: str, *, at_period_end: bool, key: str) -> None:
        self._ask("cancel")
        deal = self._deal(subscription_id)
        if at_period_end:
            deal.stops = deal.ends
        elif deal.state != "over":
            self._end(deal, self.clock)

    async def resume(self, subscription_id: str, key: str) -> None:
        self._ask("resume")
        deal = self._deal(subscription_id)
        deal.stops = None
        if deal.state == "frozen":
            self._begin(deal, self.clock)

    async def push_price(self, tag: PriceTag) -> str:
        self._ask("push_price")
        for id_, offer in self.offers.items():
            if offer.tag.id == tag.id:
                offer.tag, offer.sold = tag, True
                return id_
        new = self._id("offer")
        self.offers[new] = Offer(tag)
        return new

    async def read_price(self, tag: PriceTag) -> PriceThere:
        self._ask("read_price")
        for id_, offer in self.offers.items():
            if offer.tag.id == tag.id:
                return PriceThere(id_, offer.tag, offer.sold)
        return PriceThere("", None, active=False)

    async def credit(self, customer_id: str, amount: int, currency: str, said: str, key: str) -> str:
        self._ask("credit")
        buyer = self._buyer(customer_id)

        def do() -> str:
            buyer.wallet += amount
            return self._id("gift")

        return self._once(key, do)

    async def refund(self, invoice_id: str, amount: int, key: str) -> str:
        self._ask("refund")
        bill = self.transactions.get(invoice_id)
        if key in self._done:
            return self._done[key]
        if bill is None or bill.state != "settled" or bill.given_back + amount > bill.sum - bill.from_wallet:
            raise ProviderRefused("That is more than was paid.", "too_much")

        def do() -> str:
            bill.given_back += amount
            return self._id("back")

        return self._once(key, do)

    async def report_usage(
        self, customer_id: str, meter: str, quantity: int, at: datetime, identifier: str
    ) -> None:
        self._ask("report_usage")
        self._usage.setdefault(identifier, (self._buyer(customer_id).id, meter, quantity, at))

    # How it bills.

    def _turn(self, deal: Deal) -> None:
        """A period is over, or the trial."""
        unpaid = deal.state == "trial" and self.buyers[deal.buyer].card is None
        if unpaid or (deal.stops is not None and deal.stops <= deal.ends):
            self._end(deal, deal.ends)
        else:
            self._begin(deal, deal.ends, renews=deal.state != "trial")

    def _begin(self, deal: Deal, at: datetime, *, renews: bool = False, pays: bool = False) -> None:
        """`pays`: it was paid on the page just now, whatever the card does later."""
        rows = self._rows(deal, at) if renews or deal.pending else self._rows(deal, at, past=False)
        deal.pending, deal.starts, deal.ends = [], at, at + _period(self, deal)
        if deal.state == "trial":
            deal.state = "running"
        bill = Transaction(self._id("txn"), deal.buyer, deal.id, at, rows)
        self.transactions[bill.id] = bill
        self._charge(bill, pays=pays)

    def _rows(self, deal: Deal, at: datetime, *, past: bool = True) -> list[InvoiceLine]:
        ends = at + _period(self, deal)
        rows = list(deal.pending)
        for one in deal.positions:
            tag = self.offers[one.offer].tag
            if tag.kind != "metered":
                rows.append(
                    InvoiceLine(tag.product_name, tag.amount * (one.count or 0), one.count, at, ends, False)
                )
            elif past:
                used = self._used(deal, tag.meter, deal.starts, at)
                rows.append(InvoiceLine(tag.meter, _tiered(tag, used), used, deal.starts, at, False))
        return rows

    def _difference(self, before: Deal, after: Deal, at: datetime) -> list[InvoiceLine]:
        """Back what is not used, and the rest of what is new."""
        left = Fraction(
            int((before.ends - at).total_seconds()), int((before.ends - before.starts).total_seconds())
        )
        had = {one.offer: one.count for one in before.positions}
        has = {one.offer: one.count for one in after.positions}
        rows = []
        for offer in sorted({*had, *has}):
            tag = self.offers[offer].tag
            if tag.kind == "metered" or had.get(offer) == has.get(offer):
                continue
            other = _period(self, after) != _period(self, before)
            for count, sign in ((had.get(offer), -1), (None if other else has.get(offer), 1)):
                if count:
                    amount = sign * _round(tag.amount * count * left)
                    rows.append(InvoiceLine(tag.product_name, amount, count, at, before.ends, True))
        return rows

    def _used(self, deal: Deal, meter: str, starts: datetime, ends: datetime) -> int:
        found = self._usage.values()
        return sum(
            n for who, what, n, at in found if (who, what) == (deal.buyer, meter) and starts <= at < ends
        )

    def _charge(self, bill: Transaction, *, pays: bool = False) -> None:
        buyer, deal = self.buyers[bill.buyer], self.deals[bill.deal]
        bill.from_wallet = max(0, min(buyer.wallet, bill.sum)) if not bill.tries else bill.from_wallet
        buyer.wallet -= bill.from_wallet if not bill.tries else 0
        if bill.sum < 0:
            buyer.wallet -= bill.sum
        bill.tries += 1
        if pays or buyer.card or bill.sum <= bill.from_wallet:
            bill.state = "settled"
        owed = any(one.state == "owed" for one in self.transactions.values() if one.deal == deal.id)
        if deal.state in ("running", "behind", "frozen"):
            deal.state = "behind" if owed else "running"

    def _end(self, deal: Deal, at: datetime) -> None:
        if deal.state != "over":
            deal.state, deal.over_at = "over", at

    # Its words in ours.

    def _told(self, deal: Deal) -> Subscription:
        owed = [one.at for one in self.transactions.values() if one.deal == deal.id and one.state == "owed"]
        return Subscription(
            id=deal.id,
            status=SAID[deal.state],
            created_at=deal.begun,
            lines=tuple(
                Line(
                    one.id,
                    self.offers[one.offer].tag.id,
                    one.offer,
                    one.count or 0,
                    deal.starts,
                    deal.ends,
                )
                for one in deal.positions
            ),
            kept=deal.notes,
            trial_ends_at=deal.trial_until,
            after_trial="cancel",
            pays=self.buyers[deal.buyer].card is not None,
            cancel_at=deal.stops,
            ended_at=deal.over_at,
            failed_since=min(owed, default=None),
            currency="usd",
        )

    def _billed(self, customer_id: str) -> list[Invoice]:
        return [
            Invoice(
                id=one.id,
                number=one.id.upper(),
                status=TOLD[one.state],
                currency="usd",
                total=one.sum,
                due=max(0, one.sum - one.from_wallet) if one.state == "owed" else 0,
                paid=max(0, one.sum - one.from_wallet) if one.state == "settled" else 0,
                attempts=one.tries,
                next_attempt_at=None,
                created_at=one.at,
                starts_at=self.deals[one.deal].starts,
                ends_at=self.deals[one.deal].ends,
                page_url=f"{PAGES}/{one.id}",
                pdf_url=f"{PAGES}/{one.id}.pdf",
                subscription_id=one.deal,
                lines=tuple(one.rows),
            )
            for one in self.transactions.values()
            if one.buyer == customer_id
        ]

    def _ask(self, verb: str) -> None:
        self.asked.append(verb)
        for at, (problem, only) in enumerate(self._failures):
            if only in ("", verb):
                del self._failures[at]
                raise problem

    def _once(self, key: str, do: Callable[[], str]) -> str:
        if key not in self._done:
            self._done[key] = do()
        return self._done[key]

    def _id(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers):06}"

    def _add(self, buyer: Buyer) -> str:
        self.buyers[buyer.id] = buyer
        return buyer.id

    def _of(self, customer_id: str) -> list[Deal]:
        return [deal for deal in self.deals.values() if deal.buyer == customer_id]

    def _buyer(self, id_: str) -> Buyer:
        with suppress(KeyError):
            return self.buyers[id_]
        raise ProviderRefused("Nobody knows this customer.", "no_buyer")

    def _deal(self, id_: str) -> Deal:
        with suppress(KeyError):
            return self.deals[id_]
        raise ProviderRefused("Nobody knows this subscription.", "no_deal")

    def _position(self, line: OrderLine) -> Position:
        return Position(self._id("pos"), line.external_price_id, line.quantity)

    def _positions(self, deal: Deal, lines: Sequence[OrderLine]) -> list[Position]:
        known = {one.offer: one.id for one in deal.positions}
        return [
            Position(
                known.get(line.external_price_id) or self._id("pos"), line.external_price_id, line.quantity
            )
            for line in lines
        ]


def _period(of: MemoryProvider, deal: Deal) -> relativedelta:
    yearly = any(of.offers[one.offer].tag.period == "year" for one in deal.positions)
    return relativedelta(years=1) if yearly else relativedelta(months=1)


def _tiered(tag: PriceTag, used: int) -> int:
    if not tag.tiers:
        return tag.amount * used
    if tag.tiers_mode == "volume":
        top = next(tier for tier in tag.tiers if tier[0] is None or used <= tier[0])
        return used * top[1] + top[2]
    amount, last = 0, 0
    for up_to, unit, flat in tag.tiers:
        here = max(0, min(used, up_to if up_to is not None else used) - last)
        amount += here * unit + (flat if here else 0)
        last = up_to or used
    return amount


def _round(exact: Fraction) -> int:
    """Half a cent goes up."""
    return math.floor(exact + Fraction(1, 2))
