"""/drift: unexpected differences between our data and the payment provider, and what was repaired."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app import addresses, labels
from admin_app.frame import page
from admin_app.shell import PageState, guard_control
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import tenant_billing
from shared.backoffice.reasons import state_reason
from shared.backoffice.tenant_billing import TenantAlert, TenantAlerts, TenantDrift
from shared.billing.models import ReconcileRun
from shared.core.context import OperatorCtx
from shared.core.paging import Page
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button
from shared.ui.decision_trace import Change, change_list
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import OPERATOR_AUDIT_HINT, ReasonForm, dialog_opener, form_dialog, reason_field
from shared.ui.list_state import ListState, list_pager
from shared.ui.panels import panel, small, strong, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

RUN_COLUMNS = [
    Column("Comparison"),
    Column("Customers", align_end=True, hidden_on_phone=True),
    Column("Differences", align_end=True),
    Column("Failed", align_end=True, hidden_on_phone=True),
    Column("Started", align_end=True, hidden_on_phone=True),
]
PAGE_SIZE, RUNS_SHOWN = 30, 8


@dataclass(frozen=True, kw_only=True)
class RunRow:
    id: str
    title: str
    description: str
    state: str
    tone: str
    checked: str
    drifted: str
    failed: str
    at: str
    has_failures: bool


@dataclass(frozen=True, kw_only=True)
class DriftRow:
    id: str
    tenant: str
    href: str
    customer: str
    state: str
    tone: str
    at: str
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class AlertRow:
    tenant: str
    href: str
    alert: str


def alert_row(alert: TenantAlert) -> AlertRow:
    return AlertRow(tenant=alert.tenant_name, href=addresses.billing_url(alert.tenant_id), alert=alert.alert)


def describe_hidden(shown: int, total: int) -> str:
    """ "" where all are shown."""
    return (
        f"{shown:,} of {total:,} are shown. The others follow as these are resolved." if total > shown else ""
    )


def run_row(run: ReconcileRun) -> RunRow:
    by_operator = run.cause == "operator"
    return RunRow(
        id=run.id,
        title="Requested" if by_operator else "Scheduled",
        description=f"{run.by_name}: {run.reason}" if by_operator else "Customers not synced in 24 h",
        state="Done" if run.finished_at else "Running",
        tone="ok" if run.finished_at else "accent",
        checked=f"{run.checked:,}",
        drifted=f"{run.drifted:,}",
        failed=f"{run.failed:,}",
        at=run.started_at.isoformat(),
        has_failures=run.failed > 0,
    )


def drift_row(listed_drift: TenantDrift) -> DriftRow:
    drift_record = listed_drift.drift
    return DriftRow(
        id=drift_record.id,
        tenant=listed_drift.tenant_name,
        href=addresses.billing_url(drift_record.tenant_id),
        customer=drift_record.customer_id,
        state="Fixed" if drift_record.repaired else "Open",
        tone="ok" if drift_record.repaired else "bad",
        at=drift_record.at.isoformat(),
        changes=labels.list_differences(drift_record.differences),
    )


class DriftState(DialogState, ListState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_BILLING_READ
    dialogs: ClassVar[Sequence[str]] = ("compare",)
    loaded: bool = False
    runs: list[RunRow] = []
    rows: list[DriftRow] = []
    alerts: list[AlertRow] = []
    hidden_alerts_note: str = ""

    @rx.event
    @needs(actions.OP_BILLING_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(DriftState.load, "billing") as octx:
            page_data = await self._read(octx)
        self._show(*page_data)

    async def _read(
        self, octx: OperatorCtx
    ) -> tuple[Sequence[ReconcileRun], Page[TenantDrift], TenantAlerts]:
        return (
            await tenant_billing.list_reconcile_runs(octx, RUNS_SHOWN),
            await tenant_billing.list_drift(octx, after=self._cursor(), limit=PAGE_SIZE),
            await tenant_billing.list_alerts(octx),
        )

    def _show(
        self, runs: Sequence[ReconcileRun], drift_page: Page[TenantDrift], alerts: TenantAlerts
    ) -> None:
        self.alerts = [alert_row(alert) for alert in alerts.alerts]
        self.hidden_alerts_note = describe_hidden(len(alerts.alerts), alerts.total)
        self.runs = [run_row(run) for run in runs]
        self.rows = [drift_row(listed_drift) for listed_drift in drift_page.rows]
        self._show_page(drift_page, "customer differed", "customers differed")
        self.loaded = True

    async def _reload(self) -> None:
        async with self._ctx() as octx:
            page_data = await self._read(octx)
        self._show(*page_data)

    @rx.event
    @needs(actions.OP_BILLING_RECONCILE)
    async def start_comparison(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            await tenant_billing.request_run(octx, state_reason(octx, form.reason))
            self._cursors = []
            page_data = await self._read(octx)
        self._show(*page_data)
        self._close_dialog()
        return rx.toast.success("Comparing all customers.", description="Updates automatically.")


def run_line(run: RunRow) -> rx.Component:
    name = rx.el.div(
        rx.el.span(strong(run.title), " ", badge(run.state, run.tone), class_name="row wrap"),
        small(run.description, class_name="cut-anywhere"),
        small(run.checked, " customers · ", local_time(run.at, "", "ago"), class_name="only-small"),
        class_name="two",
    )
    failed = rx.el.span(run.failed, class_name=rx.cond(run.has_failures, "num down", "num"))
    return table_row(RUN_COLUMNS, name, run.checked, run.drifted, failed, local_time(run.at, "", "ago"))


def drift_line(drift: DriftRow) -> rx.Component:
    title = rx.el.span(
        link(drift.tenant, drift.href, class_name="strong"),
        badge(drift.state, drift.tone),
        class_name="row wrap",
    )
    details = small(rx.el.code(drift.customer, class_name="mono"), " · ", local_time(drift.at, "", "moment"))
    return rx.el.li(
        rx.el.div(text_with_note(title, details), change_list(drift.changes), class_name="troubled")
    )


def alert_line(alert: AlertRow) -> rx.Component:
    return rx.el.li(
        text_with_note(
            link(alert.tenant, alert.href, class_name="strong"), small(alert.alert, class_name="cut-anywhere")
        )
    )


def alerts_panel() -> rx.Component:
    alert_list = rx.el.ul(
        rx.foreach(DriftState.alerts, alert_line), class_name="list", data_testid="billing-alerts"
    )
    note = rx.cond(
        DriftState.hidden_alerts_note,
        rx.el.div(small(DriftState.hidden_alerts_note), class_name="body", data_testid="hidden-alerts"),
    )
    return rx.cond(
        has_items(DriftState.alerts), panel(rx.fragment(alert_list, note), title="Needs attention")
    )


def runs_panel() -> rx.Component:
    state = DriftState
    no_runs = empty_state(
        "No comparisons yet", "The first scheduled comparison starts within an hour.", glyph="clock"
    )
    table = data_table("Comparisons", RUN_COLUMNS, rx.foreach(state.runs, run_line), test_id="runs")
    content = rx.cond(has_items(state.runs), table, no_runs)
    return panel(rx.cond(state.loaded, content, skeleton_rows(3)), title="Comparisons")


def drift_panel() -> rx.Component:
    state = DriftState
    no_drift = empty_state(
        "No differences found",
        "Differences between our data and Stripe appear here.",
        glyph="circle-check",
    )
    drift_items = rx.el.ol(rx.foreach(state.rows, drift_line), class_name="list", data_testid="drift")
    content = rx.cond(has_items(state.rows), rx.fragment(drift_items, list_pager(state)), no_drift)
    return panel(rx.cond(state.loaded, content, skeleton_rows(3)), title="Differences")


@rx.page(route="/drift", title="Drift · Operator", on_load=DriftState.load)
def drift_page() -> rx.Component:
    state = DriftState
    compare_button = guard_control(
        actions.OP_BILLING_RECONCILE,
        button(
            "Compare all now",
            kind="primary",
            glyph="git-compare-arrows",
            **dialog_opener(state, "compare"),
            data_testid="compare",
        ),
        "Compare all now",
        glyph="git-compare-arrows",
    )
    return page(
        page_header(
            "Drift",
            description="Differences between our data and Stripe, fixed automatically.",
            actions=[compare_button],
        ),
        alerts_panel(),
        runs_panel(),
        drift_panel(),
        form_dialog(
            state,
            "compare",
            "Compare all customers now",
            "Syncs each customer once. Differences are fixed automatically.",
            reason_field("compare", OPERATOR_AUDIT_HINT),
            confirm="Compare",
            submit=state.start_comparison,
        ),
        current="Drift",
        load=DriftState.load,
    )
