"""Rows of the tenant directory, independent of the session that read them."""

from dataclasses import dataclass
from datetime import datetime

from shared.tenancy.models import MembershipState, StepState, TenantState


@dataclass(frozen=True, slots=True)
class TenantSummary:
    """A tenant in a list. `matched_by`: the member or reference that was searched, "" for a name.

    `live_tenant_id`: of a test tenant, else "". `test_tenant_id`: of a live tenant that is read by its id, "" while test mode
    is off.
    """

    id: str
    slug: str
    name: str
    state: TenantState
    state_reason: str
    suspension_message: str
    plan: str  # name
    created_at: datetime
    owner: str
    members: int  # active
    pending_invitations: int
    seen_at: datetime | None
    steps: int
    steps_done: int
    steps_failed: int
    matched_by: str
    live_tenant_id: str
    test_tenant_id: str
    deletion_at: datetime | None  # while one is scheduled


@dataclass(frozen=True, slots=True)
class UnfinishedProvisioning:
    """A tenant with an unfinished provisioning step."""

    tenant_id: str
    name: str
    step_key: str
    state: StepState
    error: str
    attempts: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PayingTwice:
    """A tenant that is charged for more than one subscription. `extra`: those beside the first."""

    tenant_id: str
    name: str
    extra: int


@dataclass(frozen=True, slots=True)
class DifferingUsage:
    """Usage of one tenant whose aggregates aren't those of their events."""

    tenant_id: str
    name: str
    count: int  # of hours


@dataclass(frozen=True, slots=True)
class UnbilledUsage:
    """Usage of one tenant that can't be billed. `problem`: as in `BillingUsage`."""

    tenant_id: str
    name: str
    problem: str
    count: int  # of records
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class TenantMember:
    """A person in a tenant, former members included."""

    id: str
    user_id: str
    name: str
    email: str
    verified: bool
    role: str  # name
    state: MembershipState
    created_at: datetime
    seen_at: datetime | None
    ended_at: datetime | None
    ended_by: str
