"""Nobody's limits are asked for here but where they are the subject."""

import pytest

from shared.billing import stripe_gateway
from shared.billing.stripe_pace import Pace


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe_gateway, "Pace", lambda: Pace(rate=5_000, burst=500))
