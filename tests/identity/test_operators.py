"""Operators: made by who may, told once, never without an owner."""

import pytest

from shared.audit import trail
from shared.core.errors import Conflict, Invalid, Refused
from shared.core.ids import new_id
from shared.identity import operators, sign_in
from shared.identity.realms import OPERATOR
from tests.conftest import Cast


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
