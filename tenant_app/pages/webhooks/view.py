"""The webhooks page: endpoints, the deliveries of one of them, and the catalog of events."""

from typing import Any

import reflex as rx

from shared.outbound_webhooks import actions
from shared.outbound_webhooks.retries import RETRY_POLICY
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button, icon, icon_button, menu, select
from shared.ui.dialogs import dialog_opener
from shared.ui.list_state import list_pager
from shared.ui.panels import panel, section, small, text_with_note
from shared.ui.shell import page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row
from tenant_app.frame import page
from tenant_app.pages.webhooks.deliveries_state import REPLAY_DAYS
from tenant_app.pages.webhooks.dialogs import webhook_dialogs
from tenant_app.pages.webhooks.rows import STATUS_CHOICES, DeliveryRow, EndpointRow, EventRow
from tenant_app.pages.webhooks.state import WebhooksState
from tenant_app.shell import guard_control, is_allowed

DELIVERY_COLUMNS = [
    Column("Event"),
    Column("Status"),
    Column("Attempts", align_end=True, hidden_on_phone=True),
    Column("Happened", align_end=True, hidden_on_phone=True),
    Column("Open", align_end=True, label_hidden=True),
]
SNIPPET = """# pip install standardwebhooks
from standardwebhooks import Webhook, WebhookVerificationError

def receive(body: bytes, headers: dict[str, str]) -> int:
    try:
        event = Webhook(SECRET).verify(body, headers)
    except WebhookVerificationError:
        return 400
    if is_known(event["id"]):  # an event may come twice, with the same id
        return 200
    store(event)  # answer within 10 seconds, then do the work
    return 200"""


def endpoint_menu(endpoint: EndpointRow) -> rx.Component:
    def item(glyph: str, label: str, dialog: str, **props: Any) -> rx.Component:
        opened = WebhooksState.open_dialog(dialog, endpoint.id)
        return rx.menu.item(icon(glyph), label, on_select=opened, **props)

    pause = rx.cond(
        endpoint.is_paused,
        rx.fragment(),
        rx.menu.item(icon("pause"), "Pause", on_select=WebhooksState.pause_endpoint(endpoint.id)),
    )
    return menu(
        icon_button(f"Manage {endpoint.url}", "ellipsis", data_testid="endpoint-menu"),
        item("pencil", "Change", "change"),
        item("key-round", "Rotate secret", "rotate"),
        pause,
        rx.menu.separator(),
        item("trash-2", "Delete", "delete", color_scheme="red"),
        align="end",
    )


def endpoint_line(endpoint: EndpointRow) -> rx.Component:
    name = rx.el.h2(
        rx.el.span(endpoint.url, class_name="mono cut-anywhere"),
        " ",
        badge(endpoint.status, endpoint.tone),
    )
    last = rx.cond(
        endpoint.last_at != "", rx.fragment(" · last attempt ", local_time(endpoint.last_at, "", "ago"))
    )
    notes = rx.fragment(
        small(
            rx.cond(endpoint.description != "", rx.fragment(endpoint.description, " · ")),
            endpoint.events_text,
            last,
        ),
        rx.cond(endpoint.note != "", small(endpoint.note)),
    )
    test = button(
        "Send test event",
        on_click=WebhooksState.send_test(endpoint.id),
        data_once="true",
        aria_label=f"Send a test event to {endpoint.url}",
        data_testid="send-test",
    )
    resume = button(
        "Resume",
        on_click=WebhooksState.resume_endpoint(endpoint.id),
        data_once="true",
        aria_label=f"Resume {endpoint.url}",
        data_testid="resume",
    )
    controls = rx.el.div(
        button(
            "Deliveries",
            on_click=WebhooksState.show_deliveries(endpoint.id),
            aria_label=f"Deliveries to {endpoint.url}",
            aria_pressed=endpoint.is_shown,
            data_testid="show-deliveries",
        ),
        rx.cond(
            endpoint.is_paused,
            guard_control(
                actions.WEBHOOK_RESUME,
                resume,
                "Resume",
                obstacle=endpoint.obstacle,
                id=f"resume-{endpoint.id}",
            ),
            guard_control(
                actions.WEBHOOK_TEST,
                test,
                "Send test event",
                obstacle=endpoint.obstacle,
                id=f"test-{endpoint.id}",
            ),
        ),
        rx.cond(is_allowed(actions.WEBHOOK_DELETE), endpoint_menu(endpoint)),
        class_name="row",
    )
    return rx.el.li(text_with_note(name, notes), controls, class_name="wrap", data_testid="endpoint")


def endpoints_panel(add: rx.Component) -> rx.Component:
    endpoint_list = rx.el.ul(
        rx.foreach(WebhooksState.rows, endpoint_line), class_name="list", data_testid="endpoints"
    )
    nothing = empty_state(
        "No webhooks yet",
        "Add one to tell your own systems what happens in this organisation.",
        add,
        glyph="webhook",
    )
    content = rx.cond(has_items(WebhooksState.rows), endpoint_list, nothing)
    return panel(rx.cond(WebhooksState.loaded, content, skeleton_rows(2)), name="Webhooks")


