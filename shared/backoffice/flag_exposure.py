"""The tenants that each flag is on for, and their error rates compared with the others.

Reading across tenants is recorded in the operator audit log. The exposure is computed from the same rules as decisions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.access import actions, policy
from shared.access.actions import ACTIONS
from shared.backoffice import flag_admin
from shared.backoffice import flag_exposure_repository as repository
from shared.backoffice.flag_exposure_repository import DecisionTotals
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import NotFound
from shared.core.paging import Page, build_page, clamp_limit
from shared.entitlements import rights_cache
from shared.entitlements.catalog import Catalog
from shared.entitlements.entitlement_chains import build_feature_chain
from shared.entitlements.features import FEATURES
from shared.entitlements.flag_evaluation import (
    FlagEvaluation,
    FlagFinding,
    FlagTarget,
    build_target,
    describe_evaluation,
    evaluate_rules,
)
from shared.entitlements.history import EntitlementHistory
from shared.entitlements.snapshot import EntitlementSnapshot
from shared.tenancy import entry

RECENT_PERIOD = timedelta(days=7)
# Reasons for reading across tenants where the page itself is the reason.
LIST_REASON, FLAG_REASON, SIMULATION_REASON = (
    "Exposure of all flags",
    "Exposure of a flag",
    "Impact of changing a flag",
)


@dataclass(frozen=True, slots=True)
class FlagCounts:
    total_tenants: int  # all tenants
    enabled_tenants: Mapping[str, int]  # by key of the flag


@dataclass(frozen=True, slots=True)
class ExposedTenant:
    tenant_id: str
    name: str
    plan: str
    explanation: str  # why: a sentence
    recent_decisions: DecisionTotals


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """Decisions and errors of some tenants in the last 7 days."""

    tenants: int
    decisions: int
    errors: int

    @property
    def errors_per_thousand(self) -> float | None:
        """None without decisions."""
        return self.errors * 1000 / self.decisions if self.decisions else None


@dataclass(frozen=True, slots=True)
class FlagReach:
    total_tenants: int
    page: Page[ExposedTenant]  # of those it is on for, by name
    exposed: ErrorRate
    others: ErrorRate
    refusals: int  # decisions that were refused because it is off
    unentitled_tenants: int  # tenants that match a rule but lack the required feature


@dataclass(frozen=True, slots=True)
class RulesImpact:
    """The impact of new rules, if they were saved now."""

    total_tenants: int
    before: int
    after: int
    gains: Sequence[str]  # names
    losses: Sequence[str]


@dataclass(frozen=True, slots=True)
class _EvaluatedTenant:
    tenant_id: str
    name: str
    snapshot: EntitlementSnapshot
    catalog: Catalog  # with custom plans of the tenant

    @property
    def target(self) -> FlagTarget:
        return build_target(self.snapshot)

    def is_missing_feature(self, required: str) -> bool:
        return bool(required) and not build_feature_chain(self.snapshot, self.catalog, required).included


async def count_exposed_tenants(octx: OperatorCtx) -> FlagCounts:
    """Numbers of tenants that each flag is on for, by key."""
    policy.require_operator(octx, actions.OP_FLAG_READ)
    tenants, catalog, at = await _load_tenants(octx, LIST_REASON)
    enabled_tenants = dict.fromkeys(catalog.flags, 0)
    for tenant in tenants:
        for flag in catalog.flags:
            enabled_tenants[flag] += _evaluate_flag(tenant, flag, at).is_on
    return FlagCounts(len(tenants), enabled_tenants)


async def get_flag_reach(octx: OperatorCtx, flag: str, *, after: str = "", limit: int = 25) -> FlagReach:
    """`flag`: its key. `after`: id of the tenant before. Raises NotFound."""
    policy.require_operator(octx, actions.OP_FLAG_READ)
    tenants, catalog, at = await _load_tenants(octx, FLAG_REASON)
    if flag not in catalog.flags:
        raise _unknown_flag()
    guarded_actions = [action.name for action in ACTIONS.values() if action.flag == flag]
    async with entry.read_across_tenants(octx, FLAG_REASON) as session:
        totals_by_tenant = await repository.sum_decisions(session, at - RECENT_PERIOD, guarded_actions)
    evaluated = [
        (tenant, _evaluate_flag(tenant, flag, at), totals_by_tenant.get(tenant.tenant_id, DecisionTotals()))
        for tenant in tenants
    ]
    rows = [
        ExposedTenant(
            tenant.tenant_id, tenant.name, tenant.snapshot.offer.name, describe_evaluation(evaluation), totals
        )
        for tenant, evaluation, totals in evaluated
        if evaluation.is_on
    ]
    start = next((index + 1 for index, row in enumerate(rows) if row.tenant_id == after), 0)
    return FlagReach(
        len(tenants),
        build_page(rows[start:], limit=clamp_limit(limit), cursor_of=lambda tenant: tenant.tenant_id),
        _compute_error_rate([totals for _, evaluation, totals in evaluated if evaluation.is_on]),
        _compute_error_rate([totals for _, evaluation, totals in evaluated if not evaluation.is_on]),
        sum(totals.refusals for _, _, totals in evaluated),
        sum(evaluation.source_id in FEATURES for _, evaluation, _ in evaluated),
    )


async def simulate_rules(octx: OperatorCtx, flag: str, new_rules: object) -> RulesImpact:
    """Simulates other rules, as if the flag were not killed. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_FLAG_READ)
    checked_rules = await flag_admin.parse_rules(octx, new_rules)
    tenants, catalog, at = await _load_tenants(octx, SIMULATION_REASON)
    rollout = catalog.flags.get(flag)
    if rollout is None:
        raise _unknown_flag()
    required = rollout.flag.required_feature
    before = {tenant.tenant_id for tenant in tenants if _evaluate_flag(tenant, flag, at).is_on}
    after = {
        tenant.tenant_id
        for tenant in tenants
        if evaluate_rules(rollout, rollout.flag.id, checked_rules, False, tenant.target, at).is_on
        and not tenant.is_missing_feature(required)
    }
    names = {tenant.tenant_id: tenant.name for tenant in tenants}
    return RulesImpact(
        len(tenants),
        len(before),
        len(after),
        [name for tenant, name in names.items() if tenant in after - before],
        [name for tenant, name in names.items() if tenant in before - after],
    )


