"""Who acts, for whom, with what rights. Always the first argument, never a global.

`Ctx` is one actor inside one tenant, `OperatorCtx` is an operator outside of all of them: two types, so that the
type checker refuses to hand one to the other's service. Only `shared.tenancy.entry` and `siblings` build them
(`tests/test_architecture.py` looks).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, NamedTuple

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.errors import NoTenant
from shared.core.ids import is_id

# service_account: a key of one. external: a token of a customer's issuer.
ActorType = Literal["user", "operator", "job", "api_key", "service_account", "external"]
Surface = Literal["page", "rest", "job", "scim", "cli"]  # where something was asked


def get_key_actor_type(holder_id: str) -> ActorType:
    """Of a key of this person or service account."""
    return "api_key" if is_id("usr", holder_id) else "service_account"


@dataclass(frozen=True, slots=True)
class Actor:
    type: ActorType
    id: str
    name: str  # as the audit log shows it, also after the account is deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Impersonation:
    """An operator acts for a member. The actor of the context is the operator."""

    id: str
    person: Actor  # for whom
    operator_session_hash: str = field(repr=False)
    can_write: bool
    expires_at: datetime


@dataclass(slots=True)
class AllowedDecision:
    """What a transaction was allowed. `id`: of its record, "" for what isn't recorded. `at`: when it first asked."""

    id: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Approval:
    """A second operator has approved this action, for the transaction that carries it out."""

    id: str  # of the request; "" where the settings require no second operator
    action: str  # name
    approved_by: str = ""  # name of the operator


@dataclass(frozen=True, slots=True)
class Limit:
    amount: int | None  # None: unlimited
    hard: bool = True  # a soft one warns and allows


class RefusalWording(NamedTuple):
    """The words for a feature or a limit in a refusal."""

    title: str  # of a limit: its unit, as in "seats"
    remedy: str = ""  # of a limit: the step that frees some of it
    plan_names: tuple[str, ...] = ()  # plans that include the feature


@dataclass(frozen=True, slots=True)
class Rights:
    """The features and limits of a tenant. `shared.entitlements` builds it; tenants with the same facts share one."""

    plan: str  # key
    plan_name: str
    plan_version: str  # id
    billing_status: str
    features: frozenset[str]
    limits: Mapping[str, Limit]
    flags: frozenset[str]  # those that are on
    verdicts: Mapping[str, str]  # name of an action: reason; of those where it is not simply "allowed"
    wording: Mapping[str, RefusalWording]  # of every feature and limit
    suspension_message: str = ""  # why operators have suspended the tenant, in their words to its members

    def with_suspension_message(self, message: str) -> "Rights":
        """The same for a tenant whose members read this message."""
        return Rights(
            self.plan,
            self.plan_name,
            self.plan_version,
            self.billing_status,
            self.features,
            self.limits,
            self.flags,
            self.verdicts,
            self.wording,
            message,
        )

    def with_verdicts(self, verdicts: Mapping[str, str]) -> "Rights":
        """The same with these reasons besides; they come first."""
        return Rights(
            self.plan,
            self.plan_name,
            self.plan_version,
            self.billing_status,
            self.features,
            self.limits,
            self.flags,
            {**self.verdicts, **verdicts},
            self.wording,
            self.suspension_message,
        )


@dataclass(frozen=True, slots=True)
class Ctx:
    tenant_id: str
    slug: str
    tenant_name: str
    tenant_state: str
    actor: Actor
    role: str
    role_name: str
    permissions: frozenset[str]
    rights: Rights
    request_id: str
    session: AsyncSession = field(repr=False)  # the open transaction
    session_hash: str = field(default="", repr=False)  # "" for jobs
    impersonation: Impersonation | None = None
    key_holder_id: str = ""  # person or service account whose key it is; "" without a key
    scopes: frozenset[str] | None = None  # permissions that the key was given; None without a key
    live_tenant_id: str = ""  # of a test tenant: whose members and plan it has
    operator_key_id: str = ""  # with which an operator visits; "" without one
    approval: Approval | None = None  # for which an operator visits
    surface: Surface = "page"
    allowed_actions: dict[str, AllowedDecision] = field(
        default_factory=dict, repr=False, compare=False
    )  # by action, in the order in which they were asked

    def with_session(self, session: AsyncSession) -> "Ctx":
        """The same in another transaction of its tenant, such as one on a replica. Raises NoTenant for another tenant's."""
        if session.info.get("tenant_id") != self.tenant_id:
            raise NoTenant("the transaction is of another tenant than the context")
        return replace(self, session=session)

    @property
    def is_test(self) -> bool:
        return bool(self.live_tenant_id)

    @property
    def actor_id(self) -> str:
        return self.actor.id

    @property
    def on_behalf_of(self) -> Actor | None:
        """The person for whom an operator acts. None outside of an impersonation."""
        return self.impersonation.person if self.impersonation is not None else None

    @property
    def impersonator_id(self) -> str:
        """The operator who acts for a person; "" outside of an impersonation."""
        return self.actor.id if self.impersonation is not None else ""

    @property
    def holder_id(self) -> str:
        """Whose rights the actor uses: the actor's own, or those of the person or service account of a key."""
        return self.key_holder_id or self.actor.id

    @property
    def person_id(self) -> str:
        """The user who acts, or whose key acts. "" for service accounts, jobs and operators."""
        is_person = self.actor.type == "user" or is_id("usr", self.key_holder_id)
        return self.holder_id if is_person else ""


@dataclass(slots=True)
class OperatorAct:
    """What an operator does in a transaction, as far as it is known, for the record of an act that is refused or fails."""

    action: str = ""  # name of the last action that was allowed and writes
    tenant_id: str = ""  # that the reason was stated for
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OperatorCtx:
    actor: Actor
    role: str
    permissions: frozenset[str]
    request_id: str
    session: AsyncSession = field(repr=False)
    session_hash: str = field(default="", repr=False)
    key_id: str = ""  # of the operator's key that acts; "" without one
    scopes: frozenset[str] | None = None  # permissions that the key was given; None without a key
    approval: Approval | None = None
    allowed_actions: dict[str, AllowedDecision] = field(
        default_factory=dict, repr=False, compare=False
    )  # that write, until they are recorded in a tenant
    act: OperatorAct = field(default_factory=OperatorAct, repr=False, compare=False)

    @property
    def actor_id(self) -> str:
        return self.actor.id
