"""/t/[tenant]/home: setup progress, recent members and recent activity."""

from dataclasses import dataclass
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from shared.access import actions, refusal_messages
from shared.access.decision import decide
from shared.audit.audit_filter import AuditFilter
from shared.core.context import Ctx
from shared.tenancy import audit_reader, invitations, members, onboarding_checklist, provisioning, roles
from shared.ui.audit_list import EventRow, event_rows, short_event_item
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button, icon
from shared.ui.forms import parse_choice
from shared.ui.panels import panel, small, stat, stat_grid, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import TONE_BY_LABEL, avatar, badge, has_items, initials_of
from tenant_app.frame import page
from tenant_app.nav import page_href
from tenant_app.shell import PageState, Shell, guard_control, is_allowed, is_visible

STEP_LABELS = {"waiting": "Waiting", "running": "Running", "done": "Done", "failed": "Failed"}
RECENT_WORK = AuditFilter(hides_accounts=True)  # sign-ins would hide what was done
CHECKLIST_ITEMS = {  # title, benefit, verb, page
    "invite_members": ("Invite a colleague", "We’ll email them an invitation.", "Invite", "members"),
    "brand": (
        "Choose a colour and a logo",
        "Make your organisation easy to recognise.",
        "Choose",
        "settings",
    ),
    "review_roles": (
        "Review the role permissions",
        "Check permissions before you assign roles.",
        "Review",
        "roles",
    ),
}


@dataclass(frozen=True)
class SetupStepRow:
    title: str
    status: str
    tone: str
    error: str


@dataclass(frozen=True)
class ChecklistItemRow:
    key: str
    title: str
    description: str
    action_label: str
    page: str
    is_done: bool


@dataclass(frozen=True)
class RecentMemberRow:
    name: str
    initials: str
    role: str
    seen_at: str


