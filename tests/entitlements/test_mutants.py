"""The property of `test_oracle` can fail: each broken rule of precedence is noticed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from shared.access.actions import Action, Requirements
from shared.access.decision import DECISION_BY_REASON, Decision
from shared.access.refusal_codes import Reason
from shared.core.context import Limit
from shared.entitlements import entitlement_chains, evaluate, flag_evaluation, history, limits
from shared.entitlements.catalog import Catalog, PlanOffer
from shared.entitlements.entitlement_chains import Entitlements
from shared.entitlements.evaluate import AccessSubject, Finding, Layer, TraceLine, Verdict
from shared.entitlements.models import TenantOverride, TimedRow
from shared.entitlements.snapshot import EntitlementSnapshot
from tests.entitlements import test_oracle
from tests.support.sizes import size

CASES = 150  # at most, until one of them fails
Mutation = tuple[object, str, Any]  # what is replaced: owner, name, replacement
original_layers = evaluate.evaluate_tenant_layers
original_decide = test_oracle.decide
original_rules = flag_evaluation.evaluate_rules
original_in_effect = history.is_in_effect


def with_changed_facts(change: Callable[[EntitlementSnapshot], EntitlementSnapshot]) -> Mutation:
    original_init = Entitlements.__init__

    def init(self: Entitlements, snapshot: EntitlementSnapshot, catalog: Catalog) -> None:
        original_init(self, change(snapshot), catalog)

    return Entitlements, "__init__", init


def with_changed_requirements(**changes: Any) -> Mutation:
    def layers(requirements: Requirements, *facts: Any) -> Iterator[TraceLine]:
        return original_layers(requirements._replace(**changes), *facts)

    return evaluate, "evaluate_tenant_layers", layers


def override_before_addon() -> Mutation:
    original = Entitlements.is_entitled

    def is_entitled(entitlements: Entitlements, feature: str) -> bool:
        return entitlement_chains.find_addon(entitlements.snapshot, feature) is not None or original(
            entitlements, feature
        )

    return Entitlements, "is_entitled", is_entitled


def addons_ignored() -> Mutation:
    return with_changed_facts(lambda snapshot: replace(snapshot, addons=()))


def overrides_ignored() -> Mutation:
    return with_changed_facts(lambda snapshot: replace(snapshot, overrides={}))


def quantity_ignored() -> Mutation:
    original = entitlement_chains.raise_limit
    return entitlement_chains, "raise_limit", lambda limit, added, _: original(limit, added, 1)


def billing_after_plan() -> Mutation:
    def layers(requirements: Requirements, *facts: Any) -> Iterator[TraceLine]:
        lines = list(original_layers(requirements, *facts))
        return iter(sorted(lines, key=lambda line: line.layer is Layer.BILLING))

    return evaluate, "evaluate_tenant_layers", layers


def allowed_when_unpaid_ignored() -> Mutation:
    return with_changed_requirements(allowed_when_unpaid=False)


def allowed_when_unverified_ignored() -> Mutation:
    original = evaluate.check_tenant_state

    def check(action: Action, subject: AccessSubject) -> TraceLine:
        return original(replace(action, allowed_when_unverified=False), subject)

    return evaluate, "check_tenant_state", check


def allowed_when_suspended_ignored() -> Mutation:
    original = evaluate.check_tenant_state

    def check(action: Action, subject: AccessSubject) -> TraceLine:
        return original(replace(action, allowed_when_suspended=False), subject)

    return evaluate, "check_tenant_state", check


def read_only_refuses_reading() -> Mutation:
    return with_changed_requirements(writes=True)


def required_feature_ignored() -> Mutation:
    original = evaluate._check_flag

    def check(*facts: Any) -> TraceLine:
        line = original(*facts)
        return line._replace(verdict=Verdict.YES) if line.finding is Finding.FLAG_FEATURE_MISSING else line

    return evaluate, "_check_flag", check


def lost_plan_counts_as_never_had() -> Mutation:
    original = evaluate._check_plan

    def check(feature: str, entitlements: Entitlements, *, entitled: bool) -> TraceLine:
        included = entitlements.feature(feature).included
        return original(feature, entitlements, entitled=entitled and included)

    return evaluate, "_check_plan", check


def tenant_state_ignored() -> Mutation:
    original = evaluate.check_tenant_state

    def check(action: Action, subject: AccessSubject) -> TraceLine:
        return original(action, replace(subject, state="active"))

    return evaluate, "check_tenant_state", check


def fallback_limit_not_applied() -> Mutation:
    return entitlement_chains, "get_lower_limit", lambda first, _: first


def bought_seats_ignored() -> Mutation:
    def get_limit(snapshot: EntitlementSnapshot, name: str) -> Limit:
        return snapshot.offer.limits.get(name, entitlement_chains.ZERO_LIMIT)

    return entitlement_chains, "get_plan_limit", get_limit


def more_seats_than_the_plan_allows() -> Mutation:
    original = entitlement_chains.get_plan_limit

    def get_limit(snapshot: EntitlementSnapshot, name: str) -> Limit:
        limit, seats = (
            original(snapshot, name),
            snapshot.seats if limits.LIMITS[name].capped_by_seats else None,
        )
        return limit if seats is None else Limit(seats, limit.hard)

    return entitlement_chains, "get_plan_limit", get_limit


def overridden_limit_is_always_hard() -> Mutation:
    def get_limit(row: TenantOverride) -> Limit:
        return Limit(row.value["amount"], hard=True)

    return entitlement_chains, "get_override_limit", get_limit


def trial_one_moment_too_long() -> Mutation:
    def has_ended(snapshot: EntitlementSnapshot) -> bool:
        return snapshot.trial_ends_at is not None and snapshot.trial_ends_at < snapshot.at

    return EntitlementSnapshot, "trial_ended", property(has_ended)


def end_is_inclusive() -> Mutation:
    def is_in_effect(row: TimedRow, at: datetime, known_at: datetime | None = None) -> bool:
        return original_in_effect(row, at, known_at) or (row.ends_at == at and row.closed_at is None)

    return history, "is_in_effect", is_in_effect


def closed_rows_in_effect() -> Mutation:
    def is_in_effect(row: TimedRow, at: datetime, _: datetime | None = None) -> bool:
        return row.starts_at <= at and (row.ends_at is None or at < row.ends_at)

    return history, "is_in_effect", is_in_effect


def future_rows_in_effect() -> Mutation:
    def is_in_effect(row: TimedRow, at: datetime, known_at: datetime | None = None) -> bool:
        return original_in_effect(row, max(at, row.starts_at), known_at)

    return history, "is_in_effect", is_in_effect


def first_row_wins() -> Mutation:
    def start_order(row: TimedRow) -> tuple[float, float]:
        return -row.starts_at.timestamp(), -row.created_at.timestamp()

    return history, "_start_order", start_order


def moving_versions_ignored() -> Mutation:
    def resolve(self: Catalog, version_id: str, _: datetime) -> PlanOffer:
        return self.offers[version_id]

    return Catalog, "resolve_offer", resolve


def every_version_moves() -> Mutation:
    def resolve(self: Catalog, version_id: str, at: datetime) -> PlanOffer:
        return self.newest_offer(self.offers[version_id].plan_id, at) or self.offers[version_id]

    return Catalog, "resolve_offer", resolve


def version_sold_before_it_is_in_effect() -> Mutation:
    def newest(self: Catalog, plan_id: str, _: datetime) -> PlanOffer:
        return self.offers_by_plan[plan_id][-1]

    return Catalog, "newest_offer", newest


def kill_switch_ignored() -> Mutation:
    def evaluate_rules(rollout: Any, source: str, rules: Any, _: bool, *others: Any) -> Any:
        return original_rules(rollout, source, rules, False, *others)

    return flag_evaluation, "evaluate_rules", evaluate_rules


def negative_flag_override_ignored() -> Mutation:
    def evaluate_rules(*arguments: Any) -> Any:
        *first, target, at = arguments
        overrides = {flag: True for flag, enabled in target.overrides.items() if enabled}
        return original_rules(*first, replace(target, overrides=overrides), at)

    return flag_evaluation, "evaluate_rules", evaluate_rules


def window_never_closes() -> Mutation:
    original = flag_evaluation.is_active
    return flag_evaluation, "is_active", lambda rule, at: original({**rule, "ends_at": None}, at)


def soft_limit_refuses() -> Mutation:
    def decide(*arguments: Any, **options: Any) -> Decision:
        decision = original_decide(*arguments, **options)
        warned = decision.reason is Reason.LIMIT_WARNED
        return DECISION_BY_REASON[Reason.LIMIT_REACHED] if warned else decision

    return test_oracle, "decide", decide


def limit_lets_one_more_in() -> Mutation:
    def decide(asker: Any, action: Action, *, used: int | None = None, obstacle: str = "") -> Decision:
        return original_decide(asker, action, used=used and used - 1, obstacle=obstacle)

    return test_oracle, "decide", decide


def object_before_limit() -> Mutation:
    def decide(asker: Any, action: Action, *, used: int | None = None, obstacle: str = "") -> Decision:
        return original_decide(asker, action, used=None if obstacle else used, obstacle=obstacle)

    return test_oracle, "decide", decide


def tenant_before_permission() -> Mutation:
    def decide(asker: Any, action: Action, **options: Any) -> Decision:
        permitted = replace(asker, permissions=frozenset({action.permission}))
        tenant_decision = original_decide(permitted, action)
        return original_decide(asker, action, **options) if tenant_decision.allowed else tenant_decision

    return test_oracle, "decide", decide


MUTATIONS: list[Callable[[], Mutation]] = [
    override_before_addon,
    addons_ignored,
    overrides_ignored,
    quantity_ignored,
    billing_after_plan,
    allowed_when_unpaid_ignored,
    allowed_when_unverified_ignored,
    allowed_when_suspended_ignored,
    read_only_refuses_reading,
    required_feature_ignored,
    lost_plan_counts_as_never_had,
    tenant_state_ignored,
    fallback_limit_not_applied,
    bought_seats_ignored,
    more_seats_than_the_plan_allows,
    overridden_limit_is_always_hard,
    trial_one_moment_too_long,
    end_is_inclusive,
    closed_rows_in_effect,
    future_rows_in_effect,
    first_row_wins,
    moving_versions_ignored,
    every_version_moves,
    version_sold_before_it_is_in_effect,
    kill_switch_ignored,
    negative_flag_override_ignored,
    window_never_closes,
    soft_limit_refuses,
    limit_lets_one_more_in,
    object_before_limit,
    tenant_before_permission,
]


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_oracle_property_with_a_broken_rule_fails(
    mutation: Callable[[], Mutation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*mutation())
    with pytest.raises(AssertionError):
        test_oracle.check_cases(CASES)


def test_oracle_property_without_a_mutation_holds() -> None:
    test_oracle.check_cases(size("entitlements.oracle_control"))
