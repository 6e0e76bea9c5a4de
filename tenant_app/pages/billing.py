"""/t/[tenant]/billing: what one has, what one could have, what a change costs, what was paid."""

import reflex as rx

from shared.ui.shell import head
from tenant_app.billing import dialogs, invoices, plans, standing
from tenant_app.billing.state import BillingState
from tenant_app.frame import page


@rx.page(route="/t/[tenant]/billing", title="Billing · Bulkhead", on_load=BillingState.load)
def billing_page() -> rx.Component:
    return page(
        head("Billing", said="What your organisation has, and what it pays.", actions=standing.pay()),
        standing.turning(),
        standing.news(),
        standing.facts(),
        plans.plans(),
        standing.seats(),
        plans.addons(),
        invoices.invoices(),
        standing.way_out(),
        dialogs.dialogs(),
        current="Billing",
        load=BillingState.load,
    )
