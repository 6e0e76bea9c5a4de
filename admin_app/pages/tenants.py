"""/tenants: every customer organisation, found by its name or by the full email address of one of its members."""

from dataclasses import dataclass
from typing import ClassVar

import reflex as rx

from admin_app import labels
from admin_app.attention import ATTENTION_LABELS
from admin_app.frame import page
from admin_app.shell import PageState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import tenant_directory
from shared.backoffice.attention_kinds import Attention
from shared.backoffice.tenant_directory_rows import TenantSummary
from shared.core.context import OperatorCtx
from shared.core.paging import Page
from shared.tenancy.models import TenantState
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import search_input, select
from shared.ui.forms import parse_choice, parse_line
from shared.ui.list_state import ListState, list_pager
from shared.ui.panels import panel, small
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

COLUMNS = [
    Column("Tenant", sort="name"),
    Column("State"),
    Column("Owner", hidden_on_phone=True),
    Column("Members", align_end=True, sort="members", hidden_on_phone=True),
    Column("Created", align_end=True, sort="created_at", hidden_on_phone=True),
]
SORTS = tuple(column.sort for column in COLUMNS if column.sort)
STATE_CHOICES = [
    ("", "All states"),
    *((state.value, labels.TENANT_STATE_LABELS[state]) for state in TenantState),
]
ATTENTION_CHOICES = [("", "All tenants"), *((key.value, label) for key, label in ATTENTION_LABELS.items())]
PAGE_SIZE = 25


@dataclass(frozen=True, kw_only=True)
class TenantRow:
    id: str
    name: str
    slug: str
    plan: str
    state: str
    tone: str
    setup: str  # "" when it is finished
    setup_tone: str
    owner: str
    members: str
    created_at: str
    match_text: str


def tenant_row(tenant: TenantSummary) -> TenantRow:
    state, (setup, setup_tone) = labels.TENANT_STATE_LABELS[tenant.state], setup_badge(tenant)
    return TenantRow(
        id=tenant.id,
        name=tenant.name,
        slug=tenant.slug,
        plan=tenant.plan,
        state=state,
        tone=labels.tone_of(state),
        setup=setup,
        setup_tone=setup_tone,
        owner=tenant.owner or "No owner",
        members=f"{tenant.members:,}",
        created_at=tenant.created_at.isoformat(),
        match_text=tenant.matched_by,
    )


def setup_badge(tenant: TenantSummary) -> tuple[str, str]:
    """Label and tone of the badge for unfinished provisioning."""
    if tenant.steps_failed:
        return "Setup failed", "bad"
    if tenant.steps_done < tenant.steps:
        return f"Setup {tenant.steps_done} of {tenant.steps}", "wait"
    return "", ""


