"""Prepaid credits as both apps show them: the grants with what is left of them, and the ledger."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import reflex as rx

from shared.access.meters import METERS
from shared.billing.models import PrepaidEntry, PrepaidGrant
from shared.billing.prepaid import balance
from shared.billing.prepaid.balance import PrepaidOverview
from shared.core import money
from shared.core.db import now
from shared.ui.banners import local_time
from shared.ui.panels import small, strong, text_with_note
from shared.ui.tables import badge

ENTRY_TITLES = {
    balance.GRANT: "Granted",
    balance.DRAW: "Used",
    balance.EXPIRE: "Expired",
    balance.VOID: "Voided",
    balance.REFUND: "Refunded or disputed",
    balance.RESTORE: "Given back",
}
EMPTY_STATUSES = {  # of a grant with nothing left, by the kind of its last entry
    balance.DRAW: ("Used up", "idle"),
    balance.EXPIRE: ("Expired", "warn"),
    balance.VOID: ("Voided", "warn"),
    balance.REFUND: ("Refunded or disputed", "warn"),
}
SOURCE_TITLES = {balance.OPERATOR: "Credits", balance.TOP_UP: "Top-up"}


@dataclass(frozen=True, kw_only=True)
class PrepaidGrantRow:
    id: str
    title: str
    left: str
    status: str
    tone: str
    expires_at: str  # ISO, "" where it doesn't expire
    note: str
    is_usable: bool


@dataclass(frozen=True, kw_only=True)
class PrepaidEntryRow:
    id: str
    title: str
    amount: str
    at: str


def grant_rows(overview: PrepaidOverview, *, for_operators: bool = False) -> list[PrepaidGrantRow]:
    """In the order in which they are used, then those with nothing left, the newest first.

    `for_operators`: with the priority, and with who granted them and why.
    """
    usable_ids = {grant.id for grant in overview.usable}
    others = [grant for grant in reversed(overview.grants) if grant.id not in usable_ids]
    return [
        _grant_row(
            grant,
            overview.last_kinds.get(grant.id, ""),
            now(),
            used_reversal=overview.used_reversals.get(grant.id, 0),
            for_operators=for_operators,
        )
        for grant in (*overview.usable, *others)
    ]


def entry_rows(overview: PrepaidOverview) -> list[PrepaidEntryRow]:
    """The newest first."""
    currencies = {grant.id: grant.currency for grant in overview.grants}
    return [_entry_row(entry, currencies[entry.grant_id]) for entry in overview.entries]


def describe_balance(overview: PrepaidOverview) -> str:
    """As in "$12.50", "" where nothing is left."""
    amounts = [money.format_amount(amount, currency) for currency, amount in overview.balances.items()]
    return ", ".join(amounts)


def _grant_row(
    grant: PrepaidGrant, last_kind: str, at: datetime, *, used_reversal: int, for_operators: bool
) -> PrepaidGrantRow:
    is_expired = balance.is_expired(grant, at)
    status, tone = ("Expired", "warn") if is_expired else ("Active", "ok")
    if not grant.remaining:
        status, tone = EMPTY_STATUSES.get(last_kind, EMPTY_STATUSES[balance.DRAW])
    note = f"Priority {grant.priority}" if for_operators else ""
    if for_operators and grant.reason:
        note = f"{note} · {grant.by_name}: {grant.reason}"
    if used_reversal:
        used_text = money.format_amount(used_reversal, grant.currency)
        note = f"{note} · {used_text} was used before the payment was refunded or disputed"
    return PrepaidGrantRow(
        id=grant.id,
        title=f"{SOURCE_TITLES[grant.source]} of {money.format_amount(grant.amount, grant.currency)}",
        left=money.format_amount(grant.remaining, grant.currency),
        status=status,
        tone=tone,
        expires_at=grant.expires_at.isoformat() if grant.expires_at else "",
        note=note,
        is_usable=bool(grant.remaining) and not is_expired,
    )


def _entry_row(entry: PrepaidEntry, currency: str) -> PrepaidEntryRow:
    title = ENTRY_TITLES[entry.kind]
    if entry.kind == balance.DRAW and entry.meter in METERS:
        title = f"{title} for {METERS[entry.meter].format_units(entry.units)}"
    return PrepaidEntryRow(
        id=entry.id,
        title=title,
        amount=money.format_amount(entry.amount, currency),
        at=entry.at.isoformat(),
    )


def grant_list(rows: Any, control: Callable[[Any], rx.Component] | None = None) -> rx.Component:
    """`control`: what can be done with a grant."""

    def line(grant: PrepaidGrantRow) -> rx.Component:
        expiry = rx.cond(
            grant.expires_at != "",
            rx.fragment("Until ", local_time(grant.expires_at, "", "moment")),
            "Doesn’t expire",
        )
        note = rx.cond(grant.note != "", rx.fragment(" · ", grant.note))
        words = text_with_note(
            rx.el.span(strong(grant.title), badge(grant.status, grant.tone), class_name="row wrap"),
            small(grant.left, " left · ", expiry, note, class_name="cut-anywhere"),
        )
        return rx.el.li(words, control(grant) if control else rx.fragment(), class_name="wrap")

    return rx.el.ul(rx.foreach(rows, line), class_name="list", data_testid="prepaid-grants")


def entry_list(rows: Any) -> rx.Component:
    def line(entry: PrepaidEntryRow) -> rx.Component:
        words = text_with_note(rx.el.span(entry.title), small(local_time(entry.at, "", "moment")))
        return rx.el.li(words, rx.el.span(entry.amount, class_name="num nowrap"), class_name="wrap")

    return rx.el.ol(rx.foreach(rows, line), class_name="list", data_testid="prepaid-ledger")
