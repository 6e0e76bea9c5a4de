"""The rows of the lists of a tenant's page."""

from dataclasses import dataclass

from admin_app import labels
from shared.backoffice.tenant_directory_rows import TenantMember
from shared.tenancy.models import MembershipState
from shared.ui.tables import initials_of


@dataclass(frozen=True, kw_only=True)
class TenantMemberRow:
    id: str
    name: str
    email: str
    initials: str
    role: str
    status: str
    tone: str
    note: str
    seen_at: str
    joined_at: str


def tenant_member_row(member: TenantMember) -> TenantMemberRow:
    status = labels.MEMBER_STATE_LABELS[member.state]
    note = "" if member.verified else "Email not verified"
    if member.state is not MembershipState.ACTIVE and member.ended_by:
        note = f"{status} by {member.ended_by}"
    return TenantMemberRow(
        id=member.id,
        name=member.name,
        email=member.email,
        initials=initials_of(member.name),
        role=member.role,
        status=status,
        tone=labels.tone_of(status),
        note=note,
        seen_at=member.seen_at.isoformat() if member.seen_at else "",
        joined_at=member.created_at.isoformat(),
    )