async def _load_tenants(
    octx: OperatorCtx, reason: str
) -> tuple[Sequence[_EvaluatedTenant], Catalog, datetime]:
    """Every tenant with its current facts, in a constant number of statements."""
    async with entry.read_across_tenants(octx, reason) as session:
        catalog = await rights_cache.get_catalog(session)
        at = now()
        histories = await repository.list_histories(session, at)
        tenants = await repository.list_tenants(session)
    evaluated_tenants = []
    for tenant_id, name in tenants:
        history = histories.get(tenant_id) or EntitlementHistory(tenant_id)
        tenant_catalog = history.extend_catalog(catalog)
        evaluated_tenants.append(
            _EvaluatedTenant(tenant_id, name, history.snapshot_at(tenant_catalog, at), tenant_catalog)
        )
    return evaluated_tenants, catalog, at


def _evaluate_flag(tenant: _EvaluatedTenant, flag: str, at: datetime) -> FlagEvaluation:
    """The evaluation as in `compiled_rights`: off, with the required feature as source, where the tenant lacks that
    feature.
    """
    evaluation = rights_cache.get_provider(tenant.catalog).evaluate(flag, tenant.target, at)
    required = tenant.catalog.flags[flag].flag.required_feature
    if evaluation.is_on and tenant.is_missing_feature(required):
        note = FEATURES[required].title
        return FlagEvaluation(False, FlagFinding.FEATURE_MISSING, required, note=note)
    return evaluation


def _compute_error_rate(totals: Sequence[DecisionTotals]) -> ErrorRate:
    return ErrorRate(
        len(totals),
        sum(tenant_totals.decisions for tenant_totals in totals),
        sum(tenant_totals.errors for tenant_totals in totals),
    )


def _unknown_flag() -> NotFound:
    return NotFound("This flag doesn’t exist.", "Choose one from the list.")
