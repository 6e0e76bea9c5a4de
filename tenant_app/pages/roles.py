"""/t/[tenant]/roles: what each role may do, written from the registry that decides, and the tenant's own ones."""

from dataclasses import dataclass, field
from typing import Any, Literal

import reflex as rx
from pydantic import create_model
from reflex.event import EventSpec

from shared.access import actions, policy, refusal_messages
from shared.access.actions import ACTIONS
from shared.access.decision import has_permission
from shared.access.permissions import Permission
from shared.access.roles import OWNER_ONLY_PERMISSIONS, REQUIRED_PERMISSIONS, ROLES, can_grant
from shared.core.context import Ctx
from shared.core.errors import Invalid
from shared.tenancy import roles
from shared.ui.authorize import needs
from shared.ui.banners import skeleton_rows
from shared.ui.controls import button, checkbox_group, dialog, icon, text_input
from shared.ui.controls import form_field as labelled
from shared.ui.forms import Form, parse_choice, parse_id
from shared.ui.panels import panel, section, small, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import badge
from tenant_app.frame import page
from tenant_app.nav import page_href
from tenant_app.shell import PageState, guard_control

GROUP_TITLES = {  # noun of a permission: what the editor calls the group
    "member": "People",
    "role": "Roles",
    "settings": "Organisation",
    "owner": "Organisation",
    "access": "Insight",
    "audit": "Insight",
    "report": "Insight",
    "billing": "Billing",
}
DIALOGS = ("create", "change", "delete")
NOT_HELD_TEXT = "You do not hold this yourself, so you cannot give it."
OWNERS_ONLY_TEXT = "Only owners can do this; it is in no other role."


def permission_text(permission: Permission) -> str:
    """What the actions that ask for it say, the one it is named after first; "" while none does."""
    actions_for_permission = [action for action in ACTIONS.values() if action.permission is permission]
    text = ", ".join(
        action.description
        for action in sorted(
            actions_for_permission, key=lambda action: (action.name != permission, action.description)
        )
    )
    return f"{text[:1].upper()}{text[1:]}"


def checkbox_name(permission: Permission) -> str:
    """Name of its box in the form."""
    return f"may_{permission.name.lower()}"


LISTED_PERMISSIONS = tuple(permission for permission in Permission if permission_text(permission))
EDITABLE_PERMISSIONS = tuple(
    permission for permission in LISTED_PERMISSIONS if permission not in REQUIRED_PERMISSIONS
)
CHECKBOX_FIELDS: Any = {
    checkbox_name(permission): (Literal["", "on"], "") for permission in EDITABLE_PERMISSIONS
}
assert {permission.partition(":")[0] for permission in EDITABLE_PERMISSIONS} <= GROUP_TITLES.keys()


class BaseRoleForm(Form):
    name: str
    sentence: str = ""

    def selected_permissions(self) -> set[str]:
        values = self.model_dump()
        return {
            permission.value
            for permission in EDITABLE_PERMISSIONS
            if values[checkbox_name(permission)] == "on"
        }


RoleForm = create_model("RoleForm", __base__=BaseRoleForm, **CHECKBOX_FIELDS)


class ConfirmForm(Form):
    confirm: str


@dataclass(frozen=True)
class RoleRow:
    key: str = ""
    name: str = ""
    sentence: str = ""
    holders_text: str = ""
    is_custom: bool = False
    can_edit: bool = False  # its reader is somebody who changes roles
    is_yours: bool = False
    edit_obstacle: str = ""  # why its reader may not change it, beyond what the plan says
    delete_obstacle: str = ""  # why it cannot be deleted now


@dataclass(frozen=True)
class PermissionRow:
    text: str
    code: str
    granted_by_role: list[bool]  # in the order of the roles


@dataclass(frozen=True)
class CheckboxRow:
    field: str
    label: str
    note: str
    is_checked: bool
    refusal: str


@dataclass(frozen=True)
class PermissionGroupRow:
    title: str
    checkboxes: list[CheckboxRow] = field(default_factory=list)


