"""The panel of usage that nothing bills, on a tenant's billing tab."""

import reflex as rx

from admin_app.pages.tenant_billing.rows import UnbilledRow
from admin_app.pages.tenant_billing.state import TenantBillingState
from admin_app.shell import guard_control
from shared.access import actions
from shared.ui.banners import local_time
from shared.ui.controls import button
from shared.ui.dialogs import dialog_opener
from shared.ui.panels import panel, small, strong, text_with_note
from shared.ui.tables import has_items


def unbilled_usage_panel() -> rx.Component:
    def line(usage: UnbilledRow) -> rx.Component:
        settle_button = guard_control(
            actions.OP_BILLING_ADJUST,
            button("Settle", kind="quiet", **dialog_opener(TenantBillingState, "settle", usage.id)),
            "Settle",
            id=f"settle-{usage.id}",
        )
        return rx.el.li(
            text_with_note(
                strong(usage.title),
                small(
                    usage.problem,
                    " Oldest: ",
                    local_time(usage.oldest_at, "", "moment"),
                    class_name="cut-anywhere",
                ),
            ),
            rx.cond(usage.can_settle, settle_button),
        )

    usage_rows = TenantBillingState.unbilled_usage
    usage_list = rx.el.ul(rx.foreach(usage_rows, line), class_name="list", data_testid="unbilled-usage")
    return rx.cond(has_items(usage_rows), panel(usage_list, title="Usage that isn’t billed"))
