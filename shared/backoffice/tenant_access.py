"""Operators' changes to a tenant's entitlements: plan, add-ons, overrides, billing status, flags, traits.

Each function requires the permission, enters the tenant with the reason, locks it against concurrent changes, and
records the change in the tenant's audit log.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from shared.access import actions, policy
from shared.backoffice import history_repository as repository
from shared.backoffice.reasons import Reason, use_reason
from shared.core.context import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.errors import ChangedMeanwhile, Conflict, Invalid, NotFound
from shared.core.versions import compare_values
from shared.entitlements import assignments, rights_cache
from shared.entitlements.catalog import Catalog, PlanOffer
from shared.entitlements.entitlement_chains import Entitlements, FeatureChain, LimitChain
from shared.entitlements.features import FEATURES
from shared.entitlements.flag_evaluation import build_target, describe_evaluation
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import TenantAddon, TenantOverride
from shared.entitlements.snapshot import EntitlementSnapshot
from shared.tenancy import decision_history, entry, tenants
from shared.tenancy.models import TenantState

VISIT_REASON = "View plan and overrides"


@dataclass(frozen=True, slots=True)
class TenantFlagView:
    """A flag as evaluated for one tenant."""

    key: str
    title: str
    is_on: bool  # by its rules, regardless of the required feature
    explanation: str
    source_id: str
    override: bool | None  # None without an override


@dataclass(frozen=True, slots=True)
class TenantAccess:
    """The current features, limits and flags of a tenant, with their sources."""

    snapshot: EntitlementSnapshot
    features: dict[str, FeatureChain]
    limits: dict[str, LimitChain]
    overrides: Sequence[TenantOverride]
    addons: Sequence[tuple[TenantAddon, PlanOffer]]
    offers: Sequence[
        PlanOffer
    ]  # newest versions of all plans and add-ons that can be assigned, custom ones included
    flags: Sequence[TenantFlagView]
    usage: Mapping[str, int] = field(default_factory=dict)  # by limit, where usage is counted
    owner_id: str = ""  # preselected in *Why?*
    tenant_name: str = ""
    version: int = 0  # of everything here: each change of it makes a new one


def build_tenant_access(snapshot: EntitlementSnapshot, catalog: Catalog) -> TenantAccess:
    entitlements = Entitlements(snapshot, catalog)
    return TenantAccess(
        snapshot,
        {name: entitlements.feature(name) for name in FEATURES},
        {name: entitlements.limit(name) for name in LIMITS},
        list(snapshot.overrides.values()),
        snapshot.addons,
        [
            offer
            for plan in sorted(catalog.plans.values(), key=lambda plan: plan.position)
            if plan.retired_at is None and (offer := catalog.newest_offer(plan.id, snapshot.at)) is not None
        ],
        list(_list_flag_views(snapshot, catalog)),
    )


def _list_flag_views(snapshot: EntitlementSnapshot, catalog: Catalog) -> Iterator[TenantFlagView]:
    provider, target = rights_cache.get_provider(catalog), build_target(snapshot)
    for key, rollout in sorted(catalog.flags.items()):
        if rollout.flag.retired_at is not None and rollout.flag.retired_at <= snapshot.at:
            continue
        evaluation, override = provider.evaluate(key, target, snapshot.at), snapshot.flag_overrides.get(key)
        yield TenantFlagView(
            key,
            rollout.flag.title,
            evaluation.is_on,
            describe_evaluation(evaluation),
            evaluation.source_id,
            override.enabled if override else None,
        )


async def get_tenant_access(octx: OperatorCtx, tenant_id: str, reason: Reason | None = None) -> TenantAccess:
    """`reason`: of the visit, if one was stated. Raises NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    reason_text = use_reason(octx, reason, tenant_id) if reason else VISIT_REASON
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        access = build_tenant_access(*await assignments.get_snapshot(ctx))
        counts = {
            name: await decision_history.count_usage_at(ctx, name, access.snapshot.at) for name in LIMITS
        }
        usage = {name: count for name, count in counts.items() if count is not None}
        owner = await repository.get_owner_id(ctx)
        return TenantAccess(
            *(
                access.snapshot,
                access.features,
                access.limits,
                access.overrides,
                access.addons,
                access.offers,
            ),
            *(access.flags, usage, owner, ctx.tenant_name),
            version=await tenants.get_rights_version(ctx),
        )


async def assign_plan(
    octx: OperatorCtx,
    tenant_id: str,
    version_id: str,
    reason: Reason,
    *,
    trial_days: int = 0,
    version: int | None = None,
) -> None:
    """`version`: of the tenant's access that was read. Raises Invalid, NotFound, Conflict, ChangedMeanwhile."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    reason_text = use_reason(octx, reason, tenant_id)
    async with _lock_for_change(octx, tenant_id, reason_text) as ctx:
        offer = await _require_newest_offer(ctx, version_id)
        snapshot, _ = await assignments.get_snapshot(ctx)
        await _require_version(ctx, version, {"Plan": (snapshot.offer.label, offer.label)})
        await assignments.assign_plan(ctx, offer, reason_text, trial_days=trial_days)


async def add_addon(
    octx: OperatorCtx,
    tenant_id: str,
    version_id: str,
    quantity: int,
    reason: Reason,
    *,
    ends_at: datetime | None = None,
) -> None:
    """Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    reason_text = use_reason(octx, reason, tenant_id)
    async with _lock_for_change(octx, tenant_id, reason_text) as ctx:
        await assignments.add_addon(
            ctx, await _require_newest_offer(ctx, version_id), quantity, reason_text, ends_at=ends_at
        )


