import asyncio
import time

import pytest

from shared.billing import stripe_pace
from shared.billing.provider import ProviderDown, TooMany
from shared.billing.stripe_pace import Circuit, Pace


async def _times(pace: Pace, turns: int) -> list[float]:
    found: list[float] = []

    async def one() -> None:
        await pace.turn()
        found.append(time.monotonic())

    await asyncio.gather(*(one() for _ in range(turns)))
    return found


async def test_no_second_sees_more_than_rate_and_burst() -> None:
    found = await _times(Pace(rate=100, burst=5), 45)  # a tenth of a second stands for one
    assert found[4] - found[0] < 0.02  # the burst
    assert 0.38 <= found[-1] - found[0] < 0.6
    for at in found:
        assert sum(at <= other < at + 0.095 for other in found) <= 5 + 10


async def test_the_bucket_fills_again_but_not_beyond_its_size() -> None:
    pace = Pace(rate=100, burst=3)
    await _times(pace, 3)
    await asyncio.sleep(0.1)
    found = await _times(pace, 6)
    assert found[2] - found[0] < 0.008
    assert found[5] - found[0] >= 0.028


async def test_who_would_wait_too_long_is_told() -> None:
    pace = Pace(rate=1, burst=1)
    pace.hold(stripe_pace.LONGEST_QUEUE_S + 1)
    with pytest.raises(TooMany) as told:
        await pace.turn()
    assert stripe_pace.LONGEST_QUEUE_S < told.value.wait < stripe_pace.LONGEST_QUEUE_S + 2


def test_the_rate_stays_below_what_stripe_takes() -> None:
    assert stripe_pace.RATE + stripe_pace.BURST <= 20


async def test_the_circuit_opens_rests_and_tries_one() -> None:
    circuit = Circuit(failures=3, rest=0.1)
    for _ in range(2):
        circuit.enter()
        circuit.failed()
    circuit.enter()
    circuit.answered()
    for _ in range(3):
        circuit.enter()
        circuit.failed()
    with pytest.raises(ProviderDown):
        circuit.enter()
    await asyncio.sleep(0.11)
    circuit.enter()  # the one
    with pytest.raises(ProviderDown):
        circuit.enter()
    circuit.failed()
    with pytest.raises(ProviderDown):
        circuit.enter()
    await asyncio.sleep(0.11)
    circuit.enter()
    circuit.answered()
    circuit.enter()
