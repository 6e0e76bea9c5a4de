"""/t/[tenant]/home: how far the organisation is set up, who is in it, what happened last."""

from dataclasses import dataclass
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from shared.access import actions, policy
from shared.access.decision import decide
from shared.core.ctx import Ctx
from shared.tenancy import checklist, history, invitations, members, provisioning, roles
from shared.ui.feedback import empty, skeleton_rows, when
from shared.ui.form import button, icon
from shared.ui.form_model import a_word
from shared.ui.gate import needs
from shared.ui.hull import cells, fact, hull, small, two
from shared.ui.shell import head, link
from shared.ui.table import TONE, avatar, badge, initials, some
from shared.ui.trail import EventRow, event_rows, short_event
from tenant_app.frame import page
from tenant_app.nav import href
from tenant_app.shell import PageState, Shell, allowed, may, within

STEPS = {"waiting": "Waiting", "running": "Running", "done": "Done", "failed": "Failed"}
ITEMS = {  # title, what it is good for, verb, page
    "invite_members": ("Invite a colleague", "They get a mail with a link.", "Invite", "members"),
    "brand": ("Choose a colour and a logo", "So that people see where they are.", "Choose", "settings"),
    "review_roles": ("See what each role may do", "Before you hand one out.", "Look", "roles"),
}


@dataclass(frozen=True)
class StepRow:
    title: str
    status: str
    tone: str
    error: str


@dataclass(frozen=True)
class ItemRow:
    key: str
    title: str
    said: str
    verb: str
    page: str
    done: bool


@dataclass(frozen=True)
class PersonRow:
    name: str
    initials: str
    role: str
    seen_at: str


class HomeState(PageState):
    loaded: bool = False
    steps: list[StepRow] = []  # empty once the organisation is set up
    failed: bool = False
    items: list[ItemRow] = []
    done: str = ""
    finished: bool = False
    people: list[PersonRow] = []
    events: list[EventRow] = []
    active: str = ""
    invited: str = ""
    seats: str = ""
    seats_said: str = ""
    full: str = ""  # why nobody can be invited now, when no seat is left

    @rx.event
    @needs(actions.HOME_READ, page=True)
    async def load(self) -> None:
        async with self._open(
            HomeState.load, "members", "invitations", "provisioning", "checklist", "settings", "roles"
        ) as ctx:
            found = await self._read(ctx)
        self._show(ctx, *found)

    async def _read(self, ctx: Ctx) -> tuple[Any, ...]:
        """What is not for this person, or not in the plan, is left out: this page is for everybody."""
        trail, listed, pending, used = list[Any](), list[Any](), list[Any](), 0
        if decide(ctx, actions.AUDIT_READ).allowed:
            trail = list((await history.list_events(ctx, limit=6)).events)
        if decide(ctx, actions.MEMBER_READ).allowed:
            listed = list((await members.list_members(ctx, sort="seen_at", descending=True, limit=5)).rows)
            pending, used = list(await invitations.list_pending(ctx)), await members.count_seats(ctx)
        names = {one.key: one.name for one in await roles.list_all(ctx)}
        people = [person_row(names, one) for one in listed if one.state == "active"]
        steps, items = await provisioning.list_steps(ctx), await checklist.list_items(ctx)
        return steps, items, people, len(pending), used, trail

    def _show(
        self, ctx: Ctx, steps: Any, items: Any, people: list[PersonRow], invited: int, used: int, trail: Any
    ) -> None:
        unfinished = any(one.state != "done" for one in steps)
        self.steps = [step_row(one) for one in steps] if unfinished else []
        self.failed = any(one.state == "failed" for one in steps)
        self.items = [item_row(one) for one in items if one.key in ITEMS]
        ticked = sum(one.done for one in self.items)
        self.done, self.finished = f"{ticked} of {len(self.items)}", ticked == len(self.items)
        self.people = people
        self.events = event_rows(trail)
        self.invited, self.active = str(invited), str(used - invited)
        self.full = policy.said(ctx, actions.MEMBER_INVITE, used=used)
        limit = ctx.rights.limits["members"].amount
        self.seats = f"{used} of {limit}" if limit is not None else str(used)
        self.seats_said = "Members and invitations" if limit is not None else "No limit in your plan"
        self.loaded = True

    @rx.event
    @needs(actions.CHECKLIST_WRITE)
    async def tick(self, key: str) -> EventSpec:
        async with self._ctx() as ctx:
            await checklist.complete(ctx, a_word(key, ITEMS))
            items = await checklist.list_items(ctx)
        self.items = [item_row(one) for one in items if one.key in ITEMS]
        ticked = sum(one.done for one in self.items)
        self.done, self.finished = f"{ticked} of {len(self.items)}", ticked == len(self.items)
        return rx.toast.success("Ticked off.")

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def retry(self) -> list[Any]:
        async with self._ctx() as ctx:
            await provisioning.retry(ctx)
        return [HomeState.load, rx.toast.success("Trying again.", description="This page follows by itself.")]


def step_row(one: Any) -> StepRow:
    status = STEPS[one.state]
    return StepRow(one.title, status, TONE[status], one.error)


