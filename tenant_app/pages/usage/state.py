"""What the usage page shows. Its filters are in its address."""

from collections.abc import Mapping
from typing import ClassVar

import reflex as rx
from reflex.event import EventSpec

from shared.access.actions import Action
from shared.access.file_kinds import ExportKind
from shared.core.context import Ctx
from shared.core.paging import Page
from shared.metering import breakdowns, rollups, usage_reports
from shared.metering.actions import USAGE_READ
from shared.metering.breakdowns import Breakdown
from shared.metering.models import UsageChange
from shared.metering.usage_export import USAGE
from shared.metering.usage_reports import Step, UsageReport
from shared.ui import breakdown_panel, usage_panels
from shared.ui.as_of import AsOf, build_as_of
from shared.ui.authorize import needs
from shared.ui.breakdown_panel import PartRow
from shared.ui.change_rows import ChangeRow, change_row
from shared.ui.forms import parse_choice
from shared.ui.list_state import ListState
from shared.ui.page_address import set_query
from shared.ui.usage_panels import DEFAULT_RANGE, RANGES, MeterPanel
from tenant_app.exports import ExportsState
from tenant_app.shell import PageState

PAGE_SIZE = 10


class UsageState(ExportsState, ListState, PageState):
    reads: ClassVar[Action] = USAGE_READ
    export_kind: ClassVar[ExportKind] = USAGE
    loaded: bool = False
    range_key: str = DEFAULT_RANGE
    step: str = Step.DAY.value
    step_choices: list[tuple[str, str]] = []
    meter: str = ""  # "" for all
    meter_choices: list[tuple[str, str]] = []
    by: str = ""  # of the breakdown of one meter
    by_choices: list[tuple[str, str]] = []
    parts: list[PartRow] = []
    other_parts: str = ""
    as_of: AsOf = AsOf()
    meters: list[MeterPanel] = []
    rows: list[ChangeRow] = []
    _since: str = ""  # of what is shown, for the export
    _until: str = ""
    _last_address: str = ""  # the query when it was last read

    @rx.event
    @needs(USAGE_READ, page=True)
    async def load(self) -> None:
        self._apply_address()
        async with self._open_page(UsageState.load, rollups.TOPIC, own_topics=("exports",)) as ctx:
            report, breakdown = await self._read_report(ctx)
            changes = await self._read_changes(ctx)
            exports = await self._read_exports(ctx)
        self._show_report(report, breakdown)
        self._show_changes(changes)
        self._show_exports(exports)
        self.loaded = True

    def _apply_address(self) -> None:
        """Once for each address; afterwards the choices on the page apply. What is unknown is left out."""
        query = {name: str(value) for name, value in dict(self.router.url.query_parameters).items()}
        if (address := str(sorted(query.items()))) == self._last_address:
            return
        self._last_address = address
        self.range_key = query.get("range", "") if query.get("range") in RANGES else DEFAULT_RANGE
        self.step = query.get("step", "") if query.get("step") in list(Step) else Step.DAY.value
        meters = dict(breakdown_panel.meter_choices())
        self.meter = query.get("meter", "") if query.get("meter") in meters else ""
        self.by = query.get("by", "")[:100]

    def _export_filter(self) -> Mapping[str, str]:
        return {"since": self._since, "until": self._until, "step": self.step, "meter": self.meter}

    async def _read_report(self, ctx: Ctx) -> tuple[UsageReport, Breakdown | None]:
        query = usage_panels.build_query(self.range_key, self.step, self.meter)
        report = await usage_reports.get_report(ctx, query)
        if not self.meter:
            return report, None
        choices = [by for by, _ in breakdown_panel.by_choices(self.meter)]
        by = self.by if self.by in choices else choices[0]
        since = report.until - breakdown_panel.longest_span(report)
        return report, await breakdowns.get_breakdown(ctx, self.meter, by, since=since, until=report.until)

    async def _read_changes(self, ctx: Ctx) -> Page[UsageChange]:
        return await usage_reports.list_changes(ctx, after=self._cursor(), limit=PAGE_SIZE)

    def _show_report(self, report: UsageReport, breakdown: Breakdown | None) -> None:
        self.step, self.step_choices = report.step.value, usage_panels.list_step_choices(self.range_key)
        self.as_of = build_as_of(report.source, report.as_of)
        self._since, self._until = report.since.isoformat(), report.until.isoformat()
        self.meters = usage_panels.meter_panels(report)
        self.meter_choices = breakdown_panel.meter_choices()
        self.by_choices = breakdown_panel.by_choices(self.meter)
        self.by = breakdown.by if breakdown is not None else ""
        self.parts = breakdown_panel.part_rows(breakdown) if breakdown is not None else []
        self.other_parts = breakdown_panel.describe_others(breakdown) if breakdown is not None else ""

    def _show_changes(self, changes: Page[UsageChange]) -> None:
        self.rows = [change_row(change) for change in changes.rows]
        self._show_page(changes, "change")

    async def _reload(self) -> None:
        async with self._ctx() as ctx:
            changes = await self._read_changes(ctx)
        self._show_changes(changes)

    async def _reload_report(self, **choices: str) -> EventSpec:
        previous = {name: getattr(self, name) for name in choices}
        self._set_vars(choices)
        try:
            async with self._ctx() as ctx:
                report, breakdown = await self._read_report(ctx)
        except BaseException:
            self._set_vars(previous)
            raise
        self._show_report(report, breakdown)
        return set_query({"range": self.range_key, "step": self.step, "meter": self.meter, "by": self.by})

    @rx.event
    @needs(USAGE_READ)
    async def choose_range(self, range_key: str) -> EventSpec:
        return await self._reload_report(range_key=parse_choice(range_key, RANGES))

    @rx.event
    @needs(USAGE_READ)
    async def choose_step(self, step: str) -> EventSpec:
        return await self._reload_report(step=parse_choice(step, list(Step)))

    @rx.event
    @needs(USAGE_READ)
    async def choose_meter(self, meter: str) -> EventSpec:
        choices = dict(breakdown_panel.meter_choices())
        return await self._reload_report(meter=parse_choice(meter, choices), by="")

    @rx.event
    @needs(USAGE_READ)
    async def choose_by(self, by: str) -> EventSpec:
        choices = [choice for choice, _ in breakdown_panel.by_choices(self.meter)]
        return await self._reload_report(by=parse_choice(by, choices))
