"""What customers owe, worked out a second time: from the published rules and from nothing of the product or a provider.

It hears what happened (ordered, changed, paid, ended) and when; amounts are whole cents, shares of a period are fractions of
seconds. Rules: the unused rest of what was paid is credited and the rest of what is new is charged, each price by itself
and rounded to the cent, half up (https://docs.stripe.com/billing/subscriptions/prorations). A period of another length begins at
once and is charged in full. A change that costs more within a year, or begins a period, is charged at once; everything else with
the next invoice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Literal

from dateutil.relativedelta import relativedelta

Items = Mapping[str, int]  # quantities by price; metered prices have none and are left out
Charged = Literal["today", "next", "never"]


@dataclass(frozen=True)
class ListPrice:
    amount: int
    is_yearly: bool


@dataclass(frozen=True)
class Verdict:
    """When a change is charged, and how much. "next": below zero it is a credit."""

    charged: Charged
    amount: int


@dataclass
class Account:
    """One subscription. `pending`: for its next invoice, in cents."""

    items: dict[str, int]
    starts: datetime
    ends: datetime
    in_trial: bool
    pending: int = 0
    percent_off: int = 0
    is_ending: bool = False


@dataclass
class Oracle:
    prices: Mapping[str, ListPrice]
    credit: int = 0  # of the customer
    accounts: dict[str, Account] = field(default_factory=dict)

    def price_of(self, items: Items) -> int:
        """Of one period."""
        return sum(self.prices[price].amount * quantity for price, quantity in items.items())

    def period_of(self, items: Items) -> relativedelta:
        yearly = any(self.prices[price].is_yearly for price in items)
        return relativedelta(years=1) if yearly else relativedelta(months=1)

    def subscribe(self, name: str, items: Items, at: datetime, trial_until: datetime | None) -> int:
        """What the order costs at once."""
        ends = trial_until or at + self.period_of(items)
        self.accounts[name] = Account(dict(items), at, ends, trial_until is not None)
        return 0 if trial_until else self._use_credit(self.price_of(items))

    def judge_change(self, name: str, items: Items, at: datetime) -> Verdict:
        """What a change that is confirmed now has to cost, credit of the customer included."""
        account = self.accounts[name]
        is_other_period = self.period_of(items) != self.period_of(account.items)
        difference = 0 if account.in_trial else self._prorate(account, items, at, is_other_period)
        if is_other_period and account.in_trial:
            return Verdict("next", 0)  # the trial goes on
        if is_other_period:
            total = self._discount(account, account.pending + difference + self.price_of(items))
            return Verdict("today", self._less_credit(total))
        is_yearly = self.period_of(items).years == 1
        if difference > 0 and is_yearly:
            return Verdict("today", self._less_credit(account.pending + difference))
        return Verdict("next", difference)

    def change(self, name: str, items: Items, at: datetime, *, prorated: bool = True) -> None:
        """A change took effect: paid for where it is charged at once."""
        account = self.accounts[name]
        if prorated and not account.in_trial:
            is_other_period = self.period_of(items) != self.period_of(account.items)
            difference = self._prorate(account, items, at, is_other_period)
            if is_other_period:
                total = self._discount(account, account.pending + difference + self.price_of(items))
                self._use_credit(total)
                account.pending, account.starts, account.ends = 0, at, at + self.period_of(items)
            elif difference > 0 and self.period_of(items).years == 1:
                self._use_credit(account.pending + difference)
                account.pending = 0
            else:
                account.pending += difference
        account.items = dict(items)

    def next_invoice(self, name: str) -> int:
        """What is charged at the end of the period if nothing else happens."""
        account = self.accounts[name]
        if account.is_ending:
            return self._less_credit(account.pending)
        return self._less_credit(self._discount(account, account.pending + self.price_of(account.items)))

    def renew(self, name: str, at: datetime) -> int:
        """A period is over. What is charged."""
        account = self.accounts[name]
        total = (
            account.pending
            if account.is_ending
            else self._discount(account, account.pending + self.price_of(account.items))
        )
        account.pending, account.starts, account.in_trial = 0, at, False
        account.ends = at + self.period_of(account.items)
        if account.is_ending:
            del self.accounts[name]
        return self._use_credit(total)

    def _prorate(self, account: Account, items: Items, at: datetime, is_other_period: bool) -> int:
        rest = Fraction(_seconds(account.starts, account.ends) - _seconds(account.starts, at))
        share = rest / _seconds(account.starts, account.ends)
        cents = 0
        for price in {*account.items, *items}:
            before, after = account.items.get(price, 0), items.get(price, 0)
            if before == after:
                continue
            amount = self.prices[price].amount
            cents -= _round(amount * before * share)
            if not is_other_period:
                cents += _round(amount * after * share)
        return cents

    def _discount(self, account: Account, total: int) -> int:
        return total - _round(Fraction(max(0, total) * account.percent_off, 100))

    def _less_credit(self, total: int) -> int:
        return max(0, total - self.credit)

    def _use_credit(self, total: int) -> int:
        due = self._less_credit(total)
        self.credit -= total - due if total > 0 else total
        return due


def _seconds(since: datetime, until: datetime) -> int:
    return int((until - since).total_seconds())


def _round(exact: Fraction | int) -> int:
    """Half a cent goes up."""
    return int((2 * Fraction(exact) + 1) // 2)
