"""State of /audit."""

from datetime import UTC, datetime
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from admin_app import labels
from admin_app.pages.audit.rows import operator_event_row
from admin_app.shell import PageState
from shared.access import actions
from shared.audit.audit_log import AuditFilter
from shared.audit.filters import is_filter_action
from shared.backoffice import tenant_directory
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.core.stated_reason import MAX_REASON_LENGTH
from shared.tenancy.entry import VISIT_DURATION
from shared.ui.audit_list import EventRow, event_rows
from shared.ui.authorize import needs
from shared.ui.forms import Form, parse_choice

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
            raise Invalid("Unknown event type.", "Choose one from the list.")
        return AuditFilter(
            actor=self.actor, action=self.action, tenant_id=self.tenant, request_id=self.request
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
        self.count_text = labels.plural(len(rows), "event", "events")
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
            "You can view all tenants for 30 minutes.", description="Recorded in the operator audit log."
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
            message = f"All {result.checked_count:,} events are intact."
            return rx.toast.success("Operator audit log verified.", description=message)
        message = f"Event {result.broken_at:,}: {result.explanation}"
        return rx.toast.error(
            "Verification of the operator audit log failed.", description=message, duration=20_000
        )

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def next_page(self) -> None:
        if self._next_cursor:
            await self._reload(self.tab, self._filter, [*self._cursors, self._next_cursor])

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def previous_page(self) -> None:
        await self._reload(self.tab, self._filter, self._cursors[:-1])
