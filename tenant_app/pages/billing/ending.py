"""Ending a subscription on the billing page, and going on with it: cancel, void, pause, resume, keep the plan."""

from typing import Annotated, Any, Literal

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from shared.access import actions
from shared.billing.subscriptions import cancellation, changes, pausing, scheduled_changes
from shared.core.errors import Conflict, Invalid
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.forms import Form, parse_choice
from tenant_app.pages.billing.orders import success_toast
from tenant_app.pages.billing.quote_rows import pause_rows
from tenant_app.pages.billing.remaining_rows import describe_cancellation, describe_voided
from tenant_app.pages.billing.rows import InvoiceLineRow
from tenant_app.shell import PageState

PAUSE_VERBS: dict[str, pausing.PauseVerb] = {"pause": "pause", "resume": "resume"}
PAUSE_TOASTS: dict[pausing.PauseVerb, tuple[str, str]] = {  # what happened, and what follows
    "pause": ("Paused.", "Nothing is charged until you resume it."),
    "resume": ("Resumed.", "A new period begins today."),
}


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
    _pause_quote: pausing.PauseQuote | None = None

    async def _show_change(self) -> None:
        """Shows the page and its frame as they are after a submitted change."""
        raise NotImplementedError

    def _empty_dialog(self) -> None:
        super()._empty_dialog()
        self._pause_quote = None

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
    async def open_pause_dialog(self, verb: str) -> None:
        """Shows what a pause credits, or what is charged for resuming the subscription."""
        async with self._ctx() as ctx:
            target = await pausing.plan_pause(ctx, PAUSE_VERBS[parse_choice(verb, PAUSE_VERBS)])
        quote = await pausing.quote_pause(target)
        self._pause_quote, self.dialog = quote, target.verb
        row = pause_rows(quote.preview, is_due_now=target.verb == "resume")
        self.pause_lines, self.pause_tax_note = list(row.lines), row.tax_note
        self.pause_total, self.pause_total_label = row.total, row.label

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def confirm_pause(self, payload: dict[str, Any]) -> EventSpec:
        """Pauses or resumes exactly as shown. It stays paused where the payment fails."""
        PauseForm.read(payload)
        shown_quote = self._get_shown_quote()
        is_applied, payment_problem = False, None
        async with self._ctx() as ctx:
            quote = await pausing.prepare_pause(ctx, shown_quote)
        try:
            with self._skip_own_tab():
                is_applied = await pausing.submit_pause(quote)
        except Conflict as refusal:
            if refusal.reason != changes.PAYMENT_OPEN:
                raise
            payment_problem = refusal
        self._close_dialog()
        self._pause_quote = None
        await self._show_change()
        if payment_problem is not None:
            return rx.toast.warning(payment_problem.detail, description=payment_problem.next_step)
        return success_toast(*PAUSE_TOASTS[quote.target.verb], is_applied)

    def _get_shown_quote(self) -> pausing.PauseQuote:
        """Of the open dialog. Raises Invalid where another one or none is open."""
        if self._pause_quote is None or self.dialog != self._pause_quote.target.verb:
            raise Invalid("There is nothing to confirm.", "Open it again.")
        return self._pause_quote
