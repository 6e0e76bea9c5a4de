"""Rates of one tenant in one process: its own, and no longer a wait for those who were refused."""

from collections.abc import Iterator

import pytest

from shared.core import tenant_limits
from shared.core.tenant_limits import TenantOverRate, Use


@pytest.fixture(autouse=True)
def low_rate(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tenant_limits, "_get_base_rate", lambda _use: 1.0)
    tenant_limits.clear()
    yield
    tenant_limits.clear()


def count_uses(tenant_id: str, tries: int) -> int:
    use_count = 0
    for _ in range(tries):
        try:
            tenant_limits.take(Use.REQUEST, tenant_id)
        except TenantOverRate:
            continue
        use_count += 1
    return use_count


def test_tenant_that_uses_its_rate_up_leaves_another_one_its_own() -> None:
    assert count_uses("ten_a", 20) == 3
    assert count_uses("ten_b", 20) == 3


def test_refused_uses_do_not_make_the_next_one_wait_longer() -> None:
    assert count_uses("ten_a", 100) == 3
    with pytest.raises(TenantOverRate) as caught:
        tenant_limits.take(Use.REQUEST, "ten_a")
    assert caught.value.retry_after == 1


def test_frame_that_would_wait_too_long_is_refused_and_owes_nothing() -> None:
    waits = [tenant_limits.take_event_turn("ten_a", 1.0) for _ in range(40)]
    assert max(waits) <= tenant_limits.MAX_EVENT_WAIT_SECONDS
    with pytest.raises(TenantOverRate):
        tenant_limits.check_event("ten_a")
    tenant_limits.check_event("ten_b")
