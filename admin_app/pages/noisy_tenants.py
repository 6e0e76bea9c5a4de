"""/noisy-tenants: which tenants cost most in the last hour or day, and a lower rate for one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app.frame import page
from admin_app.shell import PageState, is_allowed
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import noisy_tenants
from shared.backoffice.noisy_tenants_rows import NoisyOrder, NoisyTenant
from shared.backoffice.reasons import state_reason
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import icon_button, select
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ReasonForm, dialog_field, dialog_opener, form_dialog, reason_field
from shared.ui.forms import parse_choice, parse_id
from shared.ui.panels import panel, small
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

COLUMNS = [
    Column("Tenant"),
    Column("Database time", align_end=True),
    Column("Requests", align_end=True, hidden_on_phone=True),
    Column("Page events", align_end=True, hidden_on_phone=True),
    Column("Jobs", align_end=True, hidden_on_phone=True),
    Column("Waiting jobs", align_end=True),
    Column("Refused", align_end=True, hidden_on_phone=True),
    Column("Actions", align_end=True, label_hidden=True),
]
RANGE_CHOICES = [("1", "Last hour"), ("24", "Last 24 hours")]
ORDER_CHOICES = [
    (NoisyOrder.DATABASE.value, "By database time"),
    (NoisyOrder.REQUESTS.value, "By requests and events"),
    (NoisyOrder.WAITING.value, "By waiting jobs"),
    (NoisyOrder.REFUSED.value, "By refused"),
]
PERCENT_CHOICES = [("10", "10 %"), ("25", "25 %"), ("50", "50 %"), ("1", "1 %")]
MINUTES_CHOICES = [("60", "1 hour"), ("15", "15 minutes"), ("240", "4 hours"), ("1440", "24 hours")]
REASON_HINT = "Its members read it on every page and in answers to programs. Recorded in its audit log."


class ThrottleForm(ReasonForm):
    percent: str
    minutes: str


@dataclass(frozen=True, kw_only=True)
class NoisyRow:
    id: str = ""
    name: str = ""
    database: str = ""
    requests: str = ""
    events: str = ""
    jobs: str = ""
    waiting: str = ""
    refused: str = ""
    throttle: str = ""  # "" without one
    throttle_reason: str = ""
    throttle_ends_at: str = ""


def noisy_row(tenant: NoisyTenant) -> NoisyRow:
    expires_at = tenant.throttle_expires_at
    return NoisyRow(
        id=tenant.tenant_id,
        name=tenant.name,
        database=f"{tenant.database_seconds:,.1f} s",
        requests=f"{tenant.requests:,}",
        events=f"{tenant.events:,}",
        jobs=f"{tenant.jobs:,}",
        waiting=f"{tenant.waiting_jobs:,}",
        refused=f"{tenant.refused:,}",
        throttle=f"{tenant.throttle_percent} % of its rate" if tenant.throttle_percent is not None else "",
        throttle_reason=tenant.throttle_reason,
        throttle_ends_at=expires_at.isoformat() if expires_at is not None else "",
    )


class NoisyTenantsState(DialogState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_LOAD_READ
    opens_dialogs: ClassVar[OperatorAction] = actions.OP_TENANT_THROTTLE
    row_dialogs: ClassVar[Sequence[str]] = ("throttle", "end")
    loaded: bool = False
    rows: list[NoisyRow] = []
    hours: str = "1"
    order: str = NoisyOrder.DATABASE.value
    subject: NoisyRow = NoisyRow()

    @rx.event
    @needs(actions.OP_LOAD_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(NoisyTenantsState.load, "noisy") as octx:
            await self._read(octx)

    async def _read(self, octx: OperatorCtx) -> None:
        tenants = await noisy_tenants.list_noisy(octx, hours=int(self.hours), order=self.order)
        self.rows = [noisy_row(tenant) for tenant in tenants]
        self.loaded = True

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:  # noqa: ARG002  both are about a tenant
        rows = {row.id: row for row in self.rows}
        if parse_id("ten", row_id) not in rows:
            raise Invalid("This tenant is no longer in the list.", "Reload the page.")
        self.subject = rows[row_id]

    @rx.event
    @needs(actions.OP_LOAD_READ)
    async def choose_range(self, hours: str) -> None:
        self.hours = parse_choice(hours, dict(RANGE_CHOICES))
        async with self._ctx() as octx:
            await self._read(octx)

    @rx.event
    @needs(actions.OP_LOAD_READ)
    async def choose_order(self, order: str) -> None:
        self.order = parse_choice(order, dict(ORDER_CHOICES))
        async with self._ctx() as octx:
            await self._read(octx)

    @rx.event
    @needs(actions.OP_TENANT_THROTTLE)
    async def throttle_tenant(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ThrottleForm.read(payload), self.subject
        percent = int(parse_choice(form.percent, dict(PERCENT_CHOICES)))
        minutes = int(parse_choice(form.minutes, dict(MINUTES_CHOICES)))
        async with self._change_page() as octx:
            tenant_id = parse_id("ten", subject.id)
            reason = state_reason(octx, form.reason, tenant_id=tenant_id)
            await noisy_tenants.throttle(octx, tenant_id, reason, percent=percent, minutes=minutes)
            await self._read(octx)
        self._close_dialog()
        return rx.toast.success(
            f"Limited {subject.name} to {percent} %.", description="Takes effect within seconds."
        )

    @rx.event
    @needs(actions.OP_TENANT_THROTTLE)
    async def end_throttle(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ReasonForm.read(payload), self.subject
        async with self._change_page() as octx:
            tenant_id = parse_id("ten", subject.id)
            reason = state_reason(octx, form.reason, tenant_id=tenant_id)
            await noisy_tenants.end_throttle(octx, tenant_id, reason)
            await self._read(octx)
        self._close_dialog()
        return rx.toast.success(
            f"{subject.name} has its usual rate again.", description="Takes effect within seconds."
        )


def tenant_line(row: NoisyRow) -> rx.Component:
    throttle = rx.fragment(
        badge(row.throttle, "warn"),
        small("Until ", local_time(row.throttle_ends_at, ""), ": ", row.throttle_reason),
    )
    name = rx.el.div(
        link(row.name, f"/tenants/{row.id}", class_name="plain-link strong"),
        rx.cond(row.throttle != "", throttle),
        class_name="two",
    )
    change = rx.cond(
        row.throttle != "",
        icon_button(f"End the limit of {row.name}", "x", **dialog_opener(NoisyTenantsState, "end", row.id)),
        icon_button(f"Limit {row.name}", "gauge", **dialog_opener(NoisyTenantsState, "throttle", row.id)),
    )
    return table_row(
        COLUMNS,
        name,
        row.database,
        row.requests,
        row.events,
        row.jobs,
        row.waiting,
        row.refused,
        rx.cond(is_allowed(actions.OP_TENANT_THROTTLE), rx.el.div(change, class_name="row to-end")),
    )


def choice_field(id: str, label: str, name: str, options: Sequence[tuple[str, str]]) -> rx.Component:
    choices = [rx.el.option(text, value=value) for value, text in options]
    control = rx.el.select(*choices, name=name, class_name="input", custom_attrs={"id": id})
    return dialog_field(label, control, id=id, name=name)


def throttle_dialogs() -> rx.Component:
    state = NoisyTenantsState
    throttle = form_dialog(
        state,
        "throttle",
        "Limit the rate",
        rx.fragment(
            state.subject.name,
            " keeps a part of its rate, and one transaction and one job of a lane at a time.",
        ),
        choice_field("throttle-percent", "Rate", "percent", PERCENT_CHOICES),
        choice_field("throttle-minutes", "For", "minutes", MINUTES_CHOICES),
        reason_field("throttle", REASON_HINT),
        confirm="Limit rate",
        submit=state.throttle_tenant,
        kind="danger",
    )
    end = form_dialog(
        state,
        "end",
        "End the limit",
        rx.fragment(state.subject.name, " gets its usual rate back."),
        reason_field("end", REASON_HINT),
        confirm="End limit",
        submit=state.end_throttle,
    )
    return rx.fragment(throttle, end)


@rx.page(route="/noisy-tenants", title="Noisy tenants · Operator", on_load=NoisyTenantsState.load)
def noisy_tenants_page() -> rx.Component:
    state = NoisyTenantsState
    filters = rx.el.div(
        select("Time", RANGE_CHOICES, value=state.hours, on_change=state.choose_range),
        select("Order", ORDER_CHOICES, value=state.order, on_change=state.choose_order),
        class_name="row wrap",
    )
    nothing = empty_state("Nothing was counted", "Numbers appear here within a minute.", glyph="gauge")
    table = data_table("Noisy tenants", COLUMNS, rx.foreach(state.rows, tenant_line), test_id="noisy-tenants")
    content = rx.cond(has_items(state.rows), table, nothing)
    return page(
        page_header(
            "Noisy tenants",
            description="What each tenant costs: time of its database statements, requests, page events and jobs.",
        ),
        rx.el.div(
            filters,
            panel(rx.cond(state.loaded, content, skeleton_rows(6)), name="Noisy tenants"),
            class_name="section",
        ),
        throttle_dialogs(),
        current="Noisy tenants",
        load=state.load,
    )
