"""Roles and permissions as the page shows them."""

from dataclasses import dataclass

from shared.access import actions, policy, refusal_messages
from shared.access.decision import has_permission
from shared.access.roles import (
    OWNER_ONLY_PERMISSIONS,
    REQUIRED_PERMISSIONS,
    ROLES,
    can_grant,
    list_permissions,
)
from shared.core.context import Ctx
from shared.core.plurals import plural
from shared.tenancy import roles
from tenant_app.permission_boxes import (
    NOT_HELD_TEXT,
    PermissionGroupRow,
    group_checkboxes,
    permission_text,
)

OWNERS_ONLY_TEXT = "Only owners have this permission."


def list_shown_permissions() -> list[str]:
    return [permission for permission in list_permissions() if permission_text(permission)]


def list_editable_permissions() -> list[str]:
    return [permission for permission in list_shown_permissions() if permission not in REQUIRED_PERMISSIONS]


@dataclass(frozen=True)
class RoleRow:
    key: str = ""
    name: str = ""
    sentence: str = ""
    holders_text: str = ""
    is_custom: bool = False
    can_edit: bool = False  # the reader can change roles
    is_yours: bool = False
    edit_obstacle: str = ""  # why the reader can't change it, besides the plan
    delete_obstacle: str = ""  # why it cannot be deleted now
    version: int = 1


@dataclass(frozen=True)
class PermissionRow:
    text: str
    code: str
    granted_by_role: list[bool]  # in the order of the roles


def role_row(ctx: Ctx, usage: roles.RoleUsage) -> RoleRow:
    role = usage.role
    people = plural(usage.members, "person", "people") if usage.members else "Not assigned"
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
        "This role has permissions you don’t have. Ask an owner." if is_above_reader else "",
        refusal_messages.refusal_text(
            ctx,
            actions.ROLE_DELETE,
            obstacle=roles.describe_usage(usage.members, usage.pending_invitations, usage.service_accounts),
        ),
        version=role.version,
    )


def permission_groups(ctx: Ctx, granted: frozenset[str]) -> list[PermissionGroupRow]:
    def refusal(permission: str) -> str:
        if permission in OWNER_ONLY_PERMISSIONS:
            return OWNERS_ONLY_TEXT
        return "" if can_grant(ctx.permissions, {permission}) else NOT_HELD_TEXT

    return group_checkboxes(list_editable_permissions(), granted, refusal)
