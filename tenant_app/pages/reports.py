"""/t/[tenant]/reports: how the organisation works, week by week, by person, and where it met a no."""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from shared.access import actions
from shared.access.actions import ACTIONS
from shared.access.reasons import Reason
from shared.core.ctx import Ctx
from shared.tenancy import reports
from shared.ui import chart
from shared.ui.chart import Bars
from shared.ui.feedback import bone, empty, skeleton_rows, when
from shared.ui.gate import needs
from shared.ui.hull import cells, fact, hull, small, two
from shared.ui.shell import head
from shared.ui.table import Column, avatar, data_table, initials, row, some
from shared.ui.trail import ACTORS
from tenant_app.frame import page
from tenant_app.shell import PageState

WEEK_COLUMNS = [
    Column("Week of"),
    Column("Seats", end=True),
    Column("Active people", end=True, less=True),
    Column("Invited", end=True),
    Column("Joined", end=True),
    Column("Left", end=True),
]
PEOPLE_COLUMNS = [
    Column("Who"),
    Column("Changes", end=True),
    Column("Kinds of change", end=True, less=True),
    Column("Last one", less=True),
]
REFUSED_COLUMNS = [
    Column("What"),
    Column("Why"),
    Column("Times", end=True),
    Column("People", end=True, less=True),
    Column("Last time", less=True),
]
WHY = {
    Reason.BILLING_NONE: "Nothing is paid",
    Reason.BILLING_READ_ONLY: "A payment was overdue",
    Reason.FLAG_OFF: "Not switched on yet",
    Reason.LIMIT_REACHED: "The limit was reached",
    Reason.MISSING_PERMISSION: "Not in their role",
    Reason.NOT_IN_PLAN: "Not in the plan",
    Reason.OBJECT_STATE: "Something stood in the way",
    Reason.TENANT_DELETED: "The organisation was deleted",
    Reason.TENANT_SUSPENDED: "The organisation was suspended",
    Reason.TENANT_UNVERIFIED: "The address was not verified",
    Reason.TRIAL_ENDED: "The trial had ended",
}


@dataclass(frozen=True)
class WeekRow:
    day: str
    seats: str
    people: str
    invited: str
    joined: str
    left: str


@dataclass(frozen=True)
class ChangerRow:
    name: str
    initials: str
    what: str
    changes: str
    kinds: str
    at: str


@dataclass(frozen=True)
class RefusalRow:
    said: str
    why: str
    count: str
    people: str
    at: str


def week_row(one: reports.Week) -> WeekRow:
    return WeekRow(
        one.starts_at.isoformat(),
        f"{one.seats:,}",
        f"{one.people:,}",
        f"{one.invited:,}",
        f"{one.joined:,}",
        f"{one.left:,}",
    )


def changer_row(one: reports.Changer) -> ChangerRow:
    kind = ACTORS.get(one.type, "")
    name = kind if one.type == "job" else one.name or kind
    what = "" if name == kind else kind
    return ChangerRow(name, initials(name), what, f"{one.changes:,}", f"{one.kinds:,}", one.at.isoformat())


def refusal_row(one: reports.Refusals) -> RefusalRow:
    action = ACTIONS.get(one.action)
    said = action.said if action else one.action
    why = WHY.get(Reason(one.reason), one.reason) if one.reason in set(Reason) else one.reason
    return RefusalRow(
        f"{said[:1].upper()}{said[1:]}", why, f"{one.count:,}", f"{one.people:,}", one.at.isoformat()
    )


def drawing(weeks: Any) -> Bars:
    days = [f"{one.starts_at:%-d %b}" for one in weeks]
    seats = [one.seats for one in weeks]
    tips = [
        f"Week of {day}: {'1 seat' if count == 1 else f'{count:,} seats'}"
        for day, count in zip(days, seats, strict=True)
    ]
    summary = f"Seats in use, {len(weeks)} weeks: from {seats[0]:,} to {seats[-1]:,} now."
    return chart.draw_bars(seats, days, tips, summary)


