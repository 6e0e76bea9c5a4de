"""When a click of a random history has to be refused, and why: rules of their own, from what was known at the last sync.

`Refusal` is what the product said, by the first words of its sentences. A sentence that isn't here is not for customers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from shared.billing.subscriptions.changes import ChangeRequest
from shared.core.errors import DomainError
from tests.support.billing.memory_provider import Deal
from tests.support.billing.memory_tenant import Shelf

Reason = Literal[
    "",
    "addon_paid_for",
    "archived",
    "cancelled",
    "changed_meanwhile",
    "currency",
    "ended",
    "no_trial",
    "none",
    "not_cancelled",
    "not_paid",
    "not_paused",
    "nothing_to_keep",
    "other",
    "outdated",
    "overdue",
    "paused",
    "paused_already",
    "payment_open",
    "resumption_open",
    "same",
    "scheduled",
    "subscribed",
    "too_many_seats",
    "waiting_change",
]
SENTENCES: Mapping[Reason, str] = {  # the first words
    "addon_paid_for": r"\d+ of them are already paid for\.",
    "archived": r"This price can’t be bought right now",
    "cancelled": r"The subscription is (already )?cancelled\.",
    "changed_meanwhile": r"The change took effect or was dropped in the meantime\.",
    "currency": r"Your organisation pays in [A-Z]{3}\.",
    "ended": r"This subscription has ended\.",
    "no_trial": r"The free trial is no longer available",
    "none": r"You don’t have a subscription\.",
    "not_cancelled": r"The subscription isn’t cancelled\.",
    "not_paid": r"Only a paid subscription can be paused\.",
    "not_paused": r"The subscription isn’t paused\.",
    "nothing_to_keep": r"No change is scheduled, and none waits",
    "other": r"The payment provider couldn’t process this request\.",
    "outdated": r"The subscription or its price has changed\.|This total is out of date\.|(The subscription|What is due) has changed since",
    "overdue": r"A payment is overdue\.",
    "paused": r"The subscription is paused( by now)?\.",
    "paused_already": r"The subscription is paused already\.",
    "payment_open": r"The payment failed",
    "resumption_open": r"The last payment to resume it failed\.",
    "same": r"This is your current subscription\.",
    "scheduled": r"A change is scheduled already\.",
    "subscribed": r"You already have a subscription\.",
    "too_many_seats": r"\w+ can have at most \d+ seats\.",
    "waiting_change": r"A change of the plan hasn’t taken effect\.",
}
QUOTE_LIFETIME = timedelta(minutes=15)


def name_reason(refusal: DomainError | None) -> Reason:
    """ "" for none. Raises AssertionError for words that are none of ours."""
    if refusal is None:
        return ""
    for reason, pattern in SENTENCES.items():
        if re.match(pattern, refusal.detail):
            return reason
    raise AssertionError(f"no sentence for customers: {refusal.detail}")


@dataclass(frozen=True)
class DealRecord:
    """A deal as our records have it."""

    id: str
    state: str
    items: tuple[tuple[str, int], ...]  # sorted; without metered prices
    kept: tuple[tuple[str, int, datetime], ...]  # cancelled add-ons: price, quantity, until
    stops: datetime | None
    starts: datetime
    ends: datetime
    planned: tuple[tuple[str, int | None], ...] | None
    held: str
    open_since_frozen: bool  # a resumption that isn't paid

    @classmethod
    def read(cls, deal: Deal, items: Mapping[str, int], *, open_since_frozen: bool) -> "DealRecord":
        return cls(
            deal.id,
            deal.state,
            tuple(sorted(items.items())),
            tuple((addon.price_id, addon.quantity, addon.until) for addon in deal.notes),
            deal.stops,
            deal.starts,
            deal.ends,
            tuple((position.offer, position.count) for position in deal.planned)
            if deal.planned is not None
            else None,
            deal.held.transaction if deal.held else "",
            open_since_frozen,
        )

    def list_kept(self, at: datetime) -> list[tuple[str, int, datetime]]:
        return sorted(addon for addon in self.kept if addon[2] > at)


@dataclass(frozen=True)
class Rules:
    """`currency`: in which the tenant buys."""

    shelf: Shelf
    currency: str

    def refuse_change(self, record: DealRecord | None, request: ChangeRequest, at: datetime) -> Reason:
        """Of planning it, by what is known."""
        if record is None:
            return "none"
        if record.stops is not None:
            return "cancelled"
        if record.planned is not None:
            return "scheduled"
        if record.state in ("behind", "frozen"):
            return "overdue" if record.state == "behind" else "paused"
        version_id, period, seats, addons = self.read_items(record)
        target_id = request.version_id or version_id
        wanted_seats = request.seats if request.seats is not None else seats
        limit = self.shelf.catalog.offers[target_id].limits["members"].amount
        if (
            self._find_price(target_id, request.period or period, "seat")
            and limit is not None
            and (wanted_seats or 1) > limit
        ):
            return "too_many_seats"
        if request.addon_id:
            paid = max(
                (
                    count
                    for price, count, _ in record.list_kept(at)
                    if self.shelf.catalog_prices[price].version_id == request.addon_id
                ),
                default=0,
            )
            if addons.get(request.addon_id, 0) < paid < request.addon_quantity:
                return "addon_paid_for"
        return "same" if self.target_items(record, request) == dict(record.items) else ""

    def refuse_confirmation(
        self,
        record: DealRecord | None,
        quoted: DealRecord,
        request: ChangeRequest,
        *,
        quoted_at: datetime,
        at: datetime,
    ) -> Reason:
        """Of preparing it, by what is known. `quoted`: what was known when the price was shown."""
        if reason := self.refuse_change(record, request, at):
            return reason
        assert record is not None
        if self.outline(record, at) != self.outline(quoted, at) or at - quoted_at > QUOTE_LIFETIME:
            return "outdated"
        is_reducing = request.addon_id and (quoted.ends != record.ends)
        return "outdated" if is_reducing and self._gives_up(quoted, request) else ""

    def _gives_up(self, record: DealRecord, request: ChangeRequest) -> bool:
        """Whether add-ons stay until the end of the period."""
        _, _, _, addons = self.read_items(record)
        kept = [count for price, count, _ in record.kept if self._version_of(price) == request.addon_id]
        return request.addon_quantity < max([addons.get(request.addon_id, 0), *kept])

    def outline(self, record: DealRecord, at: datetime) -> object:
        return record.id, record.state, record.items, record.list_kept(at), record.stops

    def refuse_pause(self, record: DealRecord | None) -> Reason:
        if record is None:
            return "none"
        if record.state == "frozen":
            return "paused_already"
        if record.stops is not None:
            return "cancelled"
        if record.planned is not None or record.held:
            return "waiting_change"
        return "" if record.state == "running" else "not_paid"

    def refuse_unpause(self, record: DealRecord | None) -> Reason:
        if record is None or record.state != "frozen":
            return "not_paused"
        return "resumption_open" if record.open_since_frozen else ""

    def refuse_cancel(self, record: DealRecord | None) -> Reason:
        if record is None:
            return "none"
        return "cancelled" if record.stops is not None and record.state != "frozen" else ""

    def refuse_resume(self, record: DealRecord | None) -> Reason:
        if record is None:
            return "none"
        if record.state == "frozen":
            return "paused"
        return "" if record.stops is not None else "not_cancelled"

    def refuse_keep(self, record: DealRecord | None) -> Reason:
        return "" if record is not None and (record.planned is not None or record.held) else "nothing_to_keep"

    # ── what an order contains ─────────────────────────────────────────────────────────────────────────────────────

    def target_items(self, record: DealRecord, request: ChangeRequest) -> dict[str, int]:
        version_id, period, seats, addons = self.read_items(record)
        version_id, period = request.version_id or version_id, request.period or period
        if request.addon_id:
            addons = {**addons, request.addon_id: request.addon_quantity}
        wanted_seats = request.seats if request.seats is not None else seats
        items = self.build_items(version_id, period, wanted_seats or 1)
        for addon_id, count in addons.items():
            if count:
                price = self._find_price(addon_id, period, "flat")
                assert price
                items[price] = count
        return items

    def build_items(self, version_id: str, period: str, seats: int) -> dict[str, int]:
        flat, seat = (self._find_price(version_id, period, kind) for kind in ("flat", "seat"))
        return {**({flat: 1} if flat else {}), **({seat: seats} if seat else {})}

    def read_items(self, record: DealRecord) -> tuple[str, str, int | None, dict[str, int]]:
        """Version and period of the plan, its seats, and the add-ons by version."""
        rows = {price.id: price for price, _, _ in self.shelf.priced_versions}
        plan = next(price for price, _ in record.items if not self.shelf.catalog_prices[price].is_addon)
        seats = [count for price, count in record.items if self.shelf.catalog_prices[price].is_per_seat]
        addons = {
            self._version_of(price): count
            for price, count in record.items
            if self.shelf.catalog_prices[price].is_addon and count
        }
        return self._version_of(plan), rows[plan].period, sum(seats) if seats else None, addons

    def _version_of(self, price_id: str) -> str:
        return self.shelf.catalog_prices[price_id].version_id

    def _find_price(self, version_id: str, period: str, kind: str) -> str:
        """ "" where it isn't sold."""
        return next(
            (
                price.id
                for price, version, _ in self.shelf.priced_versions
                if (version.id, price.period, price.kind, price.currency)
                == (version_id, period, kind, self.currency)
            ),
            "",
        )
