"""/: how the platform stands. Tenants by state, settings-up that hang, attempts that were refused."""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from admin_app import words
from admin_app.frame import page
from admin_app.shell import PageState
from shared.access import actions
from shared.tenancy import directory, provisioning
from shared.tenancy.directory_rows import Unfinished
from shared.tenancy.models import StepState, TenantState
from shared.ui.feedback import empty, skeleton_rows, when
from shared.ui.gate import needs
from shared.ui.hull import cells, code, hull, small, strong, two
from shared.ui.shell import head, link
from shared.ui.table import Column, badge, data_table, row, some

UNFINISHED = [Column("Tenant"), Column("Step"), Column("State"), Column("Since", end=True, less=True)]
ALWAYS = ("cross_tenant_attempt", "missing_tenant_context")  # shown at 0 too: 0 is what one wants to read


@dataclass(frozen=True)
class UnfinishedRow:
    tenant_id: str
    name: str
    step: str
    said: str
    state: str
    tone: str
    since: str


@dataclass(frozen=True)
class AttemptRow:
    id: str
    title: str
    said: str
    actor: str
    request_id: str
    count: str
    at: str


def unfinished_row(one: Unfinished) -> UnfinishedRow:
    state = words.STEP[one.state]
    tries = words.some_of(one.attempts, "try", "tries")
    said = f"{one.error} {tries}." if one.state is StepState.FAILED else ""
    step = provisioning.TITLES.get(one.key, one.key)
    return UnfinishedRow(
        one.tenant_id, one.name, step, said, state, words.tone(state), one.created_at.isoformat()
    )


def attempt_row(one: Any) -> AttemptRow:
    title, _ = words.SECURITY.get(one.kind, (one.kind.replace("_", " ").capitalize(), ""))
    about = f"Asked for {one.subject}" if one.subject else ""
    return AttemptRow(
        one.id, title, about, one.actor_id, one.request_id, f"{one.count:,}", one.at.isoformat()
    )


class OverviewState(PageState):
    loaded: bool = False
    active: str = ""
    unverified: str = ""
    suspended: str = ""
    deleted: str = ""
    unfinished: list[UnfinishedRow] = []
    counters: list[tuple[str, str, str, bool]] = []  # title, count, what it means, more than 0
    attempts: list[AttemptRow] = []

    @rx.event
    @needs(actions.OP_HOME_READ, page=True)
    async def load(self) -> None:
        async with self._open(OverviewState.load, "tenant", "provisioning") as octx:
            found = await directory.overview(octx)
            security = await directory.security(octx)
        self._show(found, security)

    def _show(self, found: directory.Overview, security: directory.Security) -> None:
        counted = {state: f"{found.by_state.get(state, 0):,}" for state in TenantState}
        self.active = counted[TenantState.ACTIVE]
        self.unverified = counted[TenantState.PENDING_VERIFICATION]
        self.suspended = counted[TenantState.SUSPENDED]
        self.deleted = counted[TenantState.DELETED]
        self.unfinished = [unfinished_row(one) for one in found.unfinished]
        kinds = [*ALWAYS, *sorted(kind for kind in security.counts if kind not in ALWAYS)]
        self.counters = [counter(kind, security.counts.get(kind, 0)) for kind in kinds]
        self.attempts = [attempt_row(one) for one in security.events]
        self.loaded = True


def counter(kind: str, count: int) -> tuple[str, str, str, bool]:
    title, said = words.SECURITY.get(kind, (kind.replace("_", " ").capitalize(), "Refused."))
    return title, f"{count:,}", said, count > 0


def figure(label: str, value: Any, second: str, state: str) -> rx.Component:
    return rx.el.div(
        rx.el.h2(label, class_name="label"),
        rx.el.p(value, class_name="figure"),
        link(second, f"/tenants?state={state}", class_name="link small"),
        class_name="stat",
    )


def figures() -> rx.Component:
    shown = cells(
        figure("Active", OverviewState.active, "Show them", "active"),
        figure("Unverified", OverviewState.unverified, "Show them", "pending_verification"),
        figure("Suspended", OverviewState.suspended, "Show them", "suspended"),
        figure("Deleted", OverviewState.deleted, "Show them", "deleted"),
    )
    return hull(rx.cond(OverviewState.loaded, shown, skeleton_rows(1)), name="Tenants by state")


def hanging() -> rx.Component:
    def line(one: UnfinishedRow) -> rx.Component:
        step = two(rx.el.span(one.step), rx.cond(one.said != "", small(one.said)))
        return row(
            UNFINISHED,
            link(one.name, f"/tenants/{one.tenant_id}", class_name="strong plain-link"),
            step,
            badge(one.state, one.tone),
            when(one.since, "", "ago"),
        )

    table = data_table(
        "Unfinished settings-up", UNFINISHED, rx.foreach(OverviewState.unfinished, line), test_id="unfinished"
    )
    nothing = empty(
        "Every tenant is set up", "A step that waits or failed would stand here.", glyph="circle-check"
    )
    found = rx.cond(some(OverviewState.unfinished), table, nothing)
    return hull(rx.cond(OverviewState.loaded, found, skeleton_rows(2)), title="Setting up, not finished")


def watch() -> rx.Component:
    def count(one: Any) -> rx.Component:
        return rx.el.li(
            two(rx.el.h3(one[0]), small(one[2])),
            rx.el.span(
                one[1], class_name=rx.cond(one[3], "num down", "num strong"), data_testid="security-count"
            ),
        )

    def attempt(one: AttemptRow) -> rx.Component:
        who = small(
            code(one.actor), rx.cond(one.said != "", rx.fragment(" · ", one.said)), class_name="cut-anywhere"
        )
        times = rx.cond(one.count != "1", rx.fragment(" ", small(one.count, " times")))
        return rx.el.li(
            two(rx.el.span(strong(one.title), times), who),
            small(when(one.at, "", "ago"), class_name="nowrap"),
        )

    counts = rx.el.ul(rx.foreach(OverviewState.counters, count), class_name="list", data_testid="security")
    latest = rx.cond(
        some(OverviewState.attempts),
        rx.el.ol(rx.foreach(OverviewState.attempts, attempt), class_name="list", data_testid="attempts"),
        empty(
            "Nothing was refused",
            "Attempts that honest use never makes would stand here.",
            glyph="shield-check",
        ),
    )
    return rx.el.div(
        hull(
            rx.cond(OverviewState.loaded, counts, skeleton_rows(2)),
            title="Refused attempts",
            aside=small("24 hours"),
        ),
        hull(
            rx.cond(OverviewState.loaded, latest, skeleton_rows(3)),
            title="Latest attempts",
            aside=small("24 hours"),
        ),
        class_name="split",
        data_even="true",
    )


@rx.page(route="/", title="Overview · Operator", on_load=OverviewState.load)
def overview() -> rx.Component:
    return page(
        head("Overview", said="Counted when this page was loaded; it follows by itself."),
        figures(),
        hanging(),
        watch(),
        current="Overview",
        load=OverviewState.load,
    )
