"""/t/[tenant]/audit: who did what, when, and what it was before."""

from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from shared.access import actions
from shared.audit import filters
from shared.audit.trail import Filter
from shared.core.ctx import Ctx
from shared.tenancy import history
from shared.ui.feedback import empty, skeleton_rows
from shared.ui.form import button, field, text_input
from shared.ui.form_model import Form
from shared.ui.gate import needs
from shared.ui.hull import hull
from shared.ui.shell import head
from shared.ui.table import pager, some
from shared.ui.trail import WORDS, EventRow, chain_state, event_list, event_rows
from tenant_app.exports import export_button
from tenant_app.frame import page
from tenant_app.shell import PageState

Line = Annotated[str, StringConstraints(max_length=120)]
Day = Annotated[str, StringConstraints(max_length=10)]
TOPICS = (
    "members",
    "invitations",
    "checklist",
    "provisioning",
    "roles",
    "settings",
)  # whatever leaves a line
CHOICES = [
    ("", "Everything"),
    *((f"{noun}.", f"All about {noun}s") for noun in filters.NOUNS),
    *sorted(
        ((action.value, f"… {words.removesuffix(' …')}") for action, words in WORDS.items()),
        key=lambda one: one[1],
    ),
]


class FilterForm(Form):
    """Every field may be empty: then it does not filter."""

    actor: Line = ""
    action: Line = ""
    object: Line = ""
    request: Line = ""
    since: Day = ""
    until: Day = ""

    def wanted(self) -> Filter:
        return filters.read(self.model_dump())


class AuditState(PageState):
    loaded: bool = False
    rows: list[EventRow] = []
    older_ones: bool = False
    newer_ones: bool = False
    filtered: bool = False
    kept: dict[str, str] = {}  # the filter as it was typed, for the export
    said: str = ""
    verified: str = ""
    whole: bool = True
    _wanted: Filter = Filter()
    _cursors: list[str] = []  # of the pages after the newest; the last is this page's own
    _older: str = ""

    @rx.event
    @needs(actions.AUDIT_READ, page=True)
    async def load(self) -> None:
        async with self._open(AuditState.load, *TOPICS) as ctx:
            found = await self._read(ctx, self._wanted, self._cursors)
        self._show(found)

    async def _read(self, ctx: Ctx, wanted: Filter, cursors: list[str]) -> Any:
        return await history.list_events(ctx, wanted, after=cursors[-1] if cursors else "", limit=50)

    def _show(self, found: Any) -> None:
        self.rows = event_rows(found.events)
        self._older, self.older_ones, self.newer_ones = found.older, bool(found.older), bool(self._cursors)
        count = len(self.rows)
        self.said = "1 event" if count == 1 else f"{count} events"
        self.filtered = self._wanted != Filter()
        self.loaded = True

    async def _turn(self, wanted: Filter, cursors: list[str], kept: dict[str, str] | None = None) -> None:
        async with self._ctx() as ctx:
            found = await self._read(ctx, wanted, cursors)
        self._wanted, self._cursors = wanted, cursors
        if kept is not None:
            self.kept = kept
        self._show(found)

    @rx.event
    @needs(actions.AUDIT_READ)
    async def narrow(self, payload: dict[str, Any]) -> None:
        form = FilterForm.read(payload)
        await self._turn(
            form.wanted(), [], {name: value for name, value in form.model_dump().items() if value}
        )

    @rx.event
    @needs(actions.AUDIT_READ)
    async def clear(self) -> None:
        await self._turn(Filter(), [], {})

    @rx.event
    @needs(actions.AUDIT_READ)
    async def older(self) -> None:
        if self._older:
            await self._turn(self._wanted, [*self._cursors, self._older])

    @rx.event
    @needs(actions.AUDIT_READ)
    async def newer(self) -> None:
        await self._turn(self._wanted, self._cursors[:-1])

    @rx.event
    @needs(actions.AUDIT_READ)
    async def verify(self) -> EventSpec:
        async with self._ctx() as ctx:
            found = await history.verify(ctx)
        self.whole = found.whole
        if found.whole:
            self.verified = f"All {found.checked:,} events are as they were written, none is missing."
            return rx.toast.success("The trail is whole.", description=self.verified)
        self.verified = f"Event {found.broken_at:,}: {found.what} Write to support."
        return rx.toast.error("The trail is broken.", description=self.verified)


def tools() -> rx.Component:
    """Enter works in every field."""
    action = rx.el.select(
        *[rx.el.option(label, value=value) for value, label in CHOICES],
        id="action",
        name="action",
        class_name="input",
    )
    fields = [
        field("Who", text_input("actor", placeholder="Name or id", max_length=120), id="actor"),
        field("What", action, id="action"),
        field("Object", text_input("object", placeholder="mem_…", max_length=120), id="object"),
        field("Request", text_input("request", placeholder="req_…", max_length=120), id="request"),
        field("From", text_input("since", type="date"), id="since"),
        field("Until", text_input("until", type="date"), id="until"),
    ]
    go = rx.el.div(
        button("Filter", type="submit", glyph="list-filter"),
        rx.cond(
            AuditState.filtered,
            button("Show everything", kind="quiet", type="reset", on_click=AuditState.clear),
        ),
        class_name="row wrap",
    )
    return rx.form(
        rx.el.div(*fields, go, class_name="filters"), on_submit=AuditState.narrow, data_testid="audit-filter"
    )


def trail() -> rx.Component:
    nothing = rx.cond(
        AuditState.filtered,
        empty("Nothing matches", "Widen the days or clear a field.", glyph="search-x"),
        empty(
            "Nothing has happened yet",
            "Invitations, roles, settings: all of it will be here.",
            glyph="scroll-text",
        ),
    )
    foot = pager(
        AuditState.said,
        older=AuditState.older,
        newer=AuditState.newer,
        has_older=AuditState.older_ones,
        has_newer=AuditState.newer_ones,
    )
    full = rx.el.div(event_list(AuditState.rows), foot, class_name="hull-foot")
    found = rx.cond(some(AuditState.rows), full, hull(nothing, name="Events"))
    return rx.cond(AuditState.loaded, found, hull(skeleton_rows(6), name="Events"))


@rx.page(route="/t/[tenant]/audit", title="Audit · Bulkhead", on_load=AuditState.load)
def audit() -> rx.Component:
    check = button(
        "Verify the chain", glyph="link", on_click=AuditState.verify, data_once="true", data_testid="verify"
    )
    answer = rx.cond(AuditState.verified != "", chain_state(AuditState.whole, AuditState.verified))
    return page(
        head(
            "Audit",
            said="Nothing here can be changed or removed. Days of the filter are UTC.",
            actions=[
                export_button(
                    actions.AUDIT_EXPORT,
                    "audit",
                    rx.foreach(
                        AuditState.kept,
                        lambda pair: rx.el.input(type="hidden", name=pair[0], value=pair[1]),
                    ),
                ),
                check,
            ],
        ),
        rx.el.div(tools(), answer, class_name="section"),
        trail(),
        current="Audit",
        load=AuditState.load,
    )
