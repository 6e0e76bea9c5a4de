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
from shared.audit.audit_log import AuditFilter
from shared.audit.event_types import OperatorAuditAction
from shared.audit.filters import is_filter_action
from shared.audit.models import OperatorEvent
from shared.backoffice import tenant_directory
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.core.stated_reason import MAX_REASON_LENGTH
from shared.tenancy.entry import VISIT_DURATION
from shared.ui.audit_list import EventRow, action_choices, event_list, event_rows
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, skeleton_rows
from shared.ui.controls import button, form_field, text_input
from shared.ui.decision_trace import list_changes
from shared.ui.forms import Form, parse_choice
from shared.ui.panels import panel, small
from shared.ui.shell import page_header
from shared.ui.tables import has_items, initials_of, pager

ShortText = Annotated[str, StringConstraints(max_length=120)]
TABS = {"tenants": "Tenants", "operators": "Operators"}
PAGE_SIZE = 50


class ReasonForm(Form):
    reason: Annotated[str, StringConstraints(min_length=1, max_length=MAX_REASON_LENGTH)]


class AllTenantsFilterForm(Form):
    """Every field may be empty: then it does not filter."""

    actor: ShortText = ""
    action: ShortText = ""
    tenant: ShortText = ""
    request: ShortText = ""

    def to_filter(self) -> AuditFilter:
        if not is_filter_action(self.action):
            raise Invalid("This is not an action of the trail.", "Choose one from the list.")
        return AuditFilter(
            actor=self.actor, action=self.action, tenant_id=self.tenant, request_id=self.request
        )


def operator_event_row(event: OperatorEvent) -> EventRow:
    is_known = event.action in set(OperatorAuditAction)
    action_text = words.OPERATOR_AUDIT_TEXTS[OperatorAuditAction(event.action)] if is_known else event.action
    details = dict(event.details)
    before, after, impact = (details.pop(name, None) or {} for name in ("before", "after", "effect"))
    subject = details.pop("name", "") or details.get("email", event.object_id)
    facts = [
        f"{key.replace('_', ' ').capitalize()}: {value}"
        for key, value in {**details, **impact}.items()
        if value
    ]
    return EventRow(
        event.id,
        str(event.seq or ""),
        event.at.isoformat() if event.at else "",
        event.actor_name,
        initials_of(event.actor_name),
        True,
        action_text.removesuffix(" …"),
        str(subject) if action_text.endswith("…") else "",
        " · ".join([f"Reason: {event.reason}", *facts, event.action]),
        event.action,
        event.request_id,
        list_changes(before, after),
    )


