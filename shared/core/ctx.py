"""Who acts, for whom, with what rights. Always the first argument, never a global.

`Ctx` is one actor inside one tenant, `OperatorCtx` is an operator outside of all of them: two types, so that the
type checker refuses to hand one to the other's service. Only `shared.tenancy.entry` builds them
(`tests/test_architecture.py` looks).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlmodel.ext.asyncio.session import AsyncSession

ActorType = Literal["user", "operator", "job", "api_key"]


@dataclass(frozen=True, slots=True)
class Actor:
    type: ActorType
    id: str
    name: str  # as the audit trail shows it, also after the account is gone


@dataclass(frozen=True, slots=True)
class Ctx:
    tenant_id: str
    slug: str
    tenant_name: str
    tenant_state: str
    actor: Actor
    role: str
    permissions: frozenset[str]
    plan: str
    billing_status: str
    entitlements: frozenset[str]
    limits: Mapping[str, int | None]  # None: unlimited
    request_id: str
    session: AsyncSession = field(repr=False)  # the open transaction
    session_hash: str = field(default="", repr=False)  # "" for jobs
    impersonator_id: str = ""

    @property
    def actor_id(self) -> str:
        return self.actor.id


@dataclass(frozen=True, slots=True)
class OperatorCtx:
    actor: Actor
    role: str
    permissions: frozenset[str]
    request_id: str
    session: AsyncSession = field(repr=False)
    session_hash: str = field(default="", repr=False)

    @property
    def actor_id(self) -> str:
        return self.actor.id
