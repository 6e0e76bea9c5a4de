"""What the billing page shows and does. An order is prepared in a transaction and submitted to the provider outside of it."""

import json
from typing import Annotated, Any, ClassVar

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from shared.access import actions
from shared.access.actions import Action
from shared.billing.models import BillingInvoice
from shared.billing.pricing.prices import PERIODS
from shared.billing.subscriptions import (
    cancellation,
    changes,
    checkout,
    checkout_return,
    invoices,
    overview,
    portal,
)
from shared.billing.subscriptions.changes import ChangeRequest
from shared.billing.subscriptions.overview import BillingOverview
from shared.core import money
from shared.core.context import Ctx
from shared.core.errors import Conflict, Invalid
from shared.core.paging import Page
from shared.core.plurals import plural
from shared.ui import charts
from shared.ui.authorize import needs
from shared.ui.forms import Form, parse_choice, whole
from shared.ui.list_state import ListState
from tenant_app.pages.billing.plan_rows import PERIOD_LABELS, PlanRow, describe_saving, plan_rows
from tenant_app.pages.billing.rows import (
    AddonRow,
    InvoiceLineRow,
    InvoiceRow,
    addon_rows,
    describe_next_invoice,
    describe_next_price,
    invoice_row,
    iso_or_empty,
    line_rows,
    preview_rows,
)
from tenant_app.shell import PageState

PAGE_SIZE = 10
PAUSED = "paused"


class SeatsForm(Form):
    seats: Annotated[int, whole(1, checkout.MAX_SEATS)]


class ConfirmChangeForm(Form):
    seats: Annotated[int | None, whole(1, checkout.MAX_SEATS, required=False)] = (
        None  # where the dialog asks for them
    )


class CancelForm(Form):
    why: str
    comment: Annotated[str, StringConstraints(max_length=cancellation.MAX_COMMENT_LENGTH)] = ""


def redirect_to(address: str) -> EventSpec:
    """Opens a page of the provider in this tab."""
    return rx.call_script(f"window.location.assign({json.dumps(address)})")


