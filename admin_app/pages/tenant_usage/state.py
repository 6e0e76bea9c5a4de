"""State of a tenant's usage tab."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app.pages.tenant_usage.rows import (
    ComparisonRow,
    CorrectionRow,
    PreviewText,
    comparison_rows,
    correction_row,
    describe_check,
    month_choices,
    preview_text,
)
from admin_app.tenant_header import TenantHeaderState, TenantObjectState
from admin_app.visit_state import TenantVisitState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.access.meters import METERS
from shared.backoffice import tenant_usage, usage_corrections
from shared.backoffice.reasons import Reason
from shared.backoffice.tenant_usage import TenantUsage
from shared.core.context import OperatorCtx
from shared.core.errors import Conflict
from shared.metering.usage_reports import Step
from shared.ui import usage_panels
from shared.ui.as_of import AsOf, build_as_of
from shared.ui.authorize import needs
from shared.ui.change_rows import ChangeRow, change_row
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ReasonForm
from shared.ui.forms import choice_of, parse_choice
from shared.ui.usage_panels import DEFAULT_RANGE, RANGES, MeterPanel


class LinesForm(ReasonForm):
    lines: str


class RecomputeForm(ReasonForm):
    meter: Annotated[str, choice_of(METERS)]
    month: str


class TenantUsageState(DialogState, TenantObjectState, TenantHeaderState):
    reads: ClassVar[OperatorAction] = actions.OP_TENANT_READ
    dialogs: ClassVar[Sequence[str]] = ("correct", "recompute", "check")
    row_dialogs: ClassVar[Sequence[str]] = ("add_lines", "close_correction", "revert_correction")
    loaded: bool = False
    range_key: str = DEFAULT_RANGE
    step: str = Step.DAY.value
    step_choices: list[tuple[str, str]] = []
    as_of: AsOf = AsOf()
    meters: list[MeterPanel] = []
    month: str = ""  # that is compared, as "2026-07"
    months: list[tuple[str, str]] = []
    meter_choices: list[tuple[str, str]] = []
    comparisons: list[ComparisonRow] = []
    corrections: list[CorrectionRow] = []
    changes: list[ChangeRow] = []
    check_text: str = ""
    check_tone: str = ""
    subject: str = ""  # the correction that the dialog is about
    preview: PreviewText = PreviewText()
    _correction_id: str = ""

    @rx.event
    @needs(actions.OP_TENANT_READ, part=True)
    async def load(self) -> None:
        """Loads the tab; the page's load has filled the frame. Without a reason nothing is shown."""
        visit = await self.get_state(TenantVisitState)
        if not visit._reason_for(self._tenant_id()):
            self.loaded, self.meters, self.comparisons = False, [], []
            self.corrections, self.changes = [], []
            return
        await self._show_choice(self.range_key, self.step, self.month)

    async def _show_choice(self, range_key: str, step: str, month: str) -> None:
        async with self._ctx() as octx:
            usage = await self._read(octx, range_key, step, month=month)
        self.range_key, self.month = range_key, month
        self._show(usage)

    async def _visit_reason(self) -> Reason:
        """Raises Conflict once the visit has ended."""
        visit = await self.get_state(TenantVisitState)
        reason = visit._reason_for(self._tenant_id())
        if not reason:
            raise Conflict("Your access to this tenant’s usage has ended.", "Enter the reason again.")
        return reason

    async def _read(self, octx: OperatorCtx, range_key: str, step: str, *, month: str) -> TenantUsage:
        return await tenant_usage.get_tenant_usage(
            octx,
            self._tenant_id(),
            await self._visit_reason(),
            query=usage_panels.build_query(range_key, step),
            month=_parse_month(month) if month else None,
        )

    def _show(self, usage: TenantUsage) -> None:
        self.step, self.step_choices = usage.report.step.value, usage_panels.list_step_choices(self.range_key)
        self.as_of = build_as_of(usage.report.source, usage.report.as_of)
        self.meters = usage_panels.meter_panels(usage.report)
        self.months = month_choices(usage.report.as_of)
        self.month = self.month or self.months[0][0]
        self.meter_choices = [(meter.key, meter.title) for meter in METERS.values()]
        self.comparisons = comparison_rows(usage)
        self.corrections = [correction_row(view) for view in usage.corrections]
        self.changes = [change_row(change) for change in usage.changes]
        self.check_text, self.check_tone = describe_check(usage.check)
        self.loaded = True

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def choose_range(self, range_key: str) -> None:
        await self._show_choice(parse_choice(range_key, RANGES), self.step, self.month)

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def choose_step(self, step: str) -> None:
        await self._show_choice(self.range_key, parse_choice(step, list(Step)), self.month)

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def choose_month(self, month: str) -> None:
        await self._show_choice(self.range_key, self.step, parse_choice(month, dict(self.months)))

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:
        if dialog not in self.row_dialogs:
            return
        notes = {row.id: row.note for row in self.corrections}
        self._correction_id = parse_choice(row_id, notes)
        self.subject = notes[self._correction_id]
        if dialog == "close_correction":
            reason = await self._visit_reason()
            async with self._ctx() as octx:
                self.preview = preview_text(
                    await usage_corrections.preview_correction(
                        octx, self._tenant_id(), self._correction_id, reason
                    )
                )

    def _finish(self, usage: TenantUsage, title: str, detail: str) -> EventSpec:
        self._show(usage)
        self._close_dialog()
        return rx.toast.success(title, description=detail)

    @rx.event
    @needs(actions.OP_USAGE_CORRECT)
    async def open_correction(self, payload: dict[str, Any]) -> EventSpec:
        form = LinesForm.read(payload)
        async with self._change_page() as octx:
            reason = self._state_reason(octx, form.reason)
            await usage_corrections.open_correction(octx, self._tenant_id(), form.lines, reason)
            usage = await self._read(octx, self.range_key, self.step, month=self.month)
        return self._finish(usage, "Correction opened.", "It takes effect when you close it.")

    @rx.event
    @needs(actions.OP_USAGE_CORRECT)
    async def add_lines(self, payload: dict[str, Any]) -> EventSpec:
        form = LinesForm.read(payload)
        async with self._change_page() as octx:
            reason = self._state_reason(octx, form.reason)
            await usage_corrections.add_items(
                octx, self._tenant_id(), self._correction_id, form.lines, reason
            )
            usage = await self._read(octx, self.range_key, self.step, month=self.month)
        return self._finish(usage, "Items added.", "They take effect when you close the correction.")

    @rx.event
    @needs(actions.OP_USAGE_CORRECT)
    async def close_correction(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            reason = self._state_reason(octx, form.reason)
            await usage_corrections.close_correction(octx, self._tenant_id(), self._correction_id, reason)
            usage = await self._read(octx, self.range_key, self.step, month=self.month)
        return self._finish(usage, "The correction is being closed.", "Its hours appear under Changes.")

    @rx.event
    @needs(actions.OP_USAGE_CORRECT)
    async def revert_correction(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            reason = self._state_reason(octx, form.reason)
            await usage_corrections.revert_correction(octx, self._tenant_id(), self._correction_id, reason)
            usage = await self._read(octx, self.range_key, self.step, month=self.month)
        return self._finish(usage, "The correction is reverted.", "Its events count as before.")

    @rx.event
    @needs(actions.OP_USAGE_CORRECT)
    async def recompute_month(self, payload: dict[str, Any]) -> EventSpec:
        form = RecomputeForm.read(payload)
        month = _parse_month(parse_choice(form.month, dict(self.months)))
        async with self._change_page() as octx:
            reason = self._state_reason(octx, form.reason)
            await usage_corrections.recompute_month(octx, self._tenant_id(), form.meter, month, reason)
            usage = await self._read(octx, self.range_key, self.step, month=self.month)
        return self._finish(
            usage, "The month is being recomputed.", "Its digest appears in the audit log of the tenant."
        )

    @rx.event
    @needs(actions.OP_USAGE_CORRECT)
    async def check_usage(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            reason = self._state_reason(octx, form.reason)
            await usage_corrections.start_usage_check(octx, self._tenant_id(), reason)
            usage = await self._read(octx, self.range_key, self.step, month=self.month)
        return self._finish(usage, "The comparison has begun.", "Its result appears here.")


def _parse_month(text: str) -> datetime:
    """Its first moment, UTC."""
    return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
