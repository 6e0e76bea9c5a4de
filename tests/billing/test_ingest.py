"""Batched storing of webhooks: few statements, and one true answer per request."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg
import pytest

from shared.billing.inbound_webhooks import ingest
from shared.billing.inbound_webhooks import ingest_repository as repository
from shared.billing.inbound_webhooks.ingest import WebhookBatcher, WebhookNotStored
from shared.billing.inbound_webhooks.ingest_repository import ReceivedWebhook
from shared.core import db
from shared.core.db import RawConnection, now
from shared.core.ids import new_id
from tests.support import database

PROMPTLY = 10  # seconds, on a busy machine


def build_webhook(
    event_id: str = "", *, account: str = "platform", payload: bytes = b"{}", status: str = "pending"
) -> ReceivedWebhook:
    event_id = event_id or new_id("evt")
    at = now().replace(microsecond=0)
    return ReceivedWebhook(account, event_id, "customer.updated", False, "", at, "cus_1", payload, status)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each statement."""
    seen, store = list[int](), repository.insert_webhooks

    async def insert_and_count(
        connection: RawConnection, rows: Sequence[ReceivedWebhook]
    ) -> set[tuple[str, str]]:
        seen.append(len(rows))
        return await store(connection, rows)

    monkeypatch.setattr(repository, "insert_webhooks", insert_and_count)
    return seen


async def test_concurrent_webhooks_share_statements(statements: list[int]) -> None:
    made = WebhookBatcher()
    assert all(await asyncio.gather(*(made.add(build_webhook()) for _ in range(300))))
    assert sum(statements) == 300
    assert max(statements) == ingest.MAX_BATCH_ROWS
    assert len(statements) <= 4
    assert not made.pending
    assert made.pending_bytes == 0


async def test_statement_is_limited_in_bytes(statements: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "MAX_BATCH_BYTES", 1_000)
    made = WebhookBatcher()
    assert all(await asyncio.gather(*(made.add(build_webhook(payload=b"x" * 400)) for _ in range(7))))
    assert all(await asyncio.gather(made.add(build_webhook(payload=b"x" * 4_000)), made.add(build_webhook())))
    assert sorted(statements[:4]) == [1, 2, 2, 2]  # several connections store at the same time


async def test_duplicate_webhooks_in_one_statement_are_new_once() -> None:
    made, name = WebhookBatcher(), new_id("evt")
    answers = await asyncio.gather(*(made.add(build_webhook(name)) for _ in range(20)))
    assert answers == [True] + [False] * 19
    assert await made.add(build_webhook(name)) is False


async def test_two_statements_with_the_same_events_do_not_deadlock(schema: str) -> None:
    """Both have begun and wait for a third that rolls back, whatever order their rows came in."""
    names = sorted(new_id("evt") for _ in range(3))
    rows = [build_webhook(name) for name in names]
    third = await psycopg.AsyncConnection.connect(db.login_url("app"))
    async with third, db.raw_connection() as connection, db.raw_connection() as other:
        await repository.insert_webhooks(third, [rows[1]])
        first = asyncio.create_task(repository.insert_webhooks(connection, rows))
        await wait_until_blocked(schema, 1)
        second = asyncio.create_task(repository.insert_webhooks(other, rows[::-1]))
        await wait_until_blocked(schema, 2)
        await third.rollback()
        async with asyncio.timeout(PROMPTLY):
            inserted = [await first, await second]
    assert sorted(len(new) for new in inserted) == [0, 3]


async def wait_until_blocked(schema: str, number: int) -> None:
    """Wait until `number` connections wait for a lock."""
    query = "select count(*) from pg_stat_activity where datname = %s and wait_event_type = 'Lock'"
    async with await psycopg.AsyncConnection.connect(database.admin_url(), autocommit=True) as superuser:
        while (await (await superuser.execute(query, [schema])).fetchone()) != (number,):  # noqa: ASYNC110  as seen from outside
            await asyncio.sleep(0.02)


async def test_refused_row_does_not_fail_the_others_of_its_statement() -> None:
    made = WebhookBatcher()
    rows = [
        build_webhook(),
        build_webhook(account="pac_nobody"),
        build_webhook(),
        build_webhook(status="whatever"),
        build_webhook("evt_\0"),
        build_webhook(),
    ]
    answers = await asyncio.gather(*(made.add(webhook) for webhook in rows), return_exceptions=True)
    assert [type(answer) is WebhookNotStored or answer for answer in answers] == [True] * 6
    assert [answers[place] for place in (0, 2, 5)] == [True] * 3
    assert {type(answers[place]) for place in (1, 3, 4)} == {WebhookNotStored}


async def test_cancelled_request_does_not_fail_the_others() -> None:
    made, names = WebhookBatcher(), [new_id("evt") for _ in range(10)]
    tasks = [asyncio.create_task(made.add(build_webhook(name))) for name in names]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[1::2] == [True] * 5
    assert {type(answer) for answer in answers[::2]} == {asyncio.CancelledError}
    assert [await made.add(build_webhook(name)) for name in names] == [False] * 10, (
        "and theirs were kept all the same"
    )


async def test_failed_statement_fails_its_requests_and_the_next_one_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = repository.insert_webhooks

    async def raise_operational_error(
        connection: RawConnection, rows: Sequence[ReceivedWebhook]
    ) -> set[tuple[str, str]]:
        raise psycopg.OperationalError("away")

    monkeypatch.setattr(repository, "insert_webhooks", raise_operational_error)
    made, rows = WebhookBatcher(), [build_webhook() for _ in range(5)]
    answers = await asyncio.gather(*(made.add(webhook) for webhook in rows), return_exceptions=True)
    assert {type(answer) for answer in answers} == {WebhookNotStored}
    monkeypatch.setattr(repository, "insert_webhooks", store)
    assert all(await asyncio.gather(*(made.add(webhook) for webhook in rows)))


async def test_webhooks_above_the_pending_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "MAX_PENDING_BYTES", 1_000)
    made = WebhookBatcher()
    answers = await asyncio.gather(
        *(made.add(build_webhook(payload=b"x" * 400)) for _ in range(9)), return_exceptions=True
    )
    assert answers[:3] == [True] * 3
    assert {type(answer) for answer in answers[3:]} == {WebhookNotStored}
    assert await made.add(build_webhook())


async def test_webhook_arriving_at_the_end_of_a_flush_starts_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A flusher that has looked for the last time is finished, even if its task has not quite ended."""

    @asynccontextmanager
    async def get_connection_at_once() -> AsyncIterator[None]:
        yield  # as a connection that is given back without a wait

    async def store_all(_: None, rows: Sequence[ReceivedWebhook]) -> set[tuple[str, str]]:
        return {(webhook.account_id, webhook.event_id) for webhook in rows}

    monkeypatch.setattr(db, "raw_connection", get_connection_at_once)
    monkeypatch.setattr(repository, "insert_webhooks", store_all)
    monkeypatch.setattr(ingest, "MAX_FLUSHES", 1)
    made = WebhookBatcher()
    async with asyncio.timeout(PROMPTLY):
        for _ in range(3):
            assert await made.add(build_webhook())
