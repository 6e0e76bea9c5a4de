"""State of the health page."""

from typing import ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app.pages.health.rows import (
    KIND_TITLES,
    AlertRow,
    CohortRow,
    CountRow,
    LaneRow,
    action_row,
    alert_row,
    cohort_row,
    describe_inbound,
    describe_wait,
    lane_row,
    reason_row,
    traffic_chart,
)
from admin_app.shell import PageState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import health
from shared.backoffice.alerts import evaluation
from shared.backoffice.health import HealthOverview
from shared.ui.authorize import needs
from shared.ui.charts import BarChart


class HealthState(PageState):
    reads: ClassVar[OperatorAction] = actions.OP_HEALTH_READ
    loaded: bool = False
    is_subscribed: bool = False
    alerts: list[AlertRow] = []
    requests: str = ""
    errors: str = ""
    latency: str = ""
    chart: BarChart = BarChart()
    kinds: list[CohortRow] = []
    tenants: list[CohortRow] = []
    plans: list[CohortRow] = []
    flags: list[CohortRow] = []
    refusals: list[CountRow] = []
    warnings: list[CountRow] = []
    lanes: list[LaneRow] = []
    operator_actions: list[CountRow] = []
    inbound: str = ""
    inbound_note: str = ""
    outbound: str = ""
    outbound_note: str = ""

    @rx.event
    @needs(actions.OP_HEALTH_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(
            HealthState.load, evaluation.TOPIC, "jobs", "webhooks", "provisioning"
        ) as octx:
            overview = await health.get_health(octx)
        self._show(overview)

    def _show(self, overview: HealthOverview) -> None:
        self.is_subscribed = overview.is_subscribed
        self.alerts = [alert_row(alert) for alert in overview.alerts]
        total = cohort_row(overview.total)
        self.requests, self.errors, self.latency = total.requests, total.errors, total.latency
        self.chart = traffic_chart(overview.minutes, overview.at.replace(second=0, microsecond=0))
        self.kinds = [cohort_row(kind, name=KIND_TITLES.get(kind.value, "")) for kind in overview.kinds]
        self.tenants = [cohort_row(tenant, href=f"/tenants/{tenant.value}") for tenant in overview.tenants]
        self.plans = [cohort_row(plan) for plan in overview.plans]
        self.flags = [cohort_row(flag, href=f"/flags/{flag.value}") for flag in overview.flags]
        self.refusals = [reason_row(reason, count) for reason, count in overview.refusals]
        self.warnings = [
            CountRow(title=name, count=f"{count:,}", href=f"/tenants/{tenant_id}")
            for tenant_id, name, count in overview.usage_warnings
        ]
        self.lanes = [lane_row(lane) for lane in overview.lanes]
        self.operator_actions = [
            action_row(event_type, count) for event_type, count in overview.operator_actions
        ]
        lag = overview.webhooks
        self.inbound = describe_wait(lag.inbound_s)
        self.inbound_note = describe_inbound(lag.inbound_p95_s, lag.inbound_failed)
        self.outbound = describe_wait(lag.outbound_s)
        self.outbound_note = f"{lag.late_endpoints:,} endpoints late, {lag.paused_endpoints:,} paused"
        self.loaded = True

    @rx.event
    @needs(actions.OP_ALERT_SUBSCRIBE)
    async def toggle_mails(self) -> EventSpec:
        is_on = not self.is_subscribed
        async with self._change_page() as octx:
            await health.subscribe(octx, is_on=is_on)
        self.is_subscribed = is_on
        if is_on:
            return rx.toast.success("You’ll get alert emails.", description="One email when an alert begins.")
        return rx.toast.success("You won’t get alert emails.")
