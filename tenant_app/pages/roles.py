"""/t/[tenant]/roles: what each role may do, written from the registry that decides."""

import reflex as rx

from shared.access import actions, roles
from shared.access.actions import ACTIONS
from shared.access.permissions import Permission
from shared.ui.form import icon
from shared.ui.gate import needs
from shared.ui.hull import hull, listing, small, titled, two
from shared.ui.shell import head, link
from shared.ui.table import Column, badge, data_table, row
from tenant_app.frame import page
from tenant_app.nav import href
from tenant_app.shell import PageState, Shell

COLUMNS = [Column("Permission"), *(Column(role.name, mid=True) for role in roles.ROLES.values())]


class RolesState(PageState):
    @rx.event
    @needs(actions.ROLE_READ, page=True)
    async def load(self) -> None:
        async with self._open(RolesState.load):
            pass  # the roles are built in; only the frame depends on the reader


def sentence(permission: Permission) -> str:
    """What the actions that ask for it say; "" while none does."""
    said = sorted({one.said for one in ACTIONS.values() if one.permission is permission})
    words = ", ".join(said)
    return words[:1].upper() + words[1:]


def permission_line(permission: Permission) -> rx.Component:
    def held(role: roles.Role) -> rx.Component:
        if permission in role.permissions:
            return rx.el.span(icon("check"), rx.el.span("Yes", class_name="sr"), class_name="yes")
        return rx.el.span(
            rx.el.span("–", aria_hidden="true"), rx.el.span("No", class_name="sr"), class_name="muted"
        )

    name = two(sentence(permission), rx.el.code(permission.value, class_name="mono muted cut-anywhere"))
    return row(COLUMNS, name, *(held(role) for role in roles.ROLES.values()))


def role_line(role: roles.Role) -> rx.Component:
    yours = rx.cond(Shell.role == role.name, badge("You", "accent"))
    return rx.el.li(two(rx.el.h2(role.name), small(role.sentence)), yours)


@rx.page(route="/t/[tenant]/roles", title="Roles · Bulkhead", on_load=RolesState.load)
def roles_page() -> rx.Component:
    matrix = data_table(
        "Permissions of each role",
        COLUMNS,
        rx.fragment(*(permission_line(permission) for permission in Permission if sentence(permission))),
        test_id="roles",
    )
    return page(
        head(
            "Roles",
            said=rx.fragment(
                "Built in, the same in every organisation. ", link("See who holds which", href("members"))
            ),
        ),
        hull(listing(*(role_line(role) for role in roles.ROLES.values())), name="Roles"),
        titled("What each may do", hull(matrix, name="Permissions of each role")),
        current="Roles",
        load=RolesState.load,
    )
