"""Shares of the connection pool: bounded for each holder, free for others, and never waiting for themselves."""

import asyncio

import pytest

from shared.core import connection_shares
from shared.core.connection_shares import (
    SESSION_SHARE,
    TENANT_SHARE,
    hold_session_share,
    hold_tenant_share,
)
from shared.core.fair_gate import FairGate, TenantBusy
from tests.conftest import Cast


@pytest.fixture(autouse=True)
def gate(monkeypatch: pytest.MonkeyPatch) -> FairGate:
    """One that no other test has used."""
    gate = FairGate(tenant_slots=TENANT_SHARE)
    monkeypatch.setattr(connection_shares, "_gate", gate)
    return gate


async def settle() -> None:
    """Let the tasks that can go on do so, however slow the machine is."""
    for _ in range(100):
        await asyncio.sleep(0)


async def hold(tenant_id: str, released: asyncio.Event, holding: list[str]) -> None:
    async with hold_tenant_share(tenant_id):
        holding.append(tenant_id)
        await released.wait()


async def test_tenant_holds_no_more_than_its_share_while_others_are_let_in(gate: FairGate) -> None:
    released, holding = asyncio.Event(), list[str]()
    tasks = [asyncio.create_task(hold("ten_a", released, holding)) for _ in range(3 * TENANT_SHARE)]
    await settle()
    assert holding == ["ten_a"] * TENANT_SHARE
    tasks.append(asyncio.create_task(hold("ten_b", released, holding)))
    await settle()
    assert holding[-1] == "ten_b"
    released.set()
    await asyncio.gather(*tasks)
    assert holding.count("ten_a") == 3 * TENANT_SHARE
    assert gate.is_idle()


async def test_holder_that_waits_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_shares, "WAIT_SECONDS", 0.05)
    released, holding = asyncio.Event(), list[str]()
    tasks = [asyncio.create_task(hold("ten_a", released, holding)) for _ in range(TENANT_SHARE)]
    await settle()
    with pytest.raises(TenantBusy):
        async with hold_tenant_share("ten_a"):
            pass
    released.set()
    await asyncio.gather(*tasks)
    async with hold_tenant_share("ten_a"):
        pass


async def test_transaction_inside_another_one_takes_no_second_share() -> None:
    async with asyncio.timeout(1), hold_session_share("a=b"):
        for _ in range(SESSION_SHARE):
            async with hold_session_share("a=b"), hold_tenant_share("ten_a"):
                pass
    assert connection_shares._shares == {}


async def test_shares_leave_half_of_the_pool_to_others(cast: Cast) -> None:
    """A tenant that holds all it may: its own next transaction waits, another tenant's begins."""
    pool_size = 20
    assert pool_size >= 2 * TENANT_SHARE
    released, holding = asyncio.Event(), list[str]()
    tasks = [asyncio.create_task(hold(cast.acme, released, holding)) for _ in range(TENANT_SHARE)]
    await settle()
    async with asyncio.timeout(2), cast.gil.ctx() as ctx:
        assert ctx.tenant_id == cast.globex
    released.set()
    await asyncio.gather(*tasks)
