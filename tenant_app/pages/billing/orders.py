"""Ordering on the billing page: choose a plan, change seats and add-ons, confirm the quoted price."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import reflex as rx
from reflex.event import EventSpec

from shared.access import actions
from shared.billing.subscriptions import changes, checkout
from shared.billing.subscriptions.changes import ChangeRequest, Timing
from shared.core.errors import Conflict, Invalid
from shared.core.plurals import plural
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.forms import Form, parse_choice, whole
from tenant_app.pages.billing.addon_rows import AddonRow
from tenant_app.pages.billing.plan_rows import PlanRow
from tenant_app.pages.billing.quote_rows import describe_next_price, preview_row
from tenant_app.pages.billing.rows import InvoiceLineRow
from tenant_app.shell import PageState

TIMINGS: Mapping[str, Timing] = {"default": "default", "now": "now"}


class SeatsForm(Form):
    seats: Annotated[int, whole(1, checkout.MAX_SEATS)]


class ConfirmChangeForm(Form):
    seats: Annotated[int | None, whole(1, checkout.MAX_SEATS, required=False)] = (
        None  # where the dialog asks for them
    )
    timing: Literal["", "now", "default"] = ""  # where the dialog offers a choice


def redirect_to(address: str) -> EventSpec:
    """Opens a page of the provider in this tab."""
    return rx.call_script(f"window.location.assign({json.dumps(address)})")


class OrderState(DialogState, PageState, mixin=True):
    """The part of the page's state that orders. An order is prepared in a transaction and submitted outside of it."""

    period: str = "month"
    currency: str = ""  # that prices are shown in
    currencies: list[tuple[str, str]] = []  # to choose from; [] for a customer who has one
    subscribed: bool = False
    seats_used: int = 0
    seats_bought: int = 0
    # Plans and add-ons on sale.
    plans: list[PlanRow] = []
    addons: list[AddonRow] = []
    # The dialogs that order and change.
    chosen_plan: PlanRow = PlanRow()
    title: str = ""
    sentence: str = ""
    confirm_label: str = ""
    seats: str = ""
    asks_seats: bool = False
    lines: list[InvoiceLineRow] = []
    total: str = ""
    total_label: str = ""
    tax_note: str = ""  # about the tax that the amounts contain
    next_price: str = ""
    next_price_from: str = ""
    problem: str = ""
    can_wait: bool = False  # the quoted change may take effect at the end of the period
    waits: bool = False  # it does
    _is_period_chosen: bool = False  # the reader chose the period
    _change_request: ChangeRequest = ChangeRequest()
    _quote: changes.Quote | None = None

    async def _show_change(self) -> None:
        """Shows the page and its frame as they are after a submitted change."""
        raise NotImplementedError

    def _empty_dialog(self) -> None:
        self._quote = None

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def choose_plan(self, version_id: str) -> EventSpec | None:
        """Starts a checkout for a first plan; shows the price of a change of plan."""
        plans_by_id = {plan.id: plan for plan in self.plans}
        row = plans_by_id[parse_choice(version_id, plans_by_id)]
        if self.subscribed:
            seats = max(self.seats_bought, self.seats_used) if row.sold_by_seat else None
            self._open_change_dialog(
                row.action_label,
                f"{row.name} features are available immediately.",
                row.action_label,
                row.sold_by_seat,
            )
            await self._quote_change(ChangeRequest(version_id, self.period, seats, timing="default"))
            return None
        if row.sold_by_seat:
            self.chosen_plan, self.seats, self.dialog = row, str(max(self.seats_used, 1)), "order"
            return None
        return await self._start_checkout(row, 1)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def start_checkout(self, payload: dict[str, Any]) -> EventSpec:
        form = SeatsForm.read(payload)
        return await self._start_checkout(self.chosen_plan, form.seats)

    async def _start_checkout(self, plan: PlanRow, seats: int) -> EventSpec:
        async with self._ctx() as ctx:
            order = await checkout.prepare(
                ctx,
                plan.id,
                self.period,
                seats=seats,
                currency=self.currency,
                expects_trial=plan.has_trial,
            )
        address = await checkout.submit(order)
        self._close_dialog()
        return redirect_to(address)

    # ── change the subscription ───────────────────────────────────────────────────────────────────────────────────

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def open_seats_dialog(self) -> None:
        self._open_change_dialog(
            "Change the number of seats",
            f"{self.seats_bought} paid for, {self.seats_used} in use.",
            "Change seats",
            True,
        )
        self._change_request = ChangeRequest(seats=self.seats_bought, timing="default")
        self.seats = str(self.seats_bought)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def preview_seats(self, seats: float) -> None:
        """Quotes another number of seats. While it is being typed, `seats` may be no number."""
        number = (
            int(seats) if isinstance(seats, int | float) and seats in range(1, checkout.MAX_SEATS + 1) else 0
        )
        self.seats = str(number or "")
        if self.dialog != "change" or not self.asks_seats:
            return
        if number:
            await self._quote_change(self._change_request.with_seats(number))
        else:
            self._clear_quote(f"Seats are a whole number from 1 to {checkout.MAX_SEATS:,}.")

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def choose_timing(self, timing: str) -> None:
        """Quotes the same change for now or for the end of the period."""
        chosen = TIMINGS[parse_choice(timing, TIMINGS)]
        if self.dialog == "change" and self._quote is not None:
            await self._quote_change(self._change_request.with_timing(chosen))

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def preview_add_addon(self, version_id: str) -> None:
        row = self._find_addon(version_id)
        sentence = (
            "Takes effect immediately." if row.add_label != "Keep" else "Already paid; continues as is."
        )
        self._open_change_dialog(f"{row.add_label}: {row.name}", sentence, row.add_label, False)
        await self._quote_change(ChangeRequest(addon_id=row.id, addon_quantity=row.count + 1))

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def preview_remove_addon(self, version_id: str) -> None:
        row = self._find_addon(version_id)
        sentence = "Stays until the paid period ends, then it isn’t renewed."
        self._open_change_dialog(f"Remove {row.name}", sentence, "Remove", False)
        await self._quote_change(ChangeRequest(addon_id=row.id, addon_quantity=row.count - 1))

    def _find_addon(self, version_id: str) -> AddonRow:
        addons_by_id = {addon.id: addon for addon in self.addons}
        return addons_by_id[parse_choice(version_id, addons_by_id)]

    def _open_change_dialog(self, title: str, sentence: str, verb: str, asks_seats: bool) -> None:
        self.title, self.sentence, self.confirm_label, self.asks_seats = title, sentence, verb, asks_seats
        self.dialog = "change"
        self._clear_quote()

    def _clear_quote(self, problem: str = "") -> None:
        self._quote, self.problem, self.can_wait, self.waits = None, problem, False, False
        self.lines, self.total, self.total_label, self.tax_note = [], "", "", ""
        self.next_price, self.next_price_from = "", ""

    async def _quote_change(self, request: ChangeRequest) -> None:
        """Shows the price of the change, or why it is not possible."""
        self._change_request = request
        if request.seats is not None:
            self.seats = str(request.seats)
        try:
            async with self._ctx() as ctx:
                change = await changes.plan_change(ctx, request)
            quote = await changes.quote_change(change)
        except (Conflict, Invalid) as error:
            self._clear_quote(f"{error.detail} {error.next_step}")
            return
        self._clear_quote()
        self._quote = quote
        self.can_wait, self.waits = change.can_wait, change.at_period_end
        preview = preview_row(quote)
        self.lines, self.total, self.total_label = list(preview.lines), preview.total, preview.label
        self.tax_note = preview.tax_note
        self.next_price, self.next_price_from = describe_next_price(quote)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def confirm_change(self, payload: dict[str, Any]) -> EventSpec:
        """Confirms exactly the quote shown. An outdated quote is replaced and nothing is changed."""
        form, quote = ConfirmChangeForm.read(payload), self._quote
        if self.asks_seats:
            number = form.seats
            if number is None:
                raise Invalid(
                    "Seats are missing.", "Enter a number of seats.", fields={"seats": "is missing."}
                )
            if quote is None or quote.change.seats != number:
                await self._quote_change(self._change_request.with_seats(number))
                return rx.toast.info(
                    self.problem or f"Updated total for {plural(number, 'seat')}.",
                    description="Nothing has been charged.",
                )
        if (
            quote is not None
            and quote.change.can_wait
            and form.timing
            and form.timing != quote.change.request.timing
        ):
            await self._quote_change(quote.change.request.with_timing(form.timing))
            return rx.toast.info("Updated total for that date.", description="Nothing has been charged.")
        if quote is None:
            raise Invalid(self.problem or "There is nothing to confirm.", "Start the change again.")
        is_applied, payment_problem = False, None
        try:
            async with self._ctx() as ctx:
                await changes.prepare(ctx, quote)
            with self._skip_own_tab():
                is_applied = await changes.submit(quote)
        except Conflict as refusal:
            if refusal.reason == changes.QUOTE_OUTDATED:
                return await self._quote_again(quote, refusal)
            if refusal.reason != changes.PAYMENT_OPEN:
                raise
            payment_problem = refusal
        self._close_dialog()
        self._quote, self._is_period_chosen = None, False
        await self._show_change()
        if payment_problem is not None:
            return rx.toast.warning(payment_problem.detail, description=payment_problem.next_step)
        if quote.change.at_period_end:
            return success_toast("Change scheduled.", "You keep what you have until then.", is_applied)
        detail = "New features are available." if quote.change.prorate else "No charge now."
        return success_toast("Plan updated.", detail, is_applied)

    async def _quote_again(self, quote: changes.Quote, refusal: Conflict) -> EventSpec:
        await self._quote_change(quote.change.request)
        return rx.toast.info(
            f"{refusal.detail} {refusal.next_step}",
            description="Nothing has been charged. Confirm the new total to continue.",
        )


def success_toast(title: str, detail: str, is_applied: bool) -> EventSpec:
    return rx.toast.success(title, description=detail if is_applied else "The page updates automatically.")