def role_row(ctx: Ctx, usage: roles.RoleUsage) -> RoleRow:
    role = usage.role
    people = f"{usage.members} {'person' if usage.members == 1 else 'people'}" if usage.members else "Nobody"
    invited = f", {usage.pending_invitations} invited" if usage.pending_invitations else ""
    is_above_reader = not can_grant(ctx.permissions, role.permissions)
    return RoleRow(
        role.key,
        role.name,
        role.sentence,
        f"{people}{invited}",
        role.key not in ROLES,
        role.key not in ROLES and has_permission(ctx, actions.ROLE_CHANGE),
        policy.is_own_role(ctx, role.key),
        "This role may do more than you may. Ask an owner to do it." if is_above_reader else "",
        refusal_messages.refusal_text(
            ctx, actions.ROLE_DELETE, obstacle=roles.describe_usage(usage.members, usage.pending_invitations)
        ),
    )


def permission_groups(ctx: Ctx, granted: frozenset[str]) -> list[PermissionGroupRow]:
    checkboxes_by_title: dict[str, list[CheckboxRow]] = {title: [] for title in GROUP_TITLES.values()}
    for permission in EDITABLE_PERMISSIONS:
        refused = (
            OWNERS_ONLY_TEXT
            if permission in OWNER_ONLY_PERMISSIONS
            else ""
            if can_grant(ctx.permissions, {permission})
            else NOT_HELD_TEXT
        )
        checkboxes_by_title[GROUP_TITLES[permission.partition(":")[0]]].append(
            CheckboxRow(
                checkbox_name(permission),
                permission_text(permission),
                permission.value,
                permission in granted,
                refused,
            )
        )
    return [PermissionGroupRow(title, ticks) for title, ticks in checkboxes_by_title.items() if ticks]


