"""Calls of the API: recorded together, once, and for the tenant of the key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from shared.core.context import Ctx
from shared.core.db import now
from shared.metering import call_counts
from shared.tenancy import entry
from tests.conftest import Cast, Person
from tests.metering.test_usage import list_quantities
from tests.support import api_clients
from tests.support.limits import set_limit


async def count_calls(person: Person) -> list[int]:
    return await list_quantities(person, call_counts.METER)


async def test_calls_are_recorded_for_the_tenant_of_the_key(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "member:read")
    async with program.client() as client:
        for path in ("me", "members", "roles"):  # the last one is refused, and counts
            await client.get(f"/api/v1/{path}")
    await call_counts.record_calls()
    assert await count_calls(cast.ann) == [3]
    assert await count_calls(cast.gil) == []


async def test_calls_are_recorded_once_when_the_first_try_fails(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the commit is lost; more calls come before the second try."""
    enter_job = entry.enter_job
    call_counts.count_call(cast.acme)

    @asynccontextmanager
    async def enter_and_lose_the_answer(*names: str) -> AsyncIterator[Ctx]:
        async with enter_job(*names) as ctx:
            yield ctx
        raise OperationalError("lost", None, psycopg.OperationalError())

    with monkeypatch.context() as patch:
        patch.setattr(entry, "enter_job", enter_and_lose_the_answer)
        await call_counts.record_calls()
    call_counts.count_call(cast.acme)
    for _ in range(2):
        await call_counts.record_calls()
    assert sorted(await count_calls(cast.ann)) == [1, 1]


async def test_calls_that_are_too_old_do_not_keep_later_ones_waiting(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After days without a database."""
    call_counts.count_call(cast.acme)
    with monkeypatch.context() as patch:
        patch.setattr(call_counts, "now", lambda: now() - timedelta(days=2))
        await call_counts.record_calls()
    call_counts.count_call(cast.acme)
    await call_counts.record_calls()
    assert await count_calls(cast.ann) == [1]


async def test_answered_calls_count_though_their_limit_has_shrunk_meanwhile(cast: Cast) -> None:
    for _ in range(3):
        call_counts.count_call(cast.acme)
    await set_limit(cast, call_counts.METER, 1)
    await call_counts.record_calls()
    assert await count_calls(cast.ann) == [3]