class ReportsState(PageState):
    loaded: bool = False
    weeks: list[WeekRow] = []  # newest first
    seats: Bars = Bars()
    changers: list[ChangerRow] = []
    refusals: list[RefusalRow] = []
    since: str = ""
    now: str = ""
    invited: str = ""
    joined: str = ""
    left: str = ""

    @rx.event
    @needs(actions.REPORT_READ, page=True)
    async def load(self) -> None:
        async with self._open(ReportsState.load, "members", "invitations") as ctx:
            found = await reports.read(ctx)
        self._show(ctx, found)

    def _show(self, ctx: Ctx, found: reports.Report) -> None:
        weeks = found.weeks
        limit = ctx.rights.limits["members"].amount
        self.weeks = [week_row(one) for one in reversed(weeks)]
        self.seats = drawing(weeks)
        self.changers = [changer_row(one) for one in found.changers]
        self.refusals = [refusal_row(one) for one in found.refusals]
        self.since = found.since.isoformat()
        self.now = f"{weeks[-1].seats:,} of {limit:,}" if limit is not None else f"{weeks[-1].seats:,}"
        self.invited = f"{sum(one.invited for one in weeks):,}"
        self.joined = f"{sum(one.joined for one in weeks):,}"
        self.left = f"{sum(one.left for one in weeks):,}"
        self.loaded = True


def week_line(one: WeekRow) -> rx.Component:
    return row(
        WEEK_COLUMNS, when(one.day, "", "day"), one.seats, one.people, one.invited, one.joined, one.left
    )


def changer_line(one: ChangerRow) -> rx.Component:
    words = rx.el.div(
        rx.el.span(one.name, class_name="strong"),
        rx.cond(one.what != "", small(one.what)),
        small(when(one.at, "", "ago"), class_name="only-small"),
    )
    who = rx.el.div(avatar(one.initials), words, class_name="person")
    return row(PEOPLE_COLUMNS, who, one.changes, one.kinds, when(one.at, "", "ago"))


def refusal_line(one: RefusalRow) -> rx.Component:
    what = two(one.said, small(when(one.at, "", "ago"), class_name="only-small"))
    return row(REFUSED_COLUMNS, what, one.why, one.count, one.people, when(one.at, "", "ago"))


def figures() -> rx.Component:
    shown = cells(
        fact("Seats now", ReportsState.now, "People and open invitations"),
        fact("Invited", ReportsState.invited, "In these 12 weeks"),
        fact("Joined", ReportsState.joined, "In these 12 weeks"),
        fact("Left", ReportsState.left, "Removed or deactivated"),
    )
    return hull(rx.cond(ReportsState.loaded, shown, skeleton_rows(1)), name="The team in numbers")


def seats() -> rx.Component:
    drawn = rx.cond(ReportsState.loaded, chart.bar_chart(ReportsState.seats), bone("100%", "204px"))
    table = data_table(
        "Seats week by week", WEEK_COLUMNS, rx.foreach(ReportsState.weeks, week_line), test_id="weeks"
    )
    return hull(
        rx.el.div(drawn, class_name="body"),
        rx.cond(ReportsState.loaded, table, skeleton_rows(6)),
        title="Seats week by week",
        aside=small("Weeks begin on Monday, UTC"),
    )


def changers() -> rx.Component:
    nothing = empty(
        "Nobody has changed anything",
        "What people change in these weeks is counted here.",
        glyph="scroll-text",
    )
    table = data_table(
        "Changes by person",
        PEOPLE_COLUMNS,
        rx.foreach(ReportsState.changers, changer_line),
        test_id="changers",
    )
    found = rx.cond(some(ReportsState.changers), table, nothing)
    return hull(rx.cond(ReportsState.loaded, found, skeleton_rows(4)), title="Who changes most")


def refusals() -> rx.Component:
    nothing = empty(
        "Nothing was refused",
        "What your people may not do, or your plan does not have, is counted here by the hour.",
        glyph="shield-check",
    )
    table = data_table(
        "Refusals by reason",
        REFUSED_COLUMNS,
        rx.foreach(ReportsState.refusals, refusal_line),
        test_id="refusals",
    )
    found = rx.cond(some(ReportsState.refusals), table, nothing)
    return hull(rx.cond(ReportsState.loaded, found, skeleton_rows(4)), title="What was refused, and why")


@rx.page(route="/t/[tenant]/reports", title="Reports · Bulkhead", on_load=ReportsState.load)
def reports_page() -> rx.Component:
    since = rx.cond(
        ReportsState.loaded, rx.fragment("Twelve weeks, since ", when(ReportsState.since, "", "day"), ".")
    )
    return page(
        head("Reports", said=rx.el.span(since)),
        figures(),
        seats(),
        changers(),
        refusals(),
        current="Reports",
        load=ReportsState.load,
    )
