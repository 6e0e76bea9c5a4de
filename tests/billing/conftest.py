"""Nobody's limits are asked for here but where they are the subject; and every test leaves the shop as it was."""

import pytest

from shared.billing import stripe_gateway
from shared.billing.stripe_pace import Pace


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe_gateway, "Pace", lambda account: Pace(account, rate=5_000, burst=500))


@pytest.fixture(autouse=True)
def in_a_tidy_shop(tidy: None) -> None:
    pass
