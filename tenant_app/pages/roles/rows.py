"""Roles and permissions as the page shows them, and the checkboxes of the editor."""

from dataclasses import dataclass, field

from shared.access import actions, policy, refusal_messages
from shared.access.actions import ACTIONS
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
NOT_HELD_TEXT = "You don’t have this permission, so you can’t grant it."
OWNERS_ONLY_TEXT = "Only owners have this permission."


def permission_text(permission: str) -> str:
    """What the actions that ask for it say, the one it is named after first; "" while none does."""
    actions_for_permission = [action for action in ACTIONS.values() if action.permission == permission]
    text = ", ".join(
        action.description
        for action in sorted(
            actions_for_permission, key=lambda action: (action.name != permission, action.description)
        )
    )
    return f"{text[:1].upper()}{text[1:]}"


def checkbox_name(permission: str) -> str:
    """Name of its box in the form."""
    return f"may_{permission.replace(':', '_')}"


def list_shown_permissions() -> list[str]:
    return [permission for permission in list_permissions() if permission_text(permission)]


def list_editable_permissions() -> list[str]:
    return [permission for permission in list_shown_permissions() if permission not in REQUIRED_PERMISSIONS]


def group_title(permission: str) -> str:
    """What the editor calls the group; a noun without a title gets one made of it."""
    noun = permission.partition(":")[0]
    return GROUP_TITLES.get(noun, f"{noun.replace('_', ' ').capitalize()}s")


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
    checkboxes_by_title: dict[str, list[CheckboxRow]] = {
        group_title(permission): [] for permission in (*GROUP_TITLES, *list_editable_permissions())
    }
    for permission in list_editable_permissions():
        refused = (
            OWNERS_ONLY_TEXT
            if permission in OWNER_ONLY_PERMISSIONS
            else ""
            if can_grant(ctx.permissions, {permission})
            else NOT_HELD_TEXT
        )
        checkboxes_by_title[group_title(permission)].append(
            CheckboxRow(
                checkbox_name(permission),
                permission_text(permission),
                permission,
                permission in granted,
                refused,
            )
        )
    return [PermissionGroupRow(title, ticks) for title, ticks in checkboxes_by_title.items() if ticks]
