"""/usage: tenants that use most of a meter, how that grows, and who is near a monthly limit."""

from dataclasses import dataclass

import reflex as rx
from reflex.event import EventSpec

from admin_app import addresses
from admin_app.frame import page
from admin_app.shell import PageState
from shared.access import actions
from shared.backoffice import usage_overview
from shared.backoffice.usage_overview import TenantUsageLine, UsageOverview
from shared.ui import charts
from shared.ui.as_of import AsOf, as_of_note, build_as_of
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, skeleton_rows
from shared.ui.controls import select
from shared.ui.forms import parse_choice
from shared.ui.page_address import set_query
from shared.ui.panels import panel, small
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row
from shared.ui.usage_panels import format_quantity

COLUMNS = [
    Column("Tenant"),
    Column("28 days", align_end=True),
    Column("Growth", align_end=True, hidden_on_phone=True),
    Column("This month"),
    Column("Limit"),
]
DEFAULT_METER = "api_calls"


@dataclass(frozen=True, kw_only=True)
class TopTenantRow:
    name: str
    href: str
    quantity: str
    growth: str
    month: str
    share: str
    label: str
    tone: str


def top_tenant_row(line: TenantUsageLine) -> TopTenantRow:
    limit, used = line.limit, format_quantity(line.month_quantity)
    share, tone = charts.meter_width_and_tone(float(line.month_quantity), limit) if limit else ("", "calm")
    label = "Over" if tone == "bad" else "Near" if line.is_near_limit else "Below"
    return TopTenantRow(
        name=line.name,
        href=addresses.usage_url(line.tenant_id),
        quantity=format_quantity(line.quantity),
        growth=f"{line.growth:+.0%}" if line.growth is not None else "New",
        month=f"{used} of {limit:,}" if limit else used,
        share=share,
        label=label if limit else "None",
        tone=tone if limit and tone != "calm" else "idle",
    )


class UsageOverviewState(PageState):
    loaded: bool = False
    meter: str = ""
    meters: list[tuple[str, str]] = []
    as_of: AsOf = AsOf()
    rows: list[TopTenantRow] = []
    near_count: int = 0

    @rx.event
    @needs(actions.OP_TENANT_LIST, page=True)
    async def load(self) -> None:
        meters = {meter.key: meter.title for meter in usage_overview.list_meters()}
        chosen = self.meter or str(dict(self.router.url.query_parameters).get("meter", ""))
        chosen = chosen if chosen in meters else DEFAULT_METER
        async with self._open_page(UsageOverviewState.load, "tenant", "usage") as octx:
            overview = await usage_overview.get_usage_overview(octx, chosen)
        self.meters = list(meters.items())
        self._show(overview)

    def _show(self, overview: UsageOverview) -> None:
        self.meter, self.as_of = overview.meter.key, build_as_of(overview.source)
        self.rows = [top_tenant_row(line) for line in overview.tenants]
        self.near_count = sum(line.is_near_limit for line in overview.tenants)
        self.loaded = True

    @rx.event
    @needs(actions.OP_TENANT_LIST)
    async def choose_meter(self, meter: str) -> EventSpec:
        chosen = parse_choice(meter, [declared_meter.key for declared_meter in usage_overview.list_meters()])
        async with self._ctx() as octx:
            overview = await usage_overview.get_usage_overview(octx, chosen)
        self._show(overview)
        return set_query({"meter": chosen})


def top_tenants_panel() -> rx.Component:
    state = UsageOverviewState

    def line(row: TopTenantRow) -> rx.Component:
        bar = rx.el.div(rx.el.div(style={"--share": row.share}), class_name="meter", data_tone=row.tone)
        month = rx.el.div(
            rx.el.span(row.month, class_name="num"), rx.cond(row.share != "", bar), class_name="two metered"
        )
        return table_row(
            COLUMNS,
            link(row.name, row.href, class_name="strong plain-link"),
            row.quantity,
            row.growth,
            month,
            badge(row.label, row.tone),
        )

    table = data_table("Tenants by usage", COLUMNS, rx.foreach(state.rows, line), test_id="top-tenants")
    none = empty_state("No usage", "No tenant has used this in the last 28 days.", glyph="chart-column")
    near = small(state.near_count, " near their limit", class_name="num")
    content = rx.cond(has_items(state.rows), table, none)
    return panel(rx.cond(state.loaded, content, skeleton_rows(6)), title="Most usage", aside=near)


@rx.page(route="/usage", title="Usage · Operator", on_load=UsageOverviewState.load)
def usage_overview_page() -> rx.Component:
    state = UsageOverviewState
    meter = select("Meter", state.meters, value=state.meter, on_change=state.choose_meter)
    as_of = rx.cond(state.loaded, as_of_note(state.as_of))
    return page(
        page_header("Usage", description="The 20 tenants with the most usage of a meter."),
        rx.el.div(meter, as_of, class_name="row wrap"),
        top_tenants_panel(),
        current="Usage",
        load=UsageOverviewState.load,
    )
