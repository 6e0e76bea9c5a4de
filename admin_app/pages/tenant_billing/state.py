"""State of a tenant's billing tab."""

from collections.abc import Sequence
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app import labels
from admin_app.pages.tenant_billing.evidence import InvoiceEvidenceState
from admin_app.pages.tenant_billing.order_state import OrderingState
from admin_app.pages.tenant_billing.rows import (
    AccessPhaseRow,
    AdjustmentRow,
    BillingChangeRow,
    BillingSummary,
    CustomerRow,
    SubscriptionRow,
    TenantInvoiceRow,
    adjustment_row,
    billing_summary,
    drift_row,
    event_row,
    phase_rows,
    subscription_row,
    tenant_invoice_row,
    unbilled_id,
    unbilled_row,
)
from admin_app.pages.tenant_billing.usage_state import UsageBillingState
from admin_app.tenant_header import TenantHeaderState, TenantObjectState
from admin_app.visit_state import TenantVisitState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import (
    adjustments,
    duplicate_subscriptions,
    tenant_billing,
    trial_grants,
)
from shared.core import money
from shared.core.context import OperatorCtx
from shared.core.errors import Conflict
from shared.core.ids import new_id
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ConfirmReasonForm, ReasonForm
from shared.ui.forms import parse_choice
from shared.ui.prepaid_ledger import entry_rows, grant_rows

CURRENCY_CHOICES = [[code, code.upper()] for code in money.CURRENCIES]
CODE_CHOICES = [[code, label] for code, label in adjustments.REASON_CODES.items()]


class AdjustForm(ConfirmReasonForm):
    kind: str
    amount: str
    currency: str
    code: str
    invoice: str = ""


