"""What the billing page shows. `orders` and `ending` have what it does."""

from collections.abc import Sequence
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from shared.access import actions
from shared.access.actions import Action
from shared.access.file_kinds import ExportKind
from shared.billing.models import BillingInvoice
from shared.billing.pricing.prices import PERIODS
from shared.billing.spending import spend_limits
from shared.billing.spending.spend_limits import SpendView
from shared.billing.subscriptions import checkout_return, invoice_usage, invoices, overview, portal
from shared.billing.subscriptions.invoice_export import INVOICES
from shared.billing.subscriptions.overview import BillingOverview
from shared.core import money
from shared.core.context import Ctx
from shared.core.errors import Invalid
from shared.core.paging import Page
from shared.ui import charts
from shared.ui.authorize import needs
from shared.ui.forms import parse_choice
from shared.ui.list_state import ListState
from tenant_app.exports import ExportsState
from tenant_app.pages.billing.addon_rows import addon_rows
from tenant_app.pages.billing.details import DetailsState
from tenant_app.pages.billing.ending import EndingState
from tenant_app.pages.billing.orders import OrderState, redirect_to
from tenant_app.pages.billing.plan_rows import PERIOD_LABELS, describe_saving, plan_rows, trial_note
from tenant_app.pages.billing.prepaid_state import PrepaidPage, PrepaidState, read_prepaid
from tenant_app.pages.billing.remaining_rows import remaining_row
from tenant_app.pages.billing.rows import (
    PAUSE_SENTENCES,
    InvoiceLineRow,
    InvoiceRow,
    ScheduledTexts,
    invoice_row,
    iso_or_empty,
    line_rows,
    next_invoice_row,
    scheduled_texts,
)
from tenant_app.pages.billing.spending_state import SpendingState
from tenant_app.shell import PageState

PAGE_SIZE = 10
PAUSED = "paused"