class RolesState(PageState):
    loaded: bool = False
    rows: list[RoleRow] = []
    permissions: list[PermissionRow] = []
    create_obstacle: str = ""  # why no other one can be made, when the limit is reached
    custom_count_text: str = ""
    dialog: str = ""
    subject: RoleRow = RoleRow()
    groups: list[PermissionGroupRow] = []

    @rx.event
    @needs(actions.ROLE_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(RolesState.load, "roles", "members", "invitations") as ctx:
            role_usages = await roles.list_role_usage(ctx)
        self._show(ctx, role_usages)

    def _show(self, ctx: Ctx, role_usages: Any) -> None:
        self.rows = [role_row(ctx, usage) for usage in role_usages]
        self.permissions = [
            PermissionRow(
                permission_text(permission),
                permission.value,
                [permission.value in usage.role.permissions for usage in role_usages],
            )
            for permission in LISTED_PERMISSIONS
        ]
        custom_count = sum(row.is_custom for row in self.rows)
        limit = ctx.rights.limits["roles"].amount
        self.create_obstacle = refusal_messages.refusal_text(ctx, actions.ROLE_CREATE, used=custom_count)
        self.custom_count_text = (
            f"{custom_count} of {limit} of your own"
            if limit
            else f"{custom_count} of your own"
            if custom_count
            else ""
        )
        self.loaded = True

    @rx.event
    @needs(actions.ROLE_READ)
    async def open_dialog(self, dialog: str, role_id: str) -> None:
        """Opens a dialog, about one role unless it is a new one."""
        kind = parse_choice(dialog, DIALOGS)
        async with self._ctx() as ctx:
            usage_by_key = {usage.role.key: usage for usage in await roles.list_role_usage(ctx)}
        if kind == "create":
            self.subject, granted = RoleRow(), frozenset[str]()
        else:
            usage = usage_by_key.get(parse_id("rol", role_id))
            if usage is None:
                raise Invalid("This role does not exist any more.", "Reload the page.")
            self.subject, granted = role_row(ctx, usage), usage.role.permissions
        self.groups = permission_groups(ctx, granted)
        self.dialog = kind

    @rx.event
    @needs(actions.ROLE_READ)
    async def close_dialog(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.ROLE_CREATE)
    async def create_role(self, payload: dict[str, Any]) -> EventSpec:
        form = RoleForm.read(payload)
        async with self._ctx() as ctx:
            role = await roles.create(ctx, form.name, form.sentence, form.selected_permissions())
            role_usages = await roles.list_role_usage(ctx)
        return self._finish(
            ctx, role_usages, f"Created {role.name}.", "Give it to people on the members page."
        )

    @rx.event
    @needs(actions.ROLE_CHANGE)
    async def change_role(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = RoleForm.read(payload), self.subject
        async with self._ctx() as ctx:
            role_id = parse_id("rol", subject.key)
            # What this page has no words for yet is no box in the form, and stays.
            unlisted = (await roles.get_permissions(ctx, role_id) or frozenset()) - set(EDITABLE_PERMISSIONS)
            await roles.change(ctx, role_id, form.name, form.sentence, form.selected_permissions() | unlisted)
            role_usages = await roles.list_role_usage(ctx)
        return self._finish(
            ctx, role_usages, f"Changed {subject.name}.", "It counts at once for all who hold it."
        )

    @rx.event
    @needs(actions.ROLE_DELETE)
    async def delete_role(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ConfirmForm.read(payload), self.subject
        if form.confirm != subject.name:
            raise Invalid(f"This is not the name {subject.name}.", "Type it exactly as it is written above.")
        async with self._ctx() as ctx:
            await roles.delete(ctx, parse_id("rol", subject.key))
            role_usages = await roles.list_role_usage(ctx)
        return self._finish(ctx, role_usages, f"Deleted {subject.name}.", "Its name is free again.")

    def _finish(self, ctx: Ctx, role_usages: Any, title: str, detail: str) -> EventSpec:
        self._show(ctx, role_usages)
        self.dialog = ""
        return rx.toast.success(title, description=detail)


def role_line(role: RoleRow) -> rx.Component:
    def control(action: Any, label: str, kind: str, obstacle: Any) -> rx.Component:
        act = button(
            label,
            on_click=RolesState.open_dialog(kind, role.key),
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


def role_editor(dialog_name: str, title: Any, sentence: str, confirm: str, submit: Any) -> rx.Component:
    name = text_input(
        "name", required=True, auto_complete="off", max_length=60, default_value=RolesState.subject.name
    )
    sentence_input = text_input(
        "sentence", auto_complete="off", max_length=200, default_value=RolesState.subject.sentence
    )
    return dialog(
        None,
        title,
        sentence,
        labelled("Name", name, id="name"),
        labelled("What it is for", sentence_input, id="sentence"),
        rx.foreach(RolesState.groups, lambda group: checkbox_group(group.title, group.checkboxes)),
        small("Every role may open the organisation and read its own notifications."),
        confirm=confirm,
        submit=submit,
        open=RolesState.dialog == dialog_name,
        on_open_change=RolesState.close_dialog,
        test_id=f"{dialog_name}-form",
        wide=True,
    )


def role_dialogs() -> rx.Component:
    name = RolesState.subject.name
    confirm = labelled(
        rx.fragment("Type ", rx.el.b(name), " to confirm"),
        text_input("confirm", required=True, auto_complete="off"),
        id="confirm",
    )
    delete = dialog(
        None,
        f"Delete {name}",
        "Nobody holds it and no invitation promises it. The trail keeps what it was.",
        confirm,
        confirm="Delete role",
        submit=RolesState.delete_role,
        open=RolesState.dialog == "delete",
        on_open_change=RolesState.close_dialog,
        kind="danger-fill",
        test_id="delete-form",
    )
    return rx.fragment(
        role_editor(
            "create",
            "New role",
            "Choose what it may do. You can give what you hold yourself.",
            "Create role",
            RolesState.create_role,
        ),
        role_editor(
            "change",
            f"Change {name}",
            f"{RolesState.subject.holders_text} will have what you choose here at once.",
            "Change role",
            RolesState.change_role,
        ),
        delete,
    )


@rx.page(route="/t/[tenant]/roles", title="Roles · Bulkhead", on_load=RolesState.load)
def roles_page() -> rx.Component:
    new = button(
        "New role",
        kind="primary",
        glyph="plus",
        on_click=RolesState.open_dialog("create", ""),
        data_testid="create-role",
    )
    role_list = rx.el.ul(rx.foreach(RolesState.rows, role_line), class_name="list", data_testid="role-list")
    return page(
        page_header(
            "Roles",
            description=rx.fragment(
                "Five are the same in every organisation. ",
                link("See who holds which", page_href("members")),
                rx.cond(
                    RolesState.custom_count_text != "",
                    rx.el.span(RolesState.custom_count_text, class_name="num"),
                ),
            ),
            actions=[
                guard_control(
                    actions.ROLE_CREATE, new, "New role", glyph="plus", obstacle=RolesState.create_obstacle
                )
            ],
        ),
        panel(rx.cond(RolesState.loaded, role_list, skeleton_rows(5)), name="Roles"),
        section(
            "What each may do",
            panel(rx.cond(RolesState.loaded, permission_matrix(), skeleton_rows(8)), name="Permissions"),
        ),
        role_dialogs(),
        current="Roles",
        load=RolesState.load,
    )
