"""State of /audit."""

from collections.abc import Mapping
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app import addresses
from admin_app.pages.audit.chains import ChainsState
from admin_app.pages.audit.rows import FindingRow, finding_rows, operator_event_row
from admin_app.shell import PageState
from admin_app.visit_state import VisitState, visit_vars
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.audit import filters
from shared.audit.audit_filter import AuditFilter
from shared.audit.event_types import OperatorAuditAction
from shared.audit.models import OperatorEvent
from shared.backoffice import request_search, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.backoffice.request_search import RequestFindings
from shared.backoffice.tenant_directory import NamedEvents
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.core.paging import Page
from shared.evidence import chain_checks
from shared.ui.audit_list import AuditFilterForm, EventRow, FilterText, event_rows
from shared.ui.authorize import needs
from shared.ui.dialogs import ReasonForm
from shared.ui.forms import parse_choice
from shared.ui.list_state import ListState

TABS = {"tenants": "Tenants", "operators": "Operators", "chains": "Chains"}
TENANT_FIELDS = (*filters.FIELDS, "tenant")
PAGE_SIZE = 50


class AllTenantsFilterForm(AuditFilterForm):
    """Every field may be empty: then it does not filter."""

    tenant: FilterText = ""

    def to_filter(self) -> AuditFilter:
        """`request` may be the id of a decision too. Raises Invalid."""
        request_id = request_search.parse_request_id(self.request)
        return super().to_filter().with_changes(tenant_id=self.tenant.strip(), request_id=request_id)


class OperatorFilterForm(AuditFilterForm):
    """Every field may be empty: then it does not filter."""

    def to_filter(self) -> AuditFilter:
        """Raises Invalid."""
        action = self.action.strip()
        if action and action not in set(OperatorAuditAction):
            raise Invalid("There is no such action.", "Choose one from the list.")
        return filters.parse_filter({**self.model_dump(), "action": ""}).with_changes(action=action)


