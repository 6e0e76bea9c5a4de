"""The property of `test_oracle` can fail: each rule of precedence broken in one function, and each time it notices."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from shared.access.actions import Action
from shared.access.decision import DECISION_BY_REASON, Decision
from shared.access.refusal_codes import Reason
from shared.core.context import Limit, Rights
from shared.entitlements import evaluate, flag_evaluation, history, snapshot
from shared.entitlements.catalog import Catalog, PlanOffer
from shared.entitlements.evaluate import Entitlements
from shared.entitlements.models import TenantOverride, TimedRow
from shared.entitlements.snapshot import EntitlementSnapshot
from tests.entitlements import test_oracle
from tests.support.sizes import size

EXAMPLES = 150
Planted = tuple[object, str, Any]
was_entitled, was_verdict, was_counts = (
    evaluate.compute_entitlements,
    evaluate.evaluate_action,
    snapshot.is_in_effect,
)
was_weigh, was_decide, was_rights = (
    flag_evaluation.evaluate_rules,
    test_oracle.decide,
    evaluate.compile_rights,
)


def without(known: EntitlementSnapshot, **parts: Any) -> EntitlementSnapshot:
    return replace(known, **parts)


def override_before_addon() -> Planted:
    def entitled(known: EntitlementSnapshot) -> Entitlements:
        first = was_entitled(without(known, addons=()))
        features, limits = set(first.features), dict(first.limits)
        for row, addon in known.addons:
            features |= addon.features
            for name, more in addon.limits.items():
                limits[name] = evaluate.raise_limit(limits[name], more, row.quantity)
        return Entitlements(frozenset(features), limits)

    return evaluate, "compute_entitlements", entitled


def addons_ignored() -> Planted:
    return evaluate, "compute_entitlements", lambda known: was_entitled(without(known, addons=()))


def overrides_ignored() -> Planted:
    return evaluate, "compute_entitlements", lambda known: was_entitled(without(known, overrides={}))


def quantity_ignored() -> Planted:
    was = evaluate.raise_limit
    return evaluate, "raise_limit", lambda limit, more, times: was(limit, more, 1)


def billing_after_plan() -> Planted:
    def verdict(action: Action, known: EntitlementSnapshot, *rest: Any) -> Reason:
        said = was_verdict(action, known, *rest)
        if said is not Reason.BILLING_READ_ONLY:
            return said
        later = was_verdict(replace(action, writes=False), known, *rest)
        return said if later is Reason.ALLOWED else later

    return evaluate, "evaluate_action", verdict


def cleans_up_ignored() -> Planted:
    return (
        evaluate,
        "evaluate_action",
        lambda action, *rest: was_verdict(replace(action, allowed_when_unpaid=False), *rest),
    )


def unverified_ok_ignored() -> Planted:
    return (
        evaluate,
        "evaluate_action",
        lambda action, *rest: was_verdict(replace(action, allowed_when_unverified=False), *rest),
    )


def required_feature_ignored() -> Planted:
    return evaluate, "evaluate_action", lambda *given: was_verdict(*given[:-1], "")


def read_only_refuses_reading() -> Planted:
    return evaluate, "evaluate_action", lambda action, *rest: was_verdict(replace(action, writes=True), *rest)


def plan_that_fell_counts_as_never_had() -> Planted:
    def verdict(
        action: Action, known: EntitlementSnapshot, _: Any, features: frozenset[str], *rest: Any
    ) -> Reason:
        return was_verdict(action, known, features, features, *rest)

    return evaluate, "evaluate_action", verdict


def state_of_the_tenant_ignored() -> Planted:
    def rights(known: EntitlementSnapshot, catalogue: Catalog, provider: Any, state: str) -> Rights:
        return was_rights(known, catalogue, provider, "active")

    return evaluate, "compile_rights", rights


def fallback_limit_not_applied() -> Planted:
    return evaluate, "get_lower_limit", lambda one, other: one


def bought_seats_ignored() -> Planted:
    return evaluate, "get_plan_limit", lambda known, name: known.offer.limits.get(name, evaluate.ZERO_LIMIT)


def more_seats_than_the_plan_allows() -> Planted:
    was = evaluate.get_plan_limit

    def of_plan(known: EntitlementSnapshot, name: str) -> Limit:
        seats = known.seats if name == evaluate.SEAT_LIMIT else None
        return was(known, name) if seats is None else Limit(seats, was(known, name).hard)

    return evaluate, "get_plan_limit", of_plan


def trial_one_moment_too_long() -> Planted:
    def ended(known: EntitlementSnapshot) -> bool:
        return known.trial_ends_at is not None and known.trial_ends_at < known.at

    return EntitlementSnapshot, "trial_ended", property(ended)


def end_is_inclusive() -> Planted:
    def counts(row: TimedRow, at: datetime, known: datetime | None = None) -> bool:
        return was_counts(row, at, known) or (row.ends_at == at and row.closed_at is None)

    return history, "is_in_effect", counts


def closed_rows_count() -> Planted:
    def counts(row: TimedRow, at: datetime, known: datetime | None = None) -> bool:
        return row.starts_at <= at and (row.ends_at is None or at < row.ends_at)

    return history, "is_in_effect", counts


def foreseen_rows_count_at_once() -> Planted:
    def counts(row: TimedRow, at: datetime, known: datetime | None = None) -> bool:
        return was_counts(row, max(at, row.starts_at), known)

    return history, "is_in_effect", counts


def first_row_wins() -> Planted:
    return history, "_start_order", lambda row: (-row.starts_at.timestamp(), -row.created_at.timestamp())


def moving_versions_ignored() -> Planted:
    def moved(self: Catalog, assigned: str, at: datetime) -> PlanOffer:
        return self.offers[assigned]

    return Catalog, "resolve_offer", moved


def every_version_moves() -> Planted:
    def moved(self: Catalog, assigned: str, at: datetime) -> PlanOffer:
        return self.newest_offer(self.offers[assigned].plan_id, at) or self.offers[assigned]

    return Catalog, "resolve_offer", moved


def version_sold_before_it_is_in_effect() -> Planted:
    return Catalog, "newest_offer", lambda self, plan, at: self.offers_by_plan[plan][-1]


def kill_switch_ignored() -> Planted:
    return (
        flag_evaluation,
        "evaluate_rules",
        lambda flag, source, rules, killed, *rest: was_weigh(flag, source, rules, False, *rest),
    )


def own_no_ignored() -> Planted:
    def weigh(flag: Any, source: str, rules: Any, killed: bool, target: Any, at: datetime) -> Any:
        words = {name: True for name, word in target.overrides.items() if word}
        return was_weigh(flag, source, rules, killed, replace(target, overrides=words), at)

    return flag_evaluation, "evaluate_rules", weigh


def window_never_closes() -> Planted:
    was = flag_evaluation.is_active
    return flag_evaluation, "is_active", lambda rule, at: was({**rule, "ends_at": None}, at)


def soft_limit_refuses() -> Planted:
    def decide(*given: Any, **options: Any) -> Decision:
        said = was_decide(*given, **options)
        return DECISION_BY_REASON[Reason.LIMIT_REACHED] if said.reason is Reason.LIMIT_WARNED else said

    return test_oracle, "decide", decide


def overridden_limit_is_always_hard() -> Planted:
    def overridden(row: TenantOverride) -> Limit:
        return Limit(row.value["amount"], hard=True)

    return evaluate, "get_override_limit", overridden


def limit_lets_one_more_in() -> Planted:
    def decide(who: Any, action: Action, *, used: int | None = None, obstacle: str = "") -> Decision:
        return was_decide(who, action, used=used and used - 1, obstacle=obstacle)

    return test_oracle, "decide", decide


def object_before_limit() -> Planted:
    def decide(who: Any, action: Action, *, used: int | None = None, obstacle: str = "") -> Decision:
        return was_decide(who, action, used=None if obstacle else used, obstacle=obstacle)

    return test_oracle, "decide", decide


def tenant_before_permission() -> Planted:
    def decide(who: Any, action: Action, **options: Any) -> Decision:
        said = was_decide(who, action, **options)
        first = was_decide(replace(who, permissions=frozenset({action.permission})), action)
        return said if first.allowed else first

    return test_oracle, "decide", decide


PLANTED: list[Callable[[], Planted]] = [
    *(override_before_addon, addons_ignored, overrides_ignored, quantity_ignored),
    *(billing_after_plan, cleans_up_ignored, unverified_ok_ignored, required_feature_ignored),
    *(read_only_refuses_reading, plan_that_fell_counts_as_never_had, state_of_the_tenant_ignored),
    *(fallback_limit_not_applied, trial_one_moment_too_long, end_is_inclusive, closed_rows_count),
    *(foreseen_rows_count_at_once, first_row_wins, moving_versions_ignored, every_version_moves),
    *(version_sold_before_it_is_in_effect, kill_switch_ignored, own_no_ignored, window_never_closes),
    *(soft_limit_refuses, overridden_limit_is_always_hard, limit_lets_one_more_in, object_before_limit),
    *(tenant_before_permission, bought_seats_ignored, more_seats_than_the_plan_allows),
]


def run(examples: int = EXAMPLES) -> None:
    test_oracle.property_of(examples, derandomize=True)()


@pytest.mark.parametrize("planted", PLANTED)
def test_it_is_noticed(planted: Callable[[], Planted], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*planted())
    with pytest.raises(AssertionError):
        run()


def test_nothing_is_noticed_where_nothing_is_planted() -> None:
    run(size("entitlements.oracle_control"))
