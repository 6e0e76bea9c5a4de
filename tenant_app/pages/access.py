"""/t/[tenant]/access: what the organisation may use, why, how much of it is taken, and what will change by itself."""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from shared.access import actions
from shared.core.ctx import Limit
from shared.entitlements import explain
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.tenancy import effective
from shared.ui import chart
from shared.ui.feedback import skeleton_rows, when
from shared.ui.gate import needs
from shared.ui.hull import cells, fact, hull, small, strong, two
from shared.ui.shell import head
from shared.ui.table import Column, badge, data_table, row, some
from tenant_app.frame import page
from tenant_app.shell import PageState

FEATURE_COLUMNS = [Column("Feature"), Column("Now"), Column("Where it comes from", less=True)]
LIMIT_COLUMNS = [
    Column("Limit"),
    Column("In use", end=True),
    Column("At most", end=True),
    Column("Where it comes from", less=True),
]
TURN_COLUMNS = [Column("When"), Column("What"), Column("Now", less=True), Column("Then")]


@dataclass(frozen=True)
class FeatureRow:
    title: str
    does: str
    value: str
    tone: str
    said: str


@dataclass(frozen=True)
class LimitRow:
    title: str
    used: str  # "" where nothing is counted
    amount: str
    said: str
    share: str
    tone: str
    number: int
    most: int


@dataclass(frozen=True)
class TurnRow:
    at: str
    what: str
    before: str
    after: str


def limit_row(name: str, limit: Limit, said: str, used: int | None) -> LimitRow:
    kind = LIMITS[name]
    share, tone = ("0%", "calm") if used is None or limit.amount is None else chart.gauge(used, limit.amount)
    soft = "" if limit.hard or limit.amount is None else " Above it one is warned and goes on."
    return LimitRow(
        kind.title,
        "" if used is None else f"{used:,}",
        explain.amount(limit, name),
        f"{said}{soft}",
        share,
        tone,
        used or 0,
        0 if used is None or limit.amount is None else limit.amount,
    )


class AccessState(PageState):
    loaded: bool = False
    plan: str = ""
    plan_since: str = ""
    billing: str = ""
    billing_since: str = ""
    billing_until: str = ""
    trial: str = ""
    trial_ends_at: str = ""
    next_at: str = ""
    features: list[FeatureRow] = []
    limits: list[LimitRow] = []
    turns: list[TurnRow] = []

    @rx.event
    @needs(actions.ACCESS_READ, page=True)
    async def load(self) -> None:
        async with self._open(AccessState.load, "members", "invitations", "roles") as ctx:
            found = await effective.read(ctx)
        self._show(found)

    def _show(self, found: effective.Access) -> None:
        self.plan, self.billing = found.plan, effective.STATUS[found.billing_status]
        self.plan_since = found.plan_since.isoformat() if found.plan_since else ""
        self.billing_since = found.billing_since.isoformat() if found.billing_since else ""
        self.billing_until = found.billing_until.isoformat() if found.billing_until else ""
        self.trial = (
            "No trial" if found.trial_ends_at is None else "Ended" if found.trial_ended else "Running"
        )
        self.trial_ends_at = found.trial_ends_at.isoformat() if found.trial_ends_at else ""
        self.features = [
            FeatureRow(
                FEATURES[name].title,
                FEATURES[name].does,
                effective.INCLUDED[chain.has],
                "ok" if chain.has else "idle",
                chain.said,
            )
            for name, chain in found.features.items()
        ]
        self.limits = [
            limit_row(name, chain.limit, chain.said, found.used.get(name))
            for name, chain in found.limits.items()
        ]
        self.turns = [TurnRow(one.at.isoformat(), one.what, one.before, one.after) for one in found.turns]
        self.next_at = self.turns[0].at if self.turns else ""
        self.loaded = True


def standing() -> rx.Component:
    def day(word: str, at: Any, otherwise: str) -> rx.Component:
        return rx.cond(at != "", rx.fragment(word, when(at, "", "day")), otherwise)

    shown = cells(
        fact("Plan", AccessState.plan, day("Since ", AccessState.plan_since, "Nobody chose one")),
        fact(
            "Billing",
            AccessState.billing,
            rx.cond(
                AccessState.billing_until != "",
                day("Until ", AccessState.billing_until, ""),
                day("Since ", AccessState.billing_since, "From the beginning"),
            ),
        ),
        fact(
            "Trial",
            AccessState.trial,
            rx.cond(
                AccessState.trial == "Ended",
                day("On ", AccessState.trial_ends_at, ""),
                day("Until ", AccessState.trial_ends_at, "Nothing runs out"),
            ),
        ),
        fact(
            "Next change",
            rx.cond(AccessState.next_at != "", when(AccessState.next_at, "", "day"), "None"),
            "By the calendar alone",
        ),
    )
    return hull(rx.cond(AccessState.loaded, shown, skeleton_rows(1)), name="Plan and billing")


def feature_line(one: FeatureRow) -> rx.Component:
    title = two(strong(one.title), small(one.does))
    why = small(one.said, class_name="only-small")
    return row(FEATURE_COLUMNS, rx.fragment(title, why), badge(one.value, one.tone), small(one.said))


def limit_line(one: LimitRow) -> rx.Component:
    gauge = chart.meter(
        one.title, one.number, one.most, share=one.share, tone=one.tone, said=f"{one.used} of {one.amount}"
    )
    title = rx.el.div(
        strong(one.title),
        rx.cond(one.most > 0, gauge),
        small(one.said, class_name="only-small"),
        class_name="two metered",
    )
    used = rx.cond(one.used != "", one.used, rx.el.span("Not counted", class_name="muted small"))
    return row(LIMIT_COLUMNS, title, used, one.amount, small(one.said))


def turn_line(one: TurnRow) -> rx.Component:
    return row(
        TURN_COLUMNS, when(one.at, "", "moment"), strong(one.what), small(one.before), small(one.after)
    )


def features() -> rx.Component:
    table = data_table(
        "Features", FEATURE_COLUMNS, rx.foreach(AccessState.features, feature_line), test_id="features"
    )
    return hull(rx.cond(AccessState.loaded, table, skeleton_rows(6)), title="Features")


def limits() -> rx.Component:
    table = data_table("Limits", LIMIT_COLUMNS, rx.foreach(AccessState.limits, limit_line), test_id="limits")
    return hull(rx.cond(AccessState.loaded, table, skeleton_rows(6)), title="Limits")


def turns() -> rx.Component:
    table = data_table(
        "What will change", TURN_COLUMNS, rx.foreach(AccessState.turns, turn_line), test_id="turns"
    )
    return hull(table, title="What will change by itself")


@rx.page(route="/t/[tenant]/access", title="Access · Bulkhead", on_load=AccessState.load)
def access_page() -> rx.Component:
    return page(
        head("Access", said="What your organisation may use, and where each of it comes from."),
        standing(),
        rx.cond(some(AccessState.turns), turns()),  # that there are none says the last of the figures
        features(),
        limits(),
        current="Access",
        load=AccessState.load,
    )