class BillingState(
    DetailsState, EndingState, PrepaidState, SpendingState, OrderState, ExportsState, ListState, PageState
):
    reads: ClassVar[Action] = actions.BILLING_READ
    export_kind: ClassVar[ExportKind] = INVOICES
    opens_dialogs: ClassVar[Action] = actions.BILLING_CHANGE
    dialogs: ClassVar[Sequence[str]] = ("cancel", "spend_limit", "top_up")
    loaded: bool = False
    saving: str = ""  # by paying yearly
    trial_note: str = ""  # who gets a trial, or why there is none
    # The current subscription.
    plan: str = ""
    plan_note: str = ""
    fallback_plan: str = ""  # the plan after the subscription ends
    next_label: str = "Next invoice"
    next_amount: str = ""
    next_at: str = ""
    next_note: str = ""
    next_lines: list[InvoiceLineRow] = []
    next_tax_note: str = ""
    cancel_text: str = ""  # the same before it, where it depends on ending now
    remaining_lines: list[InvoiceLineRow] = []
    void_note: str = ""  # what can be voided; "" for nothing
    method: str = ""
    method_note: str = ""
    renews_at: str = ""
    ends_at: str = ""
    scheduled_at: str = ""  # a change is scheduled
    scheduled_texts: ScheduledTexts = ScheduledTexts()
    pending_until: str = ""  # a change waits for its payment
    pending_invoice: InvoiceRow = InvoiceRow()
    subscription_count: int = 0  # that are charged; more than one needs support
    paused: bool = False
    is_pause_offered: bool = False
    pause_obstacle: str = ""  # why it can't be paused now
    pause_text: str = ""  # why it is paused
    pause_step: str = ""
    ended_at: str = ""
    is_first_payment_open: bool = False  # the first payment is open
    open_invoice: InvoiceRow = InvoiceRow()
    open_amount: str = ""
    by_seat: bool = False
    change_obstacle: str = ""  # why the subscription can't be changed now
    seats_text: str = ""
    share: str = "0%"
    tone: str = "calm"
    # After a checkout.
    activating: str = ""  # "", "waiting" or "done"
    # Invoices.
    invoice_rows: list[InvoiceRow] = []
    invoice: InvoiceRow = InvoiceRow()
    _checked_return: str = ""  # the checkout return that was synced

    @rx.event
    @needs(actions.BILLING_READ, page=True)
    async def load(self) -> Any:
        topics = ("billing", "members", "invitations")
        async with self._open_page(BillingState.load, *topics, own_topics=("exports",)) as ctx:
            page_data = await self._read(ctx)
            exports = await self._read_exports(ctx) if page_data[2].rows else []
        self._show(*page_data)
        self._show_exports(exports)
        return self._check_return()

    async def _read(self, ctx: Ctx) -> tuple[Any, ...]:
        billing = await overview.get_overview(ctx, self.currency)
        invoice_page = await invoices.list_invoices(ctx, after=self._cursor(), limit=PAGE_SIZE)
        prepaid = await read_prepaid(ctx, has_been_customer=billing.has_been_customer)
        spending = await spend_limits.get_view(ctx) if billing.has_been_customer else None
        return ctx, billing, invoice_page, prepaid, spending

    async def _reload(self) -> None:
        async with self._ctx() as ctx:
            page_data = await self._read(ctx)
        self._show(*page_data)

    async def _show_change(self) -> None:
        async with self._change_page() as ctx:
            page_data = await self._read(ctx)
        self._show(*page_data)

    def _check_return(self) -> Any:
        """After a checkout, syncs with the provider once. The address is a claim, so it decides nothing."""
        query = self.router.url.query_parameters
        return_id = query.get("session") or query.get("back") or ""
        if not return_id or return_id == self._checked_return:
            return None
        self._checked_return = return_id
        self._close_dialog()
        self.activating = "" if not query.get("session") else "done" if self.subscribed else "waiting"
        return BillingState.check_payment

    @rx.event
    @needs(actions.BILLING_READ)
    async def check_payment(self) -> EventSpec | None:
        """Syncs with the provider at once, as its webhook will."""
        async with self._ctx() as ctx:
            visit = await checkout_return.prepare(ctx)
        with self._skip_own_tab():
            has_answer = await checkout_return.submit(visit)
        await self._show_change()
        if has_answer or self.activating != "waiting":
            return None
        return rx.toast.info(
            "The payment provider has not answered yet.",
            description="Updates automatically.",
        )

    # ── show ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _show(
        self,
        ctx: Ctx,
        billing: BillingOverview,
        invoice_page: Page[BillingInvoice],
        prepaid: PrepaidPage,
        spending: SpendView | None,
    ) -> None:
        subscription = billing.subscription
        if subscription is not None and not self._is_period_chosen:
            self.period = subscription.period
        self.currency = billing.shown_currency
        self.currencies = [(code, code.upper()) for code in billing.currency_choices]
        self._show_subscription(ctx, billing)
        plan_without_subscription = "" if billing.ended_at else ctx.rights.plan
        self.plans = plan_rows(billing, self.period, plan_without_subscription)
        self.trial_note = trial_note(billing)
        self.addons = addon_rows(billing, self.period)
        self.saving = describe_saving(billing)
        self.invoice_rows = [invoice_row(invoice) for invoice in invoice_page.rows]
        self._show_page(invoice_page, "invoice")
        self._show_prepaid(prepaid, billing)
        self._show_spending(spending)
        if self.activating == "waiting" and self.subscribed:
            self.activating = "done"
        elif self.activating == "done" and (self.paused or self.ends_at or not self.subscribed):
            self.activating = ""  # what came after says more
        self.loaded = True

    def _show_subscription(self, ctx: Ctx, billing: BillingOverview) -> None:
        subscription, self.is_first_payment_open = billing.subscription, billing.incomplete is not None
        self.subscribed = subscription is not None
        self.subscription_count = len(billing.other_subscriptions) + int(self.subscribed)
        plan_name = billing.fallback_offer.name if billing.ended_at else ctx.rights.plan_name
        self.plan, self.fallback_plan = (
            subscription.offer.name if subscription and subscription.offer else plan_name,
            billing.fallback_offer.name,
        )
        self.plan_note = PERIOD_LABELS[subscription.period] if subscription else "No subscription"
        upcoming, remaining = next_invoice_row(billing), remaining_row(billing)
        self.next_label, self.next_amount = upcoming.label, upcoming.amount
        self.next_at, self.next_note, self.next_tax_note = upcoming.at, upcoming.note, upcoming.tax_note
        self.next_lines, self.remaining_lines = list(upcoming.lines), list(remaining.lines)
        self.remaining_text, self.cancel_text = remaining.sentence, remaining.sentence_before
        self.void_note = remaining.void_note
        self.void_ids = " ".join(invoice.id for invoice in billing.voidable.invoices)
        self.renews_at = iso_or_empty(subscription.renews_at) if subscription else ""
        self.method = billing.method
        self.method_note = "Auto-pay on" if billing.method else "Added at checkout"
        self.ends_at = iso_or_empty(subscription.snapshot.cancel_at) if subscription else ""
        self.paused = subscription is not None and subscription.snapshot.status == PAUSED
        self.is_pause_offered = billing.is_pause_offered and self.subscribed and not self.paused
        self.pause_obstacle = " ".join(billing.pause_obstacle or ())
        self.pause_text, self.pause_step = PAUSE_SENTENCES[
            subscription.snapshot.pause_cause if subscription else ""
        ]
        self.ended_at = iso_or_empty(billing.ended_at)
        self.open_invoice = invoice_row(billing.unpaid_invoice) if billing.unpaid_invoice else InvoiceRow()
        self.open_amount = (
            money.format_amount(billing.unpaid_invoice.due, billing.unpaid_invoice.currency)
            if billing.unpaid_invoice
            else ""
        )
        self.scheduled_at = iso_or_empty(billing.scheduled_plan and billing.scheduled_plan.at)
        self.scheduled_texts = scheduled_texts(billing)
        self.pending_until = iso_or_empty(billing.pending_change and billing.pending_change.expires_at)
        self.pending_invoice = (
            invoice_row(billing.pending_invoice) if billing.pending_invoice else InvoiceRow()
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
    async def choose_currency(self, currency: str) -> None:
        self.currency = parse_choice(currency, [code for code, _ in self.currencies])
        await self._reload()

    @rx.event
    @needs(actions.BILLING_READ)
    async def show_invoice(self, invoice_id: str) -> None:
        async with self._ctx() as ctx:
            invoice = await invoices.get_invoice(ctx, parse_invoice_id(invoice_id))
            usage = await invoice_usage.list_invoice_usage(ctx, invoice.id)
        self._show_invoice_usage(usage)
        self.invoice = invoice_row(invoice)
        self.lines, self.tax_note = line_rows(invoice), self.invoice.tax_note
        self.total, self.dialog = money.format_amount(invoice.total, invoice.currency), "invoice"

    # ── pay ─────────────────────────────────────────────────────────────────────────────────────────────────────────

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
