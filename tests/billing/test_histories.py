"""Random histories of webhooks and crashes end in the state of the provider."""

import pytest

from tests.support.billing import histories
from tests.support.billing.histories import WRONG_STRATEGIES, TenantModel
from tests.support.sizes import size

OF_A_MUTANT = 4_000


def test_history_ends_in_the_providers_state_for_every_seed() -> None:
    assert [seed for seed in range(size("billing.histories")) if histories.ends_wrong(seed)] == []


def test_lost_webhooks_are_repaired_by_reconciliation() -> None:
    assert [
        seed
        for seed in range(size("billing.histories_with_losses"))
        if histories.ends_wrong(seed, loses=True)
    ] == []


def test_lost_webhooks_stay_lost_without_reconciliation() -> None:
    assert any(histories.ends_wrong(seed, loses=True, reconciles=False) for seed in range(100))


@pytest.mark.parametrize("strategy", WRONG_STRATEGIES)
def test_wrong_strategy_is_caught_by_some_history(strategy: type[TenantModel]) -> None:
    assert (
        next((seed for seed in range(OF_A_MUTANT) if histories.ends_wrong(seed, strategy)), None) is not None
    )
