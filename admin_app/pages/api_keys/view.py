"""The page: operators' API keys and their dialogs."""

from typing import Any

import reflex as rx

from admin_app.frame import page
from admin_app.pages.api_keys.rows import (
    COLUMNS,
    DEFAULT_OVERLAP,
    LIFETIMES,
    OVERLAPS,
    OperatorKeyRow,
)
from admin_app.pages.api_keys.state import SECRET_DIALOG, OperatorKeysState
from admin_app.shell import guard_control, is_allowed
from shared.access import actions
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import (
    button,
    checkbox_group,
    dialog_field,
    icon,
    icon_button,
    menu,
    radio_cards,
    text_area,
    text_input,
)
from shared.ui.dialogs import (
    OPERATOR_AUDIT_HINT,
    dialog_opener,
    form_dialog,
    reason_field,
    result_dialog,
)
from shared.ui.list_state import list_pager
from shared.ui.one_time_secret import one_time_secret
from shared.ui.panels import panel, small, text_with_note
from shared.ui.shell import page_header
from shared.ui.tables import badge, data_table, has_items, table_row


def _scopes(key: OperatorKeyRow) -> rx.Component:
    all_scopes = rx.el.ul(
        rx.foreach(
            key.scopes,
            lambda scope: rx.el.li(
                scope.text,
                " ",
                rx.el.code(scope.code, class_name="mono muted"),
                rx.cond(scope.note != "", rx.el.span(" · ", scope.note, class_name="muted")),
            ),
        ),
        class_name="small",
    )
    return rx.el.details(rx.el.summary(key.scopes_text), all_scopes, class_name="scopes")


def _status(key: OperatorKeyRow) -> rx.Component:
    """The badge, and what ends when."""
    note = rx.cond(
        key.is_revoked,
        rx.fragment(local_time(key.revoked_at, "", "day"), " by ", key.revoked_by),
        rx.cond(
            key.expires_at != "",
            rx.fragment(rx.cond(key.is_active, "Expires ", "Ended "), local_time(key.expires_at, "", "ago")),
            "Never expires",
        ),
    )
    former_note = rx.cond(
        key.previous_hint != "",
        small("Former secret ", key.previous_hint, " until ", local_time(key.previous_ends_at, "", "moment")),
    )
    return rx.el.div(badge(key.status, key.tone), small(note), former_note, class_name="two")


def _key_menu(key: OperatorKeyRow) -> rx.Component:
    def item(glyph: str, label: str, kind: str, **props: Any) -> rx.Component:
        return rx.menu.item(
            icon(glyph), label, on_select=OperatorKeysState.open_dialog(kind, key.id), **props
        )

    return menu(
        icon_button(f"Actions for {key.name}", "ellipsis"),
        rx.cond(key.is_active & key.is_own, item("refresh-cw", "Rotate", "rotate")),
        item("ban", "Revoke", "revoke", color_scheme="red"),
        align="end",
    )


def _key_line(key: OperatorKeyRow) -> rx.Component:
    name = rx.el.div(
        rx.el.span(key.name, class_name="strong cut-anywhere"),
        rx.el.code(key.hint, class_name="mono muted small"),
        rx.cond(key.networks_text != "", small("From ", key.networks_text, class_name="cut-anywhere")),
        small(key.operator, " · ", key.scopes_text, class_name="only-small"),
        class_name="two",
    )
    used = text_with_note(
        local_time(key.last_used_at, "", "ago"), small(key.last_used_address, class_name="cut-anywhere")
    )
    return table_row(
        COLUMNS,
        name,
        rx.el.span(key.operator, class_name="cut-anywhere"),
        _scopes(key),
        _status(key),
        rx.cond(key.last_used_at != "", used, rx.el.span("Never", class_name="muted")),
        rx.cond(is_allowed(actions.OP_API_KEY_WRITE) & ~key.is_revoked, _key_menu(key)),
    )


def _code_field(form_name: str) -> rx.Component:
    """`form_name` makes the id of the input unique on its page."""
    field_id = f"{form_name}-code"
    control = text_input(field_id, name="code", required=True, max_length=40, auto_complete="one-time-code")
    return dialog_field(
        "Two-factor code",
        control,
        id=field_id,
        name="code",
        hint="From your authenticator app, because a key outlives your session.",
    )


