"""Prepaid credits on the billing page."""

from typing import Any

import reflex as rx

from shared.ui.panels import panel, section, small
from shared.ui.prepaid_ledger import entry_list, grant_list
from tenant_app.pages.billing.state import BillingState


def prepaid_section() -> rx.Component:
    """Hidden from organisations that have never had any."""
    rows: Any = BillingState.prepaid_grants
    balance_text = rx.cond(
        BillingState.prepaid_balance != "",
        rx.fragment(rx.el.b(BillingState.prepaid_balance), " left."),
        "Nothing is left.",
    )
    explanation = small(
        balance_text,
        " Credits pay for usage above what your plan includes, before it is billed. "
        "Your invoices only have what they didn’t pay for.",
    )
    box = panel(explanation, grant_list(rows), name="Prepaid credits")
    ledger = panel(entry_list(BillingState.prepaid_entries), title="Latest changes")
    return rx.cond(rows.length() > 0, section("Prepaid credits", rx.el.div(box, ledger, class_name="stack")))
