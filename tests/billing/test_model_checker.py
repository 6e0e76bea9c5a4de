"""Our order of steps is right in every interleaving; each order that others use goes wrong in one."""

import pytest

from tests.support.billing import model_checker
from tests.support.billing.model_checker import RIGHT_STRATEGIES, WRONG_STRATEGIES


@pytest.mark.parametrize("name", RIGHT_STRATEGIES)
def test_right_in_every_interleaving(name: str) -> None:
    assert model_checker.check_strategy(RIGHT_STRATEGIES[name]).is_right


@pytest.mark.parametrize("name", WRONG_STRATEGIES)
def test_wrong_in_one(name: str) -> None:
    assert not model_checker.check_strategy(WRONG_STRATEGIES[name]).is_right


@pytest.mark.parametrize("marks_all", [False, True])
def test_one_look_for_many_marks_only_what_it_took(marks_all: bool) -> None:
    assert model_checker.check_coalesced(marks_all=marks_all).is_right is not marks_all


@pytest.mark.parametrize("tenant_locked", [True, False])
def test_two_customers_of_one_tenant_need_its_lock(tenant_locked: bool) -> None:
    assert model_checker.check_two_customers(tenant_locked=tenant_locked).is_right is tenant_locked
