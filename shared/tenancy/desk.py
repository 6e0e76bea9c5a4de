"""What operators change about what a tenant may use: plan, add-ons, overrides, billing status, flags, traits.

Each asks for the right, enters the tenant with the reason, and leaves it in the tenant's own trail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.core.ctx import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.errors import Invalid, NotFound
from shared.entitlements import explain, holdings
from shared.entitlements.catalogue import Catalogue, Offer
from shared.entitlements.explain import FeatureChain, LimitChain
from shared.entitlements.facts import Facts
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import TenantAddon, TenantOverride
from shared.tenancy import entry

LOOK = "Looking at what it may use"


@dataclass(frozen=True, slots=True)
class Effective:
    """What a tenant may use now and where each of it comes from."""

    facts: Facts
    features: dict[str, FeatureChain]
    limits: dict[str, LimitChain]
    overrides: Sequence[TenantOverride]
    addons: Sequence[tuple[TenantAddon, Offer]]
    offers: Sequence[Offer]  # that it could be given: plans and add-ons, newest versions, its own among them


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
    )


async def effective(octx: OperatorCtx, tenant_id: str) -> Effective:
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    async with entry.visit(octx, tenant_id, LOOK) as ctx:
        return effective_of(*await holdings.facts(ctx))


async def assign_plan(
    octx: OperatorCtx, tenant_id: str, version_id: str, reason: str, *, trial_days: int = 0
) -> None:
    """Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    async with entry.visit(octx, tenant_id, reason) as ctx:
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
    async with entry.visit(octx, tenant_id, reason) as ctx:
        await holdings.add_addon(ctx, await _offer(ctx, version_id), quantity, reason, ends_at=ends_at)


async def override_feature(
    octx: OperatorCtx, tenant_id: str, feature: str, on: bool, reason: str, *, ends_at: datetime
) -> None:
    """Raises Invalid for an unknown feature, for an end that is past, without a reason; NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    async with entry.visit(octx, tenant_id, reason) as ctx:
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
    async with entry.visit(octx, tenant_id, reason) as ctx:
        await holdings.override_limit(ctx, limit_key, amount, reason, ends_at=ends_at, hard=hard)


async def end(octx: OperatorCtx, tenant_id: str, row_id: str, reason: str) -> None:
    """An override or an add-on, before its time. Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    async with entry.visit(octx, tenant_id, reason) as ctx:
        await holdings.end(ctx, row_id, reason)


async def set_billing(octx: OperatorCtx, tenant_id: str, status: str, reason: str) -> None:
    """By hand, until billing follows a payment provider. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    async with entry.visit(octx, tenant_id, reason) as ctx:
        await holdings.set_billing(ctx, status, reason, starts_at=now())


async def set_flag(octx: OperatorCtx, tenant_id: str, flag: str, enabled: bool | None, reason: str) -> None:
    """This tenant's own word on a flag; None takes it back. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    async with entry.visit(octx, tenant_id, reason) as ctx:
        await holdings.set_flag(ctx, flag, enabled, reason)


async def set_trait(octx: OperatorCtx, tenant_id: str, name: str, value: str, reason: str) -> None:
    """Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    async with entry.visit(octx, tenant_id, reason) as ctx:
        await holdings.set_trait(ctx, name, value, reason)


async def _offer(ctx: Ctx, version_id: str) -> Offer:
    _, catalogue = await holdings.facts(ctx)
    found = catalogue.offers.get(version_id)
    if found is None:
        raise NotFound("There is no such version of a plan.", "Choose one from the list.")
    if catalogue.newest(found.plan_id, now()) != found:
        raise Invalid("This version is not the newest of its plan.", "Reload the page.")
    return found