def _create_dialog() -> rx.Component:
    name = text_input(
        "name", required=True, auto_complete="off", max_length=60, placeholder="Provisioning of trials"
    )
    lifetime = rx.el.select(
        *(rx.el.option(label, value=value) for value, label in LIFETIMES),
        name="lifetime",
        class_name="input",
        default_value=LIFETIMES[0][0],
        custom_attrs={"id": "lifetime"},
    )
    return form_dialog(
        OperatorKeysState,
        "create",
        "New API key",
        "A program can do what both its scopes and your role allow. Both are checked on every request.",
        dialog_field("Name", name, id="name"),
        checkbox_group("Scopes", OperatorKeysState.boxes),
        dialog_field("Expires", lifetime, id="lifetime"),
        dialog_field(
            "IP addresses",
            text_area("networks", placeholder="203.0.113.0/24"),
            id="networks",
            hint="Where the key works, one address or network a line. Empty: everywhere.",
        ),
        reason_field("create", OPERATOR_AUDIT_HINT),
        _code_field("create"),
        confirm="Create key",
        submit=OperatorKeysState.create_key,
        wide=True,
    )


def _rotate_dialog() -> rx.Component:
    subject = OperatorKeysState.subject
    return form_dialog(
        OperatorKeysState,
        "rotate",
        f"Rotate {subject.name}",
        "You get a new secret. Name, scopes and expiry stay the same.",
        radio_cards("How long the current secret keeps working", "overlap", OVERLAPS, value=DEFAULT_OVERLAP),
        reason_field("rotate", OPERATOR_AUDIT_HINT),
        _code_field("rotate"),
        confirm="Rotate key",
        submit=OperatorKeysState.rotate_key,
    )


def _revoke_dialog() -> rx.Component:
    subject = OperatorKeysState.subject
    last_use = rx.cond(
        subject.last_used_at != "",
        small("Last used ", local_time(subject.last_used_at, "", "ago"), "."),
        small("It has never been used."),
    )
    return form_dialog(
        OperatorKeysState,
        "revoke",
        f"Revoke {subject.name}",
        "Programs that use it are refused immediately. This can’t be undone.",
        last_use,
        reason_field("revoke", OPERATOR_AUDIT_HINT),
        confirm="Revoke key",
        submit=OperatorKeysState.revoke_key,
        kind="danger-fill",
    )


def _secret_dialog() -> rx.Component:
    copy = icon_button(
        "Copy the curl example", "copy", on_click=rx.set_clipboard(OperatorKeysState.curl_text)
    )
    example = rx.el.section(
        rx.el.div(rx.el.h3("curl"), copy, class_name="bar"),
        rx.el.pre(OperatorKeysState.curl_text, class_name="payload", tab_index=0, aria_label="curl example"),
        class_name="hull example",
        aria_label="curl",
    )
    return result_dialog(
        OperatorKeysState,
        SECRET_DIALOG,
        f"Copy the secret of {OperatorKeysState.subject.name}",
        "Store it in a safe place now. We keep only a hash, so it can’t be shown again.",
        one_time_secret("secret", gone="This secret can’t be shown again. Rotate the key to get a new one."),
        example,
    )


@rx.page(route="/api-keys", title="API keys · Operator", on_load=OperatorKeysState.load)
def api_keys_page() -> rx.Component:
    new = button(
        "New key",
        kind="primary",
        glyph="plus",
        **dialog_opener(OperatorKeysState, "create"),
        data_testid="create-key",
    )
    table = data_table(
        "API keys",
        COLUMNS,
        rx.foreach(OperatorKeysState.rows, _key_line),
        footer=list_pager(OperatorKeysState),
        test_id="keys",
    )
    no_keys = empty_state(
        "No API keys", "A key lets a program use the operators’ API with the scopes you choose.", glyph="key"
    )
    content = rx.cond(has_items(OperatorKeysState.rows), table, no_keys)
    description = rx.fragment(
        "Programs use them to run the platform. The document is at ",
        rx.el.code("/api/operator/v1/openapi.json", class_name="mono"),
    )
    return page(
        page_header(
            "API keys",
            description=description,
            actions=[guard_control(actions.OP_API_KEY_WRITE, new, "New key", glyph="plus")],
        ),
        panel(rx.cond(OperatorKeysState.loaded, content, skeleton_rows(2)), name="API keys"),
        _create_dialog(),
        _rotate_dialog(),
        _revoke_dialog(),
        _secret_dialog(),
        current="API keys",
        load=OperatorKeysState.load,
    )
