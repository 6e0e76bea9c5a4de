"""The dialogs of the webhooks page: add, change, rotate, delete, the new secret, one delivery."""

from typing import Any

import reflex as rx

from shared.outbound_webhooks.endpoints import MAX_DESCRIPTION_LENGTH, MAX_URL_LENGTH
from shared.ui.banners import local_time
from shared.ui.controls import button, checkbox_group, dialog_field, radio_cards, text_input
from shared.ui.dialogs import confirm_field, form_dialog
from shared.ui.field_errors import field_note
from shared.ui.panels import small, strong
from shared.ui.tables import badge, has_items
from tenant_app.pages.webhooks.rows import AttemptRow
from tenant_app.pages.webhooks.state import OVERLAPS, WebhooksState

URL_HINT = "https:// on port 443 of a host on the public internet."


def endpoint_editor(
    dialog_name: str, title: Any, sentence: str, confirm: str, submit: Any, version: Any = None
) -> rx.Component:
    subject = WebhooksState.subject
    url = text_input(
        "url",
        required=True,
        type="url",
        auto_complete="off",
        spell_check=False,
        max_length=MAX_URL_LENGTH,
        default_value=subject.url,
        placeholder="https://example.com/webhooks",
    )
    description = text_input(
        "description",
        auto_complete="off",
        max_length=MAX_DESCRIPTION_LENGTH,
        default_value=subject.description,
    )
    note = rx.el.div(field_note(f"{dialog_name}-events", "event_types"), class_name="field")
    return form_dialog(
        WebhooksState,
        dialog_name,
        title,
        sentence,
        dialog_field("Address", url, id="url", hint=URL_HINT),
        dialog_field("Description", description, id="description", hint="Optional, for your team."),
        rx.foreach(WebhooksState.groups, lambda group: checkbox_group(group.title, group.checkboxes)),
        note,
        confirm=confirm,
        submit=submit,
        wide=True,
        version=version,
    )


def secret_dialog() -> rx.Component:
    secret = rx.el.div(
        rx.el.code(WebhooksState.secret, class_name="mono cut-anywhere grow", data_testid="secret"),
        button("Copy", glyph="copy", type="button", on_click=rx.set_clipboard(WebhooksState.secret)),
        class_name="row",
    )
    return form_dialog(
        WebhooksState,
        "secret",
        "Signing secret",
        "It’s shown only now. Store it where your receiver reads it.",
        secret,
        confirm="I’ve stored it",
        submit=WebhooksState.forget_secret,
        back="Close",
    )


def attempt_item(attempt: AttemptRow) -> rx.Component:
    head = rx.el.div(
        badge(attempt.title, attempt.tone),
        small(local_time(attempt.at, "", "moment"), " · ", attempt.duration, class_name="num"),
        class_name="row wrap",
    )
    headers = rx.el.details(
        rx.el.summary("Request headers", class_name="small muted"),
        rx.el.pre(attempt.headers, class_name="payload"),
    )
    response = rx.cond(
        attempt.response != "",
        rx.fragment(
            small("Response"), rx.el.pre(attempt.response, class_name="payload", aria_label="Response")
        ),
        small("Empty answer."),
    )
    return rx.el.li(rx.el.div(head, response, headers, class_name="stack grow"))


def delivery_dialog() -> rx.Component:
    detail = WebhooksState.detail
    attempts = rx.el.ul(rx.foreach(detail.attempts, attempt_item), class_name="list", data_testid="attempts")
    return form_dialog(
        WebhooksState,
        "delivery",
        detail.event_type,
        rx.fragment("Event ", rx.el.code(detail.event_id, class_name="mono cut-anywhere")),
        rx.el.div(strong("Status"), badge(detail.status, detail.tone), class_name="row"),
        rx.el.div(
            strong("Request body"),
            rx.el.pre(detail.body, class_name="payload", data_testid="body"),
            class_name="stack",
        ),
        rx.el.div(
            strong("Attempts"),
            rx.cond(has_items(detail.attempts), attempts, small("Not tried yet.")),
            class_name="stack",
        ),
        confirm="Send again",
        submit=WebhooksState.replay_delivery,
        wide=True,
        back="Close",
    )


def webhook_dialogs() -> rx.Component:
    subject = WebhooksState.subject
    address = rx.el.code(subject.url, class_name="mono cut-anywhere")
    overlaps = [(key, label, sentence) for key, (label, sentence) in OVERLAPS.items()]
    return rx.fragment(
        endpoint_editor(
            "create",
            "Add webhook",
            "Choose where events are sent, and which.",
            "Add webhook",
            WebhooksState.create_endpoint,
        ),
        endpoint_editor(
            "change",
            "Change webhook",
            "Applies to events from now on. Deliveries that wait go to the new address.",
            "Save",
            WebhooksState.change_endpoint,
            subject.version,
        ),
        form_dialog(
            WebhooksState,
            "rotate",
            "Rotate secret",
            rx.fragment(address, ". The new signing secret is shown once."),
            radio_cards("The previous secret signs for", "overlap", overlaps, value="24"),
            confirm="Rotate secret",
            submit=WebhooksState.rotate_secret,
        ),
        form_dialog(
            WebhooksState,
            "delete",
            "Delete webhook",
            rx.fragment("Events that wait for ", address, " are not sent, and its secret is erased."),
            confirm_field("delete", subject.url),
            confirm="Delete webhook",
            submit=WebhooksState.delete_endpoint,
            kind="danger-fill",
        ),
        secret_dialog(),
        delivery_dialog(),
    )
