"""/webhooks: received webhooks, their processing status, and failures.

The list is read across tenants. The payload is on a page of its own, for a reason.
"""

from typing import Any

import reflex as rx

from admin_app import labels
from admin_app.frame import page
from admin_app.pages.webhooks.dialogs import webhook_dialogs
from admin_app.pages.webhooks.rows import AccountRow, FailingTypeRow, WebhookRow
from admin_app.pages.webhooks.state import TABS, WebhooksState
from admin_app.shell import guard_control
from shared.access import actions
from shared.backoffice import webhook_inbox
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.charts import meter
from shared.ui.controls import button, filter_form, form_field, select, text_input
from shared.ui.dialogs import dialog_opener
from shared.ui.list_state import list_pager
from shared.ui.panels import panel, small, stat_grid, strong, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

COLUMNS = [
    Column("Webhook"),
    Column("Tenant", hidden_on_phone=True),
    Column("Status"),
    Column("Attempts", align_end=True, hidden_on_phone=True),
    Column("Received", align_end=True, hidden_on_phone=True),
]
STATUS_CHOICES = [
    ("", "All states"),
    *((key, labels.WEBHOOK_STATUS_LABELS[key][0]) for key in webhook_inbox.STATUSES),
]


def webhook_stat(label: str, value: Any, note: Any, test_id: str) -> rx.Component:
    return rx.el.div(
        rx.el.h2(label, class_name="label"),
        rx.el.p(value, class_name="figure", data_testid=test_id),
        rx.el.p(note, class_name="small muted num"),
        class_name="stat",
    )


def webhook_stats() -> rx.Component:
    state = WebhooksState
    shown = stat_grid(
        webhook_stat("Waiting", state.backlog, state.oldest, "backlog"),
        webhook_stat("Delay", state.p95, "95th percentile, last hour", "delay"),
        webhook_stat("Parked", state.parked, "Unknown customer", "parked"),
        webhook_stat("Dead", state.dead, "Out of retries", "dead"),
    )
    return panel(rx.cond(state.loaded, shown, skeleton_rows(1)), name="Processing status")


def failures_panel() -> rx.Component:
    def line(failing_type: FailingTypeRow) -> rx.Component:
        counts = rx.fragment(
            rx.cond(failing_type.dead != "", rx.el.span(failing_type.dead, class_name="down")),
            rx.cond((failing_type.dead != "") & (failing_type.failing != ""), rx.fragment(" · ")),
            failing_type.failing,
        )
        bar = meter(
            failing_type.type,
            failing_type.count,
            failing_type.maximum,
            share=failing_type.share,
            tone=rx.cond(failing_type.dead != "", "bad", "warn"),
            value_text=failing_type.value_text,
        )
        return rx.el.li(
            rx.el.div(
                rx.el.div(
                    rx.el.code(failing_type.type, class_name="mono grow cut-anywhere"),
                    small(counts),
                    class_name="row",
                ),
                bar,
                class_name="troubled",
            )
        )

    type_list = rx.el.ul(rx.foreach(WebhooksState.types, line), class_name="list", data_testid="failures")
    no_failures = empty_state("No failures", "Event types with failures appear here.", glyph="circle-check")
    content = rx.cond(has_items(WebhooksState.types), type_list, no_failures)
    return panel(rx.cond(WebhooksState.loaded, content, skeleton_rows(2)), title="Failures by type")


def accounts_panel() -> rx.Component:
    def line(account: AccountRow) -> rx.Component:
        since_text = rx.cond(
            account.since != "", rx.fragment(" Since ", local_time(account.since, "", "moment"), ".")
        )
        signature_text = rx.cond(
            account.signature_failures != "",
            rx.fragment(
                *(" ", account.signature_failures, ", last "),
                *(local_time(account.signature_failed_at, "", "moment"), "."),
            ),
        )
        resume_button = rx.cond(
            account.is_paused,
            guard_control(
                actions.OP_ACCOUNT_WRITE,
                button("Resume", kind="quiet", **dialog_opener(WebhooksState, "resume", account.id)),
                "Resume",
                id=f"resume-{account.id}",
            ),
        )
        name = rx.el.span(
            strong(account.name), " ", badge(account.state, account.tone), class_name="row wrap"
        )
        return rx.el.li(
            text_with_note(
                name,
                small(
                    *(account.mode, " mode. ", account.status_text, since_text, signature_text),
                    class_name="cut-anywhere",
                ),
            ),
            resume_button,
        )

    account_list = rx.el.ul(
        rx.foreach(WebhooksState.accounts, line), class_name="list", data_testid="accounts"
    )
    return panel(rx.cond(WebhooksState.loaded, account_list, skeleton_rows(1)), title="Stripe accounts")


