"""Billing tests run without the Stripe rate limit and leave the price list as it was."""

import pytest

from shared.billing.stripe_adapter import gateway
from shared.billing.stripe_adapter.rate_limit import RateLimiter


@pytest.fixture(autouse=True)
def fast_stripe_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "RateLimiter", lambda account: RateLimiter(account, rate=5_000, burst=500))


@pytest.fixture(autouse=True)
def reset_billing(tidy: None) -> None:
    pass
