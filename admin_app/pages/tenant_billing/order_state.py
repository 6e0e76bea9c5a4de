"""The part of the billing tab's state about orders to the provider: transfers and trials."""

from dataclasses import dataclass
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from admin_app import labels
from admin_app.tenant_header import TenantHeaderState, TenantObjectState
from shared.access import actions
from shared.backoffice import billing_orders, tenant_billing
from shared.backoffice.billing_orders import (
    MAX_DUE_DAYS,
    MAX_EXTENSION_DAYS,
    MAX_MESSAGE_LENGTH,
    MAX_REFERENCE_LENGTH,
    MIN_DUE_DAYS,
    TransferTerms,
)
from shared.billing.models import BillingOrder, BillingOrderState
from shared.billing.subscriptions.checkout import MAX_SEATS
from shared.core.context import OperatorCtx
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ConfirmReasonForm, ReasonForm
from shared.ui.forms import parse_choice, whole

STATE_BADGES = {
    BillingOrderState.REQUESTED: ("Waiting for Stripe", "warn"),
    BillingOrderState.DONE: ("Done", "ok"),
    BillingOrderState.FAILED: ("Refused by Stripe", "bad"),
}


class TransferForm(ConfirmReasonForm):
    offer: str
    seats: Annotated[int, whole(1, MAX_SEATS)] = 1
    days: Annotated[int, whole(MIN_DUE_DAYS, MAX_DUE_DAYS)]


class MarkPaidForm(ReasonForm):
    reference: Annotated[str, StringConstraints(min_length=1, max_length=MAX_REFERENCE_LENGTH)]


class TrialForm(ReasonForm):
    days: Annotated[int, whole(1, MAX_EXTENSION_DAYS)]
    message: Annotated[str, StringConstraints(max_length=MAX_MESSAGE_LENGTH)] = ""


@dataclass(frozen=True, kw_only=True)
class OrderRow:
    id: str
    title: str
    details: str
    state: str
    tone: str
    error: str
    at: str
    is_open: bool


def order_row(order: BillingOrder) -> OrderRow:
    state, tone = STATE_BADGES[order.state]
    facts = [order.subject_id, order.terms.get("reference", ""), order.reason, f"by {order.by_name}"]
    return OrderRow(
        id=order.id,
        title=billing_orders.KIND_LABELS[order.kind],
        details=" · ".join(filter(None, facts)),
        state=state,
        tone=tone,
        error=order.error,
        at=order.created_at.isoformat(),
        is_open=order.state is BillingOrderState.REQUESTED,
    )


def offer_key(offer: billing_orders.TransferOffer) -> str:
    return f"{offer.version_id}:{offer.period}:{offer.currency}"


class OrderingState(DialogState, TenantObjectState, TenantHeaderState, mixin=True):
    name: str = ""  # of the tenant
    orders: list[OrderRow] = []
    offer_choices: list[tuple[str, str]] = []  # [] where nothing can be sold by transfer
    _order_id: str = ""  # id of what the open dialog makes, so that sending it twice has one effect
    _invoice_id: str = ""  # the invoice that the dialog is about
    _retried_id: str = ""  # the order that the dialog is about

    async def _read(self, octx: OperatorCtx) -> tenant_billing.BillingDetails:
        raise NotImplementedError

    def _finish(self, billing: tenant_billing.BillingDetails, title: str, detail: str) -> EventSpec:
        """Shows the tab as it is after a change."""
        raise NotImplementedError

    def _show_orders(self, billing: tenant_billing.BillingDetails) -> None:
        self.orders = [order_row(order) for order in billing.orders]
        self.offer_choices = [
            (offer_key(offer), f"{offer.name}, each {offer.period}, {offer.currency.upper()}")
            for offer in billing.transfer_offers
        ]

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def start_transfer(self, payload: dict[str, Any]) -> EventSpec:
        form = TransferForm.read(payload)
        form.check(self.name)
        version_id, period, currency = parse_choice(form.offer, [key for key, _ in self.offer_choices]).split(
            ":"
        )
        terms = TransferTerms(
            version_id=version_id,
            period=period,
            seats=form.seats,
            currency=currency,
            days_until_due=form.days,
        )
        async with self._change_page() as octx:
            await billing_orders.request_transfer_subscription(
                octx,
                self._tenant_id(),
                terms,
                self._state_reason(octx, form.reason),
                order_id=self._order_id,
            )
            billing = await self._read(octx)
        return self._finish(billing, "The subscription is being started.", "Updates automatically.")

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def mark_paid(self, payload: dict[str, Any]) -> EventSpec:
        form = MarkPaidForm.read(payload)
        async with self._change_page() as octx:
            await billing_orders.request_mark_paid(
                octx,
                self._tenant_id(),
                self._invoice_id,
                form.reference,
                self._state_reason(octx, form.reason),
                order_id=self._order_id,
            )
            billing = await self._read(octx)
        return self._finish(billing, "The invoice is being marked as paid.", "Updates automatically.")

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def extend_trial(self, payload: dict[str, Any]) -> EventSpec:
        form = TrialForm.read(payload)
        async with self._change_page() as octx:
            await billing_orders.request_trial_extension(
                octx,
                self._tenant_id(),
                form.days,
                self._state_reason(octx, form.reason),
                message=form.message,
                order_id=self._order_id,
            )
            billing = await self._read(octx)
        detail = f"Owners are told of {labels.plural(form.days, 'more day', 'more days')}."
        return self._finish(billing, "The trial is being extended.", detail)

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def retry_order(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            await billing_orders.retry_order(
                octx, self._tenant_id(), self._retried_id, self._state_reason(octx, form.reason)
            )
            billing = await self._read(octx)
        return self._finish(billing, "Retrying.", "A repeated request is carried out once.")
