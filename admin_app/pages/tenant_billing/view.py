"""The tab "Billing" of a tenant's page: its customer in Stripe, the state of the last sync, and the access that
results.

The page's state holds the reason for access; its load triggers the load of this tab's state while the tab is open.
"""

from typing import Any

import reflex as rx

from admin_app.invoice_cells import invoice_cell
from admin_app.pages.tenant_billing.dialogs import billing_dialogs
from admin_app.pages.tenant_billing.evidence import evidence_panel, explain_button
from admin_app.pages.tenant_billing.orders import mark_paid_button, order_dialogs, orders_panel
from admin_app.pages.tenant_billing.prepaid import prepaid_dialogs, prepaid_panels
from admin_app.pages.tenant_billing.rows import (
    AccessPhaseRow,
    AdjustmentRow,
    BillingChangeRow,
    CustomerRow,
    TenantInvoiceRow,
)
from admin_app.pages.tenant_billing.state import TenantBillingState
from admin_app.pages.tenant_billing.subscriptions import subscriptions_panel
from admin_app.pages.tenant_billing.unbilled_usage import unbilled_usage_panel
from admin_app.shell import guard_control
from shared.access import actions
from shared.ui.banners import banner, empty_state, local_time, skeleton_rows
from shared.ui.controls import button, icon_button
from shared.ui.decision_trace import change_list
from shared.ui.dialogs import dialog_opener
from shared.ui.panels import panel, small, stat, stat_grid, strong, text_with_note
from shared.ui.shell import link
from shared.ui.tables import Column, badge, data_table, has_items, table_row

INVOICE_COLUMNS = [
    Column("Invoice"),
    Column("Status"),
    Column("Due", align_end=True, hidden_on_phone=True),
    Column("Total", align_end=True),
    Column("Date", align_end=True, hidden_on_phone=True),
    Column("Why", align_end=True),
]


def summary_stats() -> rx.Component:
    summary: Any = TenantBillingState.summary
    changed_text = rx.cond(
        summary.changed_at != "", rx.fragment("Since ", local_time(summary.changed_at, "", "moment"))
    )
    return stat_grid(
        stat("Access", badge(summary.access, summary.tone), summary.reason),
        stat("Subscription", badge(summary.provider_status, summary.provider_tone), changed_text),
        stat("Payment method", summary.method, rx.fragment("Seats: ", summary.seats)),
        stat("Balance", summary.balance, summary.balance_note),
    )


def customers_panel() -> rx.Component:
    def line(customer: CustomerRow) -> rx.Component:
        synced_text = rx.cond(
            customer.synced_at != "",
            rx.fragment("Last synced ", local_time(customer.synced_at, "", "ago")),
            "Not synced yet",
        )
        name = rx.el.span(
            rx.el.code(customer.id, class_name="mono cut-anywhere"),
            icon_button("Copy id", "copy", on_click=rx.set_clipboard(customer.id)),
            class_name="row",
        )
        return rx.el.li(
            text_with_note(name, small("Account ", customer.account, " · ", synced_text)),
            link("Open in Stripe", customer.href, class_name="link small nowrap", target="_blank"),
        )

    compare_button = guard_control(
        actions.OP_BILLING_RECONCILE,
        button("Compare now", glyph="git-compare-arrows", **dialog_opener(TenantBillingState, "compare")),
        "Compare now",
        glyph="git-compare-arrows",
        id="refused-compare",
    )
    no_customer = empty_state(
        "This customer isn’t in Stripe yet",
        "The customer is created during provisioning.",
        glyph="building-2",
    )
    customer_list = rx.el.ul(
        rx.foreach(TenantBillingState.customers, line), class_name="list", data_testid="customers"
    )
    return panel(
        rx.cond(has_items(TenantBillingState.customers), customer_list, no_customer),
        title="In Stripe",
        aside=compare_button,
    )


def phases_panel() -> rx.Component:
    def line(phase: AccessPhaseRow) -> rx.Component:
        return rx.el.li(
            text_with_note(
                rx.el.span(strong(local_time(phase.starts_at, "", "moment")), class_name="row"),
                small(phase.reason),
            ),
            badge(phase.access, phase.tone),
        )

    phase_list = rx.el.ol(
        rx.foreach(TenantBillingState.phases, line), class_name="list", data_testid="stages"
    )
    no_phases = empty_state("No scheduled changes", "Nothing ends or changes on a date.", glyph="clock")
    return panel(
        rx.cond(has_items(TenantBillingState.phases), phase_list, no_phases),
        title="Scheduled changes",
    )


