"""What operators change about what a tenant may use: plan, add-ons, overrides, billing status, flags, traits.

Each asks for the right, enters the tenant with the reason, locks it, so that two who change it do so one after the
other, and leaves it in the tenant's own trail.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from shared.access import actions, policy
from shared.core.ctx import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.entitlements import compiled, current, explain, holdings
from shared.entitlements.catalogue import Catalogue, Offer
from shared.entitlements.explain import FeatureChain, LimitChain
from shared.entitlements.facts import Facts
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import TenantAddon, TenantOverride
from shared.tenancy import entry, why
from shared.tenancy import why_repository as repository
from shared.tenancy.models import TenantState
from shared.tenancy.repository import lock_tenant

LOOK = "Looking at what it may use"


@dataclass(frozen=True, slots=True)
class Exposed:
    """A flag, for one tenant."""

    key: str
    title: str
    on: bool  # by its rules; without what it requires it stays off
    found: str
    source: str
    own: bool | None  # the tenant's own word, None without one


@dataclass(frozen=True, slots=True)
class Effective:
    """What a tenant may use now and where each of it comes from."""

    facts: Facts
    features: dict[str, FeatureChain]
    limits: dict[str, LimitChain]
    overrides: Sequence[TenantOverride]
    addons: Sequence[tuple[TenantAddon, Offer]]
    offers: Sequence[Offer]  # that it could be given: plans and add-ons, newest versions, its own among them
    flags: Sequence[Exposed]
    used: Mapping[str, int] = field(default_factory=dict)  # by limit, where something is counted
    owner_id: str = ""  # of whom *Why?* is asked first
    tenant_name: str = ""


def effective_of(facts: Facts, catalogue: Catalogue) -> Effective:
    return Effective(
        facts,
        {name: explain.feature_chain(facts, catalogue, name) for name in FEATURES},
        {name: explain.limit_chain(facts, catalogue, name) for name in LIMITS},
        list(facts.overrides.values()),
        facts.addons,
        [
            offer
            for plan in sorted(catalogue.plans.values(), key=lambda plan: plan.position)
            if plan.retired_at is None and (offer := catalogue.newest(plan.id, facts.at)) is not None
        ],
        list(_exposed(facts, catalogue)),
    )


def _exposed(facts: Facts, catalogue: Catalogue) -> Iterator[Exposed]:
    provider, target = current.provider(catalogue), compiled.target_of(facts)
    for key, rollout in sorted(catalogue.flags.items()):
        if rollout.row.retired_at is not None and rollout.row.retired_at <= facts.at:
            continue
        said, own = provider.evaluate(key, target, facts.at), facts.own_flags.get(key)
        yield Exposed(key, rollout.row.title, said.on, said.found, said.source, own.enabled if own else None)


async def effective(octx: OperatorCtx, tenant_id: str) -> Effective:
    """Raises NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    async with entry.visit(octx, tenant_id, LOOK) as ctx:
        known = effective_of(*await holdings.facts(ctx))
        counted = {name: await why.used_at(ctx, name, known.facts.at) for name in LIMITS}
        used = {name: count for name, count in counted.items() if count is not None}
        owner = await repository.get_owner(ctx)
        return Effective(
            *(known.facts, known.features, known.limits, known.overrides, known.addons, known.offers),
            *(known.flags, used, owner, ctx.tenant_name),
        )


async def assign_plan(
    octx: OperatorCtx, tenant_id: str, version_id: str, reason: str, *, trial_days: int = 0
) -> None:
    """Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    async with _changing(octx, tenant_id, reason) as ctx:
        await holdings.assign(ctx, await _offer(ctx, version_id), reason, trial_days=trial_days)


async def add_addon(
    octx: OperatorCtx,
    tenant_id: str,
    version_id: str,
    quantity: int,
    reason: str,
    *,
    ends_at: datetime | None = None,
) -> None:
    """Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    async with _changing(octx, tenant_id, reason) as ctx:
        await holdings.add_addon(ctx, await _offer(ctx, version_id), quantity, reason, ends_at=ends_at)


async def override_feature(
    octx: OperatorCtx, tenant_id: str, feature: str, on: bool, reason: str, *, ends_at: datetime
) -> None:
    """Raises Invalid for an unknown feature, for an end that is past, without a reason; NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    async with _changing(octx, tenant_id, reason) as ctx:
        await holdings.override_feature(ctx, feature, on, reason, ends_at=ends_at)


async def override_limit(
    octx: OperatorCtx,
    tenant_id: str,
    limit_key: str,
    amount: int | None,
    reason: str,
    *,
    ends_at: datetime,
    hard: bool = True,
) -> None:
    """`amount` None: unlimited. Raises as `override_feature`."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    async with _changing(octx, tenant_id, reason) as ctx:
        await holdings.override_limit(ctx, limit_key, amount, reason, ends_at=ends_at, hard=hard)


async def end(octx: OperatorCtx, tenant_id: str, row_id: str, reason: str) -> None:
    """An override or an add-on, before its time. Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    async with _changing(octx, tenant_id, reason) as ctx:
        await holdings.end(ctx, row_id, reason)


async def set_billing(octx: OperatorCtx, tenant_id: str, status: str, reason: str) -> None:
    """By hand, until billing follows a payment provider. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    async with _changing(octx, tenant_id, reason) as ctx:
        await holdings.set_billing(ctx, status, reason, starts_at=now())


async def set_flag(octx: OperatorCtx, tenant_id: str, flag: str, enabled: bool | None, reason: str) -> None:
    """This tenant's own word on a flag; None takes it back. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    async with _changing(octx, tenant_id, reason) as ctx:
        await holdings.set_flag(ctx, flag, enabled, reason)


async def set_trait(octx: OperatorCtx, tenant_id: str, name: str, value: str, reason: str) -> None:
    """Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    async with _changing(octx, tenant_id, reason) as ctx:
        await holdings.set_trait(ctx, name, value, reason)


@asynccontextmanager
async def _changing(octx: OperatorCtx, tenant_id: str, reason: str) -> AsyncIterator[Ctx]:
    """For verbs that were asked for their right. Raises Invalid, NotFound, Conflict for a tenant that is gone."""
    async with entry.visit(octx, tenant_id, reason) as ctx:
        tenant = await lock_tenant(ctx)
        if tenant.state is TenantState.DELETED:
            raise Conflict(f"{tenant.name} has been deleted.", "Nothing of it can be changed any more.")
        yield ctx


async def _offer(ctx: Ctx, version_id: str) -> Offer:
    _, catalogue = await holdings.facts(ctx)
    found, at = catalogue.offers.get(version_id), now()
    if found is None:
        raise NotFound("There is no such version of a plan.", "Choose one from the list.")
    retired = catalogue.plans[found.plan_id].retired_at
    if retired is not None and retired <= at:
        raise Invalid(f"{found.name} is not offered any more.", "Choose another one.")
    if catalogue.newest(found.plan_id, at) != found:
        raise Invalid("This version is not the newest of its plan.", "Reload the page.")
    return found
