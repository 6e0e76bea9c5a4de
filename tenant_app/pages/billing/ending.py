"""Ending a subscription on the billing page, and going on with it: cancel, void, pause, resume, keep the plan."""

from typing import Annotated, Any, Literal

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from shared.access import actions
from shared.billing.provider import ChangePreview
from shared.billing.subscriptions import cancellation, changes, pausing, scheduled_changes
from shared.core.errors import Conflict, Invalid
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.forms import Form
from tenant_app.pages.billing.orders import success_toast
from tenant_app.pages.billing.quote_rows import pause_rows
from tenant_app.pages.billing.remaining_rows import describe_cancellation, describe_voided
from tenant_app.pages.billing.rows import InvoiceLineRow
from tenant_app.shell import PageState


class CancelForm(Form):
    why: str = ""
    comment: Annotated[str, StringConstraints(max_length=cancellation.MAX_COMMENT_LENGTH)] = ""
    voids_unpaid: Literal["", "on"] = ""
    void_ids: str = ""  # of the invoices that the dialog names


class PauseForm(Form):
    """Only a confirmation."""


class EndingState(DialogState, PageState, mixin=True):
    """The part of the page's state that ends. A verb is prepared in a transaction and submitted outside of it."""

    remaining_text: str = ""  # what is still charged after cancelling
    void_ids: str = ""  # of the invoices that can be voided, separated by spaces

    # The dialogs that pause and resume.
    pause_lines: list[InvoiceLineRow] = []
    pause_total: str = ""
    pause_total_label: str = ""
    pause_tax_note: str = ""  # about the tax that the amounts contain
    _pause_target: pausing.PauseTarget | None = None

    async def _show_change(self) -> None:
        """Shows the page and its frame as they are after a submitted change."""
        raise NotImplementedError

    def _empty_dialog(self) -> None:
        super()._empty_dialog()
        self._pause_target = None

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def cancel_subscription(self, payload: dict[str, Any]) -> EventSpec:
        form = CancelForm.read(payload)
        async with self._ctx() as ctx:
            ending = await cancellation.prepare_cancel(
                ctx, form.why, form.comment, void_ids=form.void_ids.split() if form.voids_unpaid else None
            )
        with self._skip_own_tab():
            is_applied = await cancellation.submit(ending)
        self._close_dialog()
        await self._show_change()
        title, detail = describe_cancellation(ending, self.remaining_text)
        return success_toast(title, detail, is_applied)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def void_invoices(self) -> EventSpec:
        """Voids what ending the subscription now left open."""
        async with self._ctx() as ctx:
            request = await cancellation.prepare_void(ctx, self.void_ids.split())
        with self._skip_own_tab():
            is_applied = await cancellation.submit(request)
        await self._show_change()
        return success_toast("Voided.", describe_voided(len(request.void_keys)), is_applied)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def resume_subscription(self) -> EventSpec:
        async with self._ctx() as ctx:
            ending = await cancellation.prepare_resume(ctx)
        with self._skip_own_tab():
            is_applied = await cancellation.submit(ending)
        await self._show_change()
        return success_toast("Resumed.", "Your subscription renews as before.", is_applied)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def keep_current_plan(self) -> EventSpec:
        """Drops a change that hasn't taken effect."""
        async with self._ctx() as ctx:
            request = await scheduled_changes.prepare_keep(ctx)
        try:
            with self._skip_own_tab():
                is_applied = await scheduled_changes.submit_keep(request)
        finally:
            await self._show_change()
        detail = "Nothing is charged for the change." if request.pending else "It renews as before."
        return success_toast("You keep your current plan.", detail, is_applied)

    # ── pause ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def open_pause_dialog(self) -> None:
        """Shows what is credited when it is resumed."""
        async with self._ctx() as ctx:
            target = await pausing.plan_pause(ctx)
        self._show_pause_quote(target, await pausing.quote_pause(target), dialog="pause")

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def pause_subscription(self, payload: dict[str, Any]) -> EventSpec:
        PauseForm.read(payload)
        quoted_target = self._get_quoted_target("pause")
        async with self._ctx() as ctx:
            target = await pausing.prepare_pause(ctx, quoted_target)
        with self._skip_own_tab():
            is_applied = await pausing.submit_pause(target)
        self._close_dialog()
        self._pause_target = None
        await self._show_change()
        return success_toast("Paused.", "Nothing is charged until you resume it.", is_applied)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def open_resume_dialog(self) -> None:
        """Shows what is charged for resuming a paused subscription."""
        async with self._ctx() as ctx:
            target = await pausing.plan_resume(ctx)
        self._show_pause_quote(target, await pausing.quote_resume(target), dialog="resume")

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def confirm_resume(self, payload: dict[str, Any]) -> EventSpec:
        """Resumes at exactly the price shown. It stays paused where the payment fails."""
        PauseForm.read(payload)
        quoted_target = self._get_quoted_target("resume")
        is_applied, payment_problem = False, None
        async with self._ctx() as ctx:
            target = await pausing.prepare_resume(ctx, quoted_target)
        try:
            with self._skip_own_tab():
                is_applied = await pausing.submit_resume(target)
        except Conflict as refusal:
            if refusal.reason != changes.PAYMENT_OPEN:
                raise
            payment_problem = refusal
        self._close_dialog()
        self._pause_target = None
        await self._show_change()
        if payment_problem is not None:
            return rx.toast.warning(payment_problem.detail, description=payment_problem.next_step)
        return success_toast("Resumed.", "A new period begins today.", is_applied)

    def _get_quoted_target(self, dialog: Literal["pause", "resume"]) -> pausing.PauseTarget:
        """What the open dialog shows the price of. Raises Invalid where another one or none is open."""
        if self._pause_target is None or self.dialog != dialog:
            raise Invalid("There is nothing to confirm.", "Open it again.")
        return self._pause_target

    def _show_pause_quote(
        self, target: pausing.PauseTarget, preview: ChangePreview, *, dialog: Literal["pause", "resume"]
    ) -> None:
        self._pause_target, self.dialog = target, dialog
        row = pause_rows(preview, is_due_now=dialog == "resume")
        self.pause_lines, self.pause_tax_note = list(row.lines), row.tax_note
        self.pause_total, self.pause_total_label = row.total, row.label