def item_row(one: Any) -> ItemRow:
    title, said, verb, target = ITEMS[one.key]
    return ItemRow(one.key, title, said, verb, target, one.done_at is not None)


def person_row(names: dict[str, str], one: Any) -> PersonRow:
    seen = one.seen_at.isoformat() if one.seen_at else ""
    return PersonRow(one.name, initials(one.name), names[one.role], seen)


def progress() -> rx.Component:
    """While the organisation is being set up; afterwards it is gone."""

    def line(step: StepRow) -> rx.Component:
        return rx.el.li(
            two(rx.el.h3(step.title), rx.cond(step.error != "", small(step.error))),
            badge(step.status, step.tone),
        )

    again = rx.cond(
        HomeState.failed & within(actions.SETTINGS_WRITE),
        allowed(
            actions.SETTINGS_WRITE,
            button("Try again", glyph="rotate-cw", on_click=HomeState.retry, data_once="true"),
            "Try again",
            glyph="rotate-cw",
        ),
    )
    steps = rx.el.ol(rx.foreach(HomeState.steps, line), class_name="list", data_testid="provisioning")
    return rx.cond(some(HomeState.steps), hull(steps, title="Setting up", aside=again))


def team() -> rx.Component:
    facts = cells(
        fact("Members", HomeState.active, "Active at the moment"),
        fact("Invited", HomeState.invited, "Have not answered yet"),
        fact("Seats", HomeState.seats, HomeState.seats_said),
        fact("Your role", Shell.role, link("What it may do", href("roles"))),
    )
    shown = hull(rx.cond(HomeState.loaded, facts, skeleton_rows(1)), name="The team in numbers")
    return rx.cond(may(actions.MEMBER_READ), shown)


def setup() -> rx.Component:
    def line(one: ItemRow) -> rx.Component:
        sign = rx.el.span(
            icon("check"), class_name="tick", role="img", aria_label=rx.cond(one.done, "Done", "To do")
        )
        act = rx.cond(
            ~one.done,
            rx.el.span(
                link(one.verb, href(one.page), class_name="btn"),
                allowed(
                    actions.CHECKLIST_WRITE,
                    button("Done", kind="quiet", on_click=HomeState.tick(one.key), data_once="true"),
                    "Done",
                    id=f"tick-{one.key}",
                ),
                class_name="row",
            ),
        )
        return rx.el.li(
            sign, two(rx.el.h3(one.title), small(one.said)), act, data_done=rx.cond(one.done, "true", "false")
        )

    steps = rx.el.ol(rx.foreach(HomeState.items, line), class_name="list", data_testid="checklist")
    count = small(HomeState.done, class_name="num")
    shown = rx.cond(
        HomeState.loaded,
        rx.cond(~HomeState.finished, hull(steps, title="Finish setting up", aside=count)),
        hull(skeleton_rows(3), title="Finish setting up"),
    )
    return rx.cond(
        within(actions.CHECKLIST_WRITE), shown
    )  # a list of things to do, for those who can do them


def people() -> rx.Component:
    def line(one: PersonRow) -> rx.Component:
        seen = rx.cond(one.seen_at != "", when(one.seen_at, "", "ago"), "not yet")
        return rx.el.li(
            avatar(one.initials),
            two(rx.el.h3(one.name), small(one.role)),
            small(seen, class_name="num nowrap"),
        )

    listed = rx.el.ul(rx.foreach(HomeState.people, line), class_name="list")
    every = link("All members", href("members"), class_name="link small")
    return hull(rx.cond(HomeState.loaded, listed, skeleton_rows(3)), title="Seen last", aside=every)


def lately() -> rx.Component:
    nothing = empty("Nothing has happened yet", "Invite somebody, and it will be here.", glyph="scroll-text")
    listed = rx.el.ol(rx.foreach(HomeState.events, short_event), class_name="list")
    found = rx.cond(some(HomeState.events), listed, nothing)
    every = link("Audit", href("audit"), class_name="link small")
    return hull(rx.cond(HomeState.loaded, found, skeleton_rows(4)), title="Lately", aside=every)


@rx.page(route="/t/[tenant]/home", title="Home · Bulkhead", on_load=HomeState.load)
def home() -> rx.Component:
    to_members = link(
        rx.fragment(icon("plus"), "Invite member"), href("members"), class_name="btn", data_kind="primary"
    )
    invite = rx.cond(
        within(actions.MEMBER_INVITE),
        allowed(actions.MEMBER_INVITE, to_members, "Invite member", glyph="plus", full=HomeState.full),
    )
    welcome = rx.cond(Shell.tenant != "", rx.fragment("Welcome to ", Shell.tenant, ", ", Shell.user, "."), "")
    return page(
        head("Home", said=welcome, actions=[invite]),
        progress(),
        setup(),
        team(),
        rx.cond(
            may(actions.AUDIT_READ),
            rx.cond(
                may(actions.MEMBER_READ),
                rx.el.div(lately(), people(), class_name="split", data_even="true"),
                lately(),
            ),
            rx.cond(may(actions.MEMBER_READ), people()),
        ),
        current="Home",
        load=HomeState.load,
    )
