"""The page: the list of keys, then service accounts and token issuers."""

from typing import Any

import reflex as rx

from shared.access.actions import Action
from shared.api_keys.actions import API_KEY_CREATE, API_KEY_REVOKE
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button, icon, icon_button, menu
from shared.ui.dialogs import dialog_opener
from shared.ui.list_state import list_pager
from shared.ui.panels import panel, small, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import badge, data_table, has_items, table_row
from shared.ui.upsell import upsell_panel
from tenant_app.frame import page, upsell_action
from tenant_app.nav import page_href
from tenant_app.pages.api_keys.account_view import account_dialogs, accounts_section
from tenant_app.pages.api_keys.dialogs import key_dialogs
from tenant_app.pages.api_keys.issuer_view import issuer_dialogs, issuers_section
from tenant_app.pages.api_keys.rows import COLUMNS, KeyRow
from tenant_app.pages.api_keys.state import ApiKeysState
from tenant_app.shell import guard_control, guard_menu_item, is_visible


def _scopes(key: KeyRow) -> rx.Component:
    """The first one in plain words; all of them on demand."""
    all_scopes = rx.el.ul(
        rx.foreach(
            key.scopes,
            lambda scope: rx.el.li(scope.text, " ", rx.el.code(scope.code, class_name="mono muted")),
        ),
        class_name="small",
    )
    return rx.el.details(rx.el.summary(key.scopes_text), all_scopes, class_name="scopes")


def _last_use(key: KeyRow) -> rx.Component:
    used = text_with_note(
        local_time(key.last_used_at, "", "ago"), small(key.last_used_address, class_name="cut-anywhere")
    )
    return rx.cond(key.last_used_at != "", used, rx.el.span("Never", class_name="muted"))


def _status(key: KeyRow) -> rx.Component:
    """The badge, and what ends when."""
    by_person = rx.cond(key.revoked_by != "", rx.fragment(" by ", key.revoked_by))
    note = rx.cond(
        key.is_revoked,
        rx.fragment(local_time(key.revoked_at, "", "day"), by_person),
        rx.cond(
            key.expires_at != "",
            rx.fragment(rx.cond(key.is_active, "Expires ", "Ended "), local_time(key.expires_at, "", "ago")),
            "Never expires",
        ),
    )
    former_note = rx.cond(
        key.previous_hint != "",
        small("Former key ", key.previous_hint, " until ", local_time(key.previous_ends_at, "", "moment")),
    )
    return rx.el.div(badge(key.status, key.tone), small(note), former_note, class_name="two")


def _key_menu(key: KeyRow) -> rx.Component:
    def item(action: Action, glyph: str, label: str, kind: str, **props: Any) -> rx.Component:
        control = rx.menu.item(icon(glyph), label, on_select=ApiKeysState.open_dialog(kind, key.id), **props)
        obstacle = None if action is API_KEY_REVOKE else key.obstacle
        return guard_menu_item(action, control, glyph, label, obstacle=obstacle)

    return menu(
        icon_button(f"Actions for {key.name}", "ellipsis"),
        rx.cond(key.is_active, item(API_KEY_CREATE, "pencil", "Change", "change")),
        rx.cond(key.is_active, item(API_KEY_CREATE, "refresh-cw", "Rotate", "rotate")),
        item(API_KEY_REVOKE, "ban", "Revoke", "revoke", color_scheme="red"),
        align="end",
    )


def key_line(key: KeyRow) -> rx.Component:
    name = rx.el.div(
        rx.el.span(key.name, class_name="strong cut-anywhere"),
        rx.el.code(key.hint, class_name="mono muted small"),
        rx.cond(key.limits_text != "", small(key.limits_text)),
        small(key.holder, " · ", key.scopes_text, " · ", _used_ago(key), class_name="only-small"),
        class_name="two",
    )
    holder = text_with_note(
        rx.el.span(key.holder, class_name="cut-anywhere"),
        rx.cond(key.holder_note != "", small(key.holder_note)),
    )
    return table_row(
        COLUMNS,
        name,
        holder,
        _scopes(key),
        _status(key),
        _last_use(key),
        rx.cond(is_visible(API_KEY_REVOKE) & ~key.is_revoked, _key_menu(key)),
    )


def _used_ago(key: KeyRow) -> rx.Component:
    used = rx.fragment("used ", local_time(key.last_used_at, "", "ago"))
    return rx.cond(key.last_used_at != "", used, "never used")


def _test_mode_link() -> rx.Component:
    """From the live keys to those of test mode."""
    test_keys = link("Keys of test mode", f"/t/{ApiKeysState.test_slug}/api-keys")
    return rx.cond(ApiKeysState.test_slug != "", rx.fragment(" · ", test_keys))


def keys_panel() -> rx.Component:
    no_keys = empty_state(
        "No API keys",
        "A key lets a program use the API with the scopes you choose.",
        glyph="key-round",
    )
    table = data_table(
        "API keys",
        COLUMNS,
        rx.foreach(ApiKeysState.rows, key_line),
        footer=list_pager(ApiKeysState),
        test_id="keys",
    )
    is_offered: Any = ApiKeysState.upsell.feature != ""
    offer = rx.cond(
        is_offered, upsell_panel(ApiKeysState.upsell_reason, ApiKeysState.upsell, upsell_action())
    )
    content = rx.cond(has_items(ApiKeysState.rows), table, no_keys)
    box = panel(rx.cond(ApiKeysState.loaded, content, skeleton_rows(3)), name="API keys")
    return rx.fragment(offer, rx.cond(is_offered & ~has_items(ApiKeysState.rows), rx.fragment(), box))


@rx.page(route="/t/[tenant]/api-keys", title="API keys · Bulkhead", on_load=ApiKeysState.load)
def api_keys_page() -> rx.Component:
    new = button(
        "New key",
        kind="primary",
        glyph="plus",
        **dialog_opener(ApiKeysState, "create"),
        data_testid="create-key",
    )
    return page(
        page_header(
            "API keys",
            description=rx.fragment(
                "Programs use them to call the API. ",
                link("Audit log", page_href("audit")),
                _test_mode_link(),
            ),
            actions=[guard_control(API_KEY_CREATE, new, "New key", glyph="plus")],
        ),
        keys_panel(),
        accounts_section(),
        issuers_section(),
        key_dialogs(),
        account_dialogs(),
        issuer_dialogs(),
        current="API keys",
        load=ApiKeysState.load,
    )
