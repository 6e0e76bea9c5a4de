"""/audit: what happened in all tenants, for a reason; and what operators did outside of every tenant."""

from datetime import UTC, datetime
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from admin_app import words
from admin_app.frame import page
from admin_app.shell import PageState
from shared.access import actions
from shared.audit.actions import AuditAction, OperatorAuditAction
from shared.audit.models import OperatorEvent
from shared.audit.trail import Filter
from shared.core.ctx import OperatorCtx
from shared.core.errors import Invalid
from shared.tenancy import directory
from shared.tenancy.entry import LONGEST_REASON, LOOK_LASTS
from shared.ui.feedback import empty, skeleton_rows
from shared.ui.form import button, field, text_input
from shared.ui.form_model import Form, a_word
from shared.ui.gate import needs
from shared.ui.hull import hull, small
from shared.ui.shell import head
from shared.ui.table import initials, pager, some
from shared.ui.trail import WORDS, EventRow, event_list, event_rows
from shared.ui.why import changes

Line = Annotated[str, StringConstraints(max_length=120)]
TABS = {"tenants": "Tenants", "operators": "Operators"}
NOUNS = sorted({action.partition(".")[0] for action in AuditAction})
CHOICES = [
    ("", "Everything"),
    *((f"{noun}.", f"All about {noun}s") for noun in NOUNS),
    *sorted(
        ((action.value, f"… {said.removesuffix(' …')}") for action, said in WORDS.items()),
        key=lambda one: one[1],
    ),
]
PAGE = 50


class ReasonForm(Form):
    reason: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_REASON)]


class FilterForm(Form):
    """Every field may be empty: then it does not filter."""

    actor: Line = ""
    action: Line = ""
    tenant: Line = ""
    request: Line = ""

    def wanted(self) -> Filter:
        if self.action and self.action not in {value for value, _ in CHOICES}:
            raise Invalid("This is not an action of the trail.", "Choose one from the list.")
        return Filter(actor=self.actor, action=self.action, tenant_id=self.tenant, request_id=self.request)


def operator_row(event: OperatorEvent) -> EventRow:
    known = event.action in set(OperatorAuditAction)
    did = words.OPERATOR_WORDS[OperatorAuditAction(event.action)] if known else event.action
    details = dict(event.details)
    before, after, effect = (details.pop(name, None) or {} for name in ("before", "after", "effect"))
    about = details.pop("name", "") or details.get("email", event.object_id)
    facts = [
        f"{key.replace('_', ' ').capitalize()}: {value}"
        for key, value in {**details, **effect}.items()
        if value
    ]
    return EventRow(
        event.id,
        str(event.seq or ""),
        event.at.isoformat() if event.at else "",
        event.actor_name,
        initials(event.actor_name),
        True,
        did.removesuffix(" …"),
        str(about) if did.endswith("…") else "",
        " · ".join([f"Reason: {event.reason}", *facts, event.action]),
        event.action,
        event.request_id,
        changes(before, after),
    )


