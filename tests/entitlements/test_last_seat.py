"""The last seat: concurrent invitations, hard and soft limits."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from shared.access import actions, decision_counts, policy
from shared.access.refusal_codes import Reason
from shared.backoffice import tenant_access
from shared.backoffice.reasons import state_reason
from shared.core import rate_limits
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Refused
from shared.tenancy import invitations, member_repository, seats
from shared.tenancy.invitation_repository import list_pending_invitations
from tests.conftest import Cast, Person
from tests.support.sizes import size

SEATS = 4  # Ann, Adam, Max and one more


async def set_seat_limit(cast: Cast, amount: int, *, hard: bool = True) -> None:
    async with cast.olga.octx() as octx:
        end = now() + timedelta(days=1)
        await tenant_access.override_limit(
            octx,
            cast.acme,
            "members",
            amount,
            state_reason(octx, "Trying it", tenant_id=cast.acme),
            ends_at=end,
            hard=hard,
        )


async def invite(person: Person, email: str, barrier: asyncio.Barrier) -> str:
    """Returns the outcome. Both have entered before either invites."""
    try:
        async with person.ctx() as ctx:
            await barrier.wait()
            await invitations.invite(ctx, email, "viewer")
    except Refused as refused:
        return refused.reason
    return "invited"


async def invite_two_at_once(cast: Cast) -> list[str]:
    barrier = asyncio.Barrier(2)
    await rate_limits.clear_counts()
    outcomes = await asyncio.gather(
        invite(cast.ann, "zoe@acme.test", barrier), invite(cast.adam, "zac@acme.test", barrier)
    )
    return sorted(outcomes)


async def revoke_pending(cast: Cast) -> int:
    async with cast.ann.ctx() as ctx:
        pending = await list_pending_invitations(ctx)
        for invitation in pending:
            await invitations.revoke(ctx, invitation.id)
    return len(pending)


async def test_last_seat_goes_to_exactly_one_of_two_invitations(cast: Cast) -> None:
    await set_seat_limit(cast, SEATS)
    for run in range(size("entitlements.last_seat_races")):
        assert await invite_two_at_once(cast) == ["invited", Reason.LIMIT_REACHED], run
        assert await revoke_pending(cast) == 1
    await decision_counts.flush()


@contextmanager
def without_lock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    counted = asyncio.Barrier(2)

    async def list_seats_and_wait(ctx: Ctx, _: object) -> set[str]:
        emails = await member_repository.list_seat_emails(ctx)
        await counted.wait()
        return emails

    with monkeypatch.context() as patch:
        patch.setattr(seats, "reserve", list_seats_and_wait)
        yield


async def test_last_seat_goes_to_both_without_the_lock(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    await set_seat_limit(cast, SEATS)
    with without_lock(monkeypatch):
        assert await invite_two_at_once(cast) == ["invited", "invited"]
    assert await revoke_pending(cast) == 2


async def test_hard_limit_is_refused_with_usage_and_amount(cast: Cast) -> None:
    await set_seat_limit(cast, 3)
    with pytest.raises(Refused, match=r"All 3 seats are in use") as caught:
        async with cast.ann.ctx() as ctx:
            await invitations.invite(ctx, "zoe@acme.test", "viewer")
    assert (caught.value.reason, caught.value.http_status) == (Reason.LIMIT_REACHED, 402)
    assert caught.value.next_step.startswith("Remove a member or revoke an invitation")


async def test_soft_limit_warns_and_allows(cast: Cast) -> None:
    await set_seat_limit(cast, 3, hard=False)
    async with cast.ann.ctx() as ctx:
        assert policy.require(ctx, actions.MEMBER_INVITE, used=2).reason is Reason.ALLOWED
        warned = policy.require(ctx, actions.MEMBER_INVITE, used=3)
        assert (warned.allowed, warned.reason) == (True, Reason.LIMIT_WARNED)
        await invitations.invite(ctx, "zoe@acme.test", "viewer")
    assert await revoke_pending(cast) == 1
