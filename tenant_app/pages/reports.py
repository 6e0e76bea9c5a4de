"""/t/[tenant]/reports: weekly seats, changes by member, and blocked actions."""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from shared.access import actions
from shared.access.actions import ACTIONS
from shared.access.refusal_codes import Reason
from shared.core.context import Ctx
from shared.core.plurals import plural
from shared.tenancy import reports
from shared.ui import charts
from shared.ui.as_of import AsOf, as_of_note, build_as_of
from shared.ui.audit_list import ACTOR_LABELS
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_block, skeleton_rows
from shared.ui.charts import BarChart
from shared.ui.panels import panel, small, stat, stat_grid, text_with_note
from shared.ui.shell import page_header
from shared.ui.tables import Column, avatar, data_table, has_items, initials_of, table_row
from tenant_app.frame import page
from tenant_app.shell import PageState

WEEK_COLUMNS = [
    Column("Week of"),
    Column("Seats", align_end=True),
    Column("Active people", align_end=True, hidden_on_phone=True),
    Column("Invited", align_end=True),
    Column("Joined", align_end=True),
    Column("Left", align_end=True),
]
ACTIVE_MEMBER_COLUMNS = [
    Column("Member"),
    Column("Changes", align_end=True),
    Column("Types of change", align_end=True, hidden_on_phone=True),
    Column("Last change", hidden_on_phone=True),
]
BLOCKED_ACTION_COLUMNS = [
    Column("Action"),
    Column("Reason"),
    Column("Times", align_end=True),
    Column("People", align_end=True, hidden_on_phone=True),
    Column("Last time", hidden_on_phone=True),
]
REASON_TEXTS = {
    Reason.BILLING_NONE: "No subscription",
    Reason.BILLING_READ_ONLY: "A payment was overdue",
    Reason.FLAG_OFF: "Not switched on yet",
    Reason.LIMIT_REACHED: "The limit was reached",
    Reason.MISSING_PERMISSION: "No permission",
    Reason.NOT_IN_PLAN: "Not in the plan",
    Reason.OBJECT_STATE: "Not possible at that time",
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
class ActiveMemberRow:
    name: str
    initials: str
    actor_kind: str
    changes: str
    kinds: str
    at: str


@dataclass(frozen=True)
class BlockedActionRow:
    action_text: str
    reason_text: str
    count: str
    people: str
    at: str


def week_row(week: reports.WeeklyActivity) -> WeekRow:
    return WeekRow(
        week.starts_at.isoformat(),
        f"{week.seats:,}",
        f"{week.active_members:,}",
        f"{week.invited:,}",
        f"{week.joined:,}",
        f"{week.left:,}",
    )


def active_member_row(member: reports.ActorActivity) -> ActiveMemberRow:
    kind = ACTOR_LABELS.get(member.actor_type, "")
    name = kind if member.actor_type == "job" else member.name or kind
    actor_kind = "" if name == kind else kind
    return ActiveMemberRow(
        name,
        initials_of(name),
        actor_kind,
        f"{member.changes:,}",
        f"{member.action_count:,}",
        member.at.isoformat(),
    )


def blocked_action_row(blocked: reports.RefusalTotal) -> BlockedActionRow:
    action = ACTIONS.get(blocked.action)
    action_text = action.description if action else blocked.action
    reason_text = (
        REASON_TEXTS.get(Reason(blocked.reason), blocked.reason)
        if blocked.reason in set(Reason)
        else blocked.reason
    )
    return BlockedActionRow(
        f"{action_text[:1].upper()}{action_text[1:]}",
        reason_text,
        f"{blocked.count:,}",
        f"{blocked.people:,}",
        blocked.at.isoformat(),
    )


def seats_chart(weeks: Any) -> BarChart:
    days = [f"{week.starts_at:%-d %b}" for week in weeks]
    seats = [week.seats for week in weeks]
    tips = [f"Week of {day}: {plural(count, 'seat')}" for day, count in zip(days, seats, strict=True)]
    summary = f"Seats in use, {len(weeks)} weeks: from {seats[0]:,} to {seats[-1]:,} now."
    return charts.draw_bars(seats, days, tips, summary)


class ReportsState(PageState):
    loaded: bool = False
    weeks: list[WeekRow] = []  # newest first
    seats: BarChart = BarChart()
    active_members: list[ActiveMemberRow] = []
    blocked_actions: list[BlockedActionRow] = []
    since: str = ""
    seats_now: str = ""
    invited: str = ""
    joined: str = ""
    left: str = ""
    as_of: AsOf = AsOf()

    @rx.event
    @needs(actions.REPORT_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(ReportsState.load, "members", "invitations") as ctx:
            report = await reports.get_report(ctx)
        self._show(ctx, report)

    def _show(self, ctx: Ctx, report: reports.ActivityReport) -> None:
        weeks = report.weeks
        limit = ctx.rights.limits["members"].amount
        self.weeks = [week_row(week) for week in reversed(weeks)]
        self.seats = seats_chart(weeks)
        self.active_members = [active_member_row(member) for member in report.top_actors]
        self.blocked_actions = [blocked_action_row(blocked) for blocked in report.refusals]
        self.since = report.since.isoformat()
        self.as_of = build_as_of(report.source)
        self.seats_now = f"{weeks[-1].seats:,} of {limit:,}" if limit is not None else f"{weeks[-1].seats:,}"
        self.invited = f"{sum(week.invited for week in weeks):,}"
        self.joined = f"{sum(week.joined for week in weeks):,}"
        self.left = f"{sum(week.left for week in weeks):,}"
        self.loaded = True


def week_line(week: WeekRow) -> rx.Component:
    return table_row(
        WEEK_COLUMNS,
        local_time(week.day, "", "day"),
        week.seats,
        week.people,
        week.invited,
        week.joined,
        week.left,
    )


def active_member_line(member: ActiveMemberRow) -> rx.Component:
    words = rx.el.div(
        rx.el.span(member.name, class_name="strong"),
        rx.cond(member.actor_kind != "", small(member.actor_kind)),
        small(local_time(member.at, "", "ago"), class_name="only-small"),
    )
    person = rx.el.div(avatar(member.initials), words, class_name="person")
    return table_row(
        ACTIVE_MEMBER_COLUMNS, person, member.changes, member.kinds, local_time(member.at, "", "ago")
    )


def blocked_action_line(blocked: BlockedActionRow) -> rx.Component:
    action_cell = text_with_note(
        blocked.action_text, small(local_time(blocked.at, "", "ago"), class_name="only-small")
    )
    return table_row(
        BLOCKED_ACTION_COLUMNS,
        action_cell,
        blocked.reason_text,
        blocked.count,
        blocked.people,
        local_time(blocked.at, "", "ago"),
    )


def seat_stats() -> rx.Component:
    shown = stat_grid(
        stat("Seats now", ReportsState.seats_now, "Members and pending invitations"),
        stat("Invited", ReportsState.invited, "Last 12 weeks"),
        stat("Joined", ReportsState.joined, "Last 12 weeks"),
        stat("Left", ReportsState.left, "Removed or deactivated"),
    )
    return panel(rx.cond(ReportsState.loaded, shown, skeleton_rows(1)), name="The team in numbers")


def seats_panel() -> rx.Component:
    chart_panel = rx.cond(
        ReportsState.loaded, charts.bar_chart(ReportsState.seats), skeleton_block("100%", "204px")
    )
    table = data_table(
        "Seats week by week", WEEK_COLUMNS, rx.foreach(ReportsState.weeks, week_line), test_id="weeks"
    )
    return panel(
        rx.el.div(chart_panel, class_name="body"),
        rx.cond(ReportsState.loaded, table, skeleton_rows(6)),
        title="Seats week by week",
        aside=small("Weeks begin on Monday, UTC"),
    )


def active_members_panel() -> rx.Component:
    no_changes = empty_state(
        "No changes yet",
        "Changes made in these weeks appear here.",
        glyph="scroll-text",
    )
    table = data_table(
        "Changes by person",
        ACTIVE_MEMBER_COLUMNS,
        rx.foreach(ReportsState.active_members, active_member_line),
        test_id="changers",
    )
    content = rx.cond(has_items(ReportsState.active_members), table, no_changes)
    return panel(rx.cond(ReportsState.loaded, content, skeleton_rows(4)), title="Most active members")


def blocked_actions_panel() -> rx.Component:
    no_refusals = empty_state(
        "No blocked actions",
        "Actions blocked by a role or by your plan appear here every hour.",
        glyph="shield-check",
    )
    table = data_table(
        "Blocked actions by reason",
        BLOCKED_ACTION_COLUMNS,
        rx.foreach(ReportsState.blocked_actions, blocked_action_line),
        test_id="refusals",
    )
    content = rx.cond(has_items(ReportsState.blocked_actions), table, no_refusals)
    return panel(rx.cond(ReportsState.loaded, content, skeleton_rows(4)), title="Blocked actions")


@rx.page(route="/t/[tenant]/reports", title="Reports · Bulkhead", on_load=ReportsState.load)
def reports_page() -> rx.Component:
    since = rx.cond(
        ReportsState.loaded,
        rx.fragment("Twelve weeks, since ", local_time(ReportsState.since, "", "day"), "."),
    )
    return page(
        page_header("Reports", description=rx.el.span(since)),
        rx.cond(ReportsState.loaded, as_of_note(ReportsState.as_of)),
        seat_stats(),
        seats_panel(),
        active_members_panel(),
        blocked_actions_panel(),
        current="Reports",
        load=ReportsState.load,
    )
