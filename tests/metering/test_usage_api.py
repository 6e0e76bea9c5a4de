"""Usage over REST: a result for each item, the numbers of the page, and bodies that are refused whole."""

import json
from datetime import timedelta
from typing import Any

from shared.core.db import now
from shared.metering import rollups
from shared.tenancy import entry
from tests.conftest import Cast
from tests.support import api_clients

USAGE = "/api/v1/usage"
ITEM: dict[str, Any] = {"meter": "usage_events", "quantity": 2}


async def test_program_sends_events_and_reads_their_total(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "usage:write", "usage:read")
    items = [ITEM | {"idempotency_key": key} for key in ("a", "b", "a")]
    async with program.client() as client:
        sent = await client.post(USAGE, json={"items": items})
        again = await client.post(USAGE, json={"items": items[:2]})
        async with entry.enter_job(cast.acme, rollups.TASK, "") as ctx:
            await rollups.roll_up(ctx)
        times = {"since": (now() - timedelta(hours=1)).isoformat(), "until": now().isoformat()}
        totals = await client.get(USAGE, params={"meter": "usage_events", "step": "hour", **times})
        events = await client.get(f"{USAGE}/events", params={"meter": "usage_events", **times})
    assert [item["status"] for item in sent.json()["items"]] == ["accepted", "accepted", "repeated"]
    assert (again.json()["accepted"], again.json()["repeated"]) == (0, 2)
    (meter,) = totals.json()["meters"]
    assert (meter["total"], sum(int(point["quantity"]) for point in meter["points"])) == ("4", 4)
    assert sorted(event["idempotency_key"] for event in events.json()["items"]) == ["a", "b"]
    assert {event["recorded_by"] for event in events.json()["items"]} == {program.key_id}


async def test_numbers_that_json_does_not_have_are_refused_one_by_one(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "usage:write")
    quantities = ("NaN", "1e400", "-Infinity", "9" * 100, '"1e400"', "1.5")
    items = ", ".join(
        f'{{"meter": "usage_events", "idempotency_key": "k{number}", "quantity": {quantity}}}'
        for number, quantity in enumerate(quantities)
    )
    async with program.client() as client:
        answer = await client.post(
            USAGE, content=f'{{"items": [{items}]}}', headers={"content-type": "application/json"}
        )
    results = answer.json()["items"]
    assert [result["status"] for result in results] == ["rejected"] * 5 + ["accepted"]
    assert {result["field"] for result in results[:5]} == {"quantity"}


async def test_body_is_refused_whole_when_it_is_too_large_or_of_another_type(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "usage:write")
    too_many = json.dumps({"items": [7] * 1_001})
    too_large = json.dumps({"items": [ITEM | {"idempotency_key": "k" * 5_000_000}]})
    async with program.client() as client:
        answers = [
            await client.post(USAGE, content=content, headers={"content-type": content_type})
            for content, content_type in (
                (too_many, "application/json"),
                (too_large, "application/json"),
                (json.dumps({"items": [ITEM]}), "text/csv"),
                ('{"items": []}', "application/json"),
            )
        ]
    assert [answer.status_code for answer in answers] == [422, 413, 415, 422]


async def test_key_without_the_scope_can_not_send_usage(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "usage:read")
    async with program.client() as client:
        answer = await client.post(USAGE, json={"items": [ITEM | {"idempotency_key": "a"}]})
    assert (answer.status_code, answer.json()["reason"]) == (403, "missing_scope")