class AllAuditState(PageState):
    loaded: bool = False
    tab: str = "tenants"
    inside: bool = False  # a reason has been given and still counts
    reason: str = ""
    rows: list[EventRow] = []
    has_older: bool = False
    has_newer: bool = False
    filtered: bool = False
    said: str = ""
    _until: datetime | None = None  # until when the reason counts
    _wanted: Filter = Filter()
    _cursors: list[str] = []  # of the pages after the newest; the last is this page's own
    _older: str = ""

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL, page=True)
    async def load(self) -> None:
        async with self._open(AllAuditState.load) as octx:
            await self._read(octx, self.tab, self._wanted, self._cursors)

    async def _read(self, octx: OperatorCtx, tab: str, wanted: Filter, cursors: list[str]) -> None:
        """Reads and then shows: a refusal leaves the page as it was."""
        after, reason = cursors[-1] if cursors else "", self._reason()
        rows: list[EventRow] = []
        older = ""
        if tab == "operators":
            number = int(after) if after else None
            found = await directory.list_operator_events(octx, after=number, limit=PAGE)
            rows = [operator_row(one) for one in found]
            older = str(found[-1].seq) if len(found) == PAGE else ""
        elif reason:
            across = await directory.list_all_events(octx, reason, wanted, after=after, limit=PAGE)
            rows, older = event_rows(across.page.events, across.names), across.page.older
        self.rows, self._older, self._wanted, self._cursors, self.tab = rows, older, wanted, cursors, tab
        self.inside, self.reason = bool(reason), reason
        self.has_older, self.has_newer, self.filtered = bool(older), bool(cursors), wanted != Filter()
        self.said = words.some_of(len(rows), "event", "events")
        self.loaded = True

    def _reason(self) -> str:
        """ "" when none was given, or too long ago."""
        return self.reason if self._until and datetime.now(UTC) < self._until else ""

    async def _turn(self, tab: str, wanted: Filter, cursors: list[str]) -> None:
        async with self._ctx() as octx:
            await self._read(octx, tab, wanted, cursors)

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def choose_tab(self, tab: str) -> None:
        await self._turn(a_word(tab, TABS), Filter(), [])

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def enter(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        self.reason, self._until = form.reason, datetime.now(UTC) + LOOK_LASTS
        await self._turn("tenants", Filter(), [])
        return rx.toast.success(
            "You are reading across tenants.", description="The operators' trail says so."
        )

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def leave(self) -> None:
        self._until = None
        await self._turn("tenants", Filter(), [])

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def narrow(self, payload: dict[str, Any]) -> None:
        await self._turn("tenants", FilterForm.read(payload).wanted(), [])

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def clear(self) -> None:
        await self._turn("tenants", Filter(), [])

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def verify(self) -> EventSpec:
        """Of the operators' own trail; a tenant's is verified on its page."""
        async with self._ctx() as octx:
            found = await directory.verify_operators(octx)
        if found.whole:
            said = f"All {found.checked:,} events are as they were written."
            return rx.toast.success("The operators' trail is whole.", description=said)
        said = f"Event {found.broken_at:,}: {found.what}"
        return rx.toast.error("The operators' trail is broken.", description=said, duration=20_000)

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def older(self) -> None:
        if self._older:
            await self._turn(self.tab, self._wanted, [*self._cursors, self._older])

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def newer(self) -> None:
        await self._turn(self.tab, self._wanted, self._cursors[:-1])


def door() -> rx.Component:
    reason = field(
        "Reason",
        text_input(
            "reason",
            required=True,
            noted=True,
            max_length=LONGEST_REASON,
            auto_complete="off",
            placeholder="Ticket 4471, who changed roles yesterday",
        ),
        id="reason",
        hint="It stands in the operators' trail, with your name. It counts for 30 minutes.",
    )
    go = rx.el.div(
        button("Read across tenants", kind="primary", glyph="eye", type="submit"), class_name="row"
    )
    return hull(
        rx.form(reason, go, on_submit=AllAuditState.enter, class_name="stack", data_testid="reason-form"),
        title="Why do you read across tenants?",
        body=True,
    )


def tools() -> rx.Component:
    action = rx.el.select(
        *[rx.el.option(label, value=value) for value, label in CHOICES],
        id="action",
        name="action",
        class_name="input",
    )
    fields = [
        field("Who", text_input("actor", placeholder="Name or id", max_length=120), id="actor"),
        field("What", action, id="action"),
        field("Tenant", text_input("tenant", placeholder="ten_…", max_length=120), id="tenant"),
        field("Request", text_input("request", placeholder="req_…", max_length=120), id="request"),
    ]
    go = rx.el.div(
        button("Filter", type="submit", glyph="list-filter"),
        rx.cond(
            AllAuditState.filtered,
            button("Show everything", kind="quiet", type="reset", on_click=AllAuditState.clear),
        ),
        class_name="row wrap",
    )
    return rx.form(
        rx.el.div(*fields, go, class_name="filters"),
        on_submit=AllAuditState.narrow,
        data_testid="audit-filter",
    )


def listed(nothing: rx.Component) -> rx.Component:
    foot = pager(
        AllAuditState.said,
        older=AllAuditState.older,
        newer=AllAuditState.newer,
        has_older=AllAuditState.has_older,
        has_newer=AllAuditState.has_newer,
    )
    full = rx.el.div(event_list(AllAuditState.rows), foot, class_name="hull-foot")
    found = rx.cond(some(AllAuditState.rows), full, hull(nothing, name="Events"))
    return rx.cond(AllAuditState.loaded, found, hull(skeleton_rows(6), name="Events"))


def of_tenants() -> rx.Component:
    said = small("Reading across tenants: ", rx.el.b(AllAuditState.reason), class_name="grow cut-anywhere")
    stop = button("Stop reading", glyph="eye-off", kind="quiet", on_click=AllAuditState.leave)
    nothing = empty(
        "Nothing matches", "Clear a field, or wait: every change of a tenant stands here.", glyph="search-x"
    )
    inside = rx.el.div(
        rx.el.div(said, stop, class_name="row"), tools(), listed(nothing), class_name="section"
    )
    return rx.cond(
        AllAuditState.inside,
        inside,
        rx.cond(AllAuditState.loaded, door(), hull(skeleton_rows(3), name="Events")),
    )


def of_operators() -> rx.Component:
    nothing = empty(
        "Nothing has happened yet", "Sign-ins and readings across tenants stand here.", glyph="scroll-text"
    )
    check = button(
        "Verify the chain",
        glyph="link",
        on_click=AllAuditState.verify,
        data_once="true",
        data_testid="verify",
    )
    said = small("What operators did outside of every tenant.", class_name="grow")
    return rx.el.div(rx.el.div(said, check, class_name="row"), listed(nothing), class_name="section")


@rx.page(route="/audit", title="Audit · Operator", on_load=AllAuditState.load)
def audit() -> rx.Component:
    contents = {"tenants": of_tenants, "operators": of_operators}
    panels = rx.tabs.root(
        rx.tabs.list(*[rx.tabs.trigger(name, value=key) for key, name in TABS.items()], aria_label="Trails"),
        *[rx.tabs.content(contents[key](), value=key) for key in TABS],
        value=AllAuditState.tab,
        on_change=AllAuditState.choose_tab,
    )
    return page(
        head(
            "Audit", said="Nothing here can be changed or removed. Every tenant also has its own on its page."
        ),
        panels,
        current="Audit",
        load=AllAuditState.load,
    )
