"""/t/[tenant]/billing: what one has, what one could have, what a change costs, what was paid."""

import reflex as rx

from shared.ui.shell import page_header
from tenant_app.billing import dialogs, invoices, plans, standing
from tenant_app.billing.state import BillingState
from tenant_app.frame import page


@rx.page(route="/t/[tenant]/billing", title="Billing · Bulkhead", on_load=BillingState.load)
def billing_page() -> rx.Component:
    return page(
        page_header(
            "Billing",
            description="What your organisation has, and what it pays.",
            actions=standing.header_actions(),
        ),
        standing.activation_banner(),
        standing.subscription_banner(),
        standing.billing_stats(),
        plans.plans_section(),
        standing.seats_section(),
        plans.addons_section(),
        invoices.invoices_section(),
        standing.cancel_section(),
        dialogs.billing_dialogs(),
        current="Billing",
        load=BillingState.load,
    )
