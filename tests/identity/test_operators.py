"""Operators: made by who may, told once, never without an owner."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.audit import trail
from shared.core.ctx import OperatorCtx
from shared.core.errors import Conflict, Invalid, Refused
from shared.core.ids import new_id
from shared.identity import operators, sign_in
from shared.identity.realms import OPERATOR
from shared.tenancy import entry
from tests import factories
from tests.conftest import Cast, Operating


def address() -> str:
    return f"{new_id('x')[2:]}@bulkhead.test"


async def test_a_new_one_signs_in_with_the_password_that_was_shown(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        made = await operators.create(octx, address(), "support", "Sue")
        assert (await trail.list_operator_events(octx))[0].action == "operator.created"
    assert await sign_in.check_password(OPERATOR, made.operator.email, made.password) is not None
    assert await sign_in.check_password(OPERATOR, made.operator.email, "wrong") is None


async def test_support_makes_nobody(cast: Cast) -> None:
    with pytest.raises(Refused, match="missing_permission"):
        async with cast.sam.octx() as octx:
            await operators.create(octx, address(), "owner", "Eve")


async def test_an_address_once_and_a_known_role(cast: Cast) -> None:
    email = address()
    async with cast.olga.octx() as octx:
        await operators.create(octx, email, "support", "Sue")
        with pytest.raises(Conflict, match="already"):
            await operators.create(octx, email.upper(), "support", "Sue")
        with pytest.raises(Invalid, match="There is no role"):
            await operators.create(octx, address(), "king", "Sue")


async def test_disabled_means_signed_out_and_not_in_again(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        made = await operators.create(octx, address(), "support", "Sue")
        await operators.disable(octx, made.operator.id, reason="left")
    assert await sign_in.check_password(OPERATOR, made.operator.email, made.password) is None
    async with cast.olga.octx() as octx:
        await operators.enable(octx, made.operator.id, reason="back")
    assert await sign_in.check_password(OPERATOR, made.operator.email, made.password) is not None


# ── two at once ──────────────────────────────────────────────────────────────────────────────────────────────────

Act = Callable[[OperatorCtx, str], Awaitable[Any]]
TAKE: dict[str, Act] = {  # the right of another owner
    "disabling": lambda octx, other: operators.disable(octx, other, reason="first"),
    "a lower role": lambda octx, other: operators.set_role(octx, other, "support", reason="first"),
}
USE: dict[str, Act] = {  # one's own
    **TAKE,
    "enabling": lambda octx, other: operators.enable(octx, other, reason="second"),
    "creating": lambda octx, _: operators.create(octx, address(), "owner", "Eve"),
}


async def two_owners() -> tuple[Operating, Operating, str, str]:
    both = [Operating(await factories.operator(name)) for name in ("Ada", "Bob")]
    ids = []
    for one in both:
        async with one.octx() as octx:
            ids.append(octx.actor_id)
    return both[0], both[1], ids[0], ids[1]


async def enabled_owners() -> set[str]:
    async with entry.enter_platform("tests") as octx:
        found = await operators.list_operators(octx)
    return {one.id for one in found if one.role == "owner" and one.disabled_at is None}


@pytest.mark.parametrize("take", TAKE)
async def test_of_two_owners_who_take_each_others_rights_one_stays(cast: Cast, take: str) -> None:
    """Both came in as owners, before either wrote a row."""
    ada, bob, ada_id, bob_id = await two_owners()
    inside = asyncio.Barrier(2)

    async def act(somebody: Operating, other: str) -> str:
        try:
            async with somebody.octx() as octx:
                await inside.wait()
                await TAKE[take](octx, other)
        except Refused as refusal:
            return f"{refusal.reason}: {refusal.next_step}"
        return "done"

    said = await asyncio.gather(act(ada, bob_id), act(bob, ada_id))
    assert sorted(said) == ["done", "rights_changed: Reload the page; nothing was changed by you."]
    assert len(await enabled_owners() & {ada_id, bob_id}) == 1


@pytest.mark.parametrize("use", USE)
@pytest.mark.parametrize("take", TAKE)
async def test_whoever_lost_the_right_on_the_way_uses_it_no_more(cast: Cast, take: str, use: str) -> None:
    ada, bob, ada_id, bob_id = await two_owners()
    async with ada.octx() as late:
        async with bob.octx() as octx:
            await TAKE[take](octx, ada_id)
        with pytest.raises(Refused, match="rights_changed"):
            await USE[use](late, bob_id)
    assert bob_id in await enabled_owners()


async def test_the_last_owner_stays(cast: Cast) -> None:
    ada, _, ada_id, _ = await two_owners()
    others = await enabled_owners() - {ada_id}

    async def leave_nobody() -> None:
        async with ada.octx() as octx:
            for one in others:
                await operators.set_role(octx, one, "support", reason="alone")
            await operators.disable(octx, ada_id, reason="nobody left")

    with pytest.raises(Conflict, match="The last owner stays"):
        await leave_nobody()
    assert others <= await enabled_owners()
