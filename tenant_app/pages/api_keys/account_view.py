"""Service accounts: their list and its dialogs."""

from typing import Any

import reflex as rx

from shared.access import actions
from shared.access.actions import Action
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button, dialog_field, icon, icon_button, menu, radio_cards, text_input
from shared.ui.dialogs import confirm_field, dialog_opener, form_dialog
from shared.ui.panels import panel, small
from shared.ui.tables import data_table, has_items, table_row
from tenant_app.pages.api_keys.rows import ACCOUNT_COLUMNS, AccountRow
from tenant_app.pages.api_keys.state import ApiKeysState
from tenant_app.shell import guard_control, guard_menu_item, is_allowed, is_visible


def _account_line(account: AccountRow) -> rx.Component:
    def item(action: Action, glyph: str, label: str, kind: str, **props: Any) -> rx.Component:
        control = rx.menu.item(
            icon(glyph), label, on_select=ApiKeysState.open_dialog(kind, account.id), **props
        )
        return guard_menu_item(action, control, glyph, label, obstacle=account.obstacle)

    change = menu(
        icon_button(f"Actions for {account.name}", "ellipsis"),
        item(actions.SERVICE_ACCOUNT_WRITE, "pencil", "Change", "change_account"),
        item(actions.SERVICE_ACCOUNT_END, "trash-2", "Delete", "end_account", color_scheme="red"),
        align="end",
    )
    return table_row(
        ACCOUNT_COLUMNS,
        rx.el.span(account.name, class_name="strong cut-anywhere"),
        account.role_name,
        small(local_time(account.created_at, "", "day"), " by ", account.created_by),
        rx.cond(is_visible(actions.SERVICE_ACCOUNT_END), change),
    )


def accounts_section() -> rx.Component:
    new = button(
        "New service account",
        glyph="plus",
        **dialog_opener(ApiKeysState, "create_account"),
        data_testid="create-account",
    )
    no_accounts = empty_state(
        "No service accounts",
        "Keys of a person end with their membership. Service accounts belong to the organisation and have a role of their own.",
        glyph="bot",
    )
    table = data_table(
        "Service accounts",
        ACCOUNT_COLUMNS,
        rx.foreach(ApiKeysState.accounts, _account_line),
        test_id="accounts",
    )
    content = rx.cond(has_items(ApiKeysState.accounts), table, no_accounts)
    heading = rx.el.div(
        rx.el.h2("Service accounts", class_name="grow"),
        guard_control(actions.SERVICE_ACCOUNT_WRITE, new, "New service account", glyph="plus"),
        class_name="row",
    )
    box = panel(rx.cond(ApiKeysState.loaded, content, skeleton_rows(1)), name="Service accounts")
    has_use: Any = (ApiKeysState.upsell.feature == "") | has_items(ApiKeysState.accounts)
    return rx.cond(
        is_allowed(actions.SERVICE_ACCOUNT_READ) & has_use, rx.el.div(heading, box, class_name="section")
    )


def _fields(name: Any, role: Any) -> list[rx.Component]:
    name_input = text_input(
        "name",
        required=True,
        auto_complete="off",
        max_length=60,
        default_value=name,
        placeholder="Deployments",
    )
    return [
        dialog_field("Name", name_input, id="name"),
        radio_cards("Role", "role", ApiKeysState.role_choices, value=role),
    ]


def account_dialogs() -> rx.Component:
    account = ApiKeysState.account
    create = form_dialog(
        ApiKeysState,
        "create_account",
        "New service account",
        "For programs. It has a role, and stays when people leave.",
        *_fields("", "member"),
        confirm="Create service account",
        submit=ApiKeysState.create_account,
    )
    change = form_dialog(
        ApiKeysState,
        "change_account",
        f"Change {account.name}",
        "Takes effect on the next request of its keys.",
        *_fields(account.name, account.role),
        confirm="Change service account",
        submit=ApiKeysState.change_account,
        version=account.version,
    )
    end = form_dialog(
        ApiKeysState,
        "end_account",
        f"Delete {account.name}",
        "Its keys stop working immediately. Past activity is kept.",
        confirm_field("end-account", account.name),
        confirm="Delete service account",
        submit=ApiKeysState.end_account,
        kind="danger-fill",
    )
    return rx.fragment(create, change, end)
