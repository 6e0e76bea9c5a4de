"""The frame of every operator page, loaded together with the page."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import reflex as rx

from shared.access import actions, refusal_messages
from shared.access.actions import OperatorAction
from shared.access.refusal_codes import Reason
from shared.access.roles import OPERATOR_ROLES
from shared.backoffice import webhook_inbox
from shared.core.config import settings
from shared.core.context import OperatorCtx
from shared.ui.authorize import needs
from shared.ui.controls import disabled_button
from shared.ui.live_updates import ALL_TENANTS, LiveUpdates
from shared.ui.states import OperatorState
from shared.ui.tables import initials_of

live = LiveUpdates("operator")


@dataclass(frozen=True, kw_only=True)
class TroubleRow:
    """A problem of a payment account."""

    account: str
    kind: str  # as in `webhook_inbox.AccountProblem`
    detail: str
    since: str


class Shell(OperatorState):
    """The operator and their permissions, for display only; services decide."""

    user: str = ""
    initials: str = ""
    role: str = ""
    permissions: list[str] = []
    troubles: list[TroubleRow] = []
    test_mode: bool = False

    @rx.event
    @needs(actions.OP_HOME_READ)
    async def refresh(self) -> None:
        """Loads only the frame, for a page that the role can't open."""
        async with self._ctx() as octx:
            self._fill(octx, await webhook_inbox.list_account_problems(octx))

    def _fill(self, octx: OperatorCtx, troubles: Sequence[webhook_inbox.AccountProblem]) -> None:
        self.troubles = [
            TroubleRow(
                account=trouble.account_name,
                kind=trouble.kind,
                detail=trouble.detail,
                since=trouble.since.isoformat(),
            )
            for trouble in troubles
        ]
        self.test_mode = settings().shows_test_mode
        self.user, self.initials = octx.actor.name, initials_of(octx.actor.name)
        self.role = f"{OPERATOR_ROLES[octx.role].name}"
        self.permissions = sorted(octx.permissions)


class PageState(OperatorState):
    """Base of every page of the operators."""

    @asynccontextmanager
    async def _open_page(
        self, load: Any, *topics: str, tenant_id: str = ALL_TENANTS
    ) -> AsyncIterator[OperatorCtx]:
        """The start of every load: watch before reading, so that no commit is missed; then load the frame."""
        shell = await self.get_state(Shell)
        async with self._ctx() as octx:
            live.watch(self, load, tenant_id, *topics)
            shell._fill(octx, await webhook_inbox.list_account_problems(octx))
            yield octx

    async def _read_frame(self, ctx: OperatorCtx) -> Any:
        return await webhook_inbox.list_account_problems(ctx)

    async def _show_frame(self, ctx: OperatorCtx, frame_data: Any) -> None:
        shell = await self.get_state(Shell)
        shell._fill(ctx, frame_data)


def is_allowed(action: OperatorAction) -> Any:
    """A var for showing a control. Gate and service check again."""
    permissions: Any = Shell.permissions
    return permissions.contains(str(action.permission))


def guard_control(
    action: OperatorAction, control: rx.Component, label: str, *, glyph: str = "", id: str = ""
) -> rx.Component:
    """The control, or a disabled one with the reason for people who can see the page but don't have the permission.

    `id`: where the page has several controls for the same action.
    """
    refusal = refusal_messages.build_refusal(Reason.MISSING_PERMISSION, action)
    refusal_text = f"{refusal.detail} {refusal.next_step}"
    disabled_control = disabled_button(
        label, refusal_text, id=id or action.name.replace(":", "-"), glyph=glyph
    )
    return rx.cond(is_allowed(action), control, rx.cond(Shell.user != "", disabled_control))
