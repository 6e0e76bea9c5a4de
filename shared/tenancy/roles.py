"""Roles of a tenant: built-in roles, whose permissions are in the code, and custom roles.

A member can't create, assign or change a role with more permissions than their own. An assigned role can't be deleted.
Assigning and changing roles needs the membership lock (`tenancy.seats`), so a role is not assigned while it is deleted.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from shared.access import actions, policy
from shared.access.roles import OWNER, OWNER_ONLY_PERMISSIONS, REQUIRED_PERMISSIONS, ROLES, Role
from shared.audit import audit_log
from shared.core import live_events
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.displayed_text import clean_line, skeleton_of
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.ids import new_id
from shared.core.versions import advance_version, require_version
from shared.entitlements import limits
from shared.tenancy import membership_end, role_repository, seats
from shared.tenancy.entry_repository import StandingRole
from shared.tenancy.models import RoleRow

MAX_NAME_LENGTH, MAX_SENTENCE_LENGTH = 60, 200


@dataclass(frozen=True, slots=True)
class RoleUsage:
    """A role with its numbers of members and pending invitations."""

    role: Role
    members: int
    pending_invitations: int
    service_accounts: int


def build_role(row: RoleRow | StandingRole) -> Role:
    """The role of a row. A deleted role has no permissions."""
    if row.builtin:
        return ROLES[row.key]
    assignable = ROLES[OWNER].permissions - OWNER_ONLY_PERMISSIONS
    permissions = frozenset() if row.deleted_at else frozenset(row.permissions) & assignable
    return Role(row.key, row.name, row.sentence, permissions, version=row.version)


async def list_role_usage(ctx: Ctx) -> Sequence[RoleUsage]:
    """All roles with their usage, in the order of `list_roles`."""
    policy.require(ctx, actions.ROLE_READ)
    members, invitations, service_accounts = await _count_usage(ctx)
    return [
        RoleUsage(
            role, members.get(role.key, 0), invitations.get(role.key, 0), service_accounts.get(role.key, 0)
        )
        for role in await list_roles(ctx)
    ]


async def get_role(ctx: Ctx, role_id: str) -> Role:
    """`role_id`: key of a built-in role, or id of a custom one. Raises NotFound."""
    policy.require(ctx, actions.ROLE_READ)
    role = await get(ctx, role_id)
    if role is None:
        raise _not_found()
    return role


async def _count_usage(ctx: Ctx) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Members, pending invitations and service accounts, by role key."""
    return (
        await role_repository.count_members_by_role(ctx),
        await role_repository.count_invitations_by_role(ctx),
        await role_repository.count_service_accounts_by_role(ctx),
    )


async def create(ctx: Ctx, name: str, sentence: str, permissions: Collection[str]) -> Role:
    """Create a custom role.

    Raises Invalid, Conflict for a taken name, Refused for permissions that the actor lacks.
    """
    policy.require(ctx, actions.ROLE_CREATE)
    name, sentence, permission_set = (
        _clean_name(name),
        _clean_sentence(sentence),
        _clean_permissions(permissions),
    )
    await seats.lock_membership(ctx, actions.ROLE_CREATE)
    policy.require_grantable(ctx, permission_set)
    await limits.require_below_limit(ctx, actions.ROLE_CREATE)
    await _require_free_name(ctx, name)

    row_id = new_id("rol")
    row = RoleRow(
        tenant_id=ctx.tenant_id,
        id=row_id,
        key=row_id,
        name=name,
        builtin=False,
        sentence=sentence,
        permissions=sorted(permission_set),
    )
    ctx.session.add(row)
    audit_log.record(ctx, "role.created", row.id, after=_audit_fields(row), role=name)
    await _publish_change(ctx)
    return build_role(row)


async def change(
    ctx: Ctx,
    role_id: str,
    name: str,
    sentence: str,
    permissions: Collection[str],
    *,
    version: int | None,
) -> Role:
    """Takes effect immediately for all its members. `version`: of the role that was read.

    Raises as `create`, NotFound for a built-in role, ChangedMeanwhile.
    """
    policy.require(ctx, actions.ROLE_CHANGE)
    name, sentence, permission_set = (
        _clean_name(name),
        _clean_sentence(sentence),
        _clean_permissions(permissions),
    )
    await seats.lock_membership(ctx, actions.ROLE_CHANGE)
    row = await _require_grantable_custom_role(ctx, role_id)
    policy.require_grantable(ctx, permission_set)
    values = {
        "Name": (row.name, name),
        "Description": (row.sentence, sentence),
        "Permissions that differ": (build_role(row).permissions, permission_set),
    }
    require_version(row, version, "this role", values)
    await _require_free_name(ctx, name, other_than=row.key)
    before, permissions_before = _audit_fields(row), build_role(row).permissions

    row.name, row.sentence, row.permissions = name, sentence, sorted(permission_set)
    if _audit_fields(row) == before:
        return build_role(row)
    advance_version(row, ctx.actor.name)
    ctx.session.add(row)
    audit_log.record(ctx, "role.changed", row.id, before=before, after=_audit_fields(row), role=name)
    user_ids = await role_repository.list_user_ids_with_role(ctx, row.key)
    account_ids = await role_repository.list_service_account_ids_with_role(ctx, row.key)
    if not permissions_before <= (permissions_now := build_role(row).permissions):
        await membership_end.end_promises(ctx, [*user_ids, *account_ids], permissions_now)
    await _publish_change(ctx)
    await live_events.refresh_users(ctx.session, user_ids)
    return build_role(row)


