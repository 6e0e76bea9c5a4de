"""The billing page, section by section."""

import reflex as rx

from shared.ui.shell import page_header
from tenant_app.frame import page
from tenant_app.pages.billing.dialogs import billing_dialogs
from tenant_app.pages.billing.invoices import invoices_section
from tenant_app.pages.billing.plans import addons_section, plans_section
from tenant_app.pages.billing.prepaid import prepaid_section, top_up_dialog
from tenant_app.pages.billing.spending import spend_limit_dialog, spending_section
from tenant_app.pages.billing.state import BillingState
from tenant_app.pages.billing.status_banners import (
    activation_banner,
    duplicate_banner,
    pending_change_banner,
    scheduled_change_banner,
    subscription_banner,
)
from tenant_app.pages.billing.subscription import (
    billing_stats,
    cancel_section,
    header_actions,
    next_invoice_section,
    pause_section,
    seats_section,
    void_section,
)


@rx.page(route="/t/[tenant]/billing", title="Billing · Bulkhead", on_load=BillingState.load)
def billing_page() -> rx.Component:
    return page(
        page_header(
            "Billing",
            description="Plan, seats and invoices.",
            actions=header_actions(),
        ),
        activation_banner(),
        duplicate_banner(),
        pending_change_banner(),
        scheduled_change_banner(),
        subscription_banner(),
        billing_stats(),
        next_invoice_section(),
        plans_section(),
        seats_section(),
        addons_section(),
        spending_section(),
        prepaid_section(),
        invoices_section(),
        pause_section(),
        cancel_section(),
        void_section(),
        billing_dialogs(),
        top_up_dialog(),
        spend_limit_dialog(),
        current="Billing",
        load=BillingState.load,
    )
