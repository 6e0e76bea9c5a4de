"""The frame's state, filled by the load of each page."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import reflex as rx

from shared.access import actions, policy, refusal_messages
from shared.access.actions import Action
from shared.access.decision import decide
from shared.core import tenant_limits
from shared.core.config import settings
from shared.core.context import Ctx
from shared.tenancy import notifications, plan_notice, tenants, user_tenants
from shared.tenancy.user_tenants import UserTenant
from shared.ui import theme
from shared.ui.authorize import needs
from shared.ui.controls import disabled_button, disabled_menu_item
from shared.ui.live_updates import LiveUpdates
from shared.ui.menus import OrganisationLink
from shared.ui.states import TenantState
from shared.ui.tables import initials_of

live = LiveUpdates("app")
NO_NOTICE = plan_notice.PlanNotice("accent", "")
NO_INBOX = notifications.InboxStatus(0, "")
# What the frame reads besides the context.
FrameData = tuple[tenants.FrameSettings, notifications.InboxStatus, plan_notice.PlanNotice]


class Shell(TenantState):
    """The organisation, the user and the refused actions, for display only. Gate and services decide."""

    slug: str = ""
    tenant: str = ""
    letter: str = ""
    logo_url: str = ""  # address of the logo
    brand_css: str = ""  # a sheet
    plan: str = ""
    user: str = ""
    initials: str = ""
    role: str = ""
    refusals: dict[str, str] = {}  # action: why it is refused, and what to do next; the others are allowed
    locked_actions: list[str] = []  # actions that are refused because of the plan
    hidden_actions: list[str] = []  # actions that are refused because of the role
    notice: plan_notice.PlanNotice = NO_NOTICE
    throttle: str = ""  # why and until when operators limit the organisation's rate
    test_mode: bool = False  # of our Stripe account
    live_tenant: str = ""  # id, while a test tenant is open
    deletion_at: str = ""  # of the organisation, while one is scheduled
    unread: str = ""
    mail_problem: str = ""  # why this person's address gets no more mail
    support_person: str = ""  # for whom an operator acts; "" outside of a support session
    support_ends_at: str = ""
    support_can_write: bool = False
    organisations: list[OrganisationLink] = []

    @rx.event
    @needs(actions.HOME_READ)
    async def refresh(self) -> None:
        """Fills the frame of a page that this role can't open."""
        async with self._ctx() as ctx:
            frame_data, places = await _read_frame(ctx), await user_tenants.list_actor_tenants(ctx)
        self._fill(ctx, frame_data, places)

    def _fill(self, ctx: Ctx, frame_data: FrameData, places: Sequence[UserTenant] | None = None) -> None:
        """`places`: None leaves the list of organisations as it is."""
        frame, inbox, self.notice = frame_data
        self.deletion_at = frame.deletion_at.isoformat() if frame.deletion_at else ""
        throttle = tenant_limits.find_throttle(ctx.tenant_id)
        self.throttle = throttle.describe() if throttle is not None else ""
        self.test_mode, self.live_tenant = settings().shows_test_mode, ctx.live_tenant_id
        self.slug, self.tenant, self.letter = ctx.slug, ctx.tenant_name, first_letter(ctx.tenant_name)
        self.logo_url = f"/t/{ctx.slug}/logo?v={frame.logo_digest[:12]}" if frame.logo_digest else ""
        self.brand_css = theme.brand_css(frame.colour)
        self.plan = ctx.rights.plan_name
        shown_person = ctx.on_behalf_of or ctx.actor
        self.user, self.initials = shown_person.name, initials_of(shown_person.name)
        support = ctx.impersonation
        self.support_person = support.person.name if support else ""
        self.support_ends_at = support.expires_at.isoformat() if support else ""
        self.support_can_write = support is not None and support.can_write
        self.role = ctx.role_name
        self.refusals, self.locked_actions = (
            refusal_messages.refusal_texts(ctx),
            sorted(policy.locked_by_plan(ctx)),
        )
        self.hidden_actions = sorted(policy.hidden_actions(ctx))
        self.unread, self.mail_problem = str(inbox.unread) if inbox.unread else "", inbox.mail_problem
        if places is None:
            return
        self.organisations = [
            OrganisationLink(
                place.name,
                place.role.name,
                first_letter(place.name),
                f"/t/{place.slug}/home",
                place.slug == ctx.slug,
            )
            for place in places
        ]


