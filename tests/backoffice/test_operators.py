"""Operator accounts: creation, password shown once, access reset, last owner."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pyotp
import pytest

from shared.audit import audit_log
from shared.backoffice import operators
from shared.backoffice.reasons import state_reason
from shared.cli import operators as command
from shared.core import db
from shared.core.context import OperatorCtx
from shared.core.errors import ChangedMeanwhile, Conflict, Invalid, NotFound, Refused
from shared.core.ids import new_id
from shared.identity import mfa, sessions, sign_in
from shared.identity.realms import OPERATOR
from shared.tenancy import authentication, entry
from tests.conftest import Cast, Operating
from tests.support import factories


def new_address() -> str:
    return f"{new_id('x')[2:]}@bulkhead.test"


async def test_new_operator_signs_in_with_the_shown_password(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        made = await operators.create(octx, new_address(), "support", "Sue")
        assert (await audit_log.list_operator_events(octx))[0].action == "operator.created"
    assert await sign_in.check_password(OPERATOR, made.operator.email, made.password) is not None
    assert await sign_in.check_password(OPERATOR, made.operator.email, "wrong") is None


async def test_operator_creation_is_refused_for_support(cast: Cast) -> None:
    with pytest.raises(Refused, match="missing_permission"):
        async with cast.sam.octx() as octx:
            await operators.create(octx, new_address(), "owner", "Eve")


async def test_operator_creation_is_refused_for_a_used_address_or_an_unknown_role(cast: Cast) -> None:
    email = new_address()
    async with cast.olga.octx() as octx:
        await operators.create(octx, email, "support", "Sue")
        with pytest.raises(Conflict, match="already"):
            await operators.create(octx, email.upper(), "support", "Sue")
        with pytest.raises(Invalid, match="There is no role"):
            await operators.create(octx, new_address(), "king", "Sue")


async def test_disabled_operator_cannot_sign_in_until_enabled(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        made = await operators.create(octx, new_address(), "support", "Sue")
        await operators.disable(octx, made.operator.id, reason=state_reason(octx, "left, ticket 4471"))
    assert await sign_in.check_password(OPERATOR, made.operator.email, made.password) is None
    async with cast.olga.octx() as octx:
        await operators.enable(octx, made.operator.id, reason=state_reason(octx, "back, ticket 4471"))
    assert await sign_in.check_password(OPERATOR, made.operator.email, made.password) is not None


# ── who lost their device ────────────────────────────────────────────────────────────────────────────────────────


async def create_operator_with_factor(cast: Cast) -> tuple[operators.OperatorAccess, str, str]:
    """Operator, session cookie, and the token of a sign-in that waits for its code."""
    async with cast.olga.octx() as octx:
        made = await operators.create(octx, new_address(), "support", "Sue")
        await mfa.install_seed(octx.session, OPERATOR, made.operator.id, pyotp.random_base32())
        token = await sessions.start(octx.session, OPERATOR, made.operator.id, "password+totp")
        return (
            made,
            f"{OPERATOR.session_cookie}={token}",
            await mfa.start_challenge(octx.session, OPERATOR, made.operator.id),
        )


async def test_access_reset_replaces_the_password_and_removes_the_second_factor(cast: Cast) -> None:
    made, cookie, challenge = await create_operator_with_factor(cast)
    async with cast.olga.octx() as octx:
        again = await operators.reset_access(
            octx, made.operator.id, reason=state_reason(octx, "lost her phone")
        )
        event = (await audit_log.list_operator_events(octx))[0]
    assert (event.action, event.object_id, event.reason) == (
        "operator.access_reset",
        made.operator.id,
        "lost her phone",
    )
    assert again.password not in str(event.details)
    assert await sign_in.check_password(OPERATOR, made.operator.email, made.password) is None
    assert await sign_in.check_password(OPERATOR, made.operator.email, again.password) is not None
    assert await authentication.authenticate_operator(cookie) is None
    async with db.transaction("operator") as session:
        assert await mfa.get_challenged_subject(session, OPERATOR, challenge) == ""
        assert not await mfa.is_enabled(session, OPERATOR, made.operator.id)
        assert await mfa.count_recovery_codes(session, OPERATOR, made.operator.id) == 0
        assert await mfa.enrol(session, OPERATOR, made.operator.id)  # as at the first sign-in


async def test_access_reset_is_refused_for_oneself_and_without_permission_or_reason(cast: Cast) -> None:
    made, cookie, _ = await create_operator_with_factor(cast)
    async with cast.olga.octx() as octx:
        with pytest.raises(Conflict, match="your own access"):
            await operators.reset_access(
                octx, octx.actor_id, reason=state_reason(octx, "my own, ticket 4471")
            )
        with pytest.raises(NotFound):
            await operators.reset_access(
                octx, new_id("opr"), reason=state_reason(octx, "nobody, ticket 4471")
            )
    with pytest.raises(Invalid, match="reason"):
        async with cast.olga.octx() as octx:
            await operators.reset_access(octx, made.operator.id, reason=state_reason(octx, " "))
    with pytest.raises(Refused, match="missing_permission"):
        async with cast.sam.octx() as octx:
            await operators.reset_access(
                octx, made.operator.id, reason=state_reason(octx, "why not, ticket 4471")
            )
    assert await authentication.authenticate_operator(cookie) is not None


async def test_access_reset_works_from_the_command_line(cast: Cast) -> None:
    made, cookie, _ = await create_operator_with_factor(cast)
    output = await command.reset_access(made.operator.email.upper())
    assert await authentication.authenticate_operator(cookie) is None
    password = output.rpartition(" ")[2]
    assert await sign_in.check_password(OPERATOR, made.operator.email, password) is not None
    with pytest.raises(NotFound, match="No operator"):
        await command.reset_access("nobody@bulkhead.test")


async def test_second_factor_change_names_the_owner_as_next_step(cast: Cast) -> None:
    made, _, _ = await create_operator_with_factor(cast)
    async with db.transaction("operator") as session:
        for way in (mfa.enrol, mfa.disable):
            with pytest.raises(Conflict) as refused:
                await way(session, OPERATOR, made.operator.id)
            assert "ask an owner to reset your access" in refused.value.next_step


async def test_stale_role_of_an_operator_does_not_replace_a_newer_one(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        operator = (await operators.create(octx, new_address(), "support", "Sue")).operator
        reason = state_reason(octx, "another team, ticket 4471")
        await operators.set_role(octx, operator.id, "billing", version=operator.version, reason=reason)
        assert operator.version == 2
        with pytest.raises(ChangedMeanwhile) as caught:
            await operators.set_role(octx, operator.id, "engineer", version=1, reason=reason)
    assert [difference.current for difference in caught.value.differences] == ["Billing"]


# ── two at once ──────────────────────────────────────────────────────────────────────────────────────────────────

Act = Callable[[OperatorCtx, str], Awaitable[Any]]
TAKE: dict[str, Act] = {  # the right of another owner
    "disabling": lambda octx, other: operators.disable(
        octx, other, reason=state_reason(octx, "first, ticket 4471")
    ),
    "a lower role": lambda octx, other: operators.set_role(
        octx, other, "support", reason=state_reason(octx, "first, ticket 4471"), version=None
    ),
}
USE: dict[str, Act] = {  # one's own
    **TAKE,
    "resetting": lambda octx, other: operators.reset_access(
        octx, other, reason=state_reason(octx, "second, ticket 4471")
    ),
    "enabling": lambda octx, other: operators.enable(
        octx, other, reason=state_reason(octx, "second, ticket 4471")
    ),
    "creating": lambda octx, _: operators.create(octx, new_address(), "owner", "Eve"),
}


async def create_two_owners() -> tuple[Operating, Operating, str, str]:
    both = [Operating(await factories.create_operator(name)) for name in ("Ada", "Bob")]
    ids = []
    for operator in both:
        async with operator.octx() as octx:
            ids.append(octx.actor_id)
    return both[0], both[1], ids[0], ids[1]


async def list_enabled_owners() -> set[str]:
    async with entry.enter_platform("tests") as octx:
        listed = await operators.list_operators(octx)
    return {operator.id for operator in listed if operator.role == "owner" and operator.disabled_at is None}


@pytest.mark.parametrize("take", TAKE)
async def test_one_owner_remains_when_two_remove_each_other(cast: Cast, take: str) -> None:
    """Both entered as owners before either wrote a row."""
    ada, bob, ada_id, bob_id = await create_two_owners()
    inside = asyncio.Barrier(2)

    async def take_rights(somebody: Operating, other: str) -> str:
        try:
            async with somebody.octx() as octx:
                await inside.wait()
                await TAKE[take](octx, other)
        except Refused as refusal:
            return f"{refusal.reason}: {refusal.next_step}"
        return "done"

    results = await asyncio.gather(take_rights(ada, bob_id), take_rights(bob, ada_id))
    assert sorted(results) == ["done", "rights_changed: Reload the page. Your change wasn’t saved."]
    assert len(await list_enabled_owners() & {ada_id, bob_id}) == 1


@pytest.mark.parametrize("use", USE)
@pytest.mark.parametrize("take", TAKE)
async def test_operator_action_is_refused_after_the_role_was_taken_away(
    cast: Cast, take: str, use: str
) -> None:
    ada, bob, ada_id, bob_id = await create_two_owners()
    async with ada.octx() as late:
        async with bob.octx() as octx:
            await TAKE[take](octx, ada_id)
        with pytest.raises(Refused, match="rights_changed"):
            await USE[use](late, bob_id)
    assert bob_id in await list_enabled_owners()


async def test_last_owner_cannot_be_removed(cast: Cast) -> None:
    ada, _, ada_id, _ = await create_two_owners()
    others = await list_enabled_owners() - {ada_id}

    async def leave_nobody() -> None:
        async with ada.octx() as octx:
            for other in others:
                await operators.set_role(
                    octx, other, "support", reason=state_reason(octx, "alone, ticket 4471"), version=None
                )
            await operators.disable(octx, ada_id, reason=state_reason(octx, "nobody left"))

    with pytest.raises(Conflict, match="last owner can’t be removed"):
        await leave_nobody()
    assert others <= await list_enabled_owners()