async def delete(ctx: Ctx, role_id: str) -> None:
    """Raises NotFound, Refused while it is assigned (object_state) or when it exceeds the actor's permissions."""
    policy.require(ctx, actions.ROLE_DELETE)
    await seats.lock_membership(ctx, actions.ROLE_DELETE)
    row = await _require_grantable_custom_role(ctx, role_id)
    obstacle = describe_usage(*(count.get(row.key, 0) for count in await _count_usage(ctx)))
    policy.require(ctx, actions.ROLE_DELETE, obstacle=obstacle)

    row.deleted_at = now()
    ctx.session.add(row)
    audit_log.record(ctx, "role.deleted", row.id, before=_audit_fields(row), role=row.name)
    await _publish_change(ctx)


async def get(ctx: Ctx, key: str) -> Role | None:
    """None for an unknown or deleted role. For services that have checked the permission."""
    if key in ROLES:
        return ROLES[key]
    row = await role_repository.get_role(ctx, key)
    return build_role(row) if row is not None and row.deleted_at is None else None


async def get_permissions(ctx: Ctx, key: str) -> frozenset[str] | None:
    """For `policy.require_grantable`; None for an unknown role. A deleted role may still be unassigned."""
    if key in ROLES:
        return ROLES[key].permissions
    row = await role_repository.get_role(ctx, key)
    return build_role(row).permissions if row is not None else None


async def require_assignable(ctx: Ctx, key: str) -> None:
    """Raises Refused unless the role exists and is within the actor's permissions. Needs the membership lock."""
    role = await get(ctx, key)
    policy.require_grantable(ctx, role.permissions if role else None)


async def get_name(ctx: Ctx, key: str) -> str:
    row = await role_repository.get_role(ctx, key)
    return row.name if row is not None else key


async def get_audit_name(ctx: Ctx, key: str) -> str:
    """The name for the audit log: the key of a built-in role, the current name of a custom one."""
    return key if key in ROLES else await get_name(ctx, key)


async def list_roles(ctx: Ctx) -> Sequence[Role]:
    """Built-in roles by descending permissions, then custom roles by name. Checks no permission."""
    return [*ROLES.values(), *(build_role(row) for row in await role_repository.list_custom_roles(ctx))]


def describe_usage(members: int, invitations: int, service_accounts: int) -> str:
    """The reason why a role can't be deleted: "Assigned to 3 members, 1 pending invitation."; "" when it is unused."""
    parts = [
        f"{count} {noun}{'' if count == 1 else 's'}"
        for count, noun in (
            (members, "member"),
            (invitations, "pending invitation"),
            (service_accounts, "service account"),
        )
        if count
    ]
    return f"Assigned to {', '.join(parts)}." if parts else ""


async def _require_grantable_custom_role(ctx: Ctx, role_id: str) -> RoleRow:
    """Raises NotFound for an unknown, deleted or built-in role, Refused when it exceeds the actor's permissions."""
    row = await role_repository.get_role(ctx, role_id)
    if row is None or row.builtin or row.deleted_at is not None:
        raise _not_found()
    policy.require_grantable(ctx, build_role(row).permissions)
    return row


def _not_found() -> NotFound:
    return NotFound("This role no longer exists.", "Reload the page.")


async def _require_free_name(ctx: Ctx, name: str, *, other_than: str = "") -> None:
    """Raises Conflict for the name of another role, and for one that looks like a built-in role's."""
    builtin = next((role.name for role in ROLES.values() if skeleton_of(role.name) == skeleton_of(name)), "")
    if builtin and builtin.casefold() != name.casefold():
        message = f"{name} looks like the built-in role {builtin}."
        raise Conflict(message, "Choose another name.", reason="name_taken")
    if builtin or await role_repository.is_role_name_taken(ctx, name, other_than):
        raise Conflict(f"A role named {name} already exists.", "Choose another name.", reason="name_taken")


def _clean_name(text: str) -> str:
    return clean_line(
        text, noun="name", missing="Enter a name.", max_length=MAX_NAME_LENGTH, fields=("name",)
    )


def _clean_sentence(text: str) -> str:
    return clean_line(
        text, noun="description", missing="", max_length=MAX_SENTENCE_LENGTH, fields=("sentence",)
    )


def _clean_permissions(requested_permissions: Collection[str]) -> frozenset[str]:
    """The permissions plus the required ones of every role. Raises Invalid."""
    if not frozenset(requested_permissions) <= ROLES[OWNER].permissions:
        raise Invalid("There is no such permission.", "Reload the page and choose again.")
    if not OWNER_ONLY_PERMISSIONS.isdisjoint(requested_permissions):
        raise Invalid("Only owners can transfer ownership.", "Remove this permission.")
    return frozenset(str(permission) for permission in (*requested_permissions, *REQUIRED_PERMISSIONS))


def _audit_fields(row: RoleRow) -> dict[str, Any]:
    return {"name": row.name, "sentence": row.sentence, "permissions": list(row.permissions)}


async def _publish_change(ctx: Ctx) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "roles")
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "members")  # whose choices they are