class HomeState(PageState):
    loaded: bool = False
    steps: list[SetupStepRow] = []  # empty once the organisation is set up
    failed: bool = False
    items: list[ChecklistItemRow] = []
    progress_text: str = ""
    finished: bool = False
    people: list[RecentMemberRow] = []
    events: list[EventRow] = []
    active: str = ""
    invited: str = ""
    seats: str = ""
    seats_note: str = ""
    invite_obstacle: str = ""  # why members can't be invited, when no seat is left

    @rx.event
    @needs(actions.HOME_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(
            HomeState.load, "members", "invitations", "provisioning", "checklist", "settings", "roles"
        ) as ctx:
            page_data = await self._read(ctx)
        self._show(ctx, *page_data)

    async def _read(self, ctx: Ctx) -> tuple[Any, ...]:
        """Leaves out what the role or the plan does not allow: every member can open this page."""
        events, recent, pending, seats_used = list[Any](), list[Any](), list[Any](), 0
        if decide(ctx, actions.AUDIT_READ).allowed:
            events = list((await audit_reader.list_events(ctx, RECENT_WORK, limit=6)).rows)
        if decide(ctx, actions.MEMBER_READ).allowed:
            recent = list((await members.list_members(ctx, sort="seen_at", descending=True, limit=5)).rows)
            pending, seats_used = list(await invitations.list_pending(ctx)), await members.count_seats(ctx)
        names = {role.key: role.name for role in await roles.list_roles(ctx)}
        people = [recent_member_row(names, member) for member in recent if member.state == "active"]
        steps, items = await provisioning.list_steps(ctx), await onboarding_checklist.list_items(ctx)
        return steps, items, people, len(pending), seats_used, events

    def _show(
        self,
        ctx: Ctx,
        steps: Any,
        items: Any,
        people: list[RecentMemberRow],
        invited: int,
        used: int,
        events: Any,
    ) -> None:
        unfinished = any(step.state != "done" for step in steps)
        self.steps = [setup_step_row(step) for step in steps] if unfinished else []
        self.failed = any(step.state == "failed" for step in steps)
        self.items = [checklist_item_row(item) for item in items if item.key in CHECKLIST_ITEMS]
        ticked = sum(item.is_done for item in self.items)
        self.progress_text, self.finished = f"{ticked} of {len(self.items)}", ticked == len(self.items)
        self.people = people
        self.events = event_rows(events)
        self.invited, self.active = str(invited), str(used - invited)
        self.invite_obstacle = refusal_messages.refusal_text(ctx, actions.MEMBER_INVITE, used=used)
        limit = ctx.rights.limits["members"].amount
        self.seats = f"{used} of {limit}" if limit is not None else str(used)
        self.seats_note = "Members and invitations" if limit is not None else "No limit in your plan"
        self.loaded = True

    @rx.event
    @needs(actions.CHECKLIST_WRITE)
    async def complete_item(self, key: str) -> EventSpec:
        async with self._change_page() as ctx:
            await onboarding_checklist.complete_item(ctx, parse_choice(key, CHECKLIST_ITEMS))
            page_data = await self._read(ctx)
        self._show(ctx, *page_data)
        return rx.toast.success("Marked as done.")

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def retry_provisioning(self) -> list[Any]:
        async with self._quiet_ctx() as ctx:
            await provisioning.retry(ctx)
        return [HomeState.load, rx.toast.success("Retrying.", description="Updates automatically.")]


def setup_step_row(step: Any) -> SetupStepRow:
    status = STEP_LABELS[step.state]
    return SetupStepRow(step.title, status, TONE_BY_LABEL[status], step.error)


def checklist_item_row(item: Any) -> ChecklistItemRow:
    title, description, verb, target = CHECKLIST_ITEMS[item.key]
    return ChecklistItemRow(item.key, title, description, verb, target, item.done_at is not None)


def recent_member_row(names: dict[str, str], member: Any) -> RecentMemberRow:
    seen_at = member.seen_at.isoformat() if member.seen_at else ""
    return RecentMemberRow(member.name, initials_of(member.name), names[member.role], seen_at)


def setup_progress() -> rx.Component:
    """Shown until provisioning has finished."""

    def line(step: SetupStepRow) -> rx.Component:
        return rx.el.li(
            text_with_note(rx.el.h3(step.title), rx.cond(step.error != "", small(step.error))),
            badge(step.status, step.tone),
        )

    retry_button = rx.cond(
        HomeState.failed & is_visible(actions.SETTINGS_WRITE),
        guard_control(
            actions.SETTINGS_WRITE,
            button("Try again", glyph="rotate-cw", on_click=HomeState.retry_provisioning, data_once="true"),
            "Try again",
            glyph="rotate-cw",
        ),
    )
    steps = rx.el.ol(rx.foreach(HomeState.steps, line), class_name="list", data_testid="provisioning")
    return rx.cond(has_items(HomeState.steps), panel(steps, title="Setting up", aside=retry_button))


def team_stats() -> rx.Component:
    facts = stat_grid(
        stat("Members", HomeState.active, "Active"),
        stat("Invited", HomeState.invited, "Pending invitations"),
        stat("Seats", HomeState.seats, HomeState.seats_note),
        stat("Your role", Shell.role, link("View permissions", page_href("roles"))),
    )
    stats = panel(rx.cond(HomeState.loaded, facts, skeleton_rows(1)), name="The team in numbers")
    return rx.cond(is_allowed(actions.MEMBER_READ), stats)


def checklist_panel() -> rx.Component:
    def line(item: ChecklistItemRow) -> rx.Component:
        sign = rx.el.span(
            icon("check"), class_name="tick", role="img", aria_label=rx.cond(item.is_done, "Done", "To do")
        )
        act = rx.cond(
            ~item.is_done,
            rx.el.span(
                link(item.action_label, page_href(item.page), class_name="btn"),
                guard_control(
                    actions.CHECKLIST_WRITE,
                    button(
                        "Done", kind="quiet", on_click=HomeState.complete_item(item.key), data_once="true"
                    ),
                    "Done",
                    id=f"tick-{item.key}",
                ),
                class_name="row",
            ),
        )
        return rx.el.li(
            sign,
            text_with_note(rx.el.h3(item.title), small(item.description)),
            act,
            data_done=rx.cond(item.is_done, "true", "false"),
        )

    steps = rx.el.ol(rx.foreach(HomeState.items, line), class_name="list", data_testid="checklist")
    count = small(HomeState.progress_text, class_name="num")
    shown = rx.cond(
        HomeState.loaded,
        rx.cond(~HomeState.finished, panel(steps, title="Finish setting up", aside=count)),
        panel(skeleton_rows(3), title="Finish setting up"),
    )
    return rx.cond(is_visible(actions.CHECKLIST_WRITE), shown)


def recent_members() -> rx.Component:
    def line(member: RecentMemberRow) -> rx.Component:
        seen_at = rx.cond(member.seen_at != "", local_time(member.seen_at, "", "ago"), "Never")
        return rx.el.li(
            avatar(member.initials),
            text_with_note(rx.el.h3(member.name), small(member.role)),
            small(seen_at, class_name="num nowrap"),
        )

    member_list = rx.el.ul(rx.foreach(HomeState.people, line), class_name="list")
    all_members_link = link("All members", page_href("members"), class_name="link small")
    return panel(
        rx.cond(HomeState.loaded, member_list, skeleton_rows(3)),
        title="Recently active",
        aside=all_members_link,
    )


def recent_activity() -> rx.Component:
    no_events = empty_state(
        "No activity yet", "Activity appears here once your team gets started.", glyph="scroll-text"
    )
    event_items = rx.el.ol(rx.foreach(HomeState.events, short_event_item), class_name="list")
    content = rx.cond(has_items(HomeState.events), event_items, no_events)
    audit_link = link("Audit log", page_href("audit"), class_name="link small")
    return panel(
        rx.cond(HomeState.loaded, content, skeleton_rows(4)), title="Recent activity", aside=audit_link
    )


@rx.page(route="/t/[tenant]/home", title="Home · Bulkhead", on_load=HomeState.load)
def home_page() -> rx.Component:
    to_members = link(
        rx.fragment(icon("plus"), "Invite member"),
        page_href("members"),
        class_name="btn",
        data_kind="primary",
    )
    invite = rx.cond(
        is_visible(actions.MEMBER_INVITE),
        guard_control(
            actions.MEMBER_INVITE,
            to_members,
            "Invite member",
            glyph="plus",
            obstacle=HomeState.invite_obstacle,
        ),
    )
    welcome = rx.cond(Shell.tenant != "", rx.fragment("Welcome to ", Shell.tenant, ", ", Shell.user, "."), "")
    return page(
        page_header("Home", description=welcome, actions=[invite]),
        setup_progress(),
        checklist_panel(),
        team_stats(),
        rx.cond(
            is_allowed(actions.AUDIT_READ),
            rx.cond(
                is_allowed(actions.MEMBER_READ),
                rx.el.div(recent_activity(), recent_members(), class_name="split", data_even="true"),
                recent_activity(),
            ),
            rx.cond(is_allowed(actions.MEMBER_READ), recent_members()),
        ),
        current="Home",
        load=HomeState.load,
    )
