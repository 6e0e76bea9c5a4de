"""Corrections of usage as batches: open one, add items, preview its effect, then close it or give it up.

Until a correction is closed it counts nothing. Closing voids events and adds others; the originals are kept, and
every closed window that changes leaves a `UsageChange` that names the correction. The difference is billed as that of late
events is. A closed correction can be reverted. These functions check no permission: `corrections` and
`backoffice.usage_corrections` do.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from shared.access.meters import METERS, Aggregation
from shared.audit import audit_log
from shared.core import live_events
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.ids import new_id
from shared.metering import (
    correction_items,
    emission_repository,
    emissions,
    months,
    quotas,
    rollup_repository,
    rollups,
)
from shared.metering import correction_repository as repository
from shared.metering.actions import USAGE_CORRECT
from shared.metering.correction_effects import BilledEffect, BilledPart, CorrectionEffect, WindowEffect
from shared.metering.correction_items import CorrectionItem
from shared.metering.items import ItemProblem, ItemReason
from shared.metering.models import (
    ChangeCause,
    CorrectionKind,
    CorrectionState,
    UsageCorrection,
    UsageCorrectionItem,
    UsageEvent,
    WindowSize,
)
from shared.metering.reservations import Exceeded
from shared.metering.usage import ItemResult, ItemStatus

MAX_ITEMS = 1_000  # of one correction
MAX_NOTE_LENGTH = 500  # characters
VOIDED_MEANWHILE = "Another correction has voided an event of this one. Open a new correction."
Gained = Mapping[tuple[str, datetime], Decimal]  # by meter and month
TOO_OLD = "One of its events is too old now: its month may be gone. Open a new correction."


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionView:
    correction: UsageCorrection
    item_count: int


async def add_correction(ctx: Ctx, note: str) -> UsageCorrection:
    """Open one. Raises Invalid for a note that is too short or too long."""
    note = note.strip()
    if not 3 <= len(note) <= MAX_NOTE_LENGTH or not note.isprintable():
        raise Invalid(
            f"A note has 3 to {MAX_NOTE_LENGTH} characters.",
            "Say why the usage was wrong.",
            fields={"note": "Say why the usage was wrong."},
        )
    correction = UsageCorrection(
        tenant_id=ctx.tenant_id, note=note, opened_by=ctx.actor_id, opened_by_name=ctx.actor.name
    )
    ctx.session.add(correction)
    audit_log.record(ctx, "usage.correction_opened", correction.id, after={"note": note})
    await _finish(ctx)
    return correction


async def add_items(
    ctx: Ctx, correction_id: str, values: Sequence[Any], *, is_program: bool
) -> list[ItemResult]:
    """`values`: any JSON. A result for each, in their order; an event that is in the correction already is repeated.

    Raises NotFound, Conflict for one that is not open, Invalid for too many items.
    """
    await lock(ctx, correction_id, CorrectionState.OPEN)
    present_items = {item.event_id for item in await repository.list_items(ctx, correction_id)}
    if not 1 <= len(values) <= MAX_ITEMS - len(present_items):
        raise Invalid(
            f"A correction has 1 to {MAX_ITEMS:,} items.", "Open another correction for the others."
        )
    at, results, parsed = now(), dict[int, ItemResult](), dict[int, CorrectionItem]()
    for index, value in enumerate(values):
        try:
            parsed[index] = correction_items.parse_correction_item(value, at, is_program=is_program)
        except ItemProblem as problem:
            results[index] = _reject(index, problem)
    event_ids = {item.event_id for item in parsed.values()}
    events = await repository.find_events(ctx, event_ids)
    used_ids = await repository.list_used_keys(ctx, event_ids)
    for index, item in parsed.items():
        if item.event_id in present_items:
            results[index] = ItemResult(index=index, status=ItemStatus.REPEATED)
            continue
        try:
            row = _build_row(
                ctx, correction_id, item, events.get(item.event_id), is_used=item.event_id in used_ids
            )
            if is_program:
                correction_items.require_in_time(row.occurred_at, row.meter, at)
        except ItemProblem as problem:
            results[index] = _reject(index, problem)
            continue
        present_items.add(item.event_id)
        ctx.session.add(row)
        results[index] = ItemResult(index=index, status=ItemStatus.ACCEPTED)
    await _finish(ctx)
    return [results[index] for index in range(len(values))]


async def get_effect(ctx: Ctx, correction_id: str) -> CorrectionEffect:
    """What closing it now would change: every hour and month, and what leaves to be billed. Writes nothing.

    Raises NotFound.
    """
    await get(ctx, correction_id)
    by_aggregation = defaultdict[Aggregation, list[tuple[str, datetime]]](list)
    for item in await repository.list_items(ctx, correction_id):
        if item.meter in METERS:
            hour = item.occurred_at.replace(minute=0, second=0, microsecond=0)
            by_aggregation[METERS[item.meter].aggregation].append((item.meter, hour))
    effects = [
        effect
        for aggregation, hours in sorted(by_aggregation.items())
        for effect in await repository.list_effects(
            ctx, correction_id, rollups.build_windows(hours), aggregation
        )
        if (effect.quantity_before, effect.count_before) != (effect.quantity_after, effect.count_after)
    ]
    return CorrectionEffect(windows=effects, billed=await _get_billed(ctx, effects))


async def begin(ctx: Ctx, correction_id: str, state: CorrectionState) -> UsageCorrection:
    """To close or revert it: `state` is CLOSING or REVERTING. An open one is given up at once, without a job.

    Raises NotFound, Conflict.
    """
    expected = CorrectionState.OPEN if state is CorrectionState.CLOSING else CorrectionState.CLOSED
    correction = await _require(ctx, correction_id)
    if state is CorrectionState.REVERTING and correction.state is CorrectionState.OPEN:
        correction.state, correction.reverted_at = CorrectionState.REVERTED, now()
    elif correction.state is expected:
        correction.state, correction.problem = state, ""
    else:
        raise _wrong_state(correction)
    if state is CorrectionState.CLOSING and not await repository.count_items(ctx, [correction_id]):
        raise Invalid("This correction has no items.", "Add items, or revert it.")
    ctx.session.add(correction)
    await _finish(ctx)
    return correction


async def close(ctx: Ctx, correction_id: str, *, is_program: bool) -> UsageCorrection:
    """Count it, recompute what it touches, and emit the difference. Does nothing for one that is not closing.

    Where an event was voided by another correction meanwhile, it opens again with the problem. `is_program`: a hard
    limit holds for what it adds. Raises NotFound, LimitReached.
    """
    await rollup_repository.lock_rollup(ctx)
    correction = await _require(ctx, correction_id)
    if correction.state is not CorrectionState.CLOSING:
        return correction
    items = await repository.list_items(ctx, correction_id)
    if problem := await _find_obstacle(ctx, items):
        correction.state, correction.problem = CorrectionState.OPEN, problem
    else:
        await rollups.roll_up_windows(ctx)  # what came late has its own cause
        await _recompute(ctx, items)
        await repository.apply(ctx, correction_id)
        gained = await _recompute(ctx, items, correction_id)
        await _count(ctx, gained, is_program=is_program)
        correction.state, correction.closed_at = CorrectionState.CLOSED, now()
        audit_log.record(
            ctx,
            "usage.correction_closed",
            correction_id,
            after={"items": len(items), "note": correction.note},
        )
    ctx.session.add(correction)
    await _finish(ctx)
    return correction


async def revert(ctx: Ctx, correction_id: str, *, is_program: bool) -> UsageCorrection:
    """Undo it: everything counts as if it hadn't been closed. Does nothing for one that is not reverting.

    Where another correction builds on it, it stays closed with the problem. `is_program`: as in `close`. Raises NotFound,
    LimitReached.
    """
    await rollup_repository.lock_rollup(ctx)
    correction = await _require(ctx, correction_id)
    if correction.state is not CorrectionState.REVERTING:
        return correction
    items = await repository.list_items(ctx, correction_id)
    if later_id := await repository.find_later_correction(ctx, correction_id):
        correction.state = CorrectionState.CLOSED
        correction.problem = f"Correction {later_id} changes what this one added. Revert that one first."
    elif any(_is_gone(item) for item in items):
        correction.state, correction.problem = CorrectionState.CLOSED, TOO_OLD
    else:
        await _recompute(ctx, items)
        await repository.undo(ctx, correction_id)
        gained = await _recompute(ctx, items, correction_id)
        await _count(ctx, gained, is_program=is_program)
        correction.state, correction.reverted_at = CorrectionState.REVERTED, now()
        audit_log.record(ctx, "usage.correction_reverted", correction_id, after={"items": len(items)})
    ctx.session.add(correction)
    await _finish(ctx)
    return correction


async def get(ctx: Ctx, correction_id: str) -> CorrectionView:
    """Raises NotFound."""
    correction = await repository.find_correction(ctx, correction_id)
    if correction is None:
        raise _unknown()
    counts = await repository.count_items(ctx, [correction_id])
    return CorrectionView(correction=correction, item_count=counts.get(correction_id, 0))


async def list_views(ctx: Ctx, *, after: str, limit: int) -> list[CorrectionView]:
    """Newest first. Raises Invalid."""
    corrections = await repository.list_corrections(ctx, after=after, limit=limit)
    counts = await repository.count_items(ctx, [correction.id for correction in corrections])
    return [
        CorrectionView(correction=correction, item_count=counts.get(correction.id, 0))
        for correction in corrections
    ]


async def lock(ctx: Ctx, correction_id: str, state: CorrectionState) -> UsageCorrection:
    """Until the transaction ends. Raises NotFound, Conflict for one in another state."""
    correction = await _require(ctx, correction_id)
    if correction.state is not state:
        raise _wrong_state(correction)
    return correction


async def _require(ctx: Ctx, correction_id: str) -> UsageCorrection:
    correction = await repository.find_correction(ctx, correction_id, locks=True)
    if correction is None:
        raise _unknown()
    return correction


def _unknown() -> NotFound:
    return NotFound("There is no such correction.", "Choose one of the list.")


def _wrong_state(correction: UsageCorrection) -> Conflict:
    return Conflict(f"This correction is {correction.state}.", "Reload the page to see what it did.")


def _reject(index: int, problem: ItemProblem) -> ItemResult:
    return ItemResult(
        index=index,
        status=ItemStatus.REJECTED,
        reason=problem.reason,
        field=problem.field_name,
        detail=problem.detail,
    )


def _build_row(
    ctx: Ctx, correction_id: str, item: CorrectionItem, event: UsageEvent | None, *, is_used: bool
) -> UsageCorrectionItem:
    """Raises ItemProblem."""
    row = UsageCorrectionItem(
        tenant_id=ctx.tenant_id,
        id=f"{correction_id}:{item.event_id}",
        correction_id=correction_id,
        kind=item.kind,
        meter=item.meter,
        event_id=item.event_id,
        occurred_at=event.occurred_at if event is not None else now(),
    )
    if item.kind is CorrectionKind.ADD:
        if is_used or item.item is None:
            raise ItemProblem("idempotency_key", "This key was used already.", ItemReason.KEY_USED)
        row.new_event_id, row.occurred_at = item.event_id, item.item.occurred_at
        row.dimensions = dict(item.item.dimensions)
    elif event is None:
        raise ItemProblem("idempotency_key", "There is no such event.", ItemReason.UNKNOWN_EVENT)
    elif event.voided_by is not None:
        detail = f"Correction {event.voided_by} has voided this event."
        raise ItemProblem("idempotency_key", detail, ItemReason.ALREADY_VOIDED)
    elif item.kind is CorrectionKind.REPLACE:
        row.new_event_id, row.dimensions = f"{item.meter}:{new_id('uce')}", event.dimensions
    if item.item is not None:
        row.quantity, row.subject = item.item.quantity, item.item.subject
    if _is_gone(row):
        raise ItemProblem("idempotency_key", "Events of this month are gone.", ItemReason.TOO_OLD)
    return row


def _is_gone(item: UsageCorrectionItem) -> bool:
    """Whether its month may be dropped by now. What is left of it is its aggregates, which stay as they are."""
    return rollups.is_month_gone(months.get_month(item.occurred_at))


async def _find_obstacle(ctx: Ctx, items: Sequence[UsageCorrectionItem]) -> str:
    """Why it can't be closed, "" where it can."""
    if any(_is_gone(item) for item in items):
        return TOO_OLD
    event_ids = {item.event_id for item in items if item.kind is not CorrectionKind.ADD}
    events = await repository.find_events(ctx, event_ids)
    is_countable = len(events) == len(event_ids) and all(event.voided_by is None for event in events.values())
    return "" if is_countable else VOIDED_MEANWHILE


