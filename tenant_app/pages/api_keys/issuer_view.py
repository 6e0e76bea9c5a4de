"""Token issuers: their list, how to test a token, and the dialogs."""

from typing import Any

import reflex as rx

from shared.access.actions import Action
from shared.api_keys.actions import JWT_ISSUER_DELETE, JWT_ISSUER_READ, JWT_ISSUER_WRITE
from shared.ui.banners import empty_state, skeleton_rows
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
from shared.ui.dialogs import confirm_field, dialog_opener, form_dialog
from shared.ui.panels import panel, small, text_with_note
from shared.ui.tables import badge, data_table, has_items, table_row
from tenant_app.pages.api_keys.issuer_rows import ISSUER_COLUMNS, IssuerRow
from tenant_app.pages.api_keys.issuers import NEW_ISSUER_DIALOG
from tenant_app.pages.api_keys.state import ApiKeysState
from tenant_app.shell import guard_control, guard_menu_item, is_allowed, is_visible


def _issuer_line(issuer: IssuerRow) -> rx.Component:
    def item(action: Action, glyph: str, label: str, kind: str, **props: Any) -> rx.Component:
        control = rx.menu.item(
            icon(glyph), label, on_select=ApiKeysState.open_dialog(kind, issuer.id), **props
        )
        return guard_menu_item(action, control, glyph, label, obstacle=issuer.obstacle)

    change = menu(
        icon_button(f"Actions for {issuer.name}", "ellipsis"),
        item(JWT_ISSUER_WRITE, "pencil", "Change", "change_issuer"),
        item(JWT_ISSUER_DELETE, "trash-2", "Remove", "delete_issuer", color_scheme="red"),
        align="end",
    )
    return table_row(
        ISSUER_COLUMNS,
        text_with_note(
            rx.el.span(issuer.name, class_name="strong cut-anywhere"),
            small(issuer.issuer, class_name="cut-anywhere"),
        ),
        rx.el.span(issuer.audience, class_name="cut-anywhere"),
        issuer.role_name,
        badge(issuer.status, issuer.tone),
        rx.cond(is_visible(JWT_ISSUER_DELETE), change),
    )


def issuers_section() -> rx.Component:
    new = button(
        "New token issuer",
        glyph="plus",
        **dialog_opener(ApiKeysState, NEW_ISSUER_DIALOG),
        data_testid="create-issuer",
    )
    no_issuers = empty_state(
        "No token issuers",
        "The API also accepts JSON web tokens of your own sign-in service. Add it here, with the highest role that its tokens get.",
        glyph="badge-check",
    )
    table = data_table(
        "Token issuers", ISSUER_COLUMNS, rx.foreach(ApiKeysState.issuers, _issuer_line), test_id="issuers"
    )
    heading = rx.el.div(
        rx.el.h2("Token issuers", class_name="grow"),
        guard_control(JWT_ISSUER_WRITE, new, "New token issuer", glyph="plus"),
        class_name="row",
    )
    has_issuers = has_items(ApiKeysState.issuers)
    content = rx.cond(has_issuers, table, no_issuers)
    box = panel(rx.cond(ApiKeysState.loaded, content, skeleton_rows(1)), name="Token issuers")
    has_use: Any = (ApiKeysState.upsell.feature == "") | has_issuers
    return rx.cond(
        is_allowed(JWT_ISSUER_READ) & has_use,
        rx.el.div(heading, box, rx.cond(has_issuers, _test_steps()), class_name="section"),
    )