def invoices_panel() -> rx.Component:
    def line(invoice: TenantInvoiceRow) -> rx.Component:
        return table_row(
            INVOICE_COLUMNS,
            invoice_cell(invoice, local_time(invoice.at, "", "day")),
            badge(invoice.status, invoice.tone),
            rx.el.div(
                invoice.due,
                rx.cond(invoice.due_at != "", rx.el.div(small("by ", local_time(invoice.due_at, "", "day")))),
            ),
            rx.fragment(invoice.total, rx.cond(invoice.tax != "", rx.el.div(small(invoice.tax)))),
            local_time(invoice.at, "", "day"),
            rx.el.div(
                mark_paid_button(invoice),
                explain_button(TenantBillingState, invoice.id),
                class_name="row wrap",
                style={"justifyContent": "flex-end"},
            ),
        )

    table = data_table(
        "Invoices", INVOICE_COLUMNS, rx.foreach(TenantBillingState.invoices, line), test_id="bills"
    )
    no_invoices = empty_state(
        "No invoices yet", "Invoices appear after the first order.", glyph="receipt-text"
    )
    return panel(rx.cond(has_items(TenantBillingState.invoices), table, no_invoices), title="Latest invoices")


def adjustments_panel() -> rx.Component:
    def line(adjustment: AdjustmentRow) -> rx.Component:
        retry_button = rx.cond(
            adjustment.is_stuck,
            guard_control(
                actions.OP_BILLING_ADJUST,
                button("Retry", kind="quiet", **dialog_opener(TenantBillingState, "again", adjustment.id)),
                "Retry",
                id=f"again-{adjustment.id}",
            ),
        )
        adjustment_text = rx.el.div(
            rx.el.span(
                strong(adjustment.title), badge(adjustment.state, adjustment.tone), class_name="row wrap"
            ),
            small(adjustment.details, class_name="cut-anywhere"),
            rx.cond(
                adjustment.error != "",
                small("Stripe’s answer: ", adjustment.error, class_name="cut-anywhere"),
            ),
            small(local_time(adjustment.at, "", "moment")),
            class_name="two",
        )
        return rx.el.li(adjustment_text, retry_button)

    state = TenantBillingState
    adjust_button = guard_control(
        actions.OP_BILLING_ADJUST,
        button("Adjust", glyph="hand-coins", **dialog_opener(state, "adjust"), data_testid="adjust"),
        "Adjust",
        glyph="hand-coins",
        id="refused-adjust",
    )
    trial_button = guard_control(
        actions.OP_BILLING_ADJUST,
        button("Grant trial", **dialog_opener(state, "trial"), data_testid="grant-trial"),
        "Grant trial",
        id="refused-trial",
    )
    adjustment_list = rx.el.ul(
        rx.foreach(state.adjustments, line), class_name="list", data_testid="adjustments"
    )
    no_adjustments = empty_state(
        "No adjustments yet",
        "Credits, refunds and debits appear here.",
        glyph="hand-coins",
    )
    return panel(
        rx.cond(has_items(state.adjustments), adjustment_list, no_adjustments),
        title="Adjustments",
        aside=rx.el.div(trial_button, adjust_button, class_name="row"),
    )


def changes_panel(title: str, rows: Any, empty_text: rx.Component, test_id: str) -> rx.Component:
    def line(change: BillingChangeRow) -> rx.Component:
        label_badge = rx.cond(change.badge_label != "", badge(change.badge_label, change.tone))
        webhook_links = rx.foreach(
            change.webhooks,
            lambda webhook: link(
                rx.el.code(webhook[0], class_name="mono cut-anywhere"),
                webhook[1],
                class_name="plain-link small",
            ),
        )
        no_change = small("No changes.")
        return rx.el.li(
            rx.el.div(
                rx.el.span(strong(change.title), label_badge, class_name="row wrap"),
                small(change.details, " · ", local_time(change.at, "", "moment")),
                rx.cond(has_items(change.webhooks), rx.el.span(webhook_links, class_name="row wrap")),
                rx.cond(has_items(change.changes), change_list(change.changes), no_change),
                class_name="troubled",
            )
        )

    change_items = rx.el.ol(rx.foreach(rows, line), class_name="list", data_testid=test_id)
    return panel(rx.cond(has_items(rows), change_items, empty_text), title=title)


def billing_panel() -> rx.Component:
    state = TenantBillingState
    alert = rx.cond(
        state.summary.alert != "",
        panel(banner(state.summary.alert, tone="warn", glyph="triangle-alert"), name="Needs attention"),
    )
    no_events = empty_state("No events yet", "Changes in Stripe appear here.", glyph="scroll-text")
    no_drift = empty_state(
        "No differences found",
        "Differences between our data and Stripe appear here.",
        glyph="circle-check",
    )
    shown = rx.el.div(
        alert,
        panel(summary_stats(), name="Billing status"),
        rx.el.div(customers_panel(), phases_panel(), class_name="split", data_even="true"),
        subscriptions_panel(),
        invoices_panel(),
        evidence_panel(TenantBillingState),
        orders_panel(),
        unbilled_usage_panel(),
        adjustments_panel(),
        prepaid_panels(),
        changes_panel("Changes and their causes", state.events, no_events, "billing-events"),
        changes_panel("Drift", state.drift, no_drift, "billing-drift"),
        billing_dialogs(),
        prepaid_dialogs(),
        order_dialogs(),
        class_name="stack",
    )
    return rx.cond(state.loaded, shown, panel(skeleton_rows(5), name="Billing"))