def webhook_filter() -> rx.Component:
    fields = [
        form_field(
            "Type", text_input("type", placeholder="invoice. or invoice.paid", max_length=255), id="type"
        ),
        form_field("Customer", text_input("customer", placeholder="cus_…", max_length=255), id="customer"),
        form_field("Event", text_input("event", placeholder="evt_…", max_length=255), id="event"),
    ]
    return filter_form(
        *fields,
        is_filtered=WebhooksState.filtered,
        on_apply=WebhooksState.apply_filter,
        on_clear=WebhooksState.clear_filter,
        test_id="webhook-filter",
    )


def webhook_line(webhook: WebhookRow) -> rx.Component:
    tenant_link = rx.cond(
        webhook.tenant_id != "",
        link(webhook.tenant, f"/tenants/{webhook.tenant_id}", class_name="plain-link"),
        rx.el.span("Unknown", class_name="muted"),
    )
    name = rx.el.div(
        link(webhook.type, webhook.href, class_name="strong"),
        small(
            rx.el.code(webhook.event_id, class_name="mono"),
            " · ",
            webhook.customer,
            class_name="cut-anywhere",
        ),
        rx.cond(webhook.error != "", small(webhook.error, class_name="cut-anywhere")),
        small(tenant_link, " · ", local_time(webhook.at, "", "ago"), class_name="only-small"),
        class_name="two",
    )
    return table_row(
        COLUMNS,
        name,
        tenant_link,
        badge(webhook.status, webhook.tone),
        webhook.tries,
        local_time(webhook.at, "", "ago"),
    )


def webhooks_table(nothing: rx.Component, test_id: str) -> rx.Component:
    state = WebhooksState
    webhook_table = data_table(
        "Webhooks", COLUMNS, rx.foreach(state.rows, webhook_line), footer=list_pager(state), test_id=test_id
    )
    return panel(
        rx.cond(state.loaded, rx.cond(has_items(state.rows), webhook_table, nothing), skeleton_rows(5)),
        name="Webhooks",
    )


def all_tab() -> rx.Component:
    no_webhooks = rx.cond(
        WebhooksState.filtered | (WebhooksState.status != ""),
        empty_state("No webhooks match your filters", "Change or clear the filters.", glyph="search-x"),
        empty_state(
            "No webhooks yet",
            "Webhooks arrive after the first payment. Check the endpoint URL in Stripe.",
            glyph="webhook",
        ),
    )
    status_select = select(
        "State", STATUS_CHOICES, value=WebhooksState.status, on_change=WebhooksState.choose_status
    )
    return rx.el.div(
        webhook_filter(),
        rx.el.div(status_select, class_name="row wrap"),
        webhooks_table(no_webhooks, "webhooks"),
        class_name="section",
    )


def dead_letters_tab() -> rx.Component:
    description = small(
        "All attempts failed. Replaying starts again; nothing is applied twice.", class_name="grow"
    )
    replay_button = rx.cond(
        has_items(WebhooksState.rows),
        guard_control(
            actions.OP_WEBHOOK_REPLAY,
            button(
                "Replay",
                glyph="rotate-cw",
                **dialog_opener(WebhooksState, "replay"),
                data_testid="replay-dead",
            ),
            "Replay",
            glyph="rotate-cw",
        ),
    )
    no_dead_letters = empty_state(
        "No dead letters", "Webhooks that failed every attempt appear here.", glyph="circle-check"
    )
    return rx.el.div(
        rx.el.div(description, replay_button, class_name="row"),
        webhooks_table(no_dead_letters, "dead-letters"),
        class_name="section",
    )


@rx.page(route="/webhooks", title="Webhooks · Operator", on_load=WebhooksState.load)
def webhooks_page() -> rx.Component:
    contents = {"all": all_tab, "dead": dead_letters_tab}
    panels = rx.tabs.root(
        rx.tabs.list(
            *[rx.tabs.trigger(name, value=key) for key, name in TABS.items()], aria_label="Which webhooks"
        ),
        *[rx.tabs.content(contents[key](), value=key) for key in TABS],
        value=WebhooksState.tab,
        on_change=WebhooksState.choose_tab,
    )
    sandbox_link = rx.cond(
        WebhooksState.sandbox_url != "",
        link("Sandbox controls", WebhooksState.sandbox_url, class_name="link", target="_blank"),
    )
    return page(
        page_header(
            "Webhooks",
            description="Incoming Stripe events; each triggers a sync.",
            actions=[sandbox_link],
        ),
        webhook_stats(),
        rx.el.div(failures_panel(), accounts_panel(), class_name="split", data_even="true"),
        panels,
        webhook_dialogs(),
        current="Webhooks",
        load=WebhooksState.load,
    )
