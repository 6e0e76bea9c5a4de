"""Corrections: they count when they are closed, say what they will do before, and can be taken back."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, Refused
from shared.metering import corrections, months, reconciliation, rollups, usage, usage_reports
from shared.metering.models import CorrectionState
from shared.metering.usage import ItemStatus
from shared.metering.usage_reports import Step, UsageQuery
from tests.conftest import Cast, Person

METER, GAUGE, USERS = "usage_events", "stored_gigabytes", "active_users"
HOUR = timedelta(hours=1)
OLD_HOUR = now().replace(minute=0, second=0, microsecond=0) - 48 * HOUR


async def record(person: Person, key: str, quantity: int = 1, *, meter: str = METER, **values: Any) -> None:
    async with person.ctx() as ctx:
        await usage.record(ctx, meter, key, quantity=quantity, occurred_at=OLD_HOUR, **values)
        await rollups.roll_up(ctx)


async def open_with(person: Person, *items: dict[str, object]) -> str:
    async with person.ctx() as ctx:
        correction_id = (await corrections.open_correction(ctx, "Sent twice")).correction.id
        results = await corrections.add_items(ctx, correction_id, items)
        assert {result.status for result in results} == {ItemStatus.ACCEPTED}
    return correction_id


async def get_total(person: Person, meter: str = METER) -> Decimal:
    async with person.ctx() as ctx:
        query = UsageQuery(since=OLD_HOUR - 24 * HOUR, until=now() + HOUR, step=Step.HOUR, meter=meter)
        (meter_usage,) = (await usage_reports.get_report(ctx, query)).meters
    return meter_usage.total


async def test_correction_does_what_its_preview_said_and_keeps_the_originals(cast: Cast) -> None:
    for key, quantity in (("right", 1_500), ("too much", 900), ("twice", 400)):
        await record(cast.ann, key, quantity)
    correction_id = await open_with(
        cast.ann,
        {"kind": "void", "meter": METER, "idempotency_key": "twice"},
        {"kind": "replace", "meter": METER, "idempotency_key": "too much", "quantity": 90},
        {
            "kind": "add",
            "meter": METER,
            "idempotency_key": "missing",
            "occurred_at": OLD_HOUR.isoformat(),
            "quantity": 7_000,
        },
    )
    async with cast.ann.ctx() as ctx:
        effect = await corrections.get_effect(ctx, correction_id)
    assert await get_total(cast.ann) == 2_800, "an open correction counts nothing"
    assert [(window.quantity_before, window.quantity_after) for window in effect.windows] == [(2_800, 8_590)]
    assert [(billed.quantity, billed.units, billed.carried) for billed in effect.billed] == [(5_790, 6, 590)]
    async with cast.ann.ctx() as ctx:
        view = await corrections.close(ctx, correction_id)
        change, *_ = (await usage_reports.list_changes(ctx)).rows
        comparisons = {row.meter.key: row for row in await reconciliation.compare_month(ctx, OLD_HOUR)}
        original = await usage_reports.find_event(ctx, METER, "too much")
    assert (view.correction.state, await get_total(cast.ann)) == (CorrectionState.CLOSED, 8_590)
    assert (change.cause, change.quantity_before, change.quantity_after) == ("corrected", 2_800, 8_590)
    assert (change.correction_id, change.event_count) == (correction_id, 3)
    assert (original.quantity, original.voided_by) == (900, correction_id)
    assert comparisons[METER].is_equal
    assert comparisons[METER].emitted_units == 8


@pytest.mark.parametrize(
    ("meter", "before", "replacement", "after"),
    [
        (GAUGE, {"quantity": 90}, {"quantity": 9}, 50),
        (USERS, {"subject": "b"}, {"subject": "a"}, 1),
    ],
)
async def test_correction_counts_by_the_kind_of_the_meter(
    cast: Cast, meter: str, before: dict[str, Any], replacement: dict[str, Any], after: int
) -> None:
    first: dict[str, Any] = {"quantity": 50} if meter == GAUGE else {"subject": "a"}
    await record(cast.ann, "first", meter=meter, **first)
    await record(cast.ann, "wrong", meter=meter, **before)
    correction_id = await open_with(
        cast.ann, {"kind": "replace", "meter": meter, "idempotency_key": "wrong", **replacement}
    )
    async with cast.ann.ctx() as ctx:
        effect = await corrections.get_effect(ctx, correction_id)
        await corrections.close(ctx, correction_id)
    assert {window.quantity_after for window in effect.windows} == {after}
    assert await get_total(cast.ann, meter) == after


async def test_reverted_correction_leaves_the_numbers_of_before(cast: Cast) -> None:
    await record(cast.ann, "twice", 400)
    month = months.get_month(OLD_HOUR)
    correction_id = await open_with(
        cast.ann,
        {"kind": "void", "meter": METER, "idempotency_key": "twice"},
        {"kind": "add", "meter": METER, "idempotency_key": "other", "quantity": 5},
    )
    async with cast.ann.ctx() as ctx:
        before = await rollups.get_digest(ctx, METER, month)
        await corrections.close(ctx, correction_id)
        assert await rollups.get_digest(ctx, METER, month) != before
        await corrections.revert(ctx, correction_id)
        assert await rollups.recompute_month(ctx, METER, month) == await rollups.get_digest(ctx, METER, month)
        events = await audit_log.list_events(ctx, AuditFilter(action="usage.correction_reverted"))
        comparisons = await reconciliation.compare_month(ctx, OLD_HOUR)
    assert await get_total(cast.ann) == 400
    assert len(events.rows) == 1
    assert all(comparison.is_equal for comparison in comparisons)


async def test_correction_that_others_build_on_is_not_reverted(cast: Cast) -> None:
    await record(cast.ann, "wrong", 400)
    first = await open_with(
        cast.ann, {"kind": "replace", "meter": METER, "idempotency_key": "wrong", "quantity": 4}
    )
    async with cast.ann.ctx() as ctx:
        await corrections.close(ctx, first)
        until = OLD_HOUR + HOUR
        rows = (await usage_reports.list_events(ctx, METER, OLD_HOUR, until=until)).rows
        (replacement,) = [event for event in rows if event.voided_by is None]
    second = await open_with(cast.ann, {"kind": "void", "meter": METER, "idempotency_key": replacement.key})
    async with cast.ann.ctx() as ctx:
        await corrections.close(ctx, second)
        view = await corrections.revert(ctx, first)
    assert view.correction.state is CorrectionState.CLOSED
    assert second in view.correction.problem
    assert await get_total(cast.ann) == 0


async def test_event_is_taken_back_by_one_correction_only(cast: Cast) -> None:
    await record(cast.ann, "twice", 400)
    item = {"kind": "replace", "meter": METER, "idempotency_key": "twice", "quantity": 40}
    ids = [await open_with(cast.ann, item) for _ in range(2)]
    async with cast.ann.ctx() as ctx:
        states = [(await corrections.close(ctx, correction_id)).correction for correction_id in ids]
    assert [correction.state for correction in states] == [CorrectionState.CLOSED, CorrectionState.OPEN]
    assert "Another correction" in states[1].problem
    assert await get_total(cast.ann) == 40


async def test_closed_correction_takes_no_items_and_is_not_closed_again(cast: Cast) -> None:
    correction_id = await open_with(
        cast.ann, {"kind": "add", "meter": METER, "idempotency_key": "k", "quantity": 1}
    )
    async with cast.ann.ctx() as ctx:
        await corrections.close(ctx, correction_id)
        for attempt in (
            corrections.close(ctx, correction_id),
            corrections.add_items(ctx, correction_id, [{}]),
        ):
            with pytest.raises(Conflict):
                await attempt


OLD_EVENT = (now() - timedelta(days=40)).isoformat()


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"kind": "void", "meter": METER, "idempotency_key": "nothing"}, "unknown_event"),
        ({"kind": "void", "meter": METER, "idempotency_key": "known", "quantity": 1}, "invalid"),
        ({"kind": "replace", "meter": METER, "idempotency_key": "known", "quantity": "NaN"}, "invalid"),
        (
            {
                "kind": "replace",
                "meter": METER,
                "idempotency_key": "known",
                "quantity": 1,
                "occurred_at": OLD_EVENT,
            },
            "invalid",
        ),
        ({"kind": "add", "meter": METER, "idempotency_key": "known", "quantity": 1}, "key_used"),
        (
            {
                "kind": "add",
                "meter": METER,
                "idempotency_key": "old",
                "quantity": 1,
                "occurred_at": OLD_EVENT,
            },
            "too_old",
        ),
        ({"kind": "void", "meter": "api_calls", "idempotency_key": "known"}, "unknown_meter"),
        ({"kind": "drop"}, "invalid"),
        ("void", "invalid"),
    ],
)
async def test_wrong_item_is_refused_and_spoils_no_other(cast: Cast, item: object, reason: str) -> None:
    await record(cast.ann, "known")
    await record(cast.gil, "nothing")
    async with cast.ann.ctx() as ctx:
        correction_id = (await corrections.open_correction(ctx, "Sent twice")).correction.id
        good = {"kind": "void", "meter": METER, "idempotency_key": "known"}
        results = await corrections.add_items(ctx, correction_id, [item, good])
    assert (results[0].reason, results[1].status) == (reason, ItemStatus.ACCEPTED)


async def test_members_do_not_correct_usage(cast: Cast) -> None:
    async with cast.max.ctx() as ctx:
        with pytest.raises(Refused):
            await corrections.open_correction(ctx, "Sent twice")


async def test_empty_correction_is_not_closed(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        correction_id = (await corrections.open_correction(ctx, "Sent twice")).correction.id
        with pytest.raises(Invalid, match="no items"):
            await corrections.close(ctx, correction_id)


async def test_late_event_of_the_same_hour_keeps_its_own_cause(cast: Cast) -> None:
    await record(cast.ann, "twice", 10)
    async with cast.ann.ctx() as ctx:
        await usage.record(ctx, METER, "late", quantity=3, occurred_at=OLD_HOUR)
    correction_id = await open_with(cast.ann, {"kind": "void", "meter": METER, "idempotency_key": "twice"})
    async with cast.ann.ctx() as ctx:
        await corrections.close(ctx, correction_id)
        changes = (await usage_reports.list_changes(ctx)).rows
    assert [(change.cause.value, change.quantity_after, change.event_ids) for change in changes[:2]] == [
        ("corrected", 3, [f"{METER}:twice"]),
        ("late_events", 13, [f"{METER}:late"]),
    ]


async def test_preview_bills_hours_one_after_another_as_closing_does(cast: Cast) -> None:
    """What an earlier hour gains leaves at once; what a later one loses is carried."""
    await record(cast.ann, "later", 1_000)
    async with cast.ann.ctx() as ctx:
        await usage.record(ctx, METER, "earlier", quantity=500, occurred_at=OLD_HOUR - HOUR)
        await rollups.roll_up(ctx)
    correction_id = await open_with(
        cast.ann,
        {"kind": "replace", "meter": METER, "idempotency_key": "earlier", "quantity": 1_500},
        {"kind": "void", "meter": METER, "idempotency_key": "later"},
    )
    async with cast.ann.ctx() as ctx:
        (billed,) = (await corrections.get_effect(ctx, correction_id)).billed
        await corrections.close(ctx, correction_id)
        comparisons = {row.meter.key: row for row in await reconciliation.compare_month(ctx, OLD_HOUR)}
    assert comparisons[METER].emitted_units == 1 + billed.units
    assert (billed.units, billed.carried) == (1, -500)


async def test_voided_units_of_sale_are_carried_and_make_later_use_free(cast: Cast) -> None:
    await record(cast.ann, "twice", 2_500)
    correction_id = await open_with(cast.ann, {"kind": "void", "meter": METER, "idempotency_key": "twice"})
    async with cast.ann.ctx() as ctx:
        (billed,) = (await corrections.get_effect(ctx, correction_id)).billed
        await corrections.close(ctx, correction_id)
    assert (billed.units, billed.carried) == (0, -2_000)
    await record(cast.ann, "next", 3_100)
    async with cast.ann.ctx() as ctx:
        comparisons = {row.meter.key: row for row in await reconciliation.compare_month(ctx, OLD_HOUR)}
    assert (comparisons[METER].emitted_units, comparisons[METER].carried) == (3, 100)
    assert comparisons[METER].is_equal
