"""What customers owe, worked out a second time: from the published rules and from nothing of the product or a provider.

It hears what happened (ordered, changed, planned, paused, paid, ended) and when; amounts are whole numbers of the smallest unit,
shares of a period are fractions of seconds. Rules: the unused rest of what was charged is credited and the rest of what is new is
charged, each price by itself, less its discount, and rounded half up
(https://docs.stripe.com/billing/subscriptions/prorations). A period of another length begins at once and is charged in full. A change that
costs more within a year, or begins a period, is charged at once; everything else with the next invoice. Periods end on the day of
the month on which the first one began, or on the month's last day (https://docs.stripe.com/billing/subscriptions/billing-cycle).
"""

import calendar
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Literal

Items = Mapping[str, int]  # quantities by price; metered prices have none and are left out
Charged = Literal["today", "next", "never"]
ZERO = Fraction(0)


@dataclass(frozen=True)
class ListPrice:
    amount: int
    is_yearly: bool


@dataclass(frozen=True)
class Verdict:
    """When a change is charged, and how much. "next": below zero it is a credit. `tax`: contained in the amounts."""

    charged: Charged
    amount: int
    tax: int = 0


@dataclass
class Account:
    """One subscription. `pending`: amounts for its next invoice. `paid`: exact cost of the running period, by price."""

    items: dict[str, int]
    starts: datetime
    ends: datetime
    anchor: datetime
    in_trial: bool
    pending: list[int] = field(default_factory=list)
    paid: dict[str, Fraction] = field(default_factory=dict)
    percent_off: int = 0
    is_ending: bool = False
    planned: dict[str, int] | None = None  # from the next period on
    is_paused: bool = False


