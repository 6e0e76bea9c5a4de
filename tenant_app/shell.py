"""What the frame says on every page, brought by the same load that brings the page."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import reflex as rx

from shared.access import actions, policy
from shared.access.actions import Action
from shared.core.ctx import Ctx
from shared.tenancy import entry, notifications, standing, tenants
from shared.tenancy.entry import Place
from shared.ui import tokens
from shared.ui.form import refused
from shared.ui.gate import needs
from shared.ui.live import Live
from shared.ui.menus import Elsewhere
from shared.ui.state import TenantState
from shared.ui.table import initials

live = Live("app")
QUIET = standing.Notice("accent", "")
Said = tuple[tenants.Look, int, standing.Notice]  # what the frame asks for besides the context


class Shell(TenantState):
    """Where one is, who one is, and what one may do: for showing. Nothing is decided from it."""

    slug: str = ""
    tenant: str = ""
    letter: str = ""
    picture: str = ""  # address of the logo
    brand: str = ""  # a sheet
    plan: str = ""
    user: str = ""
    initials: str = ""
    role: str = ""
    why: dict[str, str] = {}  # action: why it is refused, and what to do next; the others are allowed
    locked: list[str] = []  # actions that are refused because of the plan
    barred: list[str] = []  # actions that are refused because of the role
    notice: standing.Notice = QUIET
    unread: str = ""
    places: list[Elsewhere] = []

    @rx.event
    @needs(actions.HOME_READ)
    async def refresh(self) -> None:
        """The frame alone, for a page that is not for this role."""
        places = await entry.places(self._cookies())
        async with self._ctx() as ctx:
            said = await _said(ctx)
        self._fill(ctx, said, places)

    def _fill(self, ctx: Ctx, said: Said, places: Sequence[Place]) -> None:
        look, unread, self.notice = said
        self.slug, self.tenant, self.letter = ctx.slug, ctx.tenant_name, letter(ctx.tenant_name)
        self.picture = f"/t/{ctx.slug}/logo?v={look.logo_digest[:12]}" if look.logo_digest else ""
        self.brand = tokens.brand_css(look.colour)
        self.plan = ctx.rights.plan_name
        self.user, self.initials = ctx.actor.name, initials(ctx.actor.name)
        self.role = ctx.role_name
        self.why, self.locked = policy.refusals(ctx), sorted(policy.unpaid(ctx))
        self.barred = sorted(policy.barred(ctx))
        self.unread = str(unread) if unread else ""
        self.places = [
            Elsewhere(
                place.name,
                place.role.name,
                letter(place.name),
                f"/t/{place.slug}/home",
                place.slug == ctx.slug,
            )
            for place in places
        ]


class PageState(TenantState):
    """Base of every page of a tenant."""

    @asynccontextmanager
    async def _open(self, load: Any, *topics: str) -> AsyncIterator[Ctx]:
        """How every load begins: watch before reading, so that no commit is missed; then the frame."""
        places = await entry.places(self._cookies())
        async with self._ctx() as ctx:
            live.watch(self, load, ctx.tenant_id, "tenant", f"person:{ctx.actor_id}", *topics)
            said = await _said(ctx)
            yield ctx
        shell = await self.get_state(Shell)
        shell._fill(ctx, said, places)


async def _said(ctx: Ctx) -> Said:
    return (
        await tenants.look(ctx),
        await notifications.count_unread(ctx),
        await standing.notice(ctx) or QUIET,
    )


def letter(name: str) -> str:
    return name.strip()[:1].upper()


def may(action: Action) -> Any:
    """A var, for showing a control. The gate and the service ask again."""
    why: Any = Shell.why
    return (Shell.slug != "") & ~why.contains(action.name)


def within(action: Action) -> Any:
    """A var, for what is shown to those whose role has it, also where the plan or the bill stands in the way."""
    barred: Any = Shell.barred
    return (Shell.slug != "") & ~barred.contains(action.name)


def unpaid(action: Action) -> Any:
    """A var: it is the plan that stands in the way."""
    locked: Any = Shell.locked
    return locked.contains(action.name)


def allowed(
    action: Action,
    control: rx.Component,
    label: str,
    *,
    glyph: str = "",
    full: Any = None,
    id: Any = None,
) -> rx.Component:
    """The control, or for those who see the page but may not do this now: the control that says why.

    `full`: a var with the words of a limit that is reached, or of an object that stands in the way; "" for neither.
    `id`: where a page shows the control more than once.
    """
    why: Any = Shell.why
    id = re.sub(r"[^a-z]+", "-", f"{action.name} {label}".lower()) if id is None else id
    shown = refused(label, why[action.name], id=id, glyph=glyph)
    if full is not None:
        control = rx.cond(full != "", refused(label, full, id=id, glyph=glyph), control)
    return rx.cond(why.contains(action.name), shown, control)
