"""/tenants: every customer organisation, found by its own name or by the whole address of somebody in it."""

from dataclasses import dataclass

import reflex as rx

from admin_app import words
from admin_app.frame import page
from admin_app.shell import PageState
from shared.access import actions
from shared.core.ctx import OperatorCtx
from shared.tenancy import directory
from shared.tenancy.directory_rows import Listed
from shared.tenancy.models import TenantState
from shared.ui.feedback import empty, skeleton_rows, when
from shared.ui.form import search, select
from shared.ui.form_model import a_line, a_word
from shared.ui.gate import needs
from shared.ui.hull import hull, small
from shared.ui.shell import head, link
from shared.ui.table import Column, badge, data_table, pager, row, some

COLUMNS = [
    Column("Tenant", sort="name"),
    Column("State"),
    Column("Owner", less=True),
    Column("Members", end=True, sort="members", less=True),
    Column("Created", end=True, sort="created_at", less=True),
]
SORTS = tuple(column.sort for column in COLUMNS if column.sort)
STATES = [("", "All states"), *((state.value, words.TENANT[state]) for state in TenantState)]
PAGE = 25


@dataclass(frozen=True)
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
    matched: str


def tenant_row(one: Listed) -> TenantRow:
    state, (setup, setup_tone) = words.TENANT[one.state], setting_up(one)
    return TenantRow(
        one.id,
        one.name,
        one.slug,
        one.plan,
        state,
        words.tone(state),
        setup,
        setup_tone,
        one.owner or "Nobody",
        f"{one.members:,}",
        one.created_at.isoformat(),
        one.matched,
    )


def setting_up(one: Listed) -> tuple[str, str]:
    """Word and tone of a badge, for what is not finished."""
    if one.steps_failed:
        return "Setup failed", "bad"
    if one.steps_done < one.steps:
        return f"Setup {one.steps_done} of {one.steps}", "wait"
    return "", ""


class TenantsState(PageState):
    loaded: bool = False
    rows: list[TenantRow] = []
    query: str = ""
    state: str = ""
    sorted_by: str = "name"
    descending: bool = False
    has_next: bool = False
    has_previous: bool = False
    said: str = ""
    _cursors: list[str] = []  # of the pages before this one; the last is this page's own
    _next: str = ""
    _asked: str = ""  # the state that the address named when it was last looked at

    @rx.event
    @needs(actions.OP_TENANT_LIST, page=True)
    async def load(self) -> None:
        self._take_address()
        async with self._open(TenantsState.load, "tenant", "members", "provisioning") as octx:
            found = await self._read(octx)
        self._show(found)

    def _take_address(self) -> None:
        """`?state=suspended` once; afterwards what the person chose on the page counts."""
        asked = str(dict(self.router.url.query_parameters).get("state", ""))
        if asked != self._asked:
            self._asked, self._cursors = asked, []
            self.state = asked if asked in set(TenantState) else ""

    async def _read(self, octx: OperatorCtx) -> directory.Page:
        return await directory.search(
            octx,
            self.query,
            self.state,
            sort=self.sorted_by,
            descending=self.descending,
            after=self._cursors[-1] if self._cursors else "",
            limit=PAGE,
        )

    def _show(self, found: directory.Page) -> None:
        self.rows = [tenant_row(one) for one in found.rows]
        self._next, self.has_next, self.has_previous = found.after, bool(found.after), bool(self._cursors)
        first = PAGE * len(self._cursors)
        self.said = (
            f"{first + 1:,}–{first + len(self.rows):,}" if found.after or first else counted(len(self.rows))
        )
        self.loaded = True

    async def _reread(self) -> None:
        async with self._ctx() as octx:
            found = await self._read(octx)
        self._show(found)

    @rx.event
    @needs(actions.OP_TENANT_LIST)
    async def look_for(self, query: str) -> None:
        self.query, self._cursors = a_line(query), []
        await self._reread()

    @rx.event
    @needs(actions.OP_TENANT_LIST)
    async def choose_state(self, state: str) -> None:
        self.state, self._cursors = a_word(state, ("", *TenantState)), []
        await self._reread()

    @rx.event
    @needs(actions.OP_TENANT_LIST)
    async def sort(self, column: str) -> None:
        self.descending = a_word(column, SORTS) == self.sorted_by and not self.descending
        self.sorted_by, self._cursors = column, []
        await self._reread()

    @rx.event
    @needs(actions.OP_TENANT_LIST)
    async def next(self) -> None:
        if self._next:
            self._cursors = [*self._cursors, self._next]
            await self._reread()

    @rx.event
    @needs(actions.OP_TENANT_LIST)
    async def previous(self) -> None:
        self._cursors = self._cursors[:-1]
        await self._reread()


def counted(count: int) -> str:
    return words.some_of(count, "tenant", "tenants")


def tenant_line(one: TenantRow) -> rx.Component:
    name = rx.el.div(
        link(one.name, f"/tenants/{one.id}", class_name="strong"),
        small(one.slug, " · ", one.plan),
        rx.cond(one.matched != "", small("Found by ", one.matched, class_name="cut-anywhere")),
        small(one.owner, " · ", when(one.created_at, "", "day"), class_name="only-small"),
        class_name="two",
    )
    states = rx.el.span(
        badge(one.state, one.tone),
        rx.cond(one.setup != "", badge(one.setup, one.setup_tone)),
        class_name="row wrap",
    )
    return row(COLUMNS, name, states, one.owner, one.members, when(one.created_at, "", "day"))


def tools() -> rx.Component:
    find = search(
        "Search by tenant, exact e-mail or id",
        default_value=TenantsState.query,
        on_change=TenantsState.look_for.debounce(200),
        max_length=200,
    )
    chosen = select("State", STATES, value=TenantsState.state, on_change=TenantsState.choose_state)
    return rx.el.div(find, chosen, class_name="row wrap")


def listed() -> rx.Component:
    nothing = rx.cond(
        (TenantsState.query != "") | (TenantsState.state != ""),
        empty(
            "No tenant matches",
            "The search looks at names, addresses and ids of tenants. A person is found by their whole e-mail address.",
            glyph="search-x",
        ),
        empty("No tenants yet", "The first one appears when somebody signs up.", glyph="building-2"),
    )
    table = data_table(
        "Tenants",
        COLUMNS,
        rx.foreach(TenantsState.rows, tenant_line),
        foot=pager(
            TenantsState.said,
            older=TenantsState.next,
            newer=TenantsState.previous,
            has_older=TenantsState.has_next,
            has_newer=TenantsState.has_previous,
            words=("Previous", "Next"),
        ),
        test_id="tenants",
        sorted_by=TenantsState.sorted_by,
        descending=TenantsState.descending,
        on_sort=TenantsState.sort,
    )
    found = rx.cond(some(TenantsState.rows), table, nothing)
    return hull(rx.cond(TenantsState.loaded, found, skeleton_rows(5)), name="Tenants")


@rx.page(route="/tenants", title="Tenants · Operator", on_load=TenantsState.load)
def tenants() -> rx.Component:
    return page(
        head("Tenants", said="Organisations on this platform. Looking inside one asks for a reason."),
        rx.el.div(tools(), listed(), class_name="section"),
        current="Tenants",
        load=TenantsState.load,
    )