@dataclass
class Oracle:
    """`tax_percent`: of inclusive prices."""

    prices: Mapping[str, ListPrice]
    tax_percent: int = 0
    credit: int = 0  # of the customer
    accounts: dict[str, Account] = field(default_factory=dict)

    def price_of(self, items: Items) -> int:
        """Of one period."""
        return sum(self.prices[price].amount * quantity for price, quantity in items.items())

    def months_of(self, items: Items) -> int:
        return 12 if any(self.prices[price].is_yearly for price in items) else 1

    def tax_of(self, amounts: Iterable[int]) -> int:
        """Each amount contains its tax, which is rounded by itself, half away from zero."""
        tax = 0
        for amount in amounts:
            exact = Fraction(abs(amount) * self.tax_percent, 100 + self.tax_percent)
            tax += _round(exact) if amount > 0 else -_round(exact)
        return tax

    def subscribe(self, name: str, items: Items, at: datetime, trial_until: datetime | None) -> int:
        """What the order costs at once."""
        account = Account(dict(items), at, trial_until or at, at, trial_until is not None)
        self.accounts[name] = account
        if trial_until:
            return 0
        self._begin_period(account, at, is_anchored=True)
        return self._use_credit(self.price_of(items))

    def judge_change(self, name: str, items: Items, at: datetime) -> Verdict:
        """What a change that is confirmed now has to cost, credit of the customer included."""
        account = self.accounts[name]
        is_other_period = self.months_of(items) != self.months_of(account.items)
        difference = [] if account.in_trial else self._prorate(account, items, at, is_other_period)
        if is_other_period and account.in_trial:
            return Verdict("next", 0)  # the trial goes on
        if is_other_period:
            amounts = [*account.pending, *difference, *self._list_charges(items)]
            total = sum(amounts) - self._discount(account, items)
            return Verdict("today", self._less_credit(total), self.tax_of(amounts))
        if sum(difference) > 0 and self.months_of(items) == 12:
            amounts = [*account.pending, *difference]
            return Verdict("today", self._less_credit(sum(amounts)), self.tax_of(amounts))
        return Verdict("next", sum(difference), self.tax_of(difference))

    def change(
        self, name: str, items: Items, at: datetime, *, begins: datetime | None = None, prorated: bool = True
    ) -> None:
        """A change took effect: paid for where it is charged at once. `begins`: a period of another length, if not at `at`."""
        account = self.accounts[name]
        if not prorated or account.in_trial:
            account.paid = {price: cost for price, cost in account.paid.items() if price in items}
            account.items = dict(items)
            return
        is_other_period = self.months_of(items) != self.months_of(account.items)
        difference = self._prorate(account, items, at, is_other_period)
        if is_other_period:
            amounts = [*account.pending, *difference, *self._list_charges(items)]
            self._use_credit(sum(amounts) - self._discount(account, items))
            account.items, account.pending = dict(items), []
            self._begin_period(account, begins or at, is_anchored=True)
            return
        account.pending += difference
        if sum(difference) > 0 and self.months_of(items) == 12:
            self._use_credit(sum(account.pending))
            account.pending = []
        account.paid = {
            price: account.paid.get(price, ZERO)
            if account.items.get(price) == quantity
            else self._net_cost(account, price, quantity)
            for price, quantity in items.items()
        }
        account.items = dict(items)

    def pause(self, name: str, at: datetime) -> int:
        """The sum for the invoice of the resumption: below zero it is a credit."""
        account = self.accounts[name]
        account.pending += self._prorate(account, {}, at, is_other_period=False)
        account.is_paused, account.paid, account.planned = True, {}, None
        return sum(account.pending)

    def judge_resume(self, name: str) -> Verdict:
        account = self.accounts[name]
        amounts = [*account.pending, *self._list_charges(account.items)]
        total = sum(amounts) - self._discount(account, account.items)
        return Verdict("today", self._less_credit(total), self.tax_of(amounts))

    def resume(self, name: str, at: datetime) -> int:
        """What is charged. The access comes when it is paid."""
        account = self.accounts[name]
        total = sum(account.pending) + self.price_of(account.items) - self._discount(account, account.items)
        account.pending = []
        self._begin_period(account, at, is_anchored=True)
        return self._use_credit(total)

    def end_paused(self, name: str) -> None:
        """The credit of the pause stays with the customer."""
        self.credit += max(0, -sum(self.accounts.pop(name).pending))

    def next_invoice(self, name: str) -> int:
        """What is charged at the end of the period if nothing else happens."""
        account = self.accounts[name]
        return 0 if account.is_paused else self._less_credit(sum(self._sum_next(account)))

    def next_tax(self, name: str) -> int:
        """What the prices of the next invoice contain. Without discounts: how they share a rounded tax isn't published."""
        account = self.accounts[name]
        items = account.planned or account.items
        charges = [] if account.is_ending else self._list_charges(items)
        return self.tax_of([*account.pending, *charges])

    def renew(self, name: str, at: datetime) -> int:
        """A period is over. What is charged."""
        account = self.accounts[name]
        total = sum(self._sum_next(account))
        account.pending, was_in_trial, account.in_trial = [], account.in_trial, False
        if account.is_ending:
            del self.accounts[name]
            return self._use_credit(total)
        months = self.months_of(account.items)
        if account.planned is not None:
            account.items, account.planned = account.planned, None
        is_anchored = was_in_trial or self.months_of(account.items) != months
        self._begin_period(account, at, is_anchored=is_anchored)
        return self._use_credit(total)

    def _sum_next(self, account: Account) -> tuple[int, int]:
        """What is pending, and the next period less its discount."""
        if account.is_ending:
            return sum(account.pending), 0
        items = account.planned if account.planned is not None else account.items
        return sum(account.pending), self.price_of(items) - self._discount(account, items)

    def _begin_period(self, account: Account, at: datetime, *, is_anchored: bool) -> None:
        """`is_anchored`: later periods end on this day of the month."""
        if is_anchored:
            account.anchor = at
        months, number = self.months_of(account.items), 1
        while (ends := add_months(account.anchor, number * months)) <= at:
            number += 1
        account.starts, account.ends = at, ends
        account.paid = {
            price: self._net_cost(account, price, quantity) for price, quantity in account.items.items()
        }
        account.is_paused = False

    def _list_charges(self, items: Items) -> list[int]:
        return [self.prices[price].amount * quantity for price, quantity in items.items()]

    def _prorate(self, account: Account, items: Items, at: datetime, is_other_period: bool) -> list[int]:
        """The amounts of credits and charges."""
        share = Fraction(_seconds(at, account.ends), _seconds(account.starts, account.ends))
        amounts = []
        for price in {*account.items, *items}:
            before, after = account.items.get(price), items.get(price)  # 0 of them is not the same as none
            if before == after:
                continue
            amounts.append(_round(-account.paid.get(price, ZERO) * share))
            if after and not is_other_period:
                amounts.append(_round(self._net_cost(account, price, after) * share))
        return amounts

    def _net_cost(self, account: Account, price: str, quantity: int) -> Fraction:
        return Fraction(self.prices[price].amount * quantity * (100 - account.percent_off), 100)

    def _discount(self, account: Account, items: Items) -> int:
        """Of a whole period. Prorations contain theirs."""
        return _round(Fraction(self.price_of(items) * account.percent_off, 100))

    def _less_credit(self, total: int) -> int:
        return max(0, total - self.credit)

    def _use_credit(self, total: int) -> int:
        due = self._less_credit(total)
        self.credit -= total - due if total > 0 else total
        return due


def add_months(at: datetime, count: int) -> datetime:
    """The same day and time `count` months later, or the last day of a month that is too short."""
    years, month = divmod(at.month - 1 + count, 12)
    last_day = calendar.monthrange(at.year + years, month + 1)[1]
    return at.replace(year=at.year + years, month=month + 1, day=min(at.day, last_day))


def _seconds(since: datetime, until: datetime) -> int:
    return int((until - since).total_seconds())


def _round(exact: Fraction | int) -> int:
    """Half goes away from zero."""
    whole = int((2 * abs(Fraction(exact)) + 1) // 2)
    return whole if exact >= 0 else -whole