class TenantBillingState(
    OrderingState, UsageBillingState, InvoiceEvidenceState, DialogState, TenantObjectState, TenantHeaderState
):
    reads: ClassVar[OperatorAction] = actions.OP_BILLING_READ
    dialogs: ClassVar[Sequence[str]] = ("adjust", "compare", "extend", "grant", "transfer", "trial")
    # About an adjustment, a subscription, an invoice, an order, usage or prepaid credits.
    row_dialogs: ClassVar[Sequence[str]] = (
        "again",
        "end",
        "mark_paid",
        "retry_order",
        "settle",
        "void_grant",
    )
    loaded: bool = False
    summary: BillingSummary = BillingSummary()
    customers: list[CustomerRow] = []
    phases: list[AccessPhaseRow] = []
    subscriptions: list[SubscriptionRow] = []
    invoices: list[TenantInvoiceRow] = []
    events: list[BillingChangeRow] = []
    drift: list[BillingChangeRow] = []
    adjustments: list[AdjustmentRow] = []
    invoice_choices: list[tuple[str, str]] = []
    currency: str = "usd"
    subject: str = ""  # what the dialog is about, in words
    _subscription_id: str = ""  # id of the subscription that the dialog is about
    _adjustment_id: str = ""  # id of the adjustment that the dialog is about

    @rx.event
    @needs(actions.OP_BILLING_READ, part=True)
    async def load(self) -> None:
        """Loads the tab; the page's load has filled the frame. Without a reason nothing is shown."""
        visit = await self.get_state(TenantVisitState)
        if not visit._reason_for(self._tenant_id()):
            self._clear()
            return
        async with self._ctx() as octx:
            billing = await self._read(octx)
        self._show(billing)

    def _clear(self) -> None:
        shown_path = self._shown_path
        self.reset()
        self._shown_path = shown_path

    async def _read(self, octx: OperatorCtx) -> tenant_billing.BillingDetails:
        """For the reason of the page's visit. Raises Conflict once that has ended."""
        visit = await self.get_state(TenantVisitState)
        reason = visit._reason_for(self._tenant_id())
        if not reason:
            raise Conflict("Your access to this tenant’s billing has ended.", "Enter the reason again.")
        return await tenant_billing.get_billing_details(octx, self._tenant_id(), reason)

    def _show(self, billing: tenant_billing.BillingDetails) -> None:
        self.name, self.summary, self.phases = (
            billing.tenant_name,
            billing_summary(billing),
            phase_rows(billing),
        )
        self.customers = [
            CustomerRow(
                id=customer.id,
                account=customer.account_id,
                href=billing.provider_urls[customer.id],
                synced_at=labels.iso_or_empty(billing.synced_at.get(customer.id)),
            )
            for customer in billing.customers
        ]
        self.subscriptions = [
            subscription_row(subscription, is_duplicate=subscription.id in billing.duplicate_ids)
            for subscription in billing.subscriptions
        ]
        self.invoices = [tenant_invoice_row(invoice) for invoice in billing.invoices]
        self.events, self.drift = (
            [event_row(event) for event in billing.events],
            [drift_row(drift) for drift in billing.drift],
        )
        self.unbilled_usage = [unbilled_row(group) for group in billing.unbilled_usage]
        self._unbilled_groups = {unbilled_id(group): group for group in billing.unbilled_usage}
        self.adjustments = [adjustment_row(adjustment, billing.refunds) for adjustment in billing.adjustments]
        paid = [
            (
                invoice.id,
                f"{invoice.number or invoice.id}, paid {labels.format_amount(invoice.paid, invoice.currency)}",
            )
            for invoice in billing.invoices
            if invoice.paid > 0
        ]
        self.invoice_choices = [("", "None"), *paid]
        self.prepaid_grants = grant_rows(billing.prepaid, for_operators=True)
        self.prepaid_entries = entry_rows(billing.prepaid)
        self._show_orders(billing)
        self.currency = (billing.snapshot.currency if billing.snapshot else "") or "usd"
        self.loaded = True

    def _finish(self, billing: tenant_billing.BillingDetails, title: str, detail: str) -> EventSpec:
        self._show(billing)
        self._close_dialog()
        return rx.toast.success(title, description=detail)

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:
        if dialog == "adjust":
            self._draft_id = new_id("adj")
        elif dialog == "grant":
            self._draft_id = new_id("pgr")
        elif dialog in ("extend", "transfer"):
            self._order_id = new_id("bor")
        elif dialog == "mark_paid":
            titles = {row.id: row.number for row in self.invoices if row.can_mark_paid}
            self._order_id, self._invoice_id = new_id("bor"), parse_choice(row_id, titles)
            self.subject = titles[self._invoice_id]
        elif dialog == "retry_order":
            titles = {order.id: order.title for order in self.orders if order.is_open}
            self._retried_id = parse_choice(row_id, titles)
            self.subject = titles[self._retried_id]
        elif dialog == "void_grant":
            titles = {grant.id: f"{grant.left} of {grant.title.lower()}" for grant in self.prepaid_grants}
            self._grant_id = parse_choice(row_id, titles)
            self.subject = titles[self._grant_id]
        elif dialog == "again":
            titles = {
                adjustment.id: adjustment.title for adjustment in self.adjustments if adjustment.is_stuck
            }
            self._adjustment_id = parse_choice(row_id, titles)
            self.subject = titles[self._adjustment_id]
        elif dialog == "end":
            duplicate_ids = [row.id for row in self.subscriptions if row.is_duplicate]
            self._subscription_id = self.subject = parse_choice(row_id, duplicate_ids)
        elif dialog == "settle":
            titles = {row.id: row.title for row in self.unbilled_usage if row.can_settle}
            self.subject = titles[parse_choice(row_id, titles)]
            self._settled_group = self._unbilled_groups[row_id]

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def end_duplicate(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            refunded = await duplicate_subscriptions.request_end(
                octx, self._tenant_id(), self._subscription_id, self._state_reason(octx, form.reason)
            )
            billing = await self._read(octx)
        detail = f"{refunded} is being refunded." if refunded else "Nothing was paid for the current period."
        return self._finish(billing, "The subscription is being ended.", detail)

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def grant_trial(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            await trial_grants.grant_trial(octx, self._tenant_id(), self._state_reason(octx, form.reason))
            billing = await self._read(octx)
        return self._finish(
            billing, "Another trial is granted.", "The next checkout of a plan with a trial has one."
        )

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def adjust_balance(self, payload: dict[str, Any]) -> EventSpec:
        form = AdjustForm.read(payload)
        form.check(self.name)
        kind, code = (
            parse_choice(form.kind, adjustments.KINDS),
            parse_choice(form.code, adjustments.REASON_CODES),
        )
        amount = money.parse_amount(form.amount, form.currency)
        async with self._change_page() as octx:
            await adjustments.request_adjustment(
                octx,
                self._tenant_id(),
                kind,
                amount,
                form.currency,
                code,
                self._state_reason(octx, form.reason),
                invoice_id=form.invoice,
                adjustment_id=self._draft_id,
            )
            billing = await self._read(octx)
        message = f"{labels.ADJUSTMENT_KIND_LABELS[kind]} of {money.format_amount(amount, form.currency)} submitted to Stripe."
        return self._finish(billing, message, "Updates automatically.")

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def retry_adjustment(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            await adjustments.retry_adjustment(
                octx,
                self._tenant_id(),
                self._adjustment_id,
                self._state_reason(octx, form.reason),
            )
            billing = await self._read(octx)
        return self._finish(billing, "Retrying.", "A repeated request is carried out once.")

    @rx.event
    @needs(actions.OP_BILLING_RECONCILE)
    async def compare_customer(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            await tenant_billing.request_reconcile(
                octx, self._tenant_id(), self._state_reason(octx, form.reason)
            )
            billing = await self._read(octx)
        return self._finish(billing, f"{self.name} is being compared with Stripe.", "Updates automatically.")