class AuditPageState(PageState):
    loaded: bool = False
    tab: str = "tenants"
    is_visit_open: bool = False  # a reason has been given and still counts
    reason: str = ""
    rows: list[EventRow] = []
    has_next: bool = False
    has_previous: bool = False
    filtered: bool = False
    count_text: str = ""
    _visit_until: datetime | None = None  # until when the reason counts
    _filter: AuditFilter = AuditFilter()
    _cursors: list[str] = []  # of the pages after the newest; the last is this page's own
    _next_cursor: str = ""

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL, page=True)
    async def load(self) -> None:
        async with self._open_page(AuditPageState.load) as octx:
            await self._read(octx, self.tab, self._filter, self._cursors)

    async def _read(self, octx: OperatorCtx, tab: str, event_filter: AuditFilter, cursors: list[str]) -> None:
        """Reads and then shows: a refusal leaves the page as it was."""
        after, reason = cursors[-1] if cursors else "", self._current_reason()
        rows: list[EventRow] = []
        older = ""
        if tab == "operators":
            number = int(after) if after else None
            operator_events = await tenant_directory.list_operator_events(octx, after=number, limit=PAGE_SIZE)
            rows = [operator_event_row(event) for event in operator_events]
            older = str(operator_events[-1].seq) if len(operator_events) == PAGE_SIZE else ""
        elif reason:
            tenant_events = await tenant_directory.list_all_events(
                octx, reason, event_filter, after=after, limit=PAGE_SIZE
            )
            rows, older = (
                event_rows(tenant_events.page.events, tenant_events.tenant_names),
                tenant_events.page.next_cursor,
            )
        self.rows, self._next_cursor, self._filter, self._cursors, self.tab = (
            rows,
            older,
            event_filter,
            cursors,
            tab,
        )
        self.is_visit_open, self.reason = bool(reason), reason
        self.has_next, self.has_previous, self.filtered = (
            bool(older),
            bool(cursors),
            event_filter != AuditFilter(),
        )
        self.count_text = words.plural(len(rows), "event", "events")
        self.loaded = True

    def _current_reason(self) -> str:
        """ "" when none was given, or too long ago."""
        return self.reason if self._visit_until and datetime.now(UTC) < self._visit_until else ""

    async def _reload(self, tab: str, event_filter: AuditFilter, cursors: list[str]) -> None:
        async with self._ctx() as octx:
            await self._read(octx, tab, event_filter, cursors)

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def choose_tab(self, tab: str) -> None:
        await self._reload(parse_choice(tab, TABS), AuditFilter(), [])

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def start_visit(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        self.reason, self._visit_until = form.reason, datetime.now(UTC) + VISIT_DURATION
        await self._reload("tenants", AuditFilter(), [])
        return rx.toast.success(
            "You are reading across tenants.", description="The operators' trail says so."
        )

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def end_visit(self) -> None:
        self._visit_until = None
        await self._reload("tenants", AuditFilter(), [])

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def apply_filter(self, payload: dict[str, Any]) -> None:
        await self._reload("tenants", AllTenantsFilterForm.read(payload).to_filter(), [])

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def clear_filter(self) -> None:
        await self._reload("tenants", AuditFilter(), [])

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def verify_chain(self) -> EventSpec:
        """Of the operators' own trail; a tenant's is verified on its page."""
        async with self._ctx() as octx:
            result = await tenant_directory.verify_operator_log(octx)
        if result.is_intact:
            message = f"All {result.checked_count:,} events are as they were written."
            return rx.toast.success("The operators' trail is whole.", description=message)
        message = f"Event {result.broken_at:,}: {result.explanation}"
        return rx.toast.error("The operators' trail is broken.", description=message, duration=20_000)

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def next_page(self) -> None:
        if self._next_cursor:
            await self._reload(self.tab, self._filter, [*self._cursors, self._next_cursor])

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def previous_page(self) -> None:
        await self._reload(self.tab, self._filter, self._cursors[:-1])


def access_form() -> rx.Component:
    reason = form_field(
        "Reason",
        text_input(
            "reason",
            required=True,
            has_note=True,
            max_length=MAX_REASON_LENGTH,
            auto_complete="off",
            placeholder="Ticket 4471, who changed roles yesterday",
        ),
        id="reason",
        hint="It stands in the operators' trail, with your name. It counts for 30 minutes.",
    )
    submit_row = rx.el.div(
        button("Read across tenants", kind="primary", glyph="eye", type="submit"), class_name="row"
    )
    return panel(
        rx.form(
            reason,
            submit_row,
            on_submit=AuditPageState.start_visit,
            class_name="stack",
            data_testid="reason-form",
        ),
        title="Why do you read across tenants?",
        body=True,
    )


def filter_form() -> rx.Component:
    action = rx.el.select(
        *[rx.el.option(label, value=value) for value, label in action_choices()],
        id="action",
        name="action",
        class_name="input",
    )
    fields = [
        form_field("Who", text_input("actor", placeholder="Name or id", max_length=120), id="actor"),
        form_field("What", action, id="action"),
        form_field("Tenant", text_input("tenant", placeholder="ten_…", max_length=120), id="tenant"),
        form_field("Request", text_input("request", placeholder="req_…", max_length=120), id="request"),
    ]
    buttons = rx.el.div(
        button("Filter", type="submit", glyph="list-filter"),
        rx.cond(
            AuditPageState.filtered,
            button("Show everything", kind="quiet", type="reset", on_click=AuditPageState.clear_filter),
        ),
        class_name="row wrap",
    )
    return rx.form(
        rx.el.div(*fields, buttons, class_name="filters"),
        on_submit=AuditPageState.apply_filter,
        data_testid="audit-filter",
    )


def events_panel(nothing: rx.Component) -> rx.Component:
    foot = pager(
        AuditPageState.count_text,
        on_next=AuditPageState.next_page,
        on_previous=AuditPageState.previous_page,
        has_next=AuditPageState.has_next,
        has_previous=AuditPageState.has_previous,
    )
    event_table = rx.el.div(event_list(AuditPageState.rows), foot, class_name="hull-foot")
    content = rx.cond(has_items(AuditPageState.rows), event_table, panel(nothing, name="Events"))
    return rx.cond(AuditPageState.loaded, content, panel(skeleton_rows(6), name="Events"))


def tenants_tab() -> rx.Component:
    reason_text = small(
        "Reading across tenants: ", rx.el.b(AuditPageState.reason), class_name="grow cut-anywhere"
    )
    end_button = button("Stop reading", glyph="eye-off", kind="quiet", on_click=AuditPageState.end_visit)
    no_matches = empty_state(
        "Nothing matches", "Clear a field, or wait: every change of a tenant stands here.", glyph="search-x"
    )
    visit_content = rx.el.div(
        rx.el.div(reason_text, end_button, class_name="row"),
        filter_form(),
        events_panel(no_matches),
        class_name="section",
    )
    return rx.cond(
        AuditPageState.is_visit_open,
        visit_content,
        rx.cond(AuditPageState.loaded, access_form(), panel(skeleton_rows(3), name="Events")),
    )


def operators_tab() -> rx.Component:
    no_events = empty_state(
        "Nothing has happened yet", "Sign-ins and readings across tenants stand here.", glyph="scroll-text"
    )
    check = button(
        "Verify the chain",
        glyph="link",
        on_click=AuditPageState.verify_chain,
        data_once="true",
        data_testid="verify",
    )
    description = small("What operators did outside of every tenant.", class_name="grow")
    return rx.el.div(
        rx.el.div(description, check, class_name="row"), events_panel(no_events), class_name="section"
    )


@rx.page(route="/audit", title="Audit · Operator", on_load=AuditPageState.load)
def audit_page() -> rx.Component:
    contents = {"tenants": tenants_tab, "operators": operators_tab}
    panels = rx.tabs.root(
        rx.tabs.list(*[rx.tabs.trigger(name, value=key) for key, name in TABS.items()], aria_label="Trails"),
        *[rx.tabs.content(contents[key](), value=key) for key in TABS],
        value=AuditPageState.tab,
        on_change=AuditPageState.choose_tab,
    )
    return page(
        page_header(
            "Audit",
            description="Nothing here can be changed or removed. Every tenant also has its own on its page.",
        ),
        panels,
        current="Audit",
        load=AuditPageState.load,
    )