async def _recompute(ctx: Ctx, items: Sequence[UsageCorrectionItem], correction_id: str = "") -> Gained:
    """Recompute the hours and months of these items. What changes is recorded as caused by the correction, or by late events without one."""
    hours = {(item.meter, item.occurred_at.replace(minute=0, second=0, microsecond=0)) for item in items}
    gained = defaultdict[tuple[str, datetime], Decimal](Decimal)
    for window in await rollups.recompute(ctx, rollups.build_windows(sorted(hours))):
        if window.size is WindowSize.HOUR:
            gained[window.meter, months.get_month(window.starts_at)] += (
                window.quantity - window.quantity_before
            )
        if not rollups.was_closed(window):
            continue
        if not correction_id:
            await rollups.record_change(ctx, window, ChangeCause.LATE_EVENTS, ())
            continue
        event_ids = [
            item.event_id
            for item in items
            if item.meter == window.meter and window.starts_at <= item.occurred_at < window.ends_at
        ]
        await rollups.record_change(
            ctx, window, ChangeCause.CORRECTED, (), event_ids=event_ids, correction_id=correction_id
        )
    if correction_id:
        await emissions.emit_closed(ctx, limit=rollups.WINDOWS_AT_ONCE)
    return gained


async def _count(ctx: Ctx, gained: Gained, *, is_program: bool) -> None:
    """Update the counters of limits. Call it last: reservations wait for their locks. Raises LimitReached."""
    try:
        await rollups.add_up_counters(ctx, gained, is_limited=is_program)
    except Exceeded as exceeded:
        facts = quotas.build_facts(exceeded)
        raise quotas.build_refusal(ctx, facts, action=USAGE_CORRECT.name) from None


