"""Who may enter a tenant, or the platform, as one statement read it: `entry` makes contexts of it."""

from dataclasses import dataclass, field
from typing import Protocol

from shared.access.roles import OPERATOR_ROLES, Role
from shared.core.context import Actor, Impersonation, Rights
from shared.core.errors import Refused
from shared.identity.models import Operator
from shared.tenancy import roles
from shared.tenancy.entry_repository import Standing, TenantStanding
from shared.tenancy.models import MembershipState, TenantState

# Rights of a principal without a tenant. They also have no permissions, so no decision depends on these.
NO_RIGHTS = Rights("", "", "", "none", frozenset(), {}, frozenset(), {}, {})


@dataclass(frozen=True, slots=True)
class TenantAdmission:
    """What `authenticate` read about an active member, so that the handler of the same event need not read it again."""

    tenant_id: str
    slug: str
    tenant_name: str
    tenant_state: str  # effective for this person
    actor: Actor
    role: Role
    rights: Rights
    session_hash: str = field(repr=False)  # "" for a key
    key_holder_id: str = ""  # person or service account whose key it is
    scopes: frozenset[str] | None = None  # of the key
    live_tenant_id: str = ""  # of a test tenant: whose members and plan it has
    operator_key_id: str = ""  # with which an operator visits
    impersonation: Impersonation | None = None  # in which an operator acts for a member

    @property
    def holder_id(self) -> str:
        return self.key_holder_id or self.actor.id

    @property
    def is_program(self) -> bool:
        """Whether a key or a token was shown, and no session."""
        return self.actor.type in ("api_key", "service_account", "external")


@dataclass(frozen=True, slots=True)
class OperatorAdmission:
    actor: Actor
    role: str
    session_hash: str = field(repr=False)  # "" for a key
    key_id: str = ""
    scopes: frozenset[str] | None = None  # of the key

    @property
    def permissions(self) -> frozenset[str]:
        """Of the role, and of the scopes where a key acts."""
        permissions = OPERATOR_ROLES[self.role].permissions
        return permissions if self.scopes is None else permissions & self.scopes


@dataclass(frozen=True, slots=True)
class Principal:
    """The permissions of a session at a slug, for checks before the transaction of a handler."""

    session_hash: str = field(repr=False)
    user_id: str  # or the operator's id
    permissions: frozenset[str] = frozenset()
    tenant_id: str = ""  # "" for an unknown or foreign slug
    rights: Rights = NO_RIGHTS
    ended_message: str = ""  # for a former member
    ended_step: str = ""  # what a former member can do
    present_slug: str = ""  # for a member who asked by a former slug, or by the id of the tenant
    admission: TenantAdmission | OperatorAdmission | None = field(default=None, repr=False)
    impersonation: Impersonation | None = None  # also without a tenant

    @property
    def actor_id(self) -> str:
        return self.user_id


class Authenticator(Protocol):
    async def __call__(self, cookies: str, slug: str, *, touches: bool) -> Principal | None: ...


def admit_member(
    standing: Standing, tenant: TenantStanding, *, rights: Rights, session_hash: str
) -> TenantAdmission:
    """The membership is active."""
    return TenantAdmission(
        tenant.tenant_id,
        tenant.slug,
        tenant.tenant_name,
        get_effective_state(tenant.tenant_state, verified=standing.user_verified),
        Actor("user", standing.user_id, standing.user_name),
        roles.build_role(tenant.role),
        rights,
        session_hash,
        live_tenant_id=tenant.live_tenant_id,
    )


def admit_operator(operator: Operator, session_hash: str) -> OperatorAdmission:
    return OperatorAdmission(Actor("operator", operator.id, operator.name), operator.role, session_hash)


def get_effective_state(tenant_state: str, *, verified: bool) -> str:
    """For a user with an unverified address, every tenant is treated as unverified."""
    return tenant_state if verified else TenantState.PENDING_VERIFICATION.value


def find_ended_refusal(tenant: TenantStanding) -> Refused | None:
    """For a former member; None for an active one."""
    if tenant.membership_state == MembershipState.ACTIVE:
        return None
    if tenant.ended_by_self:
        left_on = f" on {tenant.ended_at:%-d %B %Y}" if tenant.ended_at else ""
        return Refused(
            f"You left {tenant.tenant_name}{left_on}.",
            f"To return, ask an owner of {tenant.tenant_name} for a new invitation.",
            reason="membership_ended",
        )
    past_verb = "removed" if tenant.membership_state == MembershipState.REMOVED else "deactivated"
    ended_by = f" by {tenant.ended_by}" if tenant.ended_by else ""
    day = f" on {tenant.ended_at:%-d %B %Y}" if tenant.ended_at else ""
    return Refused(
        f"Your access to {tenant.tenant_name} was {past_verb}{ended_by}{day}.",
        f"Contact an owner of {tenant.tenant_name} to restore it.",
        reason="membership_ended",
    )


def add_suspension(rights: Rights, message: str) -> Rights:
    """`message`: what members read while their tenant is suspended; "" otherwise."""
    return rights.with_suspension_message(message) if message else rights
