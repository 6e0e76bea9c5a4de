"""/drift: where we and the payment provider differed although nobody had said so, and what was repaired."""

from dataclasses import dataclass, field
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from admin_app import addresses, billing_words, words
from admin_app.confirming import FOR_US, Reason, reason_field
from admin_app.frame import page
from admin_app.shell import PageState, allowed
from shared.access import actions
from shared.billing import desk, reconcile
from shared.billing.desk import ListedDrift
from shared.billing.models import ReconcileRun
from shared.core.ctx import OperatorCtx
from shared.ui.feedback import empty, skeleton_rows, when
from shared.ui.form import button, dialog
from shared.ui.form_model import Form
from shared.ui.gate import needs
from shared.ui.hull import hull, small, strong, two
from shared.ui.shell import head, link
from shared.ui.table import Column, badge, data_table, pager, row, some
from shared.ui.why import Change, diff

RUNS = [
    Column("Comparison"),
    Column("Customers", end=True, less=True),
    Column("Differed", end=True),
    Column("Failed", end=True, less=True),
    Column("Began", end=True, less=True),
]
PAGE, RUNS_SHOWN = 30, 8


class AskForm(Form):
    reason: Reason


@dataclass(frozen=True)
class RunRow:
    id: str
    title: str
    said: str
    state: str
    tone: str
    checked: str
    drifted: str
    failed: str
    at: str
    some_failed: bool


@dataclass(frozen=True)
class DriftRow:
    id: str
    tenant: str
    href: str
    customer: str
    state: str
    tone: str
    at: str
    changes: list[Change] = field(default_factory=list)


def run_row(one: ReconcileRun) -> RunRow:
    asked = one.cause == "operator"
    return RunRow(
        one.id,
        "Asked for" if asked else "By the clock",
        f"{one.by_name}: {one.reason}" if asked else "Every customer that nobody had looked at for a day",
        "Done" if one.finished_at else "Running",
        "ok" if one.finished_at else "accent",
        f"{one.checked:,}",
        f"{one.drifted:,}",
        f"{one.failed:,}",
        one.started_at.isoformat(),
        one.failed > 0,
    )


def drift_row(one: ListedDrift) -> DriftRow:
    found = one.drift
    return DriftRow(
        found.id,
        one.tenant,
        addresses.billing(found.tenant_id),
        found.customer_id,
        "Repaired" if found.repaired else "Open",
        "ok" if found.repaired else "bad",
        found.at.isoformat(),
        billing_words.differences(found.differences),
    )


class DriftState(PageState):
    loaded: bool = False
    runs: list[RunRow] = []
    rows: list[DriftRow] = []
    said: str = ""
    has_next: bool = False
    has_previous: bool = False
    dialog: bool = False
    _cursors: list[str] = []  # of the pages before this one; the last is this page's own
    _next: str = ""

    @rx.event
    @needs(actions.OP_BILLING_READ, page=True)
    async def load(self) -> None:
        async with self._open(DriftState.load, "billing") as octx:
            await self._read(octx, self._cursors)

    async def _read(self, octx: OperatorCtx, cursors: list[str]) -> None:
        """Reads and then shows: a refusal leaves the page as it was."""
        runs = await desk.list_runs(octx, RUNS_SHOWN)
        found = await desk.list_drift(octx, after=cursors[-1] if cursors else "", limit=PAGE)
        self.runs, self.rows = [run_row(one) for one in runs], [drift_row(one) for one in found.rows]
        self._cursors, self._next = cursors, found.after
        self.has_next, self.has_previous = bool(found.after), bool(cursors)
        self.said = words.some_of(len(self.rows), "customer differed", "customers differed")
        self.loaded = True

    async def _turn(self, cursors: list[str]) -> None:
        async with self._ctx() as octx:
            await self._read(octx, cursors)

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def next(self) -> None:
        if self._next:
            await self._turn([*self._cursors, self._next])

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def previous(self) -> None:
        await self._turn(self._cursors[:-1])

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def ask(self) -> None:
        self.dialog = True

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def dismiss(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = False

    @rx.event
    @needs(actions.OP_BILLING_RECONCILE)
    async def compare(self, payload: dict[str, Any]) -> EventSpec:
        form = AskForm.read(payload)
        async with self._ctx() as octx:
            await reconcile.ask(octx, form.reason)
            await self._read(octx, [])
        self.dialog = False
        return rx.toast.success("Every customer is compared.", description="This page follows by itself.")


def run_line(one: RunRow) -> rx.Component:
    name = rx.el.div(
        rx.el.span(strong(one.title), " ", badge(one.state, one.tone), class_name="row wrap"),
        small(one.said, class_name="cut-anywhere"),
        small(one.checked, " customers · ", when(one.at, "", "ago"), class_name="only-small"),
        class_name="two",
    )
    failed = rx.el.span(one.failed, class_name=rx.cond(one.some_failed, "num down", "num"))
    return row(RUNS, name, one.checked, one.drifted, failed, when(one.at, "", "ago"))


def drift_line(one: DriftRow) -> rx.Component:
    title = rx.el.span(
        link(one.tenant, one.href, class_name="strong"), badge(one.state, one.tone), class_name="row wrap"
    )
    said = small(rx.el.code(one.customer, class_name="mono"), " · ", when(one.at, "", "moment"))
    return rx.el.li(rx.el.div(two(title, said), diff(one.changes), class_name="troubled"))


@rx.page(route="/drift", title="Drift · Operator", on_load=DriftState.load)
def drift() -> rx.Component:
    state = DriftState
    now = allowed(
        actions.OP_BILLING_RECONCILE,
        button(
            "Compare all now",
            kind="primary",
            glyph="git-compare-arrows",
            on_click=state.ask,
            data_testid="compare",
        ),
        "Compare all now",
        glyph="git-compare-arrows",
    )
    no_runs = empty("Nobody has compared yet", "The first comparison begins within the hour.", glyph="clock")
    nothing = empty(
        "Nothing has differed",
        "What a comparison with the provider finds would stand here.",
        glyph="circle-check",
    )
    table = data_table("Comparisons", RUNS, rx.foreach(state.runs, run_line), test_id="runs")
    foot = pager(
        state.said,
        older=state.next,
        newer=state.previous,
        has_older=state.has_next,
        has_newer=state.has_previous,
    )
    listed = rx.fragment(
        rx.el.ol(rx.foreach(state.rows, drift_line), class_name="list", data_testid="drift"), foot
    )
    return page(
        head(
            "Drift",
            said="Ours before, the provider's after. What differs is written down, repaired, and told here.",
            actions=[now],
        ),
        hull(
            rx.cond(state.loaded, rx.cond(some(state.runs), table, no_runs), skeleton_rows(3)),
            title="Comparisons",
        ),
        hull(
            rx.cond(state.loaded, rx.cond(some(state.rows), listed, nothing), skeleton_rows(3)),
            title="What differed",
        ),
        dialog(
            None,
            "Compare every customer now",
            "Each is looked at once, a few at a time. What differs is repaired.",
            reason_field("compare", FOR_US),
            confirm="Compare",
            submit=state.compare,
            open=state.dialog,
            on_open_change=state.dismiss,
            test_id="compare-form",
        ),
        current="Drift",
        load=DriftState.load,
    )
