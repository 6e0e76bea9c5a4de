"""Exports on the page of a list: the menu that starts one, and the newest ones with progress, cancel and download."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from shared.access.file_kinds import ExportKind
from shared.core.context import Ctx
from shared.core.plurals import plural
from shared.files import exports
from shared.files.actions import EXPORT_CANCEL, EXPORT_CREATE
from shared.files.exports import ExportView
from shared.files.models import OPEN_STATES, ExportFormat, ExportState
from shared.ui import charts
from shared.ui.authorize import mark_inherited
from shared.ui.banners import local_time
from shared.ui.controls import button, menu
from shared.ui.forms import parse_choice, parse_id
from shared.ui.native_form import NativeForm
from shared.ui.panels import panel, small
from shared.ui.tables import badge, has_items
from tenant_app.shell import PageState, guard_control

FORMAT_LABELS = {ExportFormat.CSV: "CSV", ExportFormat.JSONL: "JSONL", ExportFormat.PARQUET: "Parquet"}
BADGES = {  # label and tone
    ExportState.WAITING: ("Waiting", "idle"),
    ExportState.RUNNING: ("Exporting", "accent"),
    ExportState.READY: ("Ready", "ok"),
    ExportState.FAILED: ("Failed", "bad"),
    ExportState.CANCELLED: ("Cancelled", "idle"),
}


@dataclass(frozen=True, kw_only=True)
class ExportRow:
    id: str
    title: str
    status: str
    tone: str
    note: str
    is_open: bool
    percent: int
    share: str  # width of the meter
    download_path: str  # "" until it is ready
    expires_at: str
    decision_id: str  # of what refused it, "" for other problems


class ExportsState(PageState, mixin=True):
    """Mixin of a page state whose list can be exported: `class AuditState(ExportsState, ListState, PageState)`.

    The page sets `export_kind`, calls `_show_exports` in its load with what `_read_exports` has read there, and opens
    itself with `own_topics=("exports",)`.
    """

    export_kind: ClassVar[ExportKind]
    exports: list[ExportRow] = []

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls._mixin:
            mark_inherited(cls, {"start_export": EXPORT_CREATE, "cancel_export": EXPORT_CANCEL})

    def _export_filter(self) -> Mapping[str, str]:
        """The filter of the page, in the fields of its kind."""
        return {}

    async def _read_exports(self, ctx: Ctx) -> Sequence[ExportView]:
        return await exports.list_recent(ctx, self.export_kind.name)

    def _show_exports(self, views: Sequence[ExportView]) -> None:
        self.exports = [export_row(view) for view in views]

    @rx.event
    async def start_export(self, export_format: str) -> EventSpec:
        async with self._quiet_ctx() as ctx:
            chosen_format = parse_choice(export_format, list(ExportFormat))
            await exports.begin(ctx, self.export_kind.name, chosen_format, self._export_filter())
            views = await self._read_exports(ctx)
        self._show_exports(views)
        return rx.toast.info(
            "Export started",
            description="It continues when you leave this page. You get a notification when it is ready.",
        )

    @rx.event
    async def cancel_export(self, export_id: str) -> EventSpec:
        async with self._quiet_ctx() as ctx:
            await exports.cancel(ctx, parse_id("exp", export_id))
            views = await self._read_exports(ctx)
        self._show_exports(views)
        return rx.toast.success("Export cancelled", description="Nothing was stored.")


def export_row(view: ExportView) -> ExportRow:
    status, tone = BADGES[view.state]
    return ExportRow(
        id=view.id,
        title=f"Signed {FORMAT_LABELS[view.format]}" if view.is_signed else FORMAT_LABELS[view.format],
        status=status,
        tone=tone,
        note=_describe(view),
        is_open=view.state in OPEN_STATES,
        percent=view.percent,
        share=f"{view.percent}%",
        download_path=view.download_path,
        expires_at=view.expires_at.isoformat() if view.expires_at else "",
        decision_id=view.decision_id,
    )


def export_menu(state: type[ExportsState]) -> rx.Component:
    """The button that exports what the page shows, with a choice of formats."""
    items = [
        rx.menu.item(label, on_select=state.start_export(export_format.value))
        for export_format, label in FORMAT_LABELS.items()
    ]
    name = state.export_kind.name
    trigger = button("Export", glyph="download", data_testid=f"export-{name}")
    return guard_control(state.export_kind.action, menu(trigger, *items), "Export", glyph="download")


def export_list(state: type[ExportsState]) -> rx.Component:
    """The newest exports of this person; nothing without one."""

    def item(row: ExportRow) -> rx.Component:
        return export_item(state, row)

    rows = rx.el.ul(rx.foreach(state.exports, item), class_name="list", data_testid="exports")
    return rx.cond(has_items(state.exports), panel(rows, title="Your exports"))


def export_item(state: type[ExportsState], row: ExportRow) -> rx.Component:
    meter = charts.meter(
        "Progress", row.percent, 100, share=row.share, tone="calm", value_text=f"{row.percent}%"
    )
    expiry = rx.cond(
        row.download_path != "", rx.fragment(" · deleted on ", local_time(row.expires_at, "", "day"))
    )
    words = rx.el.div(
        rx.el.h3(row.title, " ", badge(row.status, row.tone)),
        small(row.note, expiry, class_name="num"),
        rx.cond(
            row.decision_id != "",
            small("Decision ", rx.el.code(row.decision_id, class_name="mono"), class_name="cut-anywhere"),
        ),
        rx.cond(row.is_open, rx.el.div(meter, class_name="slim")),
        class_name="two",
    )
    cancel = button("Cancel", kind="quiet", on_click=state.cancel_export(row.id), data_once="true")
    download = download_form(row.download_path)
    return rx.el.li(
        words, rx.cond(row.is_open, cancel), rx.cond(row.download_path != "", download), class_name="wrap"
    )


def download_form(path: Any) -> rx.Component:
    """A button that downloads a file. A form, because the router would keep a link for itself."""
    return NativeForm.create(
        button("Download", type="submit", glyph="download", data_testid="download"),
        method="get",
        action=path,
        data_download="",
        class_name="inline",
    )


def _describe(view: ExportView) -> str:
    if view.state in OPEN_STATES:
        return f"{view.row_count:,} of {plural(view.expected_rows, 'row')}"
    if view.state is ExportState.READY:
        return f"{plural(view.row_count, 'row')}, {_format_size(view.file_size)}"
    return view.problem or "Nothing was stored."


def _format_size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{max(size / 1e3, 0.1):,.1f} kB"
