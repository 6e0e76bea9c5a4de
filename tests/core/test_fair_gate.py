"""Who begins next: quiet tenants overtake those that wait behind their own requests, and only a flood is refused."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from shared.core import fair_gate, tenant_limits, tenant_weights
from shared.core.db import now
from shared.core.errors import Refused
from shared.core.fair_gate import (
    HEAVY_ABOVE,
    HEAVY_SLOTS,
    MAX_WAITING,
    QUIET_SECONDS,
    Busy,
    FairGate,
    TenantBusy,
)
from tests.support import sizes

SLOTS = 4


@pytest.fixture(autouse=True)
def equal_weights(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tenant_weights, "_plan_by_tenant", type(tenant_weights._plan_by_tenant)())
    tenant_limits.clear()
    yield
    tenant_limits.clear()


class Flow:
    """Requests that begin in the order in which the gate lets them, and end when they are told to."""

    def __init__(self, gate: FairGate) -> None:
        self.gate, self.begun, self.refused = gate, list[str](), list[str]()
        self._running = list[str]()
        self._tasks = set[asyncio.Task[None]]()

    async def send(self, tenant_id: str, count: int = 1) -> None:
        for _ in range(count):
            self._tasks.add(asyncio.create_task(self._enter(tenant_id)))
        await self.settle()

    async def _enter(self, tenant_id: str) -> None:
        try:
            await self.gate.enter(tenant_id, 5.0)
        except TenantBusy:
            self.refused.append(tenant_id)
            return
        self.begun.append(tenant_id)
        self._running.append(tenant_id)

    async def end_one(self) -> None:
        self.gate.leave(self._running.pop(0))
        await self.settle()

    async def end_all(self) -> None:
        while self._running:
            await self.end_one()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


async def test_quiet_tenant_is_next_behind_a_flood() -> None:
    flow = Flow(FairGate(tenant_slots=SLOTS, slots=SLOTS))
    await flow.send("ten_a", 30)
    await flow.send("ten_b")
    begun_before = len(flow.begun)
    await flow.end_one()
    assert flow.begun[begun_before] == "ten_b"
    await flow.end_all()
    assert flow.gate.is_idle()


async def test_quiet_tenant_is_next_behind_the_floods_of_many() -> None:
    """The control: in the order in which they came it would be the last of all."""
    flow, count = Flow(FairGate(tenant_slots=SLOTS, slots=SLOTS)), sizes.size("core.flooding_tenants")
    for number in range(count):
        await flow.send(f"ten_{number}", 4)
    await flow.send("ten_quiet")
    begun_before = len(flow.begun)
    await flow.end_one()
    await flow.end_one()
    assert "ten_quiet" in flow.begun[begun_before : begun_before + count]
    await flow.end_all()
    assert len(flow.begun) == count * 4 + 1


async def test_heavy_tenants_share_one_place_while_quiet_ones_are_about() -> None:
    flow = Flow(FairGate(tenant_slots=10, slots=16))
    await flow.send("ten_quiet")
    await flow.send("ten_a", HEAVY_ABOVE + 10)
    await flow.send("ten_b", HEAVY_ABOVE + 10)
    assert flow.begun.count("ten_a") + flow.begun.count("ten_b") <= 2 * HEAVY_ABOVE
    for _ in range(2 * HEAVY_ABOVE):
        await flow.end_one()
    heavy = [tenant_id for tenant_id in flow._running if tenant_id != "ten_quiet"]
    assert len(heavy) <= HEAVY_SLOTS
    await flow.send("ten_quiet", 3)
    assert flow.begun[-3:] == ["ten_quiet"] * 3
    await flow.end_all()
    assert len(flow.begun) == 2 * (HEAVY_ABOVE + 10) + 4


async def test_lone_tenant_uses_all_its_places() -> None:
    flow = Flow(FairGate(tenant_slots=10, slots=16))
    await flow.send("ten_a", 30)
    assert len(flow.begun) == 10
    await flow.end_all()
    assert len(flow.begun) == 30


async def test_flood_is_refused_with_a_reason_and_others_are_not() -> None:
    flow = Flow(FairGate(tenant_slots=SLOTS, slots=SLOTS))
    await flow.send("ten_a", 200)
    await flow.send("ten_b", 3)
    assert set(flow.refused) == {"ten_a"}
    assert len(flow.refused) == 200 - SLOTS - MAX_WAITING
    with pytest.raises(TenantBusy) as caught:
        flow.gate.check("ten_a")
    flow.gate.check("ten_b")
    assert (caught.value.http_status, caught.value.reason) == (429, "tenant_busy")
    assert caught.value.retry_after > 0
    assert caught.value.next_step
    await flow.end_all()


async def test_places_to_wait_are_shared_among_flooding_tenants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_gate, "MAX_WAITING_OF_ALL", 60)
    flow = Flow(FairGate(tenant_slots=SLOTS, slots=SLOTS))
    for tenant_id in ("ten_a", "ten_b", "ten_c"):
        await flow.send(tenant_id, 100)
    await flow.send("ten_quiet")
    assert "ten_quiet" not in flow.refused
    assert flow.gate._waiting <= MAX_WAITING + 60 // 2 + 60 // 3 + 1
    await flow.end_all()


async def test_heavier_plan_gets_more_of_the_turns() -> None:
    tenant_weights.note_plan("ten_free", "free")
    tenant_weights.note_plan("ten_big", "enterprise")
    flow = Flow(FairGate(tenant_slots=1, slots=1))
    await flow.send("ten_free", 30)
    await flow.send("ten_big", 60)
    for _ in range(14):
        await flow.end_one()
    assert 3 <= flow.begun.count("ten_big") / flow.begun.count("ten_free") <= 5
    await flow.end_all()


async def test_request_that_gives_up_leaves_no_place_behind() -> None:
    gate = FairGate(tenant_slots=1, slots=1)
    await gate.enter("ten_a", 1.0)
    with pytest.raises(Busy):
        await gate.enter("ten_b", 0.01)
    waiting = asyncio.create_task(gate.enter("ten_b", 1.0))
    await asyncio.sleep(0)
    waiting.cancel()
    gate.leave("ten_a")
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert gate.is_idle()
    assert gate._running == gate._waiting == 0


async def test_throttled_tenant_has_one_place() -> None:
    tenant_limits.set_throttles(
        {"ten_a": tenant_limits.Throttle(10, "Too much.", now() + timedelta(hours=1))}
    )
    flow = Flow(FairGate(tenant_slots=10, slots=16))
    await flow.send("ten_a", 5)
    assert len(flow.begun) == 1
    await flow.send("ten_a", MAX_WAITING)
    with pytest.raises(Refused, match="Too much"):
        flow.gate.check("ten_a")
    await flow.end_all()


async def test_tenants_that_have_left_are_forgotten() -> None:
    """Without a flood nobody asks who is about."""
    moment = 0.0
    gate = FairGate(tenant_slots=SLOTS, slots=SLOTS, clock=lambda: moment)
    for number in range(50):
        await gate.enter(f"ten_{number}", 1.0)
        gate.leave(f"ten_{number}")
        moment += 1.0
    assert len(gate._quiet) <= QUIET_SECONDS + 1
