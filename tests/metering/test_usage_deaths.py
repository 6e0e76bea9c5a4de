"""Processes that are killed while they send and add up: acknowledged = raw = sum of the aggregates = emitted."""

import asyncio
import random
from datetime import timedelta

from shared.access.meters import Aggregation
from shared.core.db import now
from shared.metering import change_repository, reconciliation, rollups, usage_reports
from shared.metering.usage_reports import Step, UsageQuery
from tests.conftest import Cast
from tests.support import forked
from tests.support.sizes import size
from tests.support.usage_kills import run_kills
from tests.support.usage_senders import (
    BATCH_SIZE,
    METER,
    SPAN_HOURS,
    build_items,
    send,
    send_until_killed,
)

FIRST_HOUR = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=SPAN_HOURS + 3)
SUM_OF_BATCH = sum(range(BATCH_SIZE))


async def test_acknowledged_events_are_added_up_once_when_their_sender_is_killed(cast: Cast) -> None:
    acknowledged, next_batch, generator = set[int](), 0, random.Random(4471)
    for _ in range(size("metering.kills")):
        arguments = (cast.acme, FIRST_HOUR.isoformat(), str(next_batch))
        with forked.run_piped(send_until_killed, *arguments) as sender:
            for _ in range(generator.randint(1, 4)):
                acknowledged.add(int(await sender.read_line()))
            await asyncio.sleep(generator.random() / 50)
            sender.kill()
            acknowledged |= {int(line) for line in sender.stdout.read().split()}
        next_batch = max(acknowledged) + 2  # the one between may be there or not
    repeated = [await send(cast.acme, build_items(batch, FIRST_HOUR)) for batch in sorted(acknowledged)]
    assert set(repeated) == {0}
    for batch in range(next_batch):  # retries of all of them
        await send(cast.acme, build_items(batch, FIRST_HOUR))
    async with cast.ann.ctx() as ctx:
        while await rollups.roll_up(ctx):
            pass
        until = FIRST_HOUR + timedelta(hours=SPAN_HOURS)
        query = UsageQuery(meter=METER, since=FIRST_HOUR, until=until, step=Step.HOUR)
        report = await usage_reports.get_report(ctx, query)
        assert report.meters[0].total == next_batch * SUM_OF_BATCH
        _, differing_hours = await change_repository.list_differing_hours(
            ctx, METER, since=FIRST_HOUR, until=until, aggregation=Aggregation.SUM
        )
        assert differing_hours == []
        comparisons = await reconciliation.compare_month(ctx, FIRST_HOUR)
    assert all(comparison.is_equal for comparison in comparisons)


async def test_acknowledged_events_are_billed_once_when_app_worker_and_server_are_killed() -> None:
    kills = size("metering.kills_of_all")
    result = await asyncio.to_thread(
        forked.run, run_kills, str(kills), environment={"DATABASE_URL": ""}, timeout_s=900.0
    )
    assert result.returncode == 0, result.output[-3000:]
    assert result.output.startswith(f"{kills} kills, "), result.output


async def test_replayed_and_shifted_events_add_nothing(cast: Cast) -> None:
    count = size("metering.replays")
    items = [item for batch in range(-(-count // BATCH_SIZE)) for item in build_items(batch, FIRST_HOUR)][
        :count
    ]
    chunks = [items[first : first + 1_000] for first in range(0, count, 1_000)]
    assert sum([await send(cast.acme, chunk) for chunk in chunks]) == count
    shifted = (now() - timedelta(days=20)).isoformat()
    for chunk in chunks:
        retries = asyncio.gather(
            send(cast.acme, chunk),
            send(cast.acme, [item | {"occurred_at": shifted} for item in chunk[::-1]]),
        )
        assert await retries == [0, 0]
    assert sum([await send(cast.globex, chunk) for chunk in chunks]) == count
