"""Members and invitations as the tables show them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.access import actions
from shared.access.decision import has_permission
from shared.access.roles import can_grant
from shared.core.context import Ctx
from shared.tenancy import members
from shared.ui.tables import (
    TONE_BY_LABEL,
    Column,
    initials_of,
)

COLUMNS = [
    Column("Name", sort="name"),
    Column("Role", sort="role", hidden_on_phone=True),
    Column("Status"),
    Column("Last active", sort="seen_at", hidden_on_phone=True),
    Column("Joined", sort="created_at", hidden_on_phone=True),
    Column("Actions", align_end=True, label_hidden=True),
]
PENDING_COLUMNS = [
    Column("Email"),
    Column("Role", hidden_on_phone=True),
    Column("Status"),
    Column("Invited", hidden_on_phone=True),
    Column("Actions", align_end=True, label_hidden=True),
]
UNDELIVERABLE_STEP = "The email could not be delivered. Check the address: revoke this invitation and invite the right one, or resend it."
SORTS = tuple(column.sort for column in COLUMNS if column.sort)


@dataclass(frozen=True)
class MemberRow:
    id: str = ""
    name: str = ""
    email: str = ""
    initials: str = ""
    role: str = ""  # key
    role_name: str = ""
    status: str = ""
    tone: str = ""
    seen_at: str = ""
    joined_at: str = ""
    is_you: bool = False
    can_edit: bool = False  # may the reader change this row at all
    is_active: bool = True
    version: int = 1


@dataclass(frozen=True)
class InvitationRow:
    id: str
    email: str
    role: str
    status: str
    tone: str
    note: str  # what happened and what to do, "" for nothing
    invited_at: str
    invited_by: str


RolesByKey = dict[str, Any]  # roles by key


def member_row(ctx: Ctx, roles_by_key: RolesByKey, member: members.Member) -> MemberRow:
    status, role = "Active" if member.state == "active" else "Deactivated", roles_by_key[member.role]
    can_edit = has_permission(ctx, actions.MEMBER_SET_ROLE) and can_grant(ctx.permissions, role.permissions)
    return MemberRow(
        member.id,
        member.name,
        member.email,
        initials_of(member.name),
        member.role,
        role.name,
        status,
        TONE_BY_LABEL[status],
        member.seen_at.isoformat() if member.seen_at else "",
        member.created_at.isoformat(),
        member.user_id == ctx.actor_id,
        can_edit,
        status == "Active",
        member.version,
    )


def invitation_row(roles_by_key: RolesByKey, invitation: Any) -> InvitationRow:
    status = _invitation_status(invitation)
    return InvitationRow(
        invitation.id,
        invitation.email,
        roles_by_key[invitation.role].name
        if invitation.role in roles_by_key
        else "A deleted role",  # of one that has expired
        status,
        TONE_BY_LABEL[status],
        f"{UNDELIVERABLE_STEP} The mail server said: {invitation.delivery_problem}"
        if invitation.delivery_problem
        else "",
        invitation.created_at.isoformat(),
        invitation.invited_by_name,
    )


def _invitation_status(invitation: Any) -> str:
    time_left = invitation.expires_at - datetime.now(UTC)
    if time_left <= timedelta(0):
        return "Expired"
    if invitation.delivery_problem:
        return "Not delivered"
    return "Expires soon" if time_left < timedelta(days=1) else "Invited"
