"""What the page of support access shows, and what owners decide on it."""

from collections.abc import Sequence
from typing import Any, ClassVar

import reflex as rx

from shared.access import actions
from shared.access.actions import Action
from shared.tenancy import support_access
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.forms import parse_flag, parse_id
from shared.ui.list_state import ListState
from shared.ui.support_rows import SupportRow, TranscriptRow, support_row, transcript_row
from tenant_app.shell import PageState

PAGE_SIZE = 25


class SupportState(DialogState, ListState, PageState):
    reads: ClassVar[Action] = actions.SUPPORT_ACCESS_READ
    filled_dialogs: ClassVar[Sequence[str]] = ("transcript",)
    loaded: bool = False
    rows: list[SupportRow] = []
    needs_consent: bool = False
    transcript: TranscriptRow = TranscriptRow()

    @rx.event
    @needs(actions.SUPPORT_ACCESS_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(SupportState.load, "support") as ctx:
            view = await support_access.view_support_access(ctx, after=self._cursor(), limit=PAGE_SIZE)
        self._show(view)

    async def _reload(self) -> None:
        async with self._ctx() as ctx:
            view = await support_access.view_support_access(ctx, after=self._cursor(), limit=PAGE_SIZE)
        self._show(view)

    def _show(self, view: support_access.SupportAccessView) -> None:
        self.needs_consent, self.loaded = view.needs_consent, True
        self.rows = [support_row(session) for session in view.sessions.rows]
        self._show_page(view.sessions, "session")

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:
        if dialog == "transcript":
            async with self._ctx() as ctx:
                transcript = await support_access.get_transcript(ctx, parse_id("imp", row_id))
            self.transcript = transcript_row(transcript)

    @rx.event
    @needs(actions.SUPPORT_ACCESS_DECIDE)
    async def choose_consent(self, enabled: bool) -> Any:
        async with self._quiet_ctx() as ctx:
            await support_access.set_consent_needed(ctx, parse_flag(enabled))
        return SupportState.load

    @rx.event
    @needs(actions.SUPPORT_ACCESS_DECIDE)
    async def approve_request(self, impersonation_id: str) -> list[Any]:
        async with self._quiet_ctx() as ctx:
            await support_access.approve(ctx, parse_id("imp", impersonation_id))
        done = rx.toast.success("You agreed.", description="Support can begin now. You can end it any time.")
        return [SupportState.load, done]

    @rx.event
    @needs(actions.SUPPORT_ACCESS_DECIDE)
    async def decline_request(self, impersonation_id: str) -> list[Any]:
        async with self._quiet_ctx() as ctx:
            await support_access.decline(ctx, parse_id("imp", impersonation_id))
        return [SupportState.load, rx.toast.success("You declined. Support sees nothing.")]

    @rx.event
    @needs(actions.SUPPORT_ACCESS_DECIDE)
    async def end_session(self, impersonation_id: str) -> list[Any]:
        async with self._quiet_ctx() as ctx:
            await support_access.end(ctx, parse_id("imp", impersonation_id))
        return [SupportState.load, rx.toast.success("Ended. Its pages close within five seconds.")]
