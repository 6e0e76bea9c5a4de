"""The tab "Timeline" of a tenant's page: what happened from the sign-up on, each with its evidence."""

from dataclasses import dataclass
from typing import ClassVar

import reflex as rx

from admin_app import addresses, labels
from admin_app.shell import PageState
from admin_app.tenant_header import TenantObjectState
from admin_app.visit_state import TenantVisitState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.access.meters import METERS
from shared.audit.models import AuditEvent
from shared.backoffice import tenant_timeline
from shared.backoffice.tenant_timeline import Stage, TimelineEntry
from shared.backoffice.tenant_timeline_rows import DailyEmission
from shared.billing.models import BillingInvoice
from shared.core import money
from shared.metering.models import UsageWindow
from shared.ui.audit_list import event_rows
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time
from shared.ui.controls import select
from shared.ui.forms import parse_choice
from shared.ui.list_state import ListState, list_pager
from shared.ui.panels import panel, small
from shared.ui.shell import link
from shared.ui.tables import Column, badge, data_table, has_items, table_row
from shared.ui.usage_panels import format_quantity

PAGE_SIZE = 50
COLUMNS = [
    Column("When"),
    Column("Stage", hidden_on_phone=True),
    Column("What happened"),
    Column("Evidence", align_end=True),
]
STAGE_LABELS = {
    Stage.SIGN_UP: "Sign-up",
    Stage.PROVISIONING: "Provisioning",
    Stage.USE: "Use",
    Stage.USAGE: "Usage",
    Stage.BILLING: "Billing",
    Stage.SUPPORT: "Support",
}


@dataclass(frozen=True, kw_only=True)
class TimelineRow:
    at: str
    stage: str
    text: str
    note: str
    evidence: str  # what the link opens
    href: str


def timeline_row(tenant_id: str, entry: TimelineEntry) -> TimelineRow:
    text, note, evidence, href = _describe(tenant_id, entry)
    return TimelineRow(
        at=entry.at.isoformat(),
        stage=STAGE_LABELS[entry.stage],
        text=text,
        note=note,
        evidence=evidence,
        href=href,
    )


def _describe(tenant_id: str, entry: TimelineEntry) -> tuple[str, str, str, str]:
    """Text, note, name and address of the evidence."""
    match entry.evidence:
        case AuditEvent() as event:
            (row,) = event_rows([event])
            text = f"{row.actor} {row.action_text} {row.subject}".strip()
            return text, event.reason, "Audit log", addresses.request_url(tenant_id, event.request_id)
        case UsageWindow() as month:
            text = f"{format_quantity(month.quantity)} {_name_units(month.meter)} in {month.starts_at:%B %Y}"
            note = "Closed" if month.closed_at else "So far"
            return text, note, "Usage", addresses.usage_url(tenant_id)
        case DailyEmission() as emission:
            meter = METERS.get(emission.meter)
            text = f"Reported {labels.plural(emission.units, 'unit', 'units')} of {meter.title if meter else emission.meter}"
            note = labels.plural(emission.report_count, "report", "reports")
            return text, note, "Usage", addresses.usage_url(tenant_id)
        case BillingInvoice() as invoice:
            amount = money.format_amount(invoice.total, invoice.currency)
            text = f"Invoice {invoice.number or invoice.id} over {amount}"
            return text, invoice.status, "Billing", addresses.billing_url(tenant_id)


def _name_units(meter_key: str) -> str:
    meter = METERS.get(meter_key)
    return meter.plural if meter else meter_key


class TenantTimelineState(ListState, TenantObjectState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_TENANT_READ
    rows: list[TimelineRow] = []
    stage: str = ""

    @rx.event
    @needs(actions.OP_TENANT_READ, page=True)
    async def load(self) -> None:
        """For the page, whose own load has filled the frame and watches. Without a reason nothing is shown."""
        await self._reload()

    async def _reload(self) -> None:
        tenant_id = self._tenant_id()
        visit = await self.get_state(TenantVisitState)
        if not (reason := visit._reason_for(tenant_id)):
            self.rows, self._cursors = [], []
            return
        async with self._ctx() as octx:
            timeline = await tenant_timeline.list_timeline(
                octx, tenant_id, reason, stage=self.stage, after=self._cursor(), limit=PAGE_SIZE
            )
        self.rows = [timeline_row(tenant_id, entry) for entry in timeline.rows]
        self._show_page(timeline, "entry", "entries")

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def choose_stage(self, stage: str) -> None:
        await self._show_first_page(stage=parse_choice(stage, ("", *Stage)))


def timeline_list() -> rx.Component:
    """Without a visit there are no rows."""

    def line(row: TimelineRow) -> rx.Component:
        text = rx.el.div(
            rx.el.span(row.text), rx.cond(row.note != "", small(row.note)), class_name="two cut-anywhere"
        )
        return table_row(
            COLUMNS,
            local_time(row.at, "", "moment"),
            badge(row.stage, "idle"),
            text,
            link(row.evidence, row.href),
        )

    table = data_table(
        "Timeline",
        COLUMNS,
        rx.foreach(TenantTimelineState.rows, line),
        footer=list_pager(TenantTimelineState, ("Newer", "Older")),
        test_id="timeline",
    )
    nothing = empty_state("Nothing at this stage yet", "Choose another stage.", glyph="history")
    stages = [("", "All stages"), *((stage.value, label) for stage, label in STAGE_LABELS.items())]
    stage_select = select(
        "Stage", stages, value=TenantTimelineState.stage, on_change=TenantTimelineState.choose_stage
    )
    return rx.el.div(
        rx.el.div(stage_select, class_name="row wrap"),
        panel(rx.cond(has_items(TenantTimelineState.rows), table, nothing), name="Timeline"),
        class_name="section",
    )
