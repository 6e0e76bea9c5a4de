"""/tenants/[tenant]: one customer organisation. Its head is open; looking at its people and its trail needs a reason."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from admin_app import words
from admin_app.frame import page
from admin_app.pages.tenant_billing import TenantBillingState, billing_panel
from admin_app.pages.tenant_rights import TenantRightsState, rights_panel, tenant_id_from_path
from admin_app.shell import PageState, guard_control
from shared.access import actions
from shared.audit import audit_log
from shared.backoffice import tenant_directory
from shared.backoffice.tenant_directory_rows import TenantMember, TenantSummary
from shared.core.context import OperatorCtx
from shared.core.ids import is_id
from shared.core.stated_reason import MAX_REASON_LENGTH
from shared.tenancy.entry import VISIT_DURATION
from shared.tenancy.models import MembershipState, TenantState
from shared.tenancy.provisioning import StepView
from shared.ui.audit_list import EventRow, event_list, event_rows
from shared.ui.authorize import needs
from shared.ui.banners import banner, empty_state, local_time, skeleton_block, skeleton_rows
from shared.ui.controls import button, dialog, form_field, icon_button, text_input
from shared.ui.dialogs import ConfirmText, ReasonText, check_confirmation, confirm_field, reason_field
from shared.ui.forms import Form, parse_choice
from shared.ui.panels import panel, small, stat, stat_grid, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, initials_of, pager, person_cell, table_row

MEMBER_COLUMNS = [
    Column("Name"),
    Column("Role", hidden_on_phone=True),
    Column("Status"),
    Column("Last active", align_end=True, hidden_on_phone=True),
    Column("Joined", align_end=True, hidden_on_phone=True),
]
TABS = {
    "overview": "Overview",
    "rights": "Rights",
    "billing": "Billing",
    "members": "Members",
    "provisioning": "Provisioning",
    "audit": "Audit",
}
DIALOGS = ("", "suspend", "restore", "resume")
PAGE_SIZE = 50


class ReasonForm(Form):
    reason: ReasonText


class TenantSwitchForm(Form):
    """Suspending and restoring."""

    reason: ReasonText
    confirm: ConfirmText


@dataclass(frozen=True)
class TenantHeader:
    id: str = ""
    name: str = ""
    slug: str = ""
    plan: str = ""
    state: str = ""
    tone: str = ""
    suspended: bool = False
    reason: str = ""  # of the suspension
    owner: str = ""
    members: str = ""
    invited: str = ""
    seen_at: str = ""
    created_at: str = ""
    setup: str = ""
    setup_note: str = ""


@dataclass(frozen=True)
class ProvisioningStepRow:
    title: str
    note: str
    state: str
    tone: str
    finished_at: str


@dataclass(frozen=True)
class TenantMemberRow:
    id: str
    name: str
    email: str
    initials: str
    role: str
    status: str
    tone: str
    note: str
    seen_at: str
    joined_at: str


def tenant_header(tenant: TenantSummary) -> TenantHeader:
    state = words.TENANT_STATE_LABELS[tenant.state]
    open_steps = tenant.steps - tenant.steps_done
    setup_said = (
        words.plural(tenant.steps_failed, "step failed", "steps failed") if tenant.steps_failed else ""
    )
    return TenantHeader(
        tenant.id,
        tenant.name,
        tenant.slug,
        tenant.plan,
        state,
        words.tone_of(state),
        tenant.state is TenantState.SUSPENDED,
        tenant.state_reason,
        tenant.owner or "Nobody",
        words.plural(tenant.members, "active", "active"),
        words.plural(tenant.pending_invitations, "invitation open", "invitations open"),
        tenant.seen_at.isoformat() if tenant.seen_at else "",
        tenant.created_at.isoformat(),
        f"{tenant.steps_done} of {tenant.steps} steps",
        setup_said
        or ("Finished" if not open_steps else words.plural(open_steps, "step to do", "steps to do")),
    )


def provisioning_step_row(step: StepView) -> ProvisioningStepRow:
    state = words.STEP_STATE_LABELS[step.state]
    tries = words.plural(step.attempts, "try", "tries")
    note = f"{step.error} {tries} so far." if step.error else tries if step.attempts > 1 else ""
    finished = step.finished_at.isoformat() if step.finished_at else ""
    return ProvisioningStepRow(step.title, note, state, words.tone_of(state), finished)


def tenant_member_row(member: TenantMember) -> TenantMemberRow:
    status = words.MEMBER_STATE_LABELS[member.state]
    note = "" if member.verified else "Address not verified"
    if member.state is not MembershipState.ACTIVE and member.ended_by:
        note = f"{status} by {member.ended_by}"
    return TenantMemberRow(
        member.id,
        member.name,
        member.email,
        initials_of(member.name),
        member.role,
        status,
        words.tone_of(status),
        note,
        member.seen_at.isoformat() if member.seen_at else "",
        member.created_at.isoformat(),
    )


class TenantPageState(PageState):
    loaded: bool = False
    header: TenantHeader = TenantHeader()
    steps: list[ProvisioningStepRow] = []
    has_open_steps: bool = False
    tab: str = "overview"
    is_visit_open: bool = False  # a reason has been given and still counts
    reason: str = ""
    members: list[TenantMemberRow] = []
    events: list[EventRow] = []
    count_text: str = ""
    has_next: bool = False
    has_previous: bool = False
    dialog: str = ""
    request: str = ""  # only what happened in this request is shown of the trail
    _last_address: str = ""  # what the address named when it was last looked at
    _visit_until: datetime | None = None  # until when the reason counts
    _cursors: list[str] = []  # of the pages before this one, of the open tab
    _next_cursor: str = ""

    def _tenant_id(self) -> str:
        """From the address: a wish. What may be seen of it is decided by the service."""
        return tenant_id_from_path(self.router.url.path)

    @rx.event
    @needs(actions.OP_TENANT_READ, page=True)
    async def load(self) -> Any:
        tenant_id = self._tenant_id()
        if self.header.id != tenant_id:
            self._clear_page()
        self._apply_address(tenant_id)
        topics = ("tenant", "members", "invitations", "provisioning", "billing")
        async with self._open_page(TenantPageState.load, *topics, tenant_id=tenant_id) as octx:
            page_data = await self._read(octx, tenant_id, self._current_reason(), self.tab, self._cursors)
        self._show(*page_data)
        return self._tab_event()

    def _tab_event(self) -> Any:
        """What brings the tab that has a state of its own."""
        if self.tab == "billing":
            return TenantBillingState.load(self._current_reason())
        return TenantRightsState.load if self.tab == "rights" else None

    def _apply_address(self, tenant_id: str) -> None:
        """`?tab=audit&request=req_…` once; afterwards what the person chose on the page counts."""
        query = dict(self.router.url.query_parameters)
        tab, request = str(query.get("tab", "")), str(query.get("request", ""))
        if (address := f"{tenant_id} {tab} {request}") != self._last_address:
            self._last_address, self._cursors = address, []
            self.tab = tab if tab in TABS else self.tab
            self.request = request if is_id("req", request) else ""

    def _clear_page(self) -> None:
        """Another tenant's page: nothing of the last one stays, its reason neither."""
        self.loaded, self.header, self.steps, self.has_open_steps = False, TenantHeader(), [], False
        self.tab, self.dialog, self.request, self._cursors = "overview", "", "", []
        self._end_visit()

    def _end_visit(self) -> None:
        self.is_visit_open, self.reason, self._visit_until, self.members, self.events = (
            False,
            "",
            None,
            [],
            [],
        )

    def _current_reason(self) -> str:
        """ "" when none was given, or too long ago."""
        return self.reason if self._visit_until and datetime.now(UTC) < self._visit_until else ""

    async def _read(
        self, octx: OperatorCtx, tenant_id: str, reason: str, tab: str, cursors: list[str]
    ) -> tuple[Any, ...]:
        tenant, steps = (
            await tenant_directory.get_tenant(octx, tenant_id),
            await tenant_directory.list_provisioning_steps(octx, tenant_id),
        )
        after = cursors[-1] if cursors else ""
        tab_data: Any = None
        if reason and tab == "members":
            tab_data = await tenant_directory.list_members(
                octx, tenant_id, reason, after=after, limit=PAGE_SIZE
            )
        elif reason and tab == "audit":
            tab_data = await tenant_directory.list_events(
                octx, tenant_id, reason, request_id=self.request, after=after, limit=PAGE_SIZE
            )
        return tenant, steps, tab_data

    def _show(self, tenant: TenantSummary, steps: Any, details: Any) -> None:
        self.header, self.steps = tenant_header(tenant), [provisioning_step_row(step) for step in steps]
        self.has_open_steps = tenant.steps_done < tenant.steps
        if not self._current_reason():
            self._end_visit()
        if isinstance(details, tenant_directory.TenantMemberPage):
            self.members, self._next_cursor = (
                [tenant_member_row(member) for member in details.rows],
                details.after,
            )
            self.count_text = words.plural(len(details.rows), "person", "people")
        elif isinstance(details, audit_log.AuditEventPage):
            self.events, self._next_cursor = event_rows(details.events), details.next_cursor
            self.count_text = words.plural(len(details.events), "event", "events")
        self.has_next, self.has_previous = bool(self._next_cursor), bool(self._cursors)
        self.loaded = True

    async def _reload(self, tab: str, cursors: list[str]) -> None:
        async with self._ctx() as octx:
            page_data = await self._read(octx, self._tenant_id(), self._current_reason(), tab, cursors)
        self.tab, self._cursors, self._next_cursor = tab, cursors, ""
        self._show(*page_data)

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def choose_tab(self, tab: str) -> Any:
        await self._reload(parse_choice(tab, TABS), [])
        return self._tab_event()

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def clear_request_filter(self) -> None:
        self.request = ""
        await self._reload("audit", [])

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def next_page(self) -> None:
        if self._next_cursor:
            await self._reload(self.tab, [*self._cursors, self._next_cursor])

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def previous_page(self) -> None:
        await self._reload(self.tab, self._cursors[:-1])

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def start_visit(self, payload: dict[str, Any]) -> Any:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            page_data = await self._read(octx, self._tenant_id(), form.reason, self.tab, [])
        self.is_visit_open, self.reason, self._visit_until = (
            True,
            form.reason,
            datetime.now(UTC) + VISIT_DURATION,
        )
        self._cursors, self._next_cursor = [], ""
        self._show(*page_data)
        success = rx.toast.success(
            f"You are looking into {self.header.name}.", description="Its trail says so, with your reason."
        )
        return [success, self._tab_event()] if self.tab == "billing" else success

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def end_visit(self) -> Any:
        self._end_visit()
        return self._tab_event() if self.tab == "billing" else None

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def open_dialog(self, dialog: str) -> None:
        self.dialog = parse_choice(dialog, DIALOGS)

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def close_dialog(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.OP_TENANT_SUSPEND)
    async def suspend_tenant(self, payload: dict[str, Any]) -> EventSpec:
        form = TenantSwitchForm.read(payload)
        check_confirmation(self.header.name, form.confirm)
        async with self._ctx() as octx:
            await tenant_directory.suspend_tenant(octx, self._tenant_id(), form.reason)
            page_data = await self._read(
                octx, self._tenant_id(), self._current_reason(), self.tab, self._cursors
            )
        return self._finish(
            page_data,
            f"Suspended {self.header.name}.",
            "Nobody can enter it and its jobs wait, until you restore it.",
        )

    @rx.event
    @needs(actions.OP_TENANT_SUSPEND)
    async def restore_tenant(self, payload: dict[str, Any]) -> EventSpec:
        form = TenantSwitchForm.read(payload)
        check_confirmation(self.header.name, form.confirm)
        async with self._ctx() as octx:
            await tenant_directory.restore_tenant(octx, self._tenant_id(), form.reason)
            page_data = await self._read(
                octx, self._tenant_id(), self._current_reason(), self.tab, self._cursors
            )
        return self._finish(
            page_data, f"Restored {self.header.name}.", "Its people can enter again with the roles they had."
        )

    @rx.event
    @needs(actions.OP_TENANT_RESUME)
    async def resume_provisioning(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            await tenant_directory.resume_provisioning(octx, self._tenant_id(), form.reason)
            page_data = await self._read(
                octx, self._tenant_id(), self._current_reason(), self.tab, self._cursors
            )
        return self._finish(page_data, "The open steps run again.", "This page follows by itself.")

    def _finish(self, page_data: tuple[Any, ...], title: str, detail: str) -> EventSpec:
        self._show(*page_data)
        self.dialog = ""
        return rx.toast.success(title, description=detail)


def overview_tab() -> rx.Component:
    seen_at = rx.cond(
        TenantPageState.header.seen_at != "", local_time(TenantPageState.header.seen_at, "", "ago"), "Never"
    )
    facts = stat_grid(
        stat("Members", TenantPageState.header.members, TenantPageState.header.invited),
        stat("Owner", TenantPageState.header.owner, "Their address stands under Members"),
        stat("Last active", seen_at, "Anybody of them"),
        stat("Setting up", TenantPageState.header.setup, TenantPageState.header.setup_note),
    )

    def line(label: str, value: Any) -> rx.Component:
        return rx.el.li(
            rx.el.span(label, class_name="muted grow"), rx.el.span(value, class_name="num cut-anywhere")
        )

    details = rx.el.ul(
        line("Address", rx.el.code(f"/t/{TenantPageState.header.slug}", class_name="mono")),
        line("Plan", TenantPageState.header.plan),
        line("Created", local_time(TenantPageState.header.created_at, "", "moment")),
        line(
            "Id",
            rx.el.span(
                rx.el.code(TenantPageState.header.id, class_name="mono"),
                icon_button("Copy id", "copy", on_click=rx.set_clipboard(TenantPageState.header.id)),
                class_name="row",
            ),
        ),
        class_name="list",
    )
    return rx.el.div(
        panel(rx.cond(TenantPageState.loaded, facts, skeleton_rows(1)), name="Facts"),
        panel(rx.cond(TenantPageState.loaded, details, skeleton_rows(3)), title="Details"),
        class_name="stack",
    )


def access_form(subject: str) -> rx.Component:
    """Before what people did and who they are can be seen."""
    reason = form_field(
        "Reason",
        text_input(
            "reason",
            required=True,
            has_note=True,
            max_length=MAX_REASON_LENGTH,
            auto_complete="off",
            placeholder="Ticket 4471, cannot sign in",
        ),
        id="reason",
        hint="The customer reads it in their audit trail, with your name. It counts for 30 minutes.",
    )
    submit_row = rx.el.div(
        button("Look inside", kind="primary", glyph="eye", type="submit"), class_name="row"
    )
    return panel(
        rx.form(
            reason,
            submit_row,
            on_submit=TenantPageState.start_visit,
            class_name="stack",
            data_testid="reason-form",
        ),
        title=f"Why do you look at {subject}?",
        body=True,
    )


def access_banner() -> rx.Component:
    reason_text = small("Looking inside: ", rx.el.b(TenantPageState.reason), class_name="grow cut-anywhere")
    end_button = button("Stop looking", glyph="eye-off", kind="quiet", on_click=TenantPageState.end_visit)
    return rx.el.div(reason_text, end_button, class_name="row")


def list_pager() -> rx.Component:
    return pager(
        TenantPageState.count_text,
        on_next=TenantPageState.next_page,
        on_previous=TenantPageState.previous_page,
        has_next=TenantPageState.has_next,
        has_previous=TenantPageState.has_previous,
        labels=("Previous", "Next"),
    )


def members_tab() -> rx.Component:
    def line(member: TenantMemberRow) -> rx.Component:
        seen_at = rx.cond(
            member.seen_at != "",
            local_time(member.seen_at, "", "ago"),
            rx.el.span("Never", class_name="muted"),
        )
        status = text_with_note(
            badge(member.status, member.tone), rx.cond(member.note != "", small(member.note))
        )
        return table_row(
            MEMBER_COLUMNS,
            person_cell(member.name, member.email, member.initials, rx.fragment(member.role, " · ", seen_at)),
            member.role,
            status,
            seen_at,
            local_time(member.joined_at, "", "day"),
        )

    table = data_table(
        "Members",
        MEMBER_COLUMNS,
        rx.foreach(TenantPageState.members, line),
        footer=list_pager(),
        test_id="members",
    )
    no_members = empty_state(
        "Nobody has joined", "The founder appears when the address is verified.", glyph="users"
    )
    members_panel = panel(rx.cond(has_items(TenantPageState.members), table, no_members), name="Members")
    return rx.cond(
        TenantPageState.is_visit_open,
        rx.el.div(access_banner(), members_panel, class_name="section"),
        access_form("its members"),
    )


def provisioning_tab() -> rx.Component:
    def line(step: ProvisioningStepRow) -> rx.Component:
        step_text = text_with_note(rx.el.h3(step.title), rx.cond(step.note != "", small(step.note)))
        finished_at = rx.cond(
            step.finished_at != "", small(local_time(step.finished_at, "", "moment"), class_name="num nowrap")
        )
        return rx.el.li(step_text, finished_at, badge(step.state, step.tone))

    retry_button = rx.cond(
        TenantPageState.has_open_steps,
        guard_control(
            actions.OP_TENANT_RESUME,
            button("Run again", glyph="rotate-cw", on_click=TenantPageState.open_dialog("resume")),
            "Run again",
            glyph="rotate-cw",
        ),
    )
    steps = rx.el.ol(rx.foreach(TenantPageState.steps, line), class_name="list", data_testid="provisioning")
    no_steps = empty_state(
        "No steps are written down", "They appear when the organisation is founded.", glyph="list-checks"
    )
    content = rx.cond(has_items(TenantPageState.steps), steps, no_steps)
    return panel(
        rx.cond(TenantPageState.loaded, content, skeleton_rows(5)), title="Setting up", aside=retry_button
    )


def audit_tab() -> rx.Component:
    no_events = empty_state("Nothing has happened yet", "Every change will stand here.", glyph="scroll-text")
    event_table = rx.el.div(event_list(TenantPageState.events), list_pager(), class_name="hull-foot")
    no_request_events = empty_state(
        "This request changed nothing",
        "What is refused leaves no line here: nothing of it was kept. Refusals stand under Why?.",
        glyph="search-x",
    )
    empty_text = rx.cond(TenantPageState.request != "", no_request_events, no_events)
    events_panel = rx.cond(has_items(TenantPageState.events), event_table, panel(empty_text, name="Events"))
    request_note = rx.el.div(
        small(
            "Only request ",
            rx.el.code(TenantPageState.request, class_name="mono"),
            class_name="grow cut-anywhere",
        ),
        button("Show everything", kind="quiet", on_click=TenantPageState.clear_request_filter),
        class_name="row",
    )
    request_filter = rx.cond(TenantPageState.request != "", request_note)
    return rx.cond(
        TenantPageState.is_visit_open,
        rx.el.div(access_banner(), request_filter, events_panel, class_name="section"),
        access_form("its audit trail"),
    )


def billing_tab() -> rx.Component:
    return rx.cond(
        TenantPageState.is_visit_open,
        rx.el.div(access_banner(), billing_panel(), class_name="section"),
        access_form("its billing"),
    )


def tenant_dialog(
    name: str, title: Any, sentence: Any, *children: rx.Component, **props: Any
) -> rx.Component:
    return dialog(
        None,
        title,
        sentence,
        *children,
        open=TenantPageState.dialog == name,
        on_open_change=TenantPageState.close_dialog,
        test_id=f"{name}-form",
        **props,
    )


def tenant_dialogs() -> rx.Component:
    name = TenantPageState.header.name
    suspend = tenant_dialog(
        "suspend",
        f"Suspend {name}",
        "Nobody can enter it and none of its jobs runs. Open pages say so at once. Nothing is deleted.",
        reason_field("suspend"),
        confirm_field("suspend", name),
        confirm="Suspend",
        submit=TenantPageState.suspend_tenant,
        kind="danger-fill",
    )
    restore = tenant_dialog(
        "restore",
        f"Restore {name}",
        "Its people can enter again with the roles they had.",
        reason_field("restore"),
        confirm_field("restore", name),
        confirm="Restore",
        submit=TenantPageState.restore_tenant,
    )
    resume = tenant_dialog(
        "resume",
        "Run the open steps again",
        "Steps that are done stay as they are; nothing happens twice.",
        reason_field("resume"),
        confirm="Run again",
        submit=TenantPageState.resume_provisioning,
    )
    return rx.fragment(suspend, restore, resume)


def suspend_or_restore_button() -> rx.Component:
    suspend = button(
        "Suspend",
        kind="danger",
        glyph="ban",
        on_click=TenantPageState.open_dialog("suspend"),
        data_testid="suspend",
    )
    restore = button(
        "Restore",
        kind="primary",
        glyph="undo-2",
        on_click=TenantPageState.open_dialog("restore"),
        data_testid="restore",
    )
    control = rx.cond(TenantPageState.header.suspended, restore, suspend)
    is_deleted = TenantPageState.header.state == words.TENANT_STATE_LABELS[TenantState.DELETED]
    shown = guard_control(actions.OP_TENANT_SUSPEND, control, "Suspend", glyph="ban")
    return rx.cond(TenantPageState.loaded & ~is_deleted, shown)


def tenant_page_header() -> rx.Component:
    header = TenantPageState.header
    crumbs = rx.el.nav(
        link("Tenants", "/tenants", class_name=""),
        rx.el.span("/", aria_hidden="true"),
        rx.el.span(header.name, aria_current="page"),
        class_name="crumbs",
        aria_label="You are here",
    )
    description = rx.cond(
        TenantPageState.loaded,
        rx.fragment(
            rx.el.span(header.plan),
            rx.el.span("Owner ", header.owner),
            rx.el.span(rx.el.code(header.id, class_name="mono")),
        ),
        skeleton_block("240px"),
    )
    title = rx.cond(TenantPageState.loaded, header.name, skeleton_block("160px", "24px"))
    state = rx.cond(TenantPageState.loaded, badge(header.state, header.tone))
    return page_header(
        title,
        breadcrumbs=crumbs,
        badges=state,
        description=description,
        actions=[suspend_or_restore_button()],
    )


@rx.page(route="/tenants/[tenant]", title="Tenant · Operator", on_load=TenantPageState.load)
def tenant_page() -> rx.Component:
    contents = {
        "overview": overview_tab,
        "rights": rights_panel,
        "billing": billing_tab,
        "members": members_tab,
        "provisioning": provisioning_tab,
        "audit": audit_tab,
    }
    panels = rx.tabs.root(
        rx.tabs.list(*[rx.tabs.trigger(name, value=key) for key, name in TABS.items()], aria_label="Tenant"),
        *[rx.tabs.content(contents[key](), value=key) for key in TABS],
        value=TenantPageState.tab,
        on_change=TenantPageState.choose_tab,
    )
    suspended = rx.cond(
        TenantPageState.header.suspended,
        banner(rx.fragment(rx.el.b("Suspended. "), TenantPageState.header.reason), tone="bad", glyph="ban"),
    )
    return page(
        tenant_page_header(),
        panels,
        tenant_dialogs(),
        current="Tenants",
        load=TenantPageState.load,
        banner=suspended,
    )
