"""What operators do with the usage of a tenant: correct, recompute and check it, each with a reason.

Operators write corrections; what they change of events and aggregates is done by jobs of the tenant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.access import actions, policy
from shared.access.meters import METERS, Aggregation
from shared.audit import audit_log
from shared.backoffice.reasons import Reason, use_reason
from shared.billing import usage_preview
from shared.billing.usage_preview import InvoiceEffect
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import Invalid
from shared.jobs import queue
from shared.metering import checks, correction_batches, months, rollups
from shared.metering.correction_batches import CorrectionView
from shared.metering.correction_effects import CorrectionEffect
from shared.metering.models import CorrectionState
from shared.metering.usage import ItemStatus
from shared.tenancy import entry

CLOSE_TASK, REVERT_TASK, RECOMPUTE_TASK = (
    "metering.close_correction",
    "metering.revert_correction",
    "metering.recompute_month",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionPreview:
    view: CorrectionView
    effect: CorrectionEffect
    invoices: Sequence[InvoiceEffect]  # what of it changes on invoices


async def open_correction(octx: OperatorCtx, tenant_id: str, lines: str, reason: Reason) -> str:
    """Opens one with these items; the reason is its note. Returns its id. `lines`: as `parse_lines` reads them.

    Raises Refused, NotFound, Invalid with what is wrong with the first lines: then nothing is opened.
    """
    policy.require_operator(octx, actions.OP_USAGE_CORRECT)
    reason_text = use_reason(octx, reason, tenant_id)
    values = parse_lines(lines)
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        correction = await correction_batches.add_correction(ctx, reason_text)
        await _add_lines(ctx, correction.id, values)
    return correction.id


async def add_items(
    octx: OperatorCtx, tenant_id: str, correction_id: str, lines: str, reason: Reason
) -> None:
    """Adds to an open one. Raises Refused, NotFound, Conflict, Invalid: then nothing is added."""
    policy.require_operator(octx, actions.OP_USAGE_CORRECT)
    reason_text = use_reason(octx, reason, tenant_id)
    values = parse_lines(lines)
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        await _add_lines(ctx, correction_id, values)
        audit_log.record(
            ctx,
            "usage.correction_asked",
            correction_id,
            after={"items": len(values)},
            reason=reason_text,
        )


def parse_lines(lines: str) -> list[dict[str, Any]]:
    """One item a line, separated by commas: kind, meter, key, then the quantity or subject, then the time of an event
    that is added. Raises Invalid.
    """
    values = list[dict[str, Any]]()
    for line in lines.splitlines():
        words = [word.strip() for word in line.split(",")]
        if words == [""]:
            continue
        if not 3 <= len(words) <= 5:
            raise _invalid_lines(f"Line {len(values) + 1}: a line has a kind, a meter and a key.")
        value: dict[str, Any] = dict(zip(("kind", "meter", "idempotency_key"), words, strict=False))
        meter = METERS.get(words[1])
        if len(words) > 3 and words[3]:
            is_unique = meter is not None and meter.aggregation is Aggregation.UNIQUE
            value["subject" if is_unique else "quantity"] = words[3]
        if len(words) > 4 and words[4]:
            value["occurred_at"] = words[4]
        values.append(value)
    if not values:
        raise _invalid_lines("Enter one item a line.")
    return values


def _invalid_lines(detail: str) -> Invalid:
    return Invalid(detail, "Nothing was changed.", fields={"lines": detail})


async def _add_lines(ctx: Ctx, correction_id: str, values: Sequence[Any]) -> None:
    """Add the lines of a file or form to a correction. Raises NotFound, Conflict, Invalid for lines that can't be added."""
    results = await correction_batches.add_items(ctx, correction_id, values, is_program=False)
    rejected = [result for result in results if result.status is ItemStatus.REJECTED]
    if rejected:
        raise _invalid_lines(" ".join(f"Line {result.index + 1}: {result.detail}" for result in rejected[:3]))


async def preview_correction(
    octx: OperatorCtx, tenant_id: str, correction_id: str, reason: Reason
) -> CorrectionPreview:
    """Raises Refused, Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_TENANT_READ)
    async with entry.enter_as_operator(octx, tenant_id, use_reason(octx, reason, tenant_id)) as ctx:
        effect = await correction_batches.get_effect(ctx, correction_id)
        return CorrectionPreview(
            view=await correction_batches.get(ctx, correction_id),
            effect=effect,
            invoices=await usage_preview.list_invoice_effects(ctx, effect.billed),
        )


async def close_correction(octx: OperatorCtx, tenant_id: str, correction_id: str, reason: Reason) -> None:
    """A job counts it. Raises Refused, Invalid for one without items, NotFound, Conflict."""
    await _begin(octx, tenant_id, correction_id, reason, state=CorrectionState.CLOSING)


async def revert_correction(octx: OperatorCtx, tenant_id: str, correction_id: str, reason: Reason) -> None:
    """An open one is given up at once; a job reverts a closed one. Raises Refused, Invalid, NotFound, Conflict."""
    await _begin(octx, tenant_id, correction_id, reason, state=CorrectionState.REVERTING)


async def _begin(
    octx: OperatorCtx, tenant_id: str, correction_id: str, reason: Reason, *, state: CorrectionState
) -> None:
    policy.require_operator(octx, actions.OP_USAGE_CORRECT)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        correction = await correction_batches.begin(ctx, correction_id, state)
        audit_log.record(
            ctx,
            "usage.correction_asked",
            correction_id,
            after={"state": correction.state.value},
            reason=reason_text,
        )
        if correction.state is state:
            task = CLOSE_TASK if state is CorrectionState.CLOSING else REVERT_TASK
            await queue.put(ctx, task, correction_id=correction_id)


async def recompute_month(
    octx: OperatorCtx, tenant_id: str, meter: str, month: datetime, reason: Reason
) -> None:
    """A job recomputes it from its events. `month`: any moment of it. Raises Refused, Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_USAGE_CORRECT)
    reason_text = use_reason(octx, reason, tenant_id)
    start = months.get_month(month)
    if meter not in METERS:
        raise Invalid("There is no such meter.", "Choose one.", fields={"meter": "Choose one."})
    rollups.require_events(start)
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        object_id = f"{meter}:{start:%Y-%m}"
        audit_log.record(ctx, "usage.recompute_asked", object_id, reason=reason_text)
        await queue.put(ctx, RECOMPUTE_TASK, meter=meter, month=start.isoformat())


async def start_usage_check(octx: OperatorCtx, tenant_id: str, reason: Reason) -> None:
    """Enqueue the job that compares the tenant's aggregates with its events. Raises Refused, Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_USAGE_CORRECT)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        audit_log.record(ctx, "usage.check_asked", tenant_id, reason=reason_text)
        await queue.put(ctx, checks.TASK, ordered=False)
