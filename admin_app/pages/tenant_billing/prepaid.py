"""Prepaid credits on a tenant's billing tab: the panel and its dialogs."""

import reflex as rx

from admin_app.pages.tenant_billing.state import CURRENCY_CHOICES, TenantBillingState
from admin_app.pages.tenant_billing.usage_state import PREPAID_CODE_CHOICES
from admin_app.pages.tenant_rights.dialogs import select_field
from admin_app.shell import guard_control
from shared.access import actions
from shared.billing.prepaid import balance
from shared.ui.banners import empty_state
from shared.ui.controls import button, datetime_input, dialog_field, text_input
from shared.ui.dialogs import confirm_field, dialog_opener, form_dialog, reason_field
from shared.ui.panels import panel
from shared.ui.prepaid_ledger import PrepaidGrantRow, entry_list, grant_list
from shared.ui.tables import has_items


def prepaid_panels() -> rx.Component:
    def void_control(grant: PrepaidGrantRow) -> rx.Component:
        void_button = guard_control(
            actions.OP_BILLING_ADJUST,
            button("Void", kind="quiet", **dialog_opener(TenantBillingState, "void_grant", grant.id)),
            "Void",
            id=f"void-{grant.id}",
        )
        return rx.cond(grant.is_usable, void_button)

    state = TenantBillingState
    grant_button = guard_control(
        actions.OP_BILLING_ADJUST,
        button(
            "Grant credits",
            glyph="coins",
            **dialog_opener(state, "grant"),
            data_testid="grant-credits",
        ),
        "Grant credits",
        glyph="coins",
        id="refused-grant",
    )
    no_grants = empty_state(
        "No prepaid credits yet",
        "They pay for usage above what the plan includes, before it is billed.",
        glyph="coins",
    )
    ledger = panel(entry_list(state.prepaid_entries), title="Latest changes of prepaid credits")
    return rx.fragment(
        panel(
            rx.cond(
                has_items(state.prepaid_grants), grant_list(state.prepaid_grants, void_control), no_grants
            ),
            title="Prepaid credits",
            aside=grant_button,
        ),
        rx.cond(has_items(state.prepaid_entries), ledger),
    )


def prepaid_dialogs() -> rx.Component:
    state = TenantBillingState
    void = form_dialog(
        state,
        "void_grant",
        rx.fragment("Void ", state.subject),
        "What is left can’t be used any more. Usage is then billed.",
        reason_field("void_grant"),
        confirm="Void",
        submit=state.void_grant,
        kind="danger-fill",
    )
    return rx.fragment(_grant_dialog(), void)


def _grant_dialog() -> rx.Component:
    state = TenantBillingState
    amount_input = text_input(
        "grant-amount",
        name="amount",
        input_mode="decimal",
        max_length=20,
        required=True,
        auto_complete="off",
        placeholder="100.00",
    )
    priority_input = text_input(
        "grant-priority",
        name="priority",
        type="number",
        min=0,
        max=balance.MAX_PRIORITY,
        default_value=str(balance.DEFAULT_PRIORITY),
        required=True,
    )
    expiry_input = datetime_input("grant-expires", name="expires", required=False)
    return form_dialog(
        state,
        "grant",
        rx.fragment("Grant prepaid credits to ", state.name),
        "They pay for usage above what the plan includes. Stripe only receives the usage that is left.",
        dialog_field("Amount", amount_input, id="grant-amount", name="amount"),
        select_field(
            "grant-currency", "Currency", "currency", CURRENCY_CHOICES, default_value=state.currency
        ),
        dialog_field("Expires", expiry_input, id="grant-expires", name="expires", hint="Empty: never."),
        dialog_field(
            "Priority",
            priority_input,
            id="grant-priority",
            name="priority",
            hint="Lower numbers are used first; then those that expire first.",
        ),
        select_field("grant-code", "Reason code", "code", PREPAID_CODE_CHOICES),
        reason_field("grant"),
        confirm_field("grant", state.name),
        confirm="Grant credits",
        submit=state.grant_credits,
        kind="danger-fill",
        wide=True,
    )
