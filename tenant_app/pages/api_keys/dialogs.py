"""The dialogs of keys: create, change, rotate, revoke, and the secret that is shown once."""

from typing import Any

import reflex as rx

from shared.ui.banners import local_time
from shared.ui.controls import (
    checkbox_group,
    dialog_field,
    icon_button,
    radio_cards,
    text_area,
    text_input,
)
from shared.ui.dialogs import confirm_field, form_dialog, result_dialog
from shared.ui.one_time_secret import one_time_secret
from shared.ui.panels import small
from tenant_app.pages.api_keys.rows import DEFAULT_OVERLAP, LIFETIMES, LIVE, MODES, MYSELF, OVERLAPS
from tenant_app.pages.api_keys.state import SECRET_DIALOG, ApiKeysState


def _choice(label: str, name: str, options: Any, value: str, hint: str = "") -> rx.Component:
    control = rx.el.select(
        rx.foreach(options, lambda option: rx.el.option(option[1], value=option[0])),
        name=name,
        class_name="input",
        default_value=value,
        custom_attrs={"id": name},
    )
    return dialog_field(label, control, id=name, hint=hint)


def _name_field() -> rx.Component:
    control = text_input(
        "name",
        required=True,
        auto_complete="off",
        max_length=60,
        default_value=ApiKeysState.subject.name,
        placeholder="Nightly import",
    )
    return dialog_field("Name", control, id="name")


def _scope_fields() -> rx.Component:
    return rx.foreach(ApiKeysState.groups, lambda group: checkbox_group(group.title, group.checkboxes))


def _more_fields() -> rx.Component:
    subject = ApiKeysState.subject
    networks = text_area("networks", default_value=subject.networks, placeholder="203.0.113.0/24")
    origins = text_area("origins", default_value=subject.origins, placeholder="https://app.example.com")
    return rx.el.details(
        rx.el.summary("More: addresses and web pages"),
        rx.el.div(
            dialog_field(
                "IP addresses",
                networks,
                id="networks",
                hint="Where the key works, one address or network a line. Empty: everywhere.",
            ),
            dialog_field(
                "Origins",
                origins,
                id="origins",
                hint="Web pages that may use the key, one a line. Empty: none.",
            ),
            class_name="stack",
        ),
        open=(subject.networks != "") | (subject.origins != ""),
        class_name="more",
    )


def _create_dialog() -> rx.Component:
    return form_dialog(
        ApiKeysState,
        "create",
        "New API key",
        "Choose what it can do. A key never has more permissions than whoever it acts for.",
        _name_field(),
        rx.cond(ApiKeysState.test_slug != "", radio_cards("Mode", "mode", MODES, value=LIVE)),
        _choice("Acts for", "holder", ApiKeysState.holders, MYSELF),
        _scope_fields(),
        _choice("Expires", "lifetime", LIFETIMES, LIFETIMES[0][0]),
        _more_fields(),
        confirm="Create key",
        submit=ApiKeysState.create_key,
        wide=True,
    )


def _change_dialog() -> rx.Component:
    return form_dialog(
        ApiKeysState,
        "change",
        f"Change {ApiKeysState.subject.name}",
        "Takes effect on the next request. The secret stays the same.",
        _name_field(),
        _scope_fields(),
        _more_fields(),
        confirm="Change key",
        submit=ApiKeysState.change_key,
        wide=True,
        version=ApiKeysState.subject.version,
    )


def _rotate_dialog() -> rx.Component:
    subject = ApiKeysState.subject
    former_note = rx.cond(
        subject.previous_hint != "",
        small(subject.previous_hint, ", which an earlier rotation replaced, stops working now."),
    )
    return form_dialog(
        ApiKeysState,
        "rotate",
        f"Rotate {subject.name}",
        "You get a new secret. Name, scopes and expiry stay the same.",
        radio_cards("How long the current secret keeps working", "overlap", OVERLAPS, value=DEFAULT_OVERLAP),
        former_note,
        confirm="Rotate key",
        submit=ApiKeysState.rotate_key,
    )


def _revoke_dialog() -> rx.Component:
    subject = ApiKeysState.subject
    last_use = rx.cond(
        subject.last_used_at != "",
        small("Last used ", local_time(subject.last_used_at, "", "ago"), "."),
        small("It has never been used."),
    )
    return form_dialog(
        ApiKeysState,
        "revoke",
        f"Revoke {subject.name}",
        "Programs that use it are refused immediately. This can’t be undone.",
        last_use,
        confirm_field("revoke", subject.name),
        confirm="Revoke key",
        submit=ApiKeysState.revoke_key,
        kind="danger-fill",
    )


def _example(title: str, text: Any) -> rx.Component:
    copy = icon_button(f"Copy the {title} example", "copy", on_click=rx.set_clipboard(text))
    return rx.el.section(
        rx.el.div(rx.el.h3(title), copy, class_name="bar"),
        rx.el.pre(text, class_name="payload", tab_index=0, aria_label=f"{title} example"),
        class_name="hull example",
        aria_label=title,
    )


def _secret_dialog() -> rx.Component:
    subject = ApiKeysState.subject
    former_note = rx.cond(
        subject.previous_ends_at != "",
        small(
            "The former secret ",
            rx.el.code(subject.previous_hint, class_name="mono"),
            " works until ",
            local_time(subject.previous_ends_at, "", "moment"),
            ".",
        ),
    )
    return result_dialog(
        ApiKeysState,
        SECRET_DIALOG,
        f"Copy the secret of {subject.name}",
        "Store it in a safe place now. We keep only a hash, so it can’t be shown again.",
        one_time_secret("secret", gone="This secret can’t be shown again. Rotate the key to get a new one."),
        former_note,
        _example("curl", ApiKeysState.curl_text),
        _example("Python", ApiKeysState.python_text),
    )


def key_dialogs() -> rx.Component:
    return rx.fragment(
        _create_dialog(), _change_dialog(), _rotate_dialog(), _revoke_dialog(), _secret_dialog()
    )
