"""What the frame says on every page of the operators, brought by the same load that brings the page."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import reflex as rx

from shared.access import actions, policy
from shared.access.actions import OperatorAction
from shared.access.reasons import Reason
from shared.access.roles import OPERATOR_ROLES
from shared.billing import webhooks
from shared.core.ctx import OperatorCtx
from shared.ui.form import refused
from shared.ui.gate import needs
from shared.ui.live import ALL_TENANTS, Live
from shared.ui.state import OperatorState
from shared.ui.table import initials

live = Live("operator")


@dataclass(frozen=True)
class TroubleRow:
    """An account at the payment provider through which nothing can be asked now."""

    account: str
    said: str
    since: str
    paused: bool


class Shell(OperatorState):
    """Who one is and what one may do: for showing. Nothing is decided from it."""

    user: str = ""
    initials: str = ""
    role: str = ""
    may: list[str] = []
    troubles: list[TroubleRow] = []

    @rx.event
    @needs(actions.OP_HOME_READ)
    async def refresh(self) -> None:
        """The frame alone, for a page that is not for this role."""
        async with self._ctx() as octx:
            self._fill(octx, await webhooks.troubles(octx))

    def _fill(self, octx: OperatorCtx, troubles: Sequence[webhooks.Trouble]) -> None:
        self.troubles = [
            TroubleRow(one.account, one.reason, one.since.isoformat(), one.paused) for one in troubles
        ]
        self.user, self.initials = octx.actor.name, initials(octx.actor.name)
        self.role = f"{OPERATOR_ROLES[octx.role].name} of the platform"
        self.may = sorted(octx.permissions)


class PageState(OperatorState):
    """Base of every page of the operators."""

    @asynccontextmanager
    async def _open(
        self, load: Any, *topics: str, tenant_id: str = ALL_TENANTS
    ) -> AsyncIterator[OperatorCtx]:
        """How every load begins: watch before reading, so that no commit is missed; then the frame."""
        shell = await self.get_state(Shell)
        async with self._ctx() as octx:
            live.watch(self, load, tenant_id, *topics)
            shell._fill(octx, await webhooks.troubles(octx))
            yield octx


def may(action: OperatorAction) -> Any:
    """A var, for showing a control. The gate and the service ask again."""
    permissions: Any = Shell.may
    return permissions.contains(action.permission.value)


def allowed(
    action: OperatorAction, control: rx.Component, label: str, *, glyph: str = "", id: str = ""
) -> rx.Component:
    """The control, or for those who see the page but may not do this: the control that says why.

    `id`: where the page has several controls for the same action.
    """
    refusal = policy.refusal(Reason.MISSING_PERMISSION, action)
    said = f"{refusal.detail} {refusal.next_step}"
    shown = refused(label, said, id=id or action.name.replace(":", "-"), glyph=glyph)
    return rx.cond(may(action), control, rx.cond(Shell.user != "", shown))
