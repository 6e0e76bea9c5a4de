"""The order of our steps is right in every interleaving; each other order fails in one."""

import pytest

from tests.support.billing import model_checker
from tests.support.billing.model_checker import CHANGES, RIGHT_STRATEGIES, WRONG_STRATEGIES
from tests.support.sizes import size


@pytest.mark.parametrize("name", RIGHT_STRATEGIES)
def test_right_strategy_is_right_in_every_interleaving(name: str) -> None:
    assert model_checker.check_strategy(
        RIGHT_STRATEGIES[name], changes=size("billing.model_changes")
    ).is_right


@pytest.mark.parametrize("name", WRONG_STRATEGIES)
def test_wrong_strategy_fails_in_some_interleaving(name: str) -> None:
    """Some fail with three changes already; the others need the fourth."""
    changes = range(size("billing.model_changes"), CHANGES + 1)
    assert not all(
        model_checker.check_strategy(WRONG_STRATEGIES[name], changes=number).is_right for number in changes
    )


@pytest.mark.parametrize("marks_all", [False, True])
def test_coalesced_fetch_may_only_mark_the_webhooks_it_took(marks_all: bool) -> None:
    verdict = model_checker.check_coalesced(marks_all=marks_all, changes=size("billing.model_changes"))
    assert verdict.is_right is not marks_all


@pytest.mark.parametrize("tenant_locked", [True, False])
def test_two_customers_of_a_tenant_require_its_lock(tenant_locked: bool) -> None:
    changes = size("billing.model_changes_of_two_customers")
    verdict = model_checker.check_two_customers(tenant_locked=tenant_locked, changes=changes)
    assert verdict.is_right is tenant_locked
