"""What the usage page shows."""

from collections.abc import Mapping
from typing import ClassVar

import reflex as rx

from shared.access.actions import Action
from shared.access.file_kinds import ExportKind
from shared.core.context import Ctx
from shared.core.paging import Page
from shared.metering import rollups, usage_reports
from shared.metering.actions import USAGE_READ
from shared.metering.models import UsageChange
from shared.metering.usage_export import USAGE
from shared.metering.usage_reports import Step, UsageReport
from shared.ui import usage_panels
from shared.ui.authorize import needs
from shared.ui.forms import parse_choice
from shared.ui.list_state import ListState
from shared.ui.usage_panels import DEFAULT_RANGE, RANGES, MeterPanel
from tenant_app.exports import ExportsState
from tenant_app.pages.usage.rows import ChangeRow, change_row
from tenant_app.shell import PageState

PAGE_SIZE = 10


class UsageState(ExportsState, ListState, PageState):
    reads: ClassVar[Action] = USAGE_READ
    export_kind: ClassVar[ExportKind] = USAGE
    loaded: bool = False
    range_key: str = DEFAULT_RANGE
    step: str = Step.DAY.value
    step_choices: list[tuple[str, str]] = []
    as_of: str = ""
    meters: list[MeterPanel] = []
    rows: list[ChangeRow] = []
    _since: str = ""  # of what is shown, for the export
    _until: str = ""

    @rx.event
    @needs(USAGE_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(UsageState.load, rollups.TOPIC, own_topics=("exports",)) as ctx:
            report, changes = await self._read_report(ctx), await self._read_changes(ctx)
            exports = await self._read_exports(ctx)
        self._show_report(report)
        self._show_changes(changes)
        self._show_exports(exports)
        self.loaded = True

    def _export_filter(self) -> Mapping[str, str]:
        return {"since": self._since, "until": self._until, "step": self.step}

    async def _read_report(self, ctx: Ctx) -> UsageReport:
        return await usage_reports.get_report(ctx, usage_panels.build_query(self.range_key, self.step))

    async def _read_changes(self, ctx: Ctx) -> Page[UsageChange]:
        return await usage_reports.list_changes(ctx, after=self._cursor(), limit=PAGE_SIZE)

    def _show_report(self, report: UsageReport) -> None:
        self.step, self.step_choices = report.step.value, usage_panels.list_step_choices(self.range_key)
        self.as_of = report.as_of.isoformat()
        self._since, self._until = report.since.isoformat(), report.until.isoformat()
        self.meters = usage_panels.meter_panels(report)

    def _show_changes(self, changes: Page[UsageChange]) -> None:
        self.rows = [change_row(change) for change in changes.rows]
        self._show_page(changes, "change")

    async def _reload(self) -> None:
        async with self._ctx() as ctx:
            changes = await self._read_changes(ctx)
        self._show_changes(changes)

    async def _reload_report(self, **choices: str) -> None:
        previous = {name: getattr(self, name) for name in choices}
        self._set_vars(choices)
        try:
            async with self._ctx() as ctx:
                report = await self._read_report(ctx)
        except BaseException:
            self._set_vars(previous)
            raise
        self._show_report(report)

    @rx.event
    @needs(USAGE_READ)
    async def choose_range(self, range_key: str) -> None:
        await self._reload_report(range_key=parse_choice(range_key, RANGES))

    @rx.event
    @needs(USAGE_READ)
    async def choose_step(self, step: str) -> None:
        await self._reload_report(step=parse_choice(step, list(Step)))