class TenantsState(ListState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_TENANT_LIST
    loaded: bool = False
    rows: list[TenantRow] = []
    query: str = ""
    state: str = ""
    needing: str = ""  # an Attention
    sorted_by: str = "name"
    descending: bool = False
    _last_address: tuple[str, str] = ("", "")  # state and attention in the address when it was last read

    @rx.event
    @needs(actions.OP_TENANT_LIST, page=True)
    async def load(self) -> None:
        self._apply_address()
        async with self._open_page(TenantsState.load, "tenant", "members", "provisioning") as octx:
            matches = await self._read(octx)
        self._show(matches)

    def _apply_address(self) -> None:
        """`?state=suspended` or `?needing=past_due` once; afterwards the choices on the page apply."""
        parameters = dict(self.router.url.query_parameters)
        address = str(parameters.get("state", "")), str(parameters.get("needing", ""))
        if address != self._last_address:
            self._last_address, self._cursors = address, []
            self.state = address[0] if address[0] in set(TenantState) else ""
            self.needing = address[1] if address[1] in set(Attention) else ""

    async def _read(self, octx: OperatorCtx) -> Page[TenantSummary]:
        return await tenant_directory.search_tenants(
            octx,
            self.query,
            self.state,
            needing=self.needing,
            sort=self.sorted_by,
            descending=self.descending,
            after=self._cursor(),
            limit=PAGE_SIZE,
        )

    def _show(self, matches: Page[TenantSummary]) -> None:
        self.rows = [tenant_row(tenant) for tenant in matches.rows]
        self._show_page(matches, "tenant")
        first = PAGE_SIZE * len(self._cursors)
        if matches.next_cursor or first:
            self.count_text = f"{first + 1:,}–{first + len(self.rows):,}"
        self.loaded = True

    async def _reload(self) -> None:
        async with self._ctx() as octx:
            matches = await self._read(octx)
        self._show(matches)

    @rx.event
    @needs(actions.OP_TENANT_LIST)
    async def search_tenants(self, query: str) -> None:
        await self._show_first_page(query=parse_line(query))

    @rx.event
    @needs(actions.OP_TENANT_LIST)
    async def choose_state(self, state: str) -> None:
        await self._show_first_page(state=parse_choice(state, ("", *TenantState)))

    @rx.event
    @needs(actions.OP_TENANT_LIST)
    async def choose_attention(self, needing: str) -> None:
        await self._show_first_page(needing=parse_choice(needing, ("", *Attention)))

    @rx.event
    @needs(actions.OP_TENANT_LIST)
    async def sort_by(self, column: str) -> None:
        descending = parse_choice(column, SORTS) == self.sorted_by and not self.descending
        await self._show_first_page(sorted_by=column, descending=descending)


def tenant_line(tenant: TenantRow) -> rx.Component:
    name = rx.el.div(
        link(tenant.name, f"/tenants/{tenant.id}", class_name="strong"),
        small(tenant.slug, " · ", tenant.plan),
        rx.cond(tenant.match_text != "", small("Found by ", tenant.match_text, class_name="cut-anywhere")),
        small(tenant.owner, " · ", local_time(tenant.created_at, "", "day"), class_name="only-small"),
        class_name="two",
    )
    badges = rx.el.span(
        badge(tenant.state, tenant.tone),
        rx.cond(tenant.setup != "", badge(tenant.setup, tenant.setup_tone)),
        class_name="row wrap",
    )
    return table_row(
        COLUMNS, name, badges, tenant.owner, tenant.members, local_time(tenant.created_at, "", "day")
    )


def toolbar() -> rx.Component:
    search_field = search_input(
        "Search by tenant, exact email, invoice or ID",
        default_value=TenantsState.query,
        on_change=TenantsState.search_tenants.debounce(200),
        max_length=200,
    )
    state_select = select(
        "State", STATE_CHOICES, value=TenantsState.state, on_change=TenantsState.choose_state
    )
    attention_select = select(
        "Needs attention",
        ATTENTION_CHOICES,
        value=TenantsState.needing,
        on_change=TenantsState.choose_attention,
    )
    return rx.el.div(search_field, state_select, attention_select, class_name="row wrap")


def tenants_panel() -> rx.Component:
    no_tenants = rx.cond(
        (TenantsState.query != "") | (TenantsState.state != "") | (TenantsState.needing != ""),
        empty_state(
            "No tenant matches",
            "Search by name, URL or ID, a member’s full email address, an invoice, a customer ID, a request or the start of an API key.",
            glyph="search-x",
        ),
        empty_state("No tenants yet", "Tenants appear after sign-up.", glyph="building-2"),
    )
    table = data_table(
        "Tenants",
        COLUMNS,
        rx.foreach(TenantsState.rows, tenant_line),
        footer=list_pager(TenantsState, ("Previous", "Next")),
        test_id="tenants",
        sorted_by=TenantsState.sorted_by,
        descending=TenantsState.descending,
        on_sort=TenantsState.sort_by,
    )
    content = rx.cond(has_items(TenantsState.rows), table, no_tenants)
    return panel(rx.cond(TenantsState.loaded, content, skeleton_rows(5)), name="Tenants")


@rx.page(route="/tenants", title="Tenants · Operator", on_load=TenantsState.load)
def tenants_page() -> rx.Component:
    return page(
        page_header("Tenants", description="All customer organisations. Opening one requires a reason."),
        rx.el.div(toolbar(), tenants_panel(), class_name="section"),
        current="Tenants",
        load=TenantsState.load,
    )
