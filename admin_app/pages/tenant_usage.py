"""The tab "Usage" of a tenant's page: what the tenant sees, and what of it was billed."""

from dataclasses import dataclass

import reflex as rx

from admin_app.tenant_header import TenantHeaderState, TenantObjectState
from admin_app.visit_state import TenantVisitState
from shared.access import actions
from shared.backoffice import tenant_usage
from shared.backoffice.tenant_usage import TenantUsage
from shared.metering.reconciliation import SinkComparison
from shared.metering.usage_reports import Step
from shared.ui import usage_panels
from shared.ui.authorize import needs
from shared.ui.banners import skeleton_rows
from shared.ui.forms import parse_choice
from shared.ui.panels import panel
from shared.ui.tables import Column, badge, data_table, table_row
from shared.ui.usage_panels import (
    DEFAULT_RANGE,
    RANGES,
    MeterPanel,
    as_of_note,
    format_quantity,
    meter_box,
    range_controls,
)

COLUMNS = [
    Column("Meter"),
    Column("Closed", align_end=True),
    Column("Emitted", align_end=True),
    Column("Carried", align_end=True, hidden_on_phone=True),
    Column("Units billed", align_end=True),
    Column("Confirmed", align_end=True, hidden_on_phone=True),
    Column("Equal"),
]


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    meter: str
    closed: str
    emitted: str
    carried: str
    units: str
    confirmed: str
    label: str
    tone: str


def comparison_row(comparison: SinkComparison) -> ComparisonRow:
    return ComparisonRow(
        meter=comparison.meter.title,
        closed=format_quantity(comparison.closed_quantity),
        emitted=format_quantity(comparison.emitted_quantity),
        carried=format_quantity(comparison.carried),
        units=f"{comparison.received_units:,} of {comparison.emitted_units:,}"
        if comparison.is_billed
        else "none, a test",
        confirmed=f"{comparison.confirmed_units:,}",
        label="Equal" if comparison.is_equal else "Different",
        tone="ok" if comparison.is_equal else "bad",
    )


class TenantUsageState(TenantObjectState, TenantHeaderState):
    loaded: bool = False
    range_key: str = DEFAULT_RANGE
    step: str = Step.DAY.value
    step_choices: list[tuple[str, str]] = []
    as_of: str = ""
    meters: list[MeterPanel] = []
    comparisons: list[ComparisonRow] = []

    @rx.event
    @needs(actions.OP_TENANT_READ, part=True)
    async def load(self) -> None:
        """Loads the tab; the page's load has filled the frame. Without a reason nothing is shown."""
        await self._read(self.range_key, self.step)

    async def _read(self, range_key: str, step: str) -> None:
        visit = await self.get_state(TenantVisitState)
        reason = visit._reason_for(self._tenant_id())
        if not reason:
            self.loaded, self.meters, self.comparisons = False, [], []
            return
        async with self._ctx() as octx:
            usage = await tenant_usage.get_tenant_usage(
                octx, self._tenant_id(), reason, query=usage_panels.build_query(range_key, step)
            )
        self.range_key = range_key
        self._show(usage)

    def _show(self, usage: TenantUsage) -> None:
        self.step, self.step_choices = usage.report.step.value, usage_panels.list_step_choices(self.range_key)
        self.as_of = usage.report.as_of.isoformat()
        self.meters = usage_panels.meter_panels(usage.report)
        self.comparisons = [comparison_row(comparison) for comparison in usage.comparisons]
        self.loaded = True

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def choose_range(self, range_key: str) -> None:
        await self._read(parse_choice(range_key, RANGES), self.step)

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def choose_step(self, step: str) -> None:
        await self._read(self.range_key, parse_choice(step, list(Step)))


def comparison_panel() -> rx.Component:
    def line(row: ComparisonRow) -> rx.Component:
        return table_row(
            COLUMNS,
            row.meter,
            row.closed,
            row.emitted,
            row.carried,
            row.units,
            row.confirmed,
            badge(row.label, row.tone),
        )

    table = data_table(
        "Usage and its billing this month",
        COLUMNS,
        rx.foreach(TenantUsageState.comparisons, line),
        test_id="usage-billed",
    )
    return panel(table, title="Here and in billing, this month")


def usage_panel() -> rx.Component:
    content = rx.el.div(
        range_controls(TenantUsageState),
        as_of_note(TenantUsageState.as_of),
        comparison_panel(),
        rx.foreach(TenantUsageState.meters, meter_box),
        class_name="section",
    )
    return rx.cond(TenantUsageState.loaded, content, panel(skeleton_rows(6), name="Usage"))