def delivery_line(delivery: DeliveryRow) -> rx.Component:
    next_attempt = rx.fragment(" Next attempt ", local_time(delivery.due_at, "", "ago"), ".")
    due = rx.cond(
        WebhooksState.shown_is_paused,
        rx.cond(delivery.is_pending, rx.fragment(" Waits until the webhook is resumed.")),
        rx.cond(delivery.due_at != "", next_attempt),
    )
    show = rx.cond(
        delivery.is_readable,
        icon_button(
            f"Open the delivery of {delivery.event_type}",
            "eye",
            **dialog_opener(WebhooksState, "delivery", delivery.id),
            data_testid="open-delivery",
        ),
    )
    return table_row(
        DELIVERY_COLUMNS,
        text_with_note(
            rx.el.code(delivery.event_type, class_name="mono"),
            small(local_time(delivery.created_at, "", "moment"), class_name="only-small"),
        ),
        text_with_note(badge(delivery.status, delivery.tone), small(delivery.note, due)),
        delivery.attempts_text,
        local_time(delivery.created_at, "", "moment"),
        show,
    )


def deliveries_section() -> rx.Component:
    table = data_table(
        "Deliveries",
        DELIVERY_COLUMNS,
        rx.foreach(WebhooksState.deliveries, delivery_line),
        footer=list_pager(WebhooksState),
        test_id="deliveries",
    )
    nothing = rx.cond(
        WebhooksState.status != "",
        empty_state("No deliveries match", "Choose another status.", glyph="search-x"),
        empty_state("No deliveries yet", "Send a test event to try it.", glyph="send"),
    )
    replay = button(
        "Send failed ones again",
        glyph="rotate-ccw",
        on_click=WebhooksState.replay_failed,
        data_once="true",
        title=f"Those of the last {REPLAY_DAYS} days",
    )
    toolbar = rx.el.div(
        select("Status", STATUS_CHOICES, value=WebhooksState.status, on_change=WebhooksState.choose_status),
        guard_control(actions.WEBHOOK_REPLAY, replay, "Send failed ones again", glyph="rotate-ccw"),
        small(WebhooksState.shown_url, class_name="mono cut-anywhere"),
        class_name="row wrap",
    )
    content = panel(rx.cond(has_items(WebhooksState.deliveries), table, nothing), name="Deliveries")
    return rx.cond(
        WebhooksState.shown_id != "",
        section("Deliveries", rx.el.div(toolbar, content, class_name="section")),
    )


def event_line(event: EventRow) -> rx.Component:
    title = rx.el.span(
        event.title,
        rx.cond(event.order_text != "", rx.fragment(" ", badge(event.order_text, "idle"))),
        rx.cond(event.is_readable, rx.fragment(), rx.fragment(" ", badge("No permission", "warn"))),
    )
    example = rx.el.details(
        rx.el.summary("Example", class_name="small muted", aria_label=f"Example of {event.name}"),
        rx.el.pre(event.example, class_name="payload"),
    )
    name = text_with_note(title, rx.el.code(event.name, class_name="mono muted cut-anywhere"))
    return rx.el.li(rx.el.div(name, example, class_name="troubled"), data_testid="event")


def catalog_section() -> rx.Component:
    event_list = rx.el.ul(
        rx.foreach(WebhooksState.events, event_line), class_name="list", data_testid="events"
    )
    return section(
        "Events",
        panel(rx.cond(WebhooksState.loaded, event_list, skeleton_rows(6)), name="Events"),
    )


def verification_section() -> rx.Component:
    words = rx.el.p(
        "Requests are signed as Standard Webhooks defines it; its libraries exist for most languages. "
        "Events are sent at least once: the id tells you which one you know already. "
        "Those marked “In order” arrive in the order in which they happened. "
        f"Failed ones are tried {RETRY_POLICY.max_attempts} times in about {RETRY_POLICY.total_hours} hours.",
        class_name="small muted",
    )
    return section(
        "Verify a signature",
        panel(
            words,
            rx.el.pre(SNIPPET, class_name="payload"),
            name="Verify a signature",
            body=True,
        ),
    )


@rx.page(route="/t/[tenant]/webhooks", title="Webhooks · Bulkhead", on_load=WebhooksState.load)
def webhooks_page() -> rx.Component:
    def add(test_id: str) -> rx.Component:
        control = button(
            "Add webhook",
            kind="primary",
            glyph="plus",
            **dialog_opener(WebhooksState, "create"),
            data_testid=test_id,
        )
        return guard_control(actions.WEBHOOK_CREATE, control, "Add webhook", glyph="plus", id=test_id)

    return page(
        page_header(
            "Webhooks",
            description="Tell your own systems what happens in this organisation.",
            actions=[add("add-webhook")],
        ),
        endpoints_panel(add("add-first-webhook")),
        deliveries_section(),
        catalog_section(),
        verification_section(),
        webhook_dialogs(),
        current="Webhooks",
        load=WebhooksState.load,
    )
