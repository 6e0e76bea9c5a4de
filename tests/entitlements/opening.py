"""Flags for tests: each test makes its own, because flags are everybody's."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from shared.core.db import now
from shared.core.ids import new_id
from shared.entitlements import rollouts
from tests.conftest import Cast, Person

SOON = timedelta(days=30)


async def flag(cast: Cast, *rules: dict[str, Any], required_feature: str = "") -> str:
    """The key of a new one."""
    key = f"try_{new_id('x')[-10:]}"
    async with cast.olga.octx() as octx:
        day = (now() + SOON).date()
        await rollouts.create(
            *(octx, key, "Trying it", "Something new.", "Access team", day, "To try it"),
            required_feature=required_feature,
        )
    if rules:
        await say(cast, key, rules)
    return key


async def say(cast: Cast, key: str, rules: Sequence[dict[str, Any]]) -> None:
    async with cast.olga.octx() as octx:
        number = (await rollouts.get(octx, key)).flag.version.number
        await rollouts.change_rules(octx, key, number, list(rules), "As the test needs it")


async def on(person: Person, key: str) -> bool:
    async with person.ctx() as ctx:
        return key in ctx.rights.flags


@asynccontextmanager
async def killed(cast: Cast, key: str) -> AsyncIterator[None]:
    async with cast.olga.octx() as octx:
        await rollouts.kill(octx, key, "It breaks things")
    try:
        yield
    finally:
        async with cast.olga.octx() as octx:
            number = (await rollouts.get(octx, key)).flag.version.number
            await rollouts.revive(octx, key, number, "It was mended")
