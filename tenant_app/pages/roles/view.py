"""The roles page: the list of roles and the table of permissions."""

from typing import Any

import reflex as rx

from shared.access import actions
from shared.ui.banners import skeleton_rows
from shared.ui.controls import button, icon
from shared.ui.dialogs import dialog_opener
from shared.ui.panels import panel, section, small, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import badge
from tenant_app.frame import page
from tenant_app.nav import page_href
from tenant_app.pages.roles.dialogs import role_dialogs
from tenant_app.pages.roles.rows import PermissionRow, RoleRow
from tenant_app.pages.roles.state import RolesState
from tenant_app.shell import guard_control


def role_line(role: RoleRow) -> rx.Component:
    def control(action: Any, label: str, kind: str, obstacle: Any) -> rx.Component:
        act = button(
            label,
            **dialog_opener(RolesState, kind, role.key),
            aria_label=f"{label} {role.name}",
            data_testid=f"{kind}-role",
        )
        return guard_control(action, act, label, obstacle=obstacle, id=f"{kind}-{role.key}")

    controls = rx.cond(
        role.can_edit,
        rx.el.div(
            control(actions.ROLE_CHANGE, "Change", "change", role.edit_obstacle),
            control(
                actions.ROLE_DELETE,
                "Delete",
                "delete",
                rx.cond(role.edit_obstacle != "", role.edit_obstacle, role.delete_obstacle),
            ),
            class_name="row",
        ),
    )
    name = rx.el.h2(role.name, rx.cond(role.is_yours, rx.fragment(" ", badge("You", "accent"))))
    return rx.el.li(
        text_with_note(name, rx.cond(role.sentence != "", small(role.sentence))),
        small(role.holders_text, class_name="num nowrap"),
        controls,
        class_name="wrap",
        data_testid="role",
    )


def permission_matrix() -> rx.Component:
    """Read down for a role, across for a permission. It scrolls in its box, and the first column stays."""

    def held(is_granted: Any) -> rx.Component:
        mark = rx.cond(
            is_granted,
            rx.el.span(icon("check"), rx.el.span("Yes", class_name="sr"), class_name="yes"),
            rx.el.span(
                rx.el.span("–", aria_hidden="true"), rx.el.span("No", class_name="sr"), class_name="muted"
            ),
        )
        return rx.el.td(mark, class_name="mid")

    def line(permission: PermissionRow) -> rx.Component:
        name = text_with_note(
            permission.text, rx.el.code(permission.code, class_name="mono muted cut-anywhere")
        )
        return rx.el.tr(rx.el.td(name), rx.foreach(permission.granted_by_role, held))

    header_row = rx.el.tr(
        rx.el.th("Permission", scope="col"),
        rx.foreach(RolesState.rows, lambda role: rx.el.th(role.name, scope="col", class_name="mid")),
    )
    table = rx.el.table(
        rx.el.caption("Permissions of each role", class_name="sr"),
        rx.el.thead(header_row),
        rx.el.tbody(rx.foreach(RolesState.permissions, line)),
        data_testid="roles",
        class_name="matrix",
    )
    return rx.el.div(
        table, class_name="scroll", tab_index=0, role="region", aria_label="Permissions of each role"
    )


@rx.page(route="/t/[tenant]/roles", title="Roles · Bulkhead", on_load=RolesState.load)
def roles_page() -> rx.Component:
    new = button(
        "New role",
        kind="primary",
        glyph="plus",
        **dialog_opener(RolesState, "create"),
        data_testid="create-role",
    )
    role_list = rx.el.ul(rx.foreach(RolesState.rows, role_line), class_name="list", data_testid="role-list")
    return page(
        page_header(
            "Roles",
            description=rx.fragment(
                "5 built-in roles",
                rx.el.span(RolesState.custom_count_text, class_name="num"),
                " · ",
                link("View members", page_href("members")),
            ),
            actions=[
                guard_control(
                    actions.ROLE_CREATE, new, "New role", glyph="plus", obstacle=RolesState.create_obstacle
                )
            ],
        ),
        panel(rx.cond(RolesState.loaded, role_list, skeleton_rows(5)), name="Roles"),
        section(
            "Permissions",
            panel(rx.cond(RolesState.loaded, permission_matrix(), skeleton_rows(8)), name="Permissions"),
        ),
        role_dialogs(),
        current="Roles",
        load=RolesState.load,
    )
