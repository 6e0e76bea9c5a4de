"""/webhooks/[seller]/[webhook]: one webhook: its delivery and status, and for a reason its payload and changes."""

import reflex as rx

from admin_app.frame import page
from admin_app.pages.webhook.rows import BillingEventRow
from admin_app.pages.webhook.state import WebhookState
from admin_app.shell import guard_control
from shared.access import actions
from shared.ui import dialogs
from shared.ui.banners import empty_state, local_time, skeleton_block, skeleton_rows
from shared.ui.controls import button, icon_button
from shared.ui.decision_trace import change_list
from shared.ui.dialogs import OPERATOR_AUDIT_HINT, dialog_opener, form_dialog, reason_field
from shared.ui.panels import panel, small, stat, stat_grid, strong
from shared.ui.shell import link, page_header
from shared.ui.tables import badge, has_items


def webhook_stats() -> rx.Component:
    detail = WebhookState.detail
    done_at = rx.cond(detail.done_at != "", local_time(detail.done_at, "", "moment"), "Not yet")
    next_try = rx.cond(
        detail.due_at != "",
        rx.fragment("Next try ", local_time(detail.due_at, "", "ago")),
        detail.explanation,
    )
    tenant_link = rx.cond(
        detail.tenant_id != "",
        link(detail.tenant, f"/tenants/{detail.tenant_id}?tab=billing", class_name="plain-link"),
        rx.el.span("Unknown", class_name="muted"),
    )
    customer = rx.cond(
        detail.customer != "", rx.el.code(detail.customer, class_name="mono cut-anywhere"), "No customer"
    )
    shown_facts = stat_grid(
        stat(
            "Received",
            local_time(detail.received_at, "", "moment"),
            rx.fragment("Sent ", local_time(detail.created_at, "", "moment")),
        ),
        stat("Done", done_at, next_try),
        stat("Tenant", tenant_link, customer),
        stat("Attempts", detail.tries, rx.fragment(detail.mode, " · ", detail.version)),
    )
    error_text = rx.cond(
        detail.error != "",
        rx.el.div(
            small("Last error: ", rx.el.b(detail.error), class_name="cut-anywhere"), class_name="body ruled"
        ),
    )
    return panel(
        rx.cond(WebhookState.loaded, rx.fragment(shown_facts, error_text), skeleton_rows(1)),
        name="Delivery",
    )


def billing_event_item(event: BillingEventRow) -> rx.Component:
    title_row = rx.el.div(
        strong(event.cause),
        rx.cond(event.has_new_access, badge("Access updated", "accent")),
        small("Ticket ", event.ticket, " · ", local_time(event.at, "", "moment")),
        class_name="row wrap",
    )
    no_change = small("No changes.")
    request = rx.cond(
        event.request_id != "",
        small(
            link(rx.el.code(event.request_id, class_name="mono"), event.request_url, class_name="plain-link")
        ),
    )
    return rx.el.li(
        rx.el.div(
            title_row,
            rx.cond(has_items(event.changes), change_list(event.changes), no_change),
            request,
            class_name="troubled",
        )
    )


def contents_panel() -> rx.Component:
    state = WebhookState
    event_items = rx.el.ol(
        rx.foreach(state.effects, billing_event_item), class_name="list", data_testid="effects"
    )
    no_events = empty_state(
        "No changes yet",
        "Changes from the sync appear here. One sync can cover several webhooks.",
        glyph="git-compare-arrows",
    )
    copy = icon_button("Copy payload", "copy", on_click=rx.set_clipboard(state.payload))
    payload_box = rx.el.pre(
        state.payload, class_name="payload", tab_index=0, aria_label="Payload", data_testid="payload"
    )
    return rx.el.div(
        dialogs.access_banner("Access open: ", state.reason, state.end_visit),
        panel(rx.cond(has_items(state.effects), event_items, no_events), title="Changes"),
        panel(payload_box, title="Payload", aside=copy),
        class_name="section",
    )


def webhook_header() -> rx.Component:
    detail = WebhookState.detail
    crumbs = rx.el.nav(
        link("Webhooks", "/webhooks", class_name=""),
        rx.el.span("/", aria_hidden="true"),
        rx.el.span(detail.id, aria_current="page", class_name="cut-anywhere"),
        class_name="crumbs",
        aria_label="You are here",
    )
    title = rx.cond(
        WebhookState.loaded,
        rx.el.span(detail.type, class_name="cut-anywhere"),
        skeleton_block("220px", "24px"),
    )
    state = rx.cond(WebhookState.loaded, badge(detail.status, detail.tone))
    replay_button = rx.cond(
        WebhookState.loaded & detail.can_replay,
        guard_control(
            actions.OP_WEBHOOK_REPLAY,
            button(
                "Replay",
                glyph="rotate-cw",
                **dialog_opener(WebhookState, "replay"),
                data_testid="replay",
            ),
            "Replay",
            glyph="rotate-cw",
        ),
    )
    description = rx.cond(WebhookState.loaded, detail.explanation, skeleton_block("240px"))
    return page_header(
        title, breadcrumbs=crumbs, badges=state, description=description, actions=[replay_button]
    )


@rx.page(route="/webhooks/[seller]/[received]", title="Webhook · Operator", on_load=WebhookState.load)
def webhook_page() -> rx.Component:
    reason_form = dialogs.access_form(
        "Reason for access",
        WebhookState.start_visit,
        hint="Visible to the customer with your name. Valid for 30 minutes.",
        example="Ticket 4471, paid and still read-only",
    )
    replay = form_dialog(
        WebhookState,
        "replay",
        "Replay this webhook",
        "Syncs its customer again. Correct data isn’t changed.",
        reason_field("replay", OPERATOR_AUDIT_HINT),
        confirm="Replay",
        submit=WebhookState.replay_webhook,
    )
    visit_content = rx.cond(WebhookState.is_visit_open, contents_panel(), reason_form)
    return page(
        webhook_header(),
        webhook_stats(),
        rx.cond(WebhookState.loaded, visit_content),
        replay,
        current="Webhooks",
        load=WebhookState.load,
    )
