"""What plans sell is asked for: every feature by an action, every limit by a counter and an action."""

from shared.access.actions import ACTIONS
from shared.access.meters import METERS
from shared.entitlements.features import FEATURES, FeatureUse
from shared.entitlements.limits import LIMITS, LimitPeriod
from shared.metering import allowances
from shared.tenancy import seats

PLANNED = {
    "anomaly_watch",
    "sso",
    "workspaces",
    "customers",
}  # shrinks with what is built; nothing is added to it


def test_every_feature_is_asked_for_by_an_action_or_says_what_asks() -> None:
    action_features = {action.feature for action in ACTIONS.values()} - {""}
    assert action_features == {key for key, feature in FEATURES.items() if feature.use is FeatureUse.ACTION}


def test_feature_that_changes_a_count_is_read_where_it_is_counted() -> None:
    assert {key for key, feature in FEATURES.items() if feature.use is FeatureUse.COUNT} == {
        seats.ACCOUNT_FEATURE
    }


def test_nothing_new_is_sold_before_it_is_built() -> None:
    features = {key for key, feature in FEATURES.items() if feature.use is FeatureUse.PLANNED}
    assert features | {key for key, kind in LIMITS.items() if kind.is_planned} == PLANNED


def test_every_limit_has_a_counter_and_an_action() -> None:
    action_limits = {action.limit for action in ACTIONS.values()} - {""}
    counted = {key for key, kind in LIMITS.items() if kind.usage is not None}
    assert action_limits == counted
    for key, kind in LIMITS.items():
        assert (kind.usage is None) == (kind.is_age or kind.is_planned), key


def test_every_monthly_limit_is_a_meter_whose_events_are_counted() -> None:
    monthly = {key for key, kind in LIMITS.items() if kind.period is LimitPeriod.MONTH}
    assert monthly == {meter for meter in METERS if allowances.is_limited(meter)}
