"""The rows of a tenant's page."""

from dataclasses import dataclass

from admin_app import labels
from shared.backoffice.tenant_directory_rows import TenantMember, TenantSummary
from shared.tenancy.models import MembershipState, TenantState
from shared.tenancy.provisioning import StepView
from shared.ui.tables import initials_of


@dataclass(frozen=True, kw_only=True)
class TenantHeader:
    id: str = ""
    name: str = ""
    slug: str = ""
    plan: str = ""
    state: str = ""
    tone: str = ""
    suspended: bool = False
    reason: str = ""  # of the suspension
    owner: str = ""
    members: str = ""
    invited: str = ""
    seen_at: str = ""
    created_at: str = ""
    setup: str = ""
    setup_note: str = ""


@dataclass(frozen=True, kw_only=True)
class ProvisioningStepRow:
    title: str
    note: str
    state: str
    tone: str
    finished_at: str


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


def tenant_header(tenant: TenantSummary) -> TenantHeader:
    state = labels.TENANT_STATE_LABELS[tenant.state]
    open_steps = tenant.steps - tenant.steps_done
    setup_said = (
        labels.plural(tenant.steps_failed, "step failed", "steps failed") if tenant.steps_failed else ""
    )
    return TenantHeader(
        id=tenant.id,
        name=tenant.name,
        slug=tenant.slug,
        plan=tenant.plan,
        state=state,
        tone=labels.tone_of(state),
        suspended=tenant.state is TenantState.SUSPENDED,
        reason=tenant.state_reason,
        owner=tenant.owner or "No owner",
        members=labels.plural(tenant.members, "active", "active"),
        invited=labels.plural(tenant.pending_invitations, "pending invitation", "pending invitations"),
        seen_at=tenant.seen_at.isoformat() if tenant.seen_at else "",
        created_at=tenant.created_at.isoformat(),
        setup=f"{tenant.steps_done} of {tenant.steps} steps",
        setup_note=setup_said
        or ("Finished" if not open_steps else labels.plural(open_steps, "step left", "steps left")),
    )


def provisioning_step_row(step: StepView) -> ProvisioningStepRow:
    state = labels.STEP_STATE_LABELS[step.state]
    tries = labels.plural(step.attempts, "try", "tries")
    note = f"{step.error} {tries} so far." if step.error else tries if step.attempts > 1 else ""
    finished = step.finished_at.isoformat() if step.finished_at else ""
    return ProvisioningStepRow(
        title=step.title, note=note, state=state, tone=labels.tone_of(state), finished_at=finished
    )


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
