"""The impact of publishing a draft on all tenants. Previewing changes nothing.

All data is read in a few statements, and rights that tenants share are compiled once. `simulate_change` takes the
change as a function, so that it can also simulate changes of flags or overrides.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.backoffice import impact_repository as repository
from shared.backoffice.impact_comparison import CountedDecision, ImpactComparison, ImpactReport, TenantCase
from shared.backoffice.tenant_directory_repository import list_tenant_names
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.entitlements import plan_content, rights_cache
from shared.entitlements.catalog import Catalog
from shared.entitlements.history import EntitlementHistory, build_histories, group_by_tenant
from shared.entitlements.limits import list_usages
from shared.entitlements.models import (
    Plan,
    PlanVersion,
    TenantAddon,
    TenantBilling,
    TenantFlag,
    TenantOverride,
    TenantPlan,
    TenantTrait,
)
from shared.tenancy import entry

PlanOrVersion = TypeVar("PlanOrVersion", Plan, PlanVersion)
DRAFT_IMPACT_REASON = "Impact of a catalog draft"
VERSION_COUNT_REASON = "Tenants on each plan version"
RECENT_PERIOD = timedelta(days=30)
TENANTS_PER_YIELD = 100  # yield to other tasks after so many tenants

# Returns the history and the catalog of a tenant with the change.
SimulatedChange = Callable[[EntitlementHistory, Catalog], tuple[EntitlementHistory, Catalog]]


@dataclass(frozen=True, slots=True)
class DraftImpact:
    """`digest`: to be passed to `publish`."""

    report: ImpactReport
    revision: int
    digest: str
    at: datetime


@dataclass(frozen=True, slots=True)
class VersionUsage:
    tenants_by_version: Mapping[str, int]  # tenants on each version now
    tenant_names: Mapping[str, str]  # by id, of tenants with custom plans


@dataclass(frozen=True, slots=True)
class SimulationInput:
    """What a simulation reads: the catalog, and history, usage and decisions by tenant id."""

    at: datetime
    catalog: Catalog  # of all tenants
    tenants: Sequence[tuple[str, str, str]]  # id, name, state
    histories: Mapping[str, EntitlementHistory]
    usage: Mapping[str, Mapping[str, int]]  # by limit, then by tenant
    decisions: Mapping[str, Sequence[CountedDecision]]


async def simulate_publication(
    octx: OperatorCtx, plan: Plan, draft: PlanVersion, *, moves: bool, effective_at: datetime | None = None
) -> DraftImpact:
    """The impact of publishing `draft`, at the time at which it would be in force."""
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    async with entry.read_across_tenants(octx, DRAFT_IMPACT_REASON) as session:
        simulation_input = await _load_simulation_input(session, effective_at or now())
        report = await simulate_change(
            simulation_input, build_publication_change(plan, draft, moves, simulation_input.at)
        )
    digest = plan_content.compute_digest(draft, simulation_input.catalog.epoch, moves, effective_at)
    return DraftImpact(report, draft.revision, digest, simulation_input.at)


def build_publication_change(plan: Plan, draft: PlanVersion, moves: bool, at: datetime) -> SimulatedChange:
    """A change that puts `draft` in force at `at`."""
    version = plan_content.build_published_version(plan, draft, moves, at)
    # Most tenants share one catalog. It is kept with the result, because ids of freed objects are used again.
    catalogs_after: dict[int, tuple[Catalog, Catalog]] = {}

    def change(history: EntitlementHistory, catalog: Catalog) -> tuple[EntitlementHistory, Catalog]:
        if plan.for_tenant not in (None, history.tenant_id):
            return history, catalog
        cached = catalogs_after.get(id(catalog))
        if cached is None:
            cached = catalogs_after[id(catalog)] = catalog, catalog.with_custom_plans([plan], [version])
        return history, cached[1]

    return change


async def simulate_change(simulation_input: SimulationInput, change: SimulatedChange) -> ImpactReport:
    """Compares the rights of every tenant with and without the change."""
    comparison = ImpactComparison()
    for index, (tenant_id, name, state) in enumerate(simulation_input.tenants):
        if index % TENANTS_PER_YIELD == 0:
            await asyncio.sleep(0)
        history = simulation_input.histories.get(tenant_id) or EntitlementHistory(tenant_id)
        catalog = history.extend_catalog(simulation_input.catalog)
        changed_history, changed_catalog = change(history, catalog)
        comparison.add(
            TenantCase(
                tenant_id,
                name,
                rights_cache.compute_rights(
                    history.snapshot_at(catalog, simulation_input.at), catalog, state
                ),
                rights_cache.compute_rights(
                    changed_history.snapshot_at(changed_catalog, simulation_input.at), changed_catalog, state
                ),
                {limit: counts.get(tenant_id, 0) for limit, counts in simulation_input.usage.items()},
                simulation_input.decisions.get(tenant_id, ()),
            )
        )
    return comparison.build_report()


async def count_tenants_by_version(octx: OperatorCtx) -> VersionUsage:
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    at = now()
    async with entry.read_across_tenants(octx, VERSION_COUNT_REASON) as session:
        custom_plans, custom_versions = await repository.list_custom_plans(session)
        catalog = (await rights_cache.get_catalog(session)).with_custom_plans(custom_plans, custom_versions)
        assignment_counts = await repository.count_assignments_by_version(session, at)
        tenant_count = await repository.count_tenants(session)
        addons = await repository.list_addon_assignments(session, at)
        names = await list_tenant_names(session, sorted({plan.for_tenant or "" for plan in custom_plans}))
    version_counts: dict[str, int] = {}
    for version, count in assignment_counts.items():
        version_id = catalog.resolve_offer(version, at).id
        version_counts[version_id] = version_counts.get(version_id, 0) + count
    if unassigned_count := tenant_count - sum(assignment_counts.values()):
        fallback_id = catalog.fallback_offer(at).id
        version_counts[fallback_id] = version_counts.get(fallback_id, 0) + unassigned_count
    for version_id, _ in {(catalog.resolve_offer(version, at).id, tenant) for version, tenant in addons}:
        version_counts[version_id] = version_counts.get(version_id, 0) + 1
    return VersionUsage(version_counts, names)


async def _load_simulation_input(session: AsyncSession, at: datetime) -> SimulationInput:
    """Reads usage and decisions as of now even for a future `at`, because future usage is unknown."""
    catalog = await rights_cache.get_catalog(session)
    tenants = [
        (tenant_id, name, str(state)) for tenant_id, name, state in await repository.list_tenants(session)
    ]
    assigned = group_by_tenant(await repository.list_valid_rows(session, TenantPlan, at))
    addons = group_by_tenant(await repository.list_valid_rows(session, TenantAddon, at))
    overrides = group_by_tenant(await repository.list_valid_rows(session, TenantOverride, at))
    billing = group_by_tenant(await repository.list_valid_rows(session, TenantBilling, at))
    flags = group_by_tenant(await repository.list_valid_rows(session, TenantFlag, at))
    traits = group_by_tenant(await repository.list_valid_rows(session, TenantTrait, at))
    plans, versions = await repository.list_custom_plans(session)
    plans_of, versions_of = _group_by_tenant(plans), _group_by_tenant(versions)
    usage = {name: await limit_usage.all_tenants(session, now()) for name, limit_usage in list_usages()}
    decisions: dict[str, list[CountedDecision]] = {}
    for tenant_id, action, reason, count in await repository.sum_decision_counts(
        session, now() - RECENT_PERIOD
    ):
        decisions.setdefault(tenant_id, []).append(CountedDecision(action, reason, count))
    tenant_histories = build_histories(
        (tenant_id for tenant_id, _, _ in tenants),
        *(assigned, addons, overrides, billing, flags, traits, plans_of, versions_of),
    )
    return SimulationInput(at, catalog, tenants, tenant_histories, usage, decisions)


def _group_by_tenant(rows: Sequence[PlanOrVersion]) -> dict[str, list[PlanOrVersion]]:
    rows_by_tenant: dict[str, list[PlanOrVersion]] = {}
    for row in rows:
        rows_by_tenant.setdefault(row.for_tenant or "", []).append(row)
    return rows_by_tenant
