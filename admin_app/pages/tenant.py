"""/tenants/[tenant]: one customer organisation. Its head is open; looking at its people and its trail needs a reason."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from admin_app import words
from admin_app.confirming import Confirm, Reason, check_name, confirm_field, reason_field
from admin_app.frame import page
from admin_app.pages.tenant_billing import TenantBillingState, billing
from admin_app.pages.tenant_rights import TenantRightsState, rights, tenant_of
from admin_app.shell import PageState, allowed
from shared.access import actions
from shared.audit import trail
from shared.core.ctx import OperatorCtx
from shared.core.ids import is_id
from shared.tenancy import directory
from shared.tenancy.directory_rows import Belonging, Listed
from shared.tenancy.entry import LONGEST_REASON, LOOK_LASTS
from shared.tenancy.models import MembershipState, TenantState
from shared.tenancy.provisioning import StepView
from shared.ui.feedback import banner, bone, empty, skeleton_rows, when
from shared.ui.form import button, dialog, field, icon_button, text_input
from shared.ui.form_model import Form, a_word
from shared.ui.gate import needs
from shared.ui.hull import cells, fact, hull, small, two
from shared.ui.shell import head, link
from shared.ui.table import Column, badge, data_table, initials, pager, person, row, some
from shared.ui.trail import EventRow, event_list, event_rows

MEMBER_COLUMNS = [
    Column("Name"),
    Column("Role", less=True),
    Column("Status"),
    Column("Last active", end=True, less=True),
    Column("Joined", end=True, less=True),
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
PAGE = 50


class ReasonForm(Form):
    reason: Reason


class SwitchForm(Form):
    """Suspending and restoring."""

    reason: Reason
    confirm: Confirm


@dataclass(frozen=True)
class Head:
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
    setup_said: str = ""


@dataclass(frozen=True)
class StepRow:
    title: str
    said: str
    state: str
    tone: str
    finished_at: str


@dataclass(frozen=True)
class MemberRow:
    id: str
    name: str
    email: str
    initials: str
    role: str
    status: str
    tone: str
    said: str
    seen_at: str
    joined_at: str


def shown_head(one: Listed) -> Head:
    state = words.TENANT[one.state]
    open_steps = one.steps - one.steps_done
    setup_said = words.some_of(one.steps_failed, "step failed", "steps failed") if one.steps_failed else ""
    return Head(
        one.id,
        one.name,
        one.slug,
        one.plan,
        state,
        words.tone(state),
        one.state is TenantState.SUSPENDED,
        one.state_reason,
        one.owner or "Nobody",
        words.some_of(one.members, "active", "active"),
        words.some_of(one.invited, "invitation open", "invitations open"),
        one.seen_at.isoformat() if one.seen_at else "",
        one.created_at.isoformat(),
        f"{one.steps_done} of {one.steps} steps",
        setup_said
        or ("Finished" if not open_steps else words.some_of(open_steps, "step to do", "steps to do")),
    )


def step_row(one: StepView) -> StepRow:
    state = words.STEP[one.state]
    tries = words.some_of(one.attempts, "try", "tries")
    said = f"{one.error} {tries} so far." if one.error else tries if one.attempts > 1 else ""
    finished = one.finished_at.isoformat() if one.finished_at else ""
    return StepRow(one.title, said, state, words.tone(state), finished)


def member_row(one: Belonging) -> MemberRow:
    status = words.MEMBER[one.state]
    said = "" if one.verified else "Address not verified"
    if one.state is not MembershipState.ACTIVE and one.ended_by:
        said = f"{status} by {one.ended_by}"
    return MemberRow(
        one.id,
        one.name,
        one.email,
        initials(one.name),
        one.role,
        status,
        words.tone(status),
        said,
        one.seen_at.isoformat() if one.seen_at else "",
        one.created_at.isoformat(),
    )


class OneTenantState(PageState):
    loaded: bool = False
    one: Head = Head()
    steps: list[StepRow] = []
    unfinished: bool = False
    tab: str = "overview"
    inside: bool = False  # a reason has been given and still counts
    reason: str = ""
    members: list[MemberRow] = []
    events: list[EventRow] = []
    said: str = ""
    has_next: bool = False
    has_previous: bool = False
    dialog: str = ""
    request: str = ""  # only what happened in this request is shown of the trail
    _asked: str = ""  # what the address named when it was last looked at
    _until: datetime | None = None  # until when the reason counts
    _cursors: list[str] = []  # of the pages before this one, of the open tab
    _next: str = ""

    def _tenant_id(self) -> str:
        """From the address: a wish. What may be seen of it is decided by the service."""
        return tenant_of(self.router.url.path)

    @rx.event
    @needs(actions.OP_TENANT_READ, page=True)
    async def load(self) -> Any:
        tenant_id = self._tenant_id()
        if self.one.id != tenant_id:
            self._forget()
        self._take_address(tenant_id)
        topics = ("tenant", "members", "invitations", "provisioning", "billing")
        async with self._open(OneTenantState.load, *topics, tenant_id=tenant_id) as octx:
            found = await self._read(octx, tenant_id, self._reason(), self.tab, self._cursors)
        self._show(*found)
        return self._beside()

    def _beside(self) -> Any:
        """What brings the tab that has a state of its own."""
        if self.tab == "billing":
            return TenantBillingState.load(self._reason())
        return TenantRightsState.load if self.tab == "rights" else None

    def _take_address(self, tenant_id: str) -> None:
        """`?tab=audit&request=req_…` once; afterwards what the person chose on the page counts."""
        query = dict(self.router.url.query_parameters)
        tab, request = str(query.get("tab", "")), str(query.get("request", ""))
        if (asked := f"{tenant_id} {tab} {request}") != self._asked:
            self._asked, self._cursors = asked, []
            self.tab = tab if tab in TABS else self.tab
            self.request = request if is_id("req", request) else ""

    def _forget(self) -> None:
        """Another tenant's page: nothing of the last one stays, its reason neither."""
        self.loaded, self.one, self.steps, self.unfinished = False, Head(), [], False
        self.tab, self.dialog, self.request, self._cursors = "overview", "", "", []
        self._leave()

    def _leave(self) -> None:
        self.inside, self.reason, self._until, self.members, self.events = False, "", None, [], []

    def _reason(self) -> str:
        """ "" when none was given, or too long ago."""
        return self.reason if self._until and datetime.now(UTC) < self._until else ""

    async def _read(
        self, octx: OperatorCtx, tenant_id: str, reason: str, tab: str, cursors: list[str]
    ) -> tuple[Any, ...]:
        one, steps = await directory.get(octx, tenant_id), await directory.list_steps(octx, tenant_id)
        after = cursors[-1] if cursors else ""
        within: Any = None
        if reason and tab == "members":
            within = await directory.list_members(octx, tenant_id, reason, after=after, limit=PAGE)
        elif reason and tab == "audit":
            within = await directory.list_events(
                octx, tenant_id, reason, request_id=self.request, after=after, limit=PAGE
            )
        return one, steps, within

    def _show(self, one: Listed, steps: Any, within: Any) -> None:
        self.one, self.steps = shown_head(one), [step_row(step) for step in steps]
        self.unfinished = one.steps_done < one.steps
        if not self._reason():
            self._leave()
        if isinstance(within, directory.MembersPage):
            self.members, self._next = [member_row(each) for each in within.rows], within.after
            self.said = words.some_of(len(within.rows), "person", "people")
        elif isinstance(within, trail.Page):
            self.events, self._next = event_rows(within.events), within.older
            self.said = words.some_of(len(within.events), "event", "events")
        self.has_next, self.has_previous = bool(self._next), bool(self._cursors)
        self.loaded = True

    async def _turn(self, tab: str, cursors: list[str]) -> None:
        async with self._ctx() as octx:
            found = await self._read(octx, self._tenant_id(), self._reason(), tab, cursors)
        self.tab, self._cursors, self._next = tab, cursors, ""
        self._show(*found)

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def choose_tab(self, tab: str) -> Any:
        await self._turn(a_word(tab, TABS), [])
        return self._beside()

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def show_everything(self) -> None:
        self.request = ""
        await self._turn("audit", [])

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def next(self) -> None:
        if self._next:
            await self._turn(self.tab, [*self._cursors, self._next])

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def previous(self) -> None:
        await self._turn(self.tab, self._cursors[:-1])

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def enter(self, payload: dict[str, Any]) -> Any:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            found = await self._read(octx, self._tenant_id(), form.reason, self.tab, [])
        self.inside, self.reason, self._until = True, form.reason, datetime.now(UTC) + LOOK_LASTS
        self._cursors, self._next = [], ""
        self._show(*found)
        said = rx.toast.success(
            f"You are looking into {self.one.name}.", description="Its trail says so, with your reason."
        )
        return [said, self._beside()] if self.tab == "billing" else said

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def leave(self) -> Any:
        self._leave()
        return self._beside() if self.tab == "billing" else None

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def ask(self, dialog: str) -> None:
        self.dialog = a_word(dialog, DIALOGS)

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def dismiss(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.OP_TENANT_SUSPEND)
    async def suspend(self, payload: dict[str, Any]) -> EventSpec:
        form = SwitchForm.read(payload)
        check_name(self.one.name, form.confirm)
        async with self._ctx() as octx:
            await directory.suspend(octx, self._tenant_id(), form.reason)
            found = await self._read(octx, self._tenant_id(), self._reason(), self.tab, self._cursors)
        return self._done(
            found,
            f"Suspended {self.one.name}.",
            "Nobody can enter it and its jobs wait, until you restore it.",
        )

    @rx.event
    @needs(actions.OP_TENANT_SUSPEND)
    async def restore(self, payload: dict[str, Any]) -> EventSpec:
        form = SwitchForm.read(payload)
        check_name(self.one.name, form.confirm)
        async with self._ctx() as octx:
            await directory.restore(octx, self._tenant_id(), form.reason)
            found = await self._read(octx, self._tenant_id(), self._reason(), self.tab, self._cursors)
        return self._done(
            found, f"Restored {self.one.name}.", "Its people can enter again with the roles they had."
        )

    @rx.event
    @needs(actions.OP_TENANT_RESUME)
    async def resume(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            await directory.resume(octx, self._tenant_id(), form.reason)
            found = await self._read(octx, self._tenant_id(), self._reason(), self.tab, self._cursors)
        return self._done(found, "The open steps run again.", "This page follows by itself.")

    def _done(self, found: tuple[Any, ...], said: str, then: str) -> EventSpec:
        self._show(*found)
        self.dialog = ""
        return rx.toast.success(said, description=then)


def overview() -> rx.Component:
    seen = rx.cond(OneTenantState.one.seen_at != "", when(OneTenantState.one.seen_at, "", "ago"), "Never")
    facts = cells(
        fact("Members", OneTenantState.one.members, OneTenantState.one.invited),
        fact("Owner", OneTenantState.one.owner, "Their address stands under Members"),
        fact("Last active", seen, "Anybody of them"),
        fact("Setting up", OneTenantState.one.setup, OneTenantState.one.setup_said),
    )

    def line(label: str, value: Any) -> rx.Component:
        return rx.el.li(
            rx.el.span(label, class_name="muted grow"), rx.el.span(value, class_name="num cut-anywhere")
        )

    details = rx.el.ul(
        line("Address", rx.el.code(f"/t/{OneTenantState.one.slug}", class_name="mono")),
        line("Plan", OneTenantState.one.plan),
        line("Created", when(OneTenantState.one.created_at, "", "moment")),
        line(
            "Id",
            rx.el.span(
                rx.el.code(OneTenantState.one.id, class_name="mono"),
                icon_button("Copy id", "copy", on_click=rx.set_clipboard(OneTenantState.one.id)),
                class_name="row",
            ),
        ),
        class_name="list",
    )
    return rx.el.div(
        hull(rx.cond(OneTenantState.loaded, facts, skeleton_rows(1)), name="Facts"),
        hull(rx.cond(OneTenantState.loaded, details, skeleton_rows(3)), title="Details"),
        class_name="stack",
    )


def door(what: str) -> rx.Component:
    """Before what people did and who they are can be seen."""
    reason = field(
        "Reason",
        text_input(
            "reason",
            required=True,
            noted=True,
            max_length=LONGEST_REASON,
            auto_complete="off",
            placeholder="Ticket 4471, cannot sign in",
        ),
        id="reason",
        hint="The customer reads it in their audit trail, with your name. It counts for 30 minutes.",
    )
    go = rx.el.div(button("Look inside", kind="primary", glyph="eye", type="submit"), class_name="row")
    return hull(
        rx.form(reason, go, on_submit=OneTenantState.enter, class_name="stack", data_testid="reason-form"),
        title=f"Why do you look at {what}?",
        body=True,
    )


def looking() -> rx.Component:
    said = small("Looking inside: ", rx.el.b(OneTenantState.reason), class_name="grow cut-anywhere")
    stop = button("Stop looking", glyph="eye-off", kind="quiet", on_click=OneTenantState.leave)
    return rx.el.div(said, stop, class_name="row")


def foot() -> rx.Component:
    return pager(
        OneTenantState.said,
        older=OneTenantState.next,
        newer=OneTenantState.previous,
        has_older=OneTenantState.has_next,
        has_newer=OneTenantState.has_previous,
        words=("Previous", "Next"),
    )


def members() -> rx.Component:
    def line(one: MemberRow) -> rx.Component:
        seen = rx.cond(
            one.seen_at != "", when(one.seen_at, "", "ago"), rx.el.span("Never", class_name="muted")
        )
        status = two(badge(one.status, one.tone), rx.cond(one.said != "", small(one.said)))
        return row(
            MEMBER_COLUMNS,
            person(one.name, one.email, one.initials, rx.fragment(one.role, " · ", seen)),
            one.role,
            status,
            seen,
            when(one.joined_at, "", "day"),
        )

    table = data_table(
        "Members", MEMBER_COLUMNS, rx.foreach(OneTenantState.members, line), foot=foot(), test_id="members"
    )
    nobody = empty("Nobody has joined", "The founder appears when the address is verified.", glyph="users")
    listed = hull(rx.cond(some(OneTenantState.members), table, nobody), name="Members")
    return rx.cond(
        OneTenantState.inside, rx.el.div(looking(), listed, class_name="section"), door("its members")
    )


def provisioning() -> rx.Component:
    def line(step: StepRow) -> rx.Component:
        words_ = two(rx.el.h3(step.title), rx.cond(step.said != "", small(step.said)))
        done = rx.cond(
            step.finished_at != "", small(when(step.finished_at, "", "moment"), class_name="num nowrap")
        )
        return rx.el.li(words_, done, badge(step.state, step.tone))

    again = rx.cond(
        OneTenantState.unfinished,
        allowed(
            actions.OP_TENANT_RESUME,
            button("Run again", glyph="rotate-cw", on_click=OneTenantState.ask("resume")),
            "Run again",
            glyph="rotate-cw",
        ),
    )
    steps = rx.el.ol(rx.foreach(OneTenantState.steps, line), class_name="list", data_testid="provisioning")
    nothing = empty(
        "No steps are written down", "They appear when the organisation is founded.", glyph="list-checks"
    )
    found = rx.cond(some(OneTenantState.steps), steps, nothing)
    return hull(rx.cond(OneTenantState.loaded, found, skeleton_rows(5)), title="Setting up", aside=again)


def audit() -> rx.Component:
    nothing = empty("Nothing has happened yet", "Every change will stand here.", glyph="scroll-text")
    full = rx.el.div(event_list(OneTenantState.events), foot(), class_name="hull-foot")
    unchanged = empty(
        "This request changed nothing",
        "What is refused leaves no line here: nothing of it was kept. Refusals stand under Why?.",
        glyph="search-x",
    )
    nothing_found = rx.cond(OneTenantState.request != "", unchanged, nothing)
    listed = rx.cond(some(OneTenantState.events), full, hull(nothing_found, name="Events"))
    one_request = rx.el.div(
        small(
            "Only request ",
            rx.el.code(OneTenantState.request, class_name="mono"),
            class_name="grow cut-anywhere",
        ),
        button("Show everything", kind="quiet", on_click=OneTenantState.show_everything),
        class_name="row",
    )
    narrowed = rx.cond(OneTenantState.request != "", one_request)
    return rx.cond(
        OneTenantState.inside,
        rx.el.div(looking(), narrowed, listed, class_name="section"),
        door("its audit trail"),
    )


def bills() -> rx.Component:
    return rx.cond(
        OneTenantState.inside, rx.el.div(looking(), billing(), class_name="section"), door("its billing")
    )


def about(which: str, title: Any, sentence: Any, *children: rx.Component, **props: Any) -> rx.Component:
    return dialog(
        None,
        title,
        sentence,
        *children,
        open=OneTenantState.dialog == which,
        on_open_change=OneTenantState.dismiss,
        test_id=f"{which}-form",
        **props,
    )


def dialogs() -> rx.Component:
    name = OneTenantState.one.name
    suspend = about(
        "suspend",
        f"Suspend {name}",
        "Nobody can enter it and none of its jobs runs. Open pages say so at once. Nothing is deleted.",
        reason_field("suspend"),
        confirm_field("suspend", name),
        confirm="Suspend",
        submit=OneTenantState.suspend,
        kind="danger-fill",
    )
    restore = about(
        "restore",
        f"Restore {name}",
        "Its people can enter again with the roles they had.",
        reason_field("restore"),
        confirm_field("restore", name),
        confirm="Restore",
        submit=OneTenantState.restore,
    )
    resume = about(
        "resume",
        "Run the open steps again",
        "Steps that are done stay as they are; nothing happens twice.",
        reason_field("resume"),
        confirm="Run again",
        submit=OneTenantState.resume,
    )
    return rx.fragment(suspend, restore, resume)


def switch() -> rx.Component:
    suspend = button(
        "Suspend", kind="danger", glyph="ban", on_click=OneTenantState.ask("suspend"), data_testid="suspend"
    )
    restore = button(
        "Restore",
        kind="primary",
        glyph="undo-2",
        on_click=OneTenantState.ask("restore"),
        data_testid="restore",
    )
    which = rx.cond(OneTenantState.one.suspended, restore, suspend)
    gone = OneTenantState.one.state == words.TENANT[TenantState.DELETED]
    shown = allowed(actions.OP_TENANT_SUSPEND, which, "Suspend", glyph="ban")
    return rx.cond(OneTenantState.loaded & ~gone, shown)


def heading() -> rx.Component:
    one = OneTenantState.one
    crumbs = rx.el.nav(
        link("Tenants", "/tenants", class_name=""),
        rx.el.span("/", aria_hidden="true"),
        rx.el.span(one.name, aria_current="page"),
        class_name="crumbs",
        aria_label="You are here",
    )
    said = rx.cond(
        OneTenantState.loaded,
        rx.fragment(
            rx.el.span(one.plan),
            rx.el.span("Owner ", one.owner),
            rx.el.span(rx.el.code(one.id, class_name="mono")),
        ),
        bone("240px"),
    )
    title = rx.cond(OneTenantState.loaded, one.name, bone("160px", "24px"))
    state = rx.cond(OneTenantState.loaded, badge(one.state, one.tone))
    return head(title, above=crumbs, beside=state, said=said, actions=[switch()])


@rx.page(route="/tenants/[tenant]", title="Tenant · Operator", on_load=OneTenantState.load)
def tenant() -> rx.Component:
    contents = {
        "overview": overview,
        "rights": rights,
        "billing": bills,
        "members": members,
        "provisioning": provisioning,
        "audit": audit,
    }
    panels = rx.tabs.root(
        rx.tabs.list(*[rx.tabs.trigger(name, value=key) for key, name in TABS.items()], aria_label="Tenant"),
        *[rx.tabs.content(contents[key](), value=key) for key in TABS],
        value=OneTenantState.tab,
        on_change=OneTenantState.choose_tab,
    )
    suspended = rx.cond(
        OneTenantState.one.suspended,
        banner(rx.fragment(rx.el.b("Suspended. "), OneTenantState.one.reason), tone="bad", glyph="ban"),
    )
    return page(heading(), panels, dialogs(), current="Tenants", load=OneTenantState.load, banner=suspended)
