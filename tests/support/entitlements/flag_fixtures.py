"""Flags for tests: each test makes its own, because flags are everybody's."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from shared.backoffice import flag_admin
from shared.backoffice.reasons import state_reason
from shared.core.db import now
from shared.core.ids import new_id
from tests.conftest import Cast, Person

CLEANUP_AFTER = timedelta(days=30)


async def create_flag(cast: Cast, *rules: dict[str, Any], required_feature: str = "") -> str:
    """The key of a new one."""
    key = f"try_{new_id('x')[-10:]}"
    async with cast.olga.octx() as octx:
        day = (now() + CLEANUP_AFTER).date()
        await flag_admin.create_flag(
            *(octx, key, "Trying it", "Something new.", "Access team", day, state_reason(octx, "To try it")),
            required_feature=required_feature,
        )
    if rules:
        await change_rules(cast, key, rules)
    return key


async def change_rules(cast: Cast, key: str, rules: Sequence[dict[str, Any]]) -> None:
    async with cast.olga.octx() as octx:
        number = (await flag_admin.get_flag(octx, key)).flag.version.number
        await flag_admin.change_rules(
            octx, key, number, list(rules), state_reason(octx, "As the test needs it")
        )


async def has_flag(person: Person, key: str) -> bool:
    async with person.ctx() as ctx:
        return key in ctx.rights.flags


@asynccontextmanager
async def flag_killed(cast: Cast, key: str) -> AsyncIterator[None]:
    async with cast.olga.octx() as octx:
        await flag_admin.kill_flag(octx, key, state_reason(octx, "It breaks things"))
    try:
        yield
    finally:
        async with cast.olga.octx() as octx:
            number = (await flag_admin.get_flag(octx, key)).flag.version.number
            await flag_admin.revive_flag(octx, key, number, state_reason(octx, "It was mended"))
