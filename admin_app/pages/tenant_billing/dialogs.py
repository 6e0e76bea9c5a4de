"""The dialogs of a tenant's billing tab."""

from typing import Any

import reflex as rx

from admin_app.pages.tenant_billing.state import CODE_CHOICES, CURRENCY_CHOICES, TenantBillingState
from admin_app.pages.tenant_billing.usage_state import SETTLEMENT_CHOICES
from admin_app.pages.tenant_rights.dialogs import select_field
from shared.ui.controls import dialog_field, radio_cards, text_input
from shared.ui.dialogs import confirm_field, form_dialog, reason_field

KIND_CHOICES = [
    ["credit", "Credit", "Reduces the next invoices."],
    ["refund", "Refund", "Returned to the payment method. Requires an invoice."],
    ["debit", "Debit", "Added to the next invoice."],
]


def billing_dialog(
    name: str, title: Any, description: Any, *children: rx.Component, **props: Any
) -> rx.Component:
    return form_dialog(
        TenantBillingState,
        name,
        title,
        description,
        *children,
        **props,
    )


def billing_dialogs() -> rx.Component:
    state = TenantBillingState
    compare = billing_dialog(
        "compare",
        rx.fragment("Compare ", state.name, " with Stripe"),
        "Syncs the customer now. Differences are recorded and fixed.",
        reason_field("compare"),
        confirm="Compare",
        submit=state.compare_customer,
    )
    retry = billing_dialog(
        "again",
        rx.fragment("Retry: ", state.subject),
        "Use it when Stripe didn’t answer. A repeated request is carried out once.",
        reason_field("again"),
        confirm="Retry",
        submit=state.retry_adjustment,
    )
    end = billing_dialog(
        "end",
        rx.fragment("End ", state.subject),
        "Ends now, and what was paid for its current period is refunded. The other subscription stays.",
        reason_field("end"),
        confirm="End and refund",
        submit=state.end_duplicate,
        kind="danger-fill",
    )
    settle = billing_dialog(
        "settle",
        rx.fragment("Settle ", state.subject),
        "It leaves the list and is never sent to Stripe. Nothing is charged by this.",
        select_field("settle-code", "What became of it", "code", SETTLEMENT_CHOICES),
        reason_field("settle"),
        confirm="Settle",
        submit=state.settle_usage,
    )
    trial = billing_dialog(
        "trial",
        rx.fragment("Grant ", state.name, " another trial"),
        "The next checkout of a plan with a trial has one, although its owners or its card have had theirs.",
        reason_field("trial"),
        confirm="Grant trial",
        submit=state.grant_trial,
    )
    return rx.fragment(adjust_dialog(), compare, retry, end, settle, trial)


def adjust_dialog() -> rx.Component:
    state = TenantBillingState
    amount_input = text_input(
        "adjust-amount",
        name="amount",
        input_mode="decimal",
        max_length=20,
        required=True,
        auto_complete="off",
        placeholder="25.00",
    )
    return billing_dialog(
        "adjust",
        rx.fragment("Adjust balance of ", state.name),
        "Submitted to Stripe. Adjustments can’t be undone; create an opposite one.",
        radio_cards("Type", "kind", KIND_CHOICES, value="credit"),
        dialog_field("Amount", amount_input, id="adjust-amount", name="amount"),
        select_field(
            "adjust-currency", "Currency", "currency", CURRENCY_CHOICES, default_value=state.currency
        ),
        select_field("adjust-code", "Reason code", "code", CODE_CHOICES),
        select_field("adjust-invoice", "Invoice", "invoice", state.invoice_choices),
        reason_field("adjust"),
        confirm_field("adjust", state.name),
        confirm="Adjust",
        submit=state.adjust_balance,
        kind="danger-fill",
        wide=True,
    )
