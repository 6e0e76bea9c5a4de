"""What the roles page shows and changes."""

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, Literal

import reflex as rx
from pydantic import create_model
from reflex.event import EventSpec

from shared.access import actions, refusal_messages
from shared.access.actions import Action
from shared.core.context import Ctx
from shared.core.errors import Invalid
from shared.core.plurals import plural
from shared.tenancy import roles
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ConfirmForm
from shared.ui.forms import Form, VersionedForm, parse_id
from tenant_app.pages.roles.rows import (
    PermissionRow,
    RoleRow,
    list_editable_permissions,
    list_shown_permissions,
    permission_groups,
    role_row,
)
from tenant_app.permission_boxes import PermissionGroupRow, checkbox_name, permission_text
from tenant_app.shell import PageState


class BaseRoleForm(Form):
    name: str
    sentence: str = ""

    def selected_permissions(self) -> set[str]:
        values = self.model_dump()
        return {
            permission
            for permission in list_editable_permissions()
            if values[checkbox_name(permission)] == "on"
        }


class BaseRoleChangeForm(BaseRoleForm, VersionedForm):
    pass


def _checkbox_fields() -> Any:
    """A field for every permission of every manifest."""
    return {checkbox_name(permission): (Literal["", "on"], "") for permission in list_editable_permissions()}


@cache
def role_form() -> type[BaseRoleForm]:
    return create_model("RoleForm", __base__=BaseRoleForm, **_checkbox_fields())


@cache
def role_change_form() -> type[BaseRoleChangeForm]:
    return create_model("RoleChangeForm", __base__=BaseRoleChangeForm, **_checkbox_fields())


class RolesState(DialogState, PageState):
    reads: ClassVar[Action] = actions.ROLE_READ
    filled_dialogs: ClassVar[Sequence[str]] = ("create",)
    row_dialogs: ClassVar[Sequence[str]] = ("change", "delete")
    loaded: bool = False
    rows: list[RoleRow] = []
    permissions: list[PermissionRow] = []
    create_obstacle: str = ""  # why no other one can be made, when the limit is reached
    custom_count_text: str = ""
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
                permission,
                [permission in usage.role.permissions for usage in role_usages],
            )
            for permission in list_shown_permissions()
        ]
        custom_count = sum(row.is_custom for row in self.rows)
        limit = ctx.rights.limits["roles"].amount
        self.create_obstacle = refusal_messages.refusal_text(ctx, actions.ROLE_CREATE, used=custom_count)
        self.custom_count_text = (
            f" · {custom_count} of {limit} custom roles"
            if limit
            else f" · {plural(custom_count, 'custom role')}"
            if custom_count
            else ""
        )
        self.loaded = True

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:
        async with self._ctx() as ctx:
            usage_by_key = {usage.role.key: usage for usage in await roles.list_role_usage(ctx)}
        if dialog == "create":
            self.subject, granted = RoleRow(), frozenset[str]()
        else:
            usage = usage_by_key.get(parse_id("rol", row_id))
            if usage is None:
                raise Invalid("This role no longer exists.", "Reload the page.")
            self.subject, granted = role_row(ctx, usage), usage.role.permissions
        self.groups = permission_groups(ctx, granted)

    @rx.event
    @needs(actions.ROLE_CREATE)
    async def create_role(self, payload: dict[str, Any]) -> EventSpec:
        form = role_form().read(payload)
        async with self._change_page() as ctx:
            role = await roles.create(ctx, form.name, form.sentence, form.selected_permissions())
            role_usages = await roles.list_role_usage(ctx)
        return self._finish(ctx, role_usages, f"Created {role.name}.", "Assign it on the Members page.")

    @rx.event
    @needs(actions.ROLE_CHANGE)
    async def change_role(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = role_change_form().read(payload), self.subject
        async with self._change_page() as ctx:
            role_id = parse_id("rol", subject.key)
            # What this page has no words for yet is no box in the form, and stays.
            unlisted = (await roles.get_permissions(ctx, role_id) or frozenset()) - set(
                list_editable_permissions()
            )
            await roles.change(
                ctx,
                role_id,
                form.name,
                form.sentence,
                form.selected_permissions() | unlisted,
                version=form.row_version,
            )
            role_usages = await roles.list_role_usage(ctx)
        return self._finish(
            ctx,
            role_usages,
            f"Changed {subject.name}.",
            "Takes effect immediately for everyone with this role.",
        )

    @rx.event
    @needs(actions.ROLE_DELETE)
    async def delete_role(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ConfirmForm.read(payload), self.subject
        form.check(subject.name)
        async with self._change_page() as ctx:
            await roles.delete(ctx, parse_id("rol", subject.key))
            role_usages = await roles.list_role_usage(ctx)
        return self._finish(ctx, role_usages, f"Deleted {subject.name}.", "Its name is free again.")

    def _finish(self, ctx: Ctx, role_usages: Any, title: str, detail: str) -> EventSpec:
        self._show(ctx, role_usages)
        self._close_dialog()
        return rx.toast.success(title, description=detail)