async def _get_billed(ctx: Ctx, effects: Sequence[WindowEffect]) -> list[BilledEffect]:
    """In the order in which the windows will be emitted, because what is carried goes from one to the next."""
    emitted = defaultdict[str, list[WindowEffect]](list)
    for effect in sorted(effects, key=lambda effect: (effect.starts_at, effect.id)):
        is_due = (
            effect.is_closed or effect.ends_at + rollups.CLOSE_DELAY <= now()
        )  # an hour without events yet
        if is_due and emissions.is_emitted(effect.meter, effect.size):
            emitted[effect.meter].append(effect)
    last = await emission_repository.list_last(ctx, sorted(emitted))
    return [
        _build_billed(meter, windows, last[meter].carried_out if meter in last else Decimal(0))
        for meter, windows in sorted(emitted.items())
    ]


def _build_billed(meter: str, windows: Sequence[WindowEffect], carried_in: Decimal) -> BilledEffect:
    parts, carried, total = list[BilledPart](), carried_in, Decimal(0)
    for window in windows:
        gained = window.quantity_after - window.quantity_before
        units, carried = emissions.split_units(meter, carried + gained)
        total += gained
        if units:
            parts.append(BilledPart(starts_at=window.starts_at, units=units))
    return BilledEffect(
        meter=meter,
        quantity=total,
        units=sum(part.units for part in parts),
        carried_in=carried_in,
        carried=carried,
        parts=parts,
    )


async def _finish(ctx: Ctx) -> None:
    await ctx.session.flush()
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, rollups.TOPIC)