class AuditPageState(VisitState, ListState, PageState):
    """The page, and the events of all tenants."""

    reads: ClassVar[OperatorAction] = actions.OP_AUDIT_READ_ALL
    loaded: bool = False
    tab: str = "tenants"
    rows: list[EventRow] = []
    filtered: bool = False
    request: str = ""  # whose findings are shown, "" while no request is filtered by
    findings: list[FindingRow] = []
    filter_values: dict[str, str] = dict.fromkeys(TENANT_FIELDS, "")  # as the form shows them
    trace_id: str = ""  # of that request
    _filter: AuditFilter = AuditFilter()
    _last_query: str = ""

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL, page=True)
    async def load(self) -> Any:
        await self._apply_address()
        async with self._open_page(AuditPageState.load, chain_checks.TOPIC) as octx:
            findings = await self._find(octx)
            events = await self._read(octx)
        self._show(events, findings)
        return {"operators": OperatorEventsState.load, "chains": ChainsState.load}.get(self.tab)

    async def _apply_address(self) -> None:
        """Take tab and filter from the query, unless they were taken already. Raises Invalid for an unknown tab or filter."""
        if (query := str(self.router.url.query)) == self._last_query:
            return
        parameters = dict(self.router.url.query_parameters)
        tab = parse_choice(str(parameters.get("tab", "")) or "tenants", TABS)
        operators = await self.get_state(OperatorEventsState)
        if tab == "operators":
            operators._apply_values(filters.read_query(parameters))
            self._show_filter({}, AuditFilter())
        elif tab == "chains":
            self._show_filter({}, AuditFilter())
        else:
            values = filters.read_query(parameters, TENANT_FIELDS)
            self._show_filter(values, AllTenantsFilterForm.read(values).to_filter())
        self.tab, self._last_query, self._cursors = tab, query, []

    def _show_filter(self, values: Mapping[str, str], event_filter: AuditFilter) -> None:
        self._filter = event_filter
        self.filter_values = {name: values.get(name, "") for name in TENANT_FIELDS}

    async def _read(self, octx: OperatorCtx) -> NamedEvents | None:
        """None without a reason, and while the other tab is shown."""
        reason = self._current_reason()
        if not reason or self.tab != "tenants":
            return None
        return await tenant_directory.list_all_events(
            octx, reason, self._filter, after=self._cursor(), limit=PAGE_SIZE
        )

    async def _find(self, octx: OperatorCtx) -> RequestFindings | None:
        """None without a reason, without a request, while the other tab is shown, and on later pages of the list."""
        reason = self._current_reason()
        if not reason or not self._filter.request_id or self.tab != "tenants" or self._cursor():
            return None
        findings = await request_search.find_request(octx, reason, self._filter.request_id)
        self._filter = self._filter.of_request(findings.request_id)  # of the decision that was searched for
        return findings

    def _show(self, events: NamedEvents | None, findings: RequestFindings | None) -> None:
        if not self._current_reason():
            self._close_visit()
        self.rows = event_rows(events.page.rows, events.tenant_names, list_path="/audit") if events else []
        self._show_page(events.page if events else Page(rows=()), "event")
        self.filtered = self._filter != AuditFilter()
        self.request = self._filter.request_id
        if not self._cursor() or not self._current_reason():  # a later page keeps what the first one found
            self.findings = finding_rows(findings) if findings else []
            self.trace_id = findings.trace_id if findings else ""
        self.loaded = True

    async def _reload(self) -> None:
        async with self._ctx() as octx:
            findings = await self._find(octx)
            events = await self._read(octx)
        self._show(events, findings)

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def choose_tab(self, tab: str) -> Any:
        return rx.redirect(addresses.audit_url({}, tab=parse_choice(tab, TABS)))

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def start_visit(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            reason = state_reason(octx, form.reason)
        await self._show_first_page(**visit_vars(reason), tab="tenants")
        return rx.toast.success(
            "You can view all tenants for 30 minutes.", description="Recorded in the operator audit log."
        )

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def end_visit(self) -> None:
        self._close_visit()
        await self._show_first_page(tab="tenants")

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def apply_filter(self, payload: dict[str, Any]) -> Any:
        """Puts the filter into the address. Raises Invalid."""
        form = AllTenantsFilterForm.read(payload)
        if form.to_filter() == self._filter:
            return AuditPageState.load
        return rx.redirect(addresses.audit_url(form.model_dump()))

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def clear_filter(self) -> Any:
        return rx.redirect(addresses.audit_url({}))


class OperatorEventsState(ListState, PageState):
    """What operators did outside of every tenant: the second list of the page."""

    reads: ClassVar[OperatorAction] = actions.OP_AUDIT_READ_ALL
    loaded: bool = False
    rows: list[EventRow] = []
    filtered: bool = False
    filter_values: dict[str, str] = dict.fromkeys(filters.FIELDS, "")  # as the form shows them
    _filter: AuditFilter = AuditFilter()

    def _apply_values(self, values: Mapping[str, str]) -> None:
        """Of an address. Raises Invalid."""
        self._filter, self._cursors = OperatorFilterForm.read(values).to_filter(), []
        self.filter_values = {name: values.get(name, "") for name in filters.FIELDS}

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def apply_filter(self, payload: dict[str, Any]) -> Any:
        """Puts the filter into the address. Raises Invalid."""
        form = OperatorFilterForm.read(payload)
        if form.to_filter() == self._filter:
            return OperatorEventsState.load
        return rx.redirect(addresses.audit_url(form.model_dump(), tab="operators"))

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def clear_filter(self) -> Any:
        return rx.redirect(addresses.audit_url({}, tab="operators"))

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL, page=True)
    async def load(self) -> None:
        """For the page, whose own load has filled the frame and watches."""
        await self._reload()

    async def _reload(self) -> None:
        async with self._ctx() as octx:
            events = await self._read(octx)
        self.rows = [operator_event_row(event) for event in events.rows]
        self._show_page(events, "event")
        self.filtered = self._filter != AuditFilter()
        self.loaded = True

    async def _read(self, octx: OperatorCtx) -> Page[OperatorEvent]:
        return await tenant_directory.list_operator_events(
            octx, self._filter, after=self._cursor(), limit=PAGE_SIZE
        )

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def verify_chain(self) -> EventSpec:
        """Of the operators' own log; a tenant's is verified on its page."""
        async with self._ctx() as octx:
            result = await tenant_directory.verify_operator_log(octx)
        if result.is_intact:
            message = f"All {result.checked_count:,} events are intact."
            return rx.toast.success("Operator audit log verified.", description=message)
        message = f"Event {result.broken_at:,}: {result.explanation}"
        return rx.toast.error(
            "Verification of the operator audit log failed.", description=message, duration=20_000
        )
