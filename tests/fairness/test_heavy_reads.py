"""A report that costs too much is stopped or refused with a sentence, and only for its own organisation."""

import re
from datetime import timedelta

import psycopg
import pytest

from shared.core import tenant_limits
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Invalid, Refused, TookTooLong
from shared.fairness import heavy_reads
from shared.metering import breakdowns, corrections, usage_reports
from shared.metering.usage_reports import Step, UsageQuery
from tests.conftest import Cast
from tests.support import api_clients
from tests.support.database import admin_url

REPORT = "/api/v1/usage"
WEEK = timedelta(days=7)


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    tenant_limits.clear()


def build_query() -> UsageQuery:
    return UsageQuery(since=now() - timedelta(days=7), until=now(), step=Step.DAY, meter="api_calls")


async def test_slow_report_is_stopped_with_a_sentence_that_names_the_limit(
    cast: Cast, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its statement waits for a table that another session has locked, as a long one would take its time."""
    monkeypatch.setattr(heavy_reads, "STATEMENT_MS", 50)
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        params = {"since": (now() - timedelta(days=7)).isoformat(), "until": now().isoformat(), "step": "day"}
        with psycopg.connect(admin_url(schema)) as connection:
            connection.execute("lock table usage_window in access exclusive mode")
            slow = await client.get(REPORT, params=params)
        quick = await client.get(REPORT, params=params)
    assert (slow.status_code, slow.json()["reason"]) == (503, "took_too_long")
    assert re.search(r"longer than 0\.[0-9]+ seconds and was stopped", slow.json()["detail"])
    assert "shorter period" in slow.json()["next_step"]
    assert quick.status_code == 200


async def test_reports_beyond_those_at_once_are_refused_for_their_organisation_only(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heavy_reads, "AT_ONCE", 0)
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Refused) as caught:
            await usage_reports.get_report(ctx, build_query())
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Refused, match="reading"):
            await corrections.get_effect(ctx, "ucr_any")
        with pytest.raises(Refused, match="reading"):
            await breakdowns.get_breakdown(ctx, "api_calls", "sender", since=now() - WEEK, until=now())
    assert (caught.value.http_status, caught.value.reason) == (429, "tenant_busy")
    assert caught.value.retry_after > 0
    monkeypatch.undo()
    async with cast.gil.ctx() as ctx:
        await usage_reports.get_report(ctx, build_query())
    assert not heavy_reads._running


async def test_report_gives_its_place_back_when_it_fails(cast: Cast) -> None:
    async def fail(_: Ctx) -> None:
        raise ZeroDivisionError

    async with cast.ann.ctx() as ctx:
        with pytest.raises(ZeroDivisionError):
            await heavy_reads.read_report(ctx, fail)
    assert not heavy_reads._running


async def test_time_limit_ends_with_the_transaction(cast: Cast) -> None:
    async def read_nothing(_: Ctx) -> None:
        pass

    limits = []
    for is_report in (False, True, False):
        async with cast.ann.ctx() as ctx:
            if is_report:
                await heavy_reads.read_report(ctx, read_nothing)
            connection = await ctx.session.connection()
            limits.append((await connection.exec_driver_sql("show statement_timeout")).scalar_one())
    assert limits[0] == limits[2] != limits[1]


def test_export_above_the_number_of_rows_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heavy_reads, "MAX_ROWS", 2)
    heavy_reads.check_rows("ten_unknown", 2)
    with pytest.raises(Invalid, match="more than 2 rows"):
        heavy_reads.check_rows("ten_unknown", 3)


def test_stopped_report_is_no_outage() -> None:
    assert TookTooLong("x").reason == "took_too_long"