async def override_feature(
    octx: OperatorCtx, tenant_id: str, feature: str, on: bool, reason: Reason, *, ends_at: datetime
) -> TenantOverride:
    """Raises Invalid for an unknown feature, a past end or a missing reason; NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    reason_text = use_reason(octx, reason, tenant_id)
    async with _lock_for_change(octx, tenant_id, reason_text) as ctx:
        return await assignments.override_feature(ctx, feature, on, reason_text, ends_at=ends_at)


async def override_limit(
    octx: OperatorCtx,
    tenant_id: str,
    limit_key: str,
    amount: int | None,
    reason: Reason,
    *,
    ends_at: datetime,
    hard: bool = True,
) -> TenantOverride:
    """`amount` None: unlimited. Raises as `override_feature`."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    reason_text = use_reason(octx, reason, tenant_id)
    async with _lock_for_change(octx, tenant_id, reason_text) as ctx:
        return await assignments.override_limit(
            ctx, limit_key, amount, reason_text, ends_at=ends_at, hard=hard
        )


async def end_assignment(octx: OperatorCtx, tenant_id: str, row_id: str, reason: Reason) -> None:
    """Ends an override or an add-on early. Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    reason_text = use_reason(octx, reason, tenant_id)
    async with _lock_for_change(octx, tenant_id, reason_text) as ctx:
        await assignments.end_assignment(ctx, row_id, reason_text)


async def set_billing_status(octx: OperatorCtx, tenant_id: str, status: str, reason: Reason) -> None:
    """Sets the status manually, while there is no subscription. Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    reason_text = use_reason(octx, reason, tenant_id)
    async with _lock_for_change(octx, tenant_id, reason_text) as ctx:
        await assignments.set_billing_status(ctx, status, reason_text, starts_at=now())


async def set_flag_override(
    octx: OperatorCtx,
    tenant_id: str,
    flag: str,
    enabled: bool | None,
    reason: Reason,
    *,
    version: int | None = None,
) -> None:
    """Sets the flag override of this tenant; None removes it. `version`: of the tenant's access that was read.

    Raises Invalid, NotFound, ChangedMeanwhile.
    """
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    reason_text = use_reason(octx, reason, tenant_id)
    async with _lock_for_change(octx, tenant_id, reason_text) as ctx:
        snapshot, _ = await assignments.get_snapshot(ctx)
        override = snapshot.flag_overrides.get(flag)
        present = override.enabled if override else None
        await _require_version(ctx, version, {"Override": (present, enabled)})
        await assignments.set_flag_override(ctx, flag, enabled, reason_text)


async def set_trait(octx: OperatorCtx, tenant_id: str, name: str, value: str, reason: Reason) -> None:
    """Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    reason_text = use_reason(octx, reason, tenant_id)
    async with _lock_for_change(octx, tenant_id, reason_text) as ctx:
        await assignments.set_trait(ctx, name, value, reason_text)


@asynccontextmanager
async def _lock_for_change(octx: OperatorCtx, tenant_id: str, reason: str) -> AsyncIterator[Ctx]:
    """Enters and locks the tenant.

    The caller checks the permission. Raises Invalid, NotFound, Conflict for a deleted tenant.
    """
    async with entry.enter_live_as_operator(octx, tenant_id, reason) as ctx:
        tenant = await tenants.lock(ctx)
        if tenant.state is TenantState.DELETED:
            raise Conflict(f"{tenant.name} has been deleted.", "It can no longer be changed.")
        yield ctx


async def _require_version(
    ctx: Ctx, version: int | None, values: Mapping[str, tuple[object, object]]
) -> None:
    """For a locked tenant. `version` None: the caller compares nothing. Raises ChangedMeanwhile."""
    present = await tenants.get_rights_version(ctx)
    if version in (None, present):
        return
    history, _ = await assignments.get_history(ctx)
    changed_by, changed_at = history.find_last_change() or ("Bulkhead", now())
    raise ChangedMeanwhile(
        "this organisation’s plan or entitlements",
        version=present,
        changed_by=changed_by,
        changed_at=changed_at,
        differences=compare_values(values),
    )


async def _require_newest_offer(ctx: Ctx, version_id: str) -> PlanOffer:
    _, catalog = await assignments.get_snapshot(ctx)
    offer, at = catalog.offers.get(version_id), now()
    if offer is None:
        raise NotFound("This plan version doesn’t exist.", "Choose one from the list.")
    retired = catalog.plans[offer.plan_id].retired_at
    if retired is not None and retired <= at:
        raise Invalid(f"{offer.name} is no longer offered.", "Choose another plan or add-on.")
    if catalog.newest_offer(offer.plan_id, at) != offer:
        raise Invalid("A newer version of this plan exists.", "Reload the page.")
    return offer