def _test_steps() -> rx.Component:
    """How to try a token of an issuer that was added."""
    example = ApiKeysState.token_text
    steps = rx.el.ol(
        rx.el.li(
            "Let your issuer sign a token with ",
            *(
                rx.fragment(rx.el.code(name, class_name="mono"), ", ")
                for name in ("iss", "aud", "sub", "iat")
            ),
            rx.el.code("exp", class_name="mono"),
            " and the organisation claim. Its value is ",
            rx.el.code(ApiKeysState.organisation_id, class_name="mono cut-anywhere"),
            " ",
            icon_button(
                "Copy the id of the organisation",
                "copy",
                on_click=rx.set_clipboard(ApiKeysState.organisation_id),
            ),
        ),
        rx.el.li("Send it with this request. The answer names the organisation and the role."),
        rx.el.li("A refusal says in “reason” what to correct, for example role_not_mapped or token_expired."),
    )
    code = rx.el.section(
        rx.el.div(
            rx.el.h3("curl"),
            icon_button("Copy the token example", "copy", on_click=rx.set_clipboard(example)),
            class_name="bar",
        ),
        rx.el.pre(example, class_name="payload", tab_index=0, aria_label="Token example"),
        class_name="hull example",
        aria_label="Token example",
    )
    return rx.el.details(
        rx.el.summary("How to test a token"), rx.el.div(steps, code, class_name="stack"), class_name="more"
    )


def _text_field(
    label: str, name: str, value: Any, placeholder: str, hint: str = "", **props: Any
) -> rx.Component:
    control = text_input(
        name, auto_complete="off", max_length=500, default_value=value, placeholder=placeholder, **props
    )
    return dialog_field(label, control, id=name, hint=hint)


def _fields() -> list[rx.Component]:
    issuer = ApiKeysState.issuer
    role_map = text_area("role_map", default_value=issuer.role_map, placeholder="engineering = Admin")
    by_claim = rx.el.details(
        rx.el.summary("More: roles by a claim"),
        rx.el.div(
            _text_field("Role claim", "role_claim", issuer.role_claim, "groups"),
            dialog_field(
                "Roles",
                role_map,
                id="role_map",
                hint="A value of the role claim and the name of a role on each line. The first that fits counts.",
            ),
            class_name="stack",
        ),
        open=issuer.role_claim != "",
        class_name="more",
    )
    return [
        _text_field("Name", "name", issuer.name, "Company sign-in", required=True),
        _text_field(
            "Issuer", "issuer", issuer.issuer, "https://id.example.com/", "The claim iss.", required=True
        ),
        _text_field(
            "Audience",
            "audience",
            issuer.audience,
            "https://api.example.com",
            "The claim aud.",
            required=True,
        ),
        _text_field(
            "Address of its keys",
            "jwks_url",
            issuer.jwks_url,
            "https://id.example.com/jwks.json",
            required=True,
        ),
        checkbox_group("Algorithms", issuer.algorithms),
        _text_field(
            "Organisation claim",
            "tenant_claim",
            issuer.tenant_claim,
            "organisation",
            "The claim whose value is the id of this organisation.",
            required=True,
        ),
        radio_cards("Highest role", "role", ApiKeysState.role_choices, value=issuer.role),
        by_claim,
        checkbox_group("Tokens", issuer.switches),
    ]


def issuer_dialogs() -> rx.Component:
    issuer = ApiKeysState.issuer
    create = form_dialog(
        ApiKeysState,
        NEW_ISSUER_DIALOG,
        "New token issuer",
        "The API accepts its tokens, with at most the role that you choose.",
        *_fields(),
        confirm="Add token issuer",
        submit=ApiKeysState.create_issuer,
        wide=True,
    )
    change = form_dialog(
        ApiKeysState,
        "change_issuer",
        f"Change {issuer.name}",
        "Takes effect on the next request.",
        *_fields(),
        confirm="Change token issuer",
        submit=ApiKeysState.change_issuer,
        wide=True,
        version=issuer.version,
    )
    delete = form_dialog(
        ApiKeysState,
        "delete_issuer",
        f"Remove {issuer.name}",
        "Its tokens are refused immediately. Past activity is kept.",
        confirm_field("delete-issuer", issuer.name),
        confirm="Remove token issuer",
        submit=ApiKeysState.delete_issuer,
        kind="danger-fill",
    )
    return rx.fragment(create, change, delete)