class BillingState(ListState, PageState):
    reads: ClassVar[Action] = actions.BILLING_READ
    loaded: bool = False
    period: str = "month"
    saving: str = ""  # by paying yearly
    # The current subscription.
    subscribed: bool = False
    plan: str = ""
    plan_note: str = ""
    fallback_plan: str = ""  # the plan after the subscription ends
    next_label: str = "Next invoice"
    next_amount: str = ""
    next_at: str = ""
    next_note: str = ""
    method: str = ""
    method_note: str = ""
    ends_at: str = ""
    paused: bool = False
    ended_at: str = ""
    is_first_payment_open: bool = False  # the first payment is open
    open_invoice: InvoiceRow = InvoiceRow()
    open_amount: str = ""
    by_seat: bool = False
    change_obstacle: str = ""  # why the subscription can't be changed now
    seats_text: str = ""
    seats_used: int = 0
    seats_bought: int = 0
    share: str = "0%"
    tone: str = "calm"
    # After a checkout.
    activating: str = ""  # "", "waiting" or "done"
    # Plans and add-ons on sale.
    plans: list[PlanRow] = []
    addons: list[AddonRow] = []
    # Invoices.
    invoice_rows: list[InvoiceRow] = []
    # Dialogs.
    dialog: str = ""
    chosen_plan: PlanRow = PlanRow()
    title: str = ""
    sentence: str = ""
    confirm_label: str = ""
    seats: str = ""
    asks_seats: bool = False
    lines: list[InvoiceLineRow] = []
    total: str = ""
    total_label: str = ""
    next_price: str = ""
    next_price_from: str = ""
    problem: str = ""
    invoice: InvoiceRow = InvoiceRow()
    _is_period_chosen: bool = False  # the reader chose the period
    _checked_return: str = ""  # the checkout return that was synced
    _change_request: ChangeRequest = ChangeRequest()
    _quote: changes.Quote | None = None

    @rx.event
    @needs(actions.BILLING_READ, page=True)
    async def load(self) -> Any:
        async with self._open_page(BillingState.load, "billing", "members", "invitations") as ctx:
            page_data = await self._read(ctx)
        self._show(*page_data)
        return self._check_return()

    async def _read(self, ctx: Ctx) -> tuple[Any, ...]:
        return (
            ctx,
            await overview.get_overview(ctx),
            await invoices.list_invoices(ctx, after=self._cursor(), limit=PAGE_SIZE),
        )

    async def _reload(self) -> None:
        async with self._ctx() as ctx:
            page_data = await self._read(ctx)
        self._show(*page_data)

    def _check_return(self) -> Any:
        """After a checkout, syncs with the provider once. The address is a claim, so it decides nothing."""
        query = self.router.url.query_parameters
        return_id = query.get("session") or query.get("back") or ""
        if not return_id or return_id == self._checked_return:
            return None
        self._checked_return, self.dialog = return_id, ""
        self.activating = "" if not query.get("session") else "done" if self.subscribed else "waiting"
        return BillingState.check_payment

    @rx.event
    @needs(actions.BILLING_READ)
    async def check_payment(self) -> EventSpec | None:
        """Syncs with the provider at once, as its webhook will."""
        async with self._ctx() as ctx:
            visit = await checkout_return.prepare(ctx)
        has_answer = await checkout_return.submit(visit)
        await self._reload()
        if has_answer or self.activating != "waiting":
            return None
        return rx.toast.info(
            "The payment provider has not answered yet.",
            description="Updates automatically.",
        )

    # ── show ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _show(self, ctx: Ctx, billing: BillingOverview, invoice_page: Page[BillingInvoice]) -> None:
        subscription = billing.subscription
        if subscription is not None and not self._is_period_chosen:
            self.period = subscription.period
        self._show_subscription(ctx, billing)
        current = (
            subscription.offer.key
            if subscription and subscription.offer
            else ""
            if billing.ended_at
            else ctx.rights.plan
        )
        self.plans = plan_rows(billing, self.period, current, not billing.has_subscribed)
        self.addons = addon_rows(billing, self.period)
        self.saving = describe_saving(billing)
        self.invoice_rows = [invoice_row(invoice) for invoice in invoice_page.rows]
        self._show_page(invoice_page, "invoice")
        if self.activating == "waiting" and self.subscribed:
            self.activating = "done"
        self.loaded = True

    def _show_subscription(self, ctx: Ctx, billing: BillingOverview) -> None:
        subscription, self.is_first_payment_open = billing.subscription, billing.incomplete is not None
        self.subscribed = subscription is not None
        plan_name = billing.fallback_offer.name if billing.ended_at else ctx.rights.plan_name
        self.plan, self.fallback_plan = (
            subscription.offer.name if subscription and subscription.offer else plan_name,
            billing.fallback_offer.name,
        )
        self.plan_note = PERIOD_LABELS[subscription.period] if subscription else "No subscription"
        self.next_label, self.next_amount, self.next_at, self.next_note = describe_next_invoice(billing)
        self.method = billing.method
        self.method_note = "Auto-pay on" if billing.method else "Added at checkout"
        self.ends_at = iso_or_empty(subscription.snapshot.cancel_at) if subscription else ""
        self.paused = subscription is not None and subscription.snapshot.status == PAUSED
        self.ended_at = iso_or_empty(billing.ended_at)
        self.open_invoice = invoice_row(billing.unpaid_invoice) if billing.unpaid_invoice else InvoiceRow()
        self.open_amount = (
            money.format_amount(billing.unpaid_invoice.due, billing.unpaid_invoice.currency)
            if billing.unpaid_invoice
            else ""
        )
        self.change_obstacle = " ".join(billing.obstacle or ())
        self.by_seat = subscription is not None and subscription.seats is not None
        limit = ctx.rights.limits["members"].amount
        self.seats_used, self.seats_bought = (
            billing.used_seats,
            (subscription.seats or 0) if subscription else 0,
        )
        self.seats_text = (
            f"{billing.used_seats} of {limit} in use" if limit is not None else f"{billing.used_seats} in use"
        )
        self.share, self.tone = (
            charts.meter_width_and_tone(billing.used_seats, limit) if limit else ("0%", "calm")
        )

    @rx.event
    @needs(actions.BILLING_READ)
    async def choose_period(self, period: str) -> None:
        self.period, self._is_period_chosen = parse_choice(period, PERIODS), True
        await self._reload()

    @rx.event
    @needs(actions.BILLING_READ)
    async def show_invoice(self, invoice_id: str) -> None:
        async with self._ctx() as ctx:
            invoice = await invoices.get_invoice(ctx, parse_invoice_id(invoice_id))
        self.invoice = invoice_row(invoice)
        self.lines = line_rows(invoice.lines, invoice.currency)
        self.total, self.dialog = money.format_amount(invoice.total, invoice.currency), "invoice"

    @rx.event
    @needs(actions.BILLING_READ)
    async def close_dialog(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog, self._quote = "", None

    # ── choose a plan ──────────────────────────────────────────────────────────────────────────────────────────

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
            await self._quote_change(ChangeRequest(version_id, self.period, seats))
            return None
        if row.sold_by_seat:
            self.chosen_plan, self.seats, self.dialog = row, str(max(self.seats_used, 1)), "order"
            return None
        return await self._start_checkout(row.id, 1)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def start_checkout(self, payload: dict[str, Any]) -> EventSpec:
        form = SeatsForm.read(payload)
        return await self._start_checkout(self.chosen_plan.id, form.seats)

    async def _start_checkout(self, version_id: str, seats: int) -> EventSpec:
        async with self._ctx() as ctx:
            order = await checkout.prepare(ctx, version_id, self.period, seats=seats)
        address = await checkout.submit(order)
        self.dialog = ""
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
        self._change_request, self.seats = ChangeRequest(seats=self.seats_bought), str(self.seats_bought)

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
        sentence = "Stays until the paid period ends. It won’t be charged again."
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
        self._quote, self.problem = None, problem
        self.lines, self.total, self.total_label, self.next_price, self.next_price_from = [], "", "", "", ""

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
        self.lines, self.total, self.total_label = preview_rows(quote)
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
        if quote is None:
            raise Invalid(self.problem or "There is nothing to confirm.", "Start the change again.")
        try:
            async with self._ctx() as ctx:
                await changes.prepare(ctx, quote)
        except Conflict as refusal:
            if refusal.reason != changes.QUOTE_OUTDATED:
                raise
            await self._quote_change(quote.change.request)
            return rx.toast.info(
                f"{refusal.detail} {refusal.next_step}",
                description="Nothing has been charged. Confirm the new total to continue.",
            )
        is_applied = await changes.submit(quote)
        self.dialog, self._quote, self._is_period_chosen = "", None, False
        await self._reload()
        detail = "New features are available." if quote.change.prorate else "No charge now."
        return success_toast("Plan updated.", detail, is_applied)

    # ── cancel, resume, pay ────────────────────────────────────────────────────────────────────────────────────────

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def open_cancel_dialog(self) -> None:
        self.dialog = "cancel"

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def cancel_subscription(self, payload: dict[str, Any]) -> EventSpec:
        form = CancelForm.read(payload)
        async with self._ctx() as ctx:
            ending = await cancellation.prepare_cancel(ctx, form.why, form.comment)
        is_applied = await cancellation.submit(ending)
        self.dialog = ""
        await self._reload()
        return success_toast(
            "Cancelled.",
            "You keep access until the end of the period. You won’t be charged again.",
            is_applied,
        )

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def resume_subscription(self) -> EventSpec:
        async with self._ctx() as ctx:
            ending = await cancellation.prepare_resume(ctx)
        is_applied = await cancellation.submit(ending)
        await self._reload()
        return success_toast("Resumed.", "Your subscription renews as before.", is_applied)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def open_portal(self) -> EventSpec:
        async with self._ctx() as ctx:
            visit = await portal.prepare(ctx)
        return redirect_to(await portal.submit(visit))


def parse_invoice_id(value: object) -> str:
    """Invoice ids come from the provider. Raises Invalid."""
    if not isinstance(value, str) or not 1 <= len(value) <= 255 or "\0" in value:
        raise Invalid("The page has changed.", "Reload and try again.")
    return value


def success_toast(title: str, detail: str, is_applied: bool) -> EventSpec:
    return rx.toast.success(title, description=detail if is_applied else "The page updates automatically.")