class PageState(TenantState):
    """Base of every page of a tenant."""

    @asynccontextmanager
    async def _open_page(self, load: Any, *topics: str, own_topics: Sequence[str] = ()) -> AsyncIterator[Ctx]:
        """Begins every load. It watches before it reads, so that no commit is missed.

        `own_topics`: of which only this person's notices concern the page.
        """
        async with self._ctx() as ctx:
            personal_topics = (f"{topic}:{ctx.actor_id}" for topic in ("person", *own_topics))
            live.watch(self, load, ctx.tenant_id, "tenant", *personal_topics, *topics)
            frame_data, places = await _read_frame(ctx), await user_tenants.list_actor_tenants(ctx)
            yield ctx
        shell = await self.get_state(Shell)
        shell._fill(ctx, frame_data, places)

    async def _read_frame(self, ctx: Ctx) -> FrameData:
        return await _read_frame(ctx)

    async def _show_frame(self, ctx: Ctx, frame_data: FrameData) -> None:
        shell = await self.get_state(Shell)
        shell._fill(ctx, frame_data)


async def _read_frame(ctx: Ctx) -> FrameData:
    return (
        await tenants.get_frame_settings(ctx),
        await notifications.get_inbox_status(ctx)
        if decide(ctx, actions.NOTIFICATION_READ).allowed
        else NO_INBOX,
        await plan_notice.get_notice(ctx) or NO_NOTICE,
    )


def first_letter(name: str) -> str:
    return name.strip()[:1].upper()


def decision_path(slug: str, searched: str) -> str:
    """The address of the page that shows a decision. `searched`: its id, or that of its request."""
    return f"/t/{slug}/decisions?{urlencode({'id': searched})}"


def is_allowed(action: Action) -> Any:
    """A var: the action is allowed. For display only; gate and service decide."""
    refusals: Any = Shell.refusals
    return (Shell.slug != "") & ~refusals.contains(action.name)


def is_visible(action: Action) -> Any:
    """A var: the role has the permission, whether or not the plan or the bill refuses the action."""
    hidden: Any = Shell.hidden_actions
    return (Shell.slug != "") & ~hidden.contains(action.name)


def is_locked(action: Action) -> Any:
    """A var: the plan refuses the action."""
    locked_actions: Any = Shell.locked_actions
    return locked_actions.contains(action.name)


def guard_control(
    action: Action,
    control: rx.Component,
    label: str,
    *,
    glyph: str = "",
    obstacle: Any = None,
    id: Any = None,
) -> rx.Component:
    """The control, disabled with an explanation while the action is refused.

    `obstacle`: a var that explains a reached limit or an object's state; "" for neither.
    `id`: needed where a page shows the control more than once.
    """
    refusals: Any = Shell.refusals
    id = re.sub(r"[^a-z]+", "-", f"{action.name} {label}".lower()) if id is None else id
    disabled_control = disabled_button(label, refusals[action.name], id=id, glyph=glyph)
    if obstacle is not None:
        control = rx.cond(obstacle != "", disabled_button(label, obstacle, id=id, glyph=glyph), control)
    return rx.cond(refusals.contains(action.name), disabled_control, control)


def guard_menu_item(
    action: Action, item: rx.Component, glyph: str, label: str, *, obstacle: Any = None
) -> rx.Component:
    """An entry of a row's menu, or why it cannot be chosen now."""
    refusals: Any = Shell.refusals
    if obstacle is not None:
        item = rx.cond(obstacle != "", disabled_menu_item(glyph, label, obstacle), item)
    return rx.cond(
        refusals.contains(action.name), disabled_menu_item(glyph, label, refusals[action.name]), item
    )
