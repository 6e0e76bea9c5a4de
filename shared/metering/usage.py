"""Record usage: each event counts once, by tenant, meter and idempotency key.

An event is part of its caller's transaction and is acknowledged when that has committed. A key stays used for
`meters.KEY_RETENTION`, whatever time a retry names. The first event with a key wins. What a limit leaves no room for
isn't recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from shared.access import policy
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Invalid
from shared.metering import event_repository, items, quotas
from shared.metering.actions import USAGE_WRITE
from shared.metering.items import ItemProblem, ItemReason, UsageItem
from shared.metering.quotas import QuotaFacts

MAX_BATCH_SIZE = 1_000  # items
UNRESERVED, OTHERS = quotas.UNRESERVED, quotas.OTHERS


class ItemStatus(StrEnum):
    ACCEPTED = "accepted"
    REPEATED = "repeated"  # its key was used before; nothing was counted again
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemResult:
    """Of one item. `reason`, `field` and `detail` are of rejected ones, `limit` of those that a limit refused."""

    index: int
    status: ItemStatus
    reason: ItemReason | None = None
    field: str = ""
    detail: str = ""
    limit: QuotaFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult:
    new_ids: set[str]
    refused: Mapping[str, QuotaFacts]  # by id of the event


async def record(
    ctx: Ctx,
    meter: str,
    key: str,
    *,
    quantity: Decimal | int = 1,
    occurred_at: datetime | None = None,
    subject: str | None = None,
    dimensions: Mapping[str, str] | None = None,
    held: Mapping[str, str] | None = None,
) -> bool:
    """Count something that this platform did. False where the key was used before. Raises Invalid, LimitReached.

    For services that have asked for the right to what they count: this asks for none. `held`: reservations by counter
    that the caller has for it, as `quotas.admit` takes them.
    """
    item = {
        "meter": meter,
        "idempotency_key": key,
        "quantity": None if subject is not None else str(quantity),
        "occurred_at": occurred_at,
        "subject": subject,
        "dimensions": dict(dimensions) if dimensions else None,
    }
    try:
        usage_item = items.parse_item(item, now(), is_program=False)
    except ItemProblem as problem:
        raise Invalid(
            problem.detail, "Nothing was counted.", fields={problem.field_name: problem.detail}
        ) from None
    result = await _write(ctx, {usage_item.id: usage_item}, held)
    if facts := result.refused.get(usage_item.id):
        raise quotas.build_refusal(ctx, facts, action=USAGE_WRITE.name)
    return bool(result.new_ids)


async def ingest(ctx: Ctx, batch: Sequence[Any]) -> list[ItemResult]:
    """Count what programs of the tenant send. `batch`: any JSON values. A result for each, in their order.

    Raises Refused, Invalid for an empty batch or more than `MAX_BATCH_SIZE` items.
    """
    policy.require(ctx, USAGE_WRITE)
    if not 1 <= len(batch) <= MAX_BATCH_SIZE:
        raise Invalid(f"A batch has 1 to {MAX_BATCH_SIZE:,} items.", "Split it and send the parts.")
    at, results = now(), dict[int, ItemResult]()
    item_by_id, indexes_by_id = dict[str, UsageItem](), dict[str, list[int]]()
    for index, value in enumerate(batch):
        try:
            item = items.parse_item(value, at)
        except ItemProblem as problem:
            results[index] = ItemResult(
                index=index,
                status=ItemStatus.REJECTED,
                reason=problem.reason,
                field=problem.field_name,
                detail=problem.detail,
            )
            continue
        item_by_id.setdefault(item.id, item)
        indexes_by_id.setdefault(item.id, []).append(index)
    written = await _write(ctx, item_by_id)
    for item_id, indexes in indexes_by_id.items():
        for index in indexes:
            is_new = item_id in written.new_ids and index == indexes[0]
            status = ItemStatus.ACCEPTED if is_new else ItemStatus.REPEATED
            facts = written.refused.get(item_id)
            results[index] = (
                _build_refused(ctx, index, facts) if facts else ItemResult(index=index, status=status)
            )
    return [results[index] for index in range(len(batch))]


async def list_warnings(ctx: Ctx, batch: Sequence[Any]) -> list[str]:
    """Sentences about soft limits that are exceeded, of the meters of a batch. Raises Refused."""
    policy.require(ctx, USAGE_WRITE, counted=False)
    named = {item.get("meter") for item in batch if isinstance(item, dict)}
    limited = [meter for meter in quotas.list_limited_meters() if meter in named]
    month_quotas = await quotas.list_quotas(ctx, limited) if limited else []
    return [warning for quota in month_quotas if (warning := quotas.build_warning(ctx, quota))]


def _build_refused(ctx: Ctx, index: int, facts: QuotaFacts) -> ItemResult:
    return ItemResult(
        index=index,
        status=ItemStatus.REJECTED,
        reason=ItemReason.LIMIT_REACHED,
        field="quantity",
        detail=f"{quotas.describe_limit(facts)} {quotas.describe_step(ctx, facts)}",
        limit=facts,
    )


async def _write(
    ctx: Ctx, item_by_id: Mapping[str, UsageItem], held: Mapping[str, str] | None = None
) -> WriteResult:
    """All usage passes here. What a hard limit leaves no room for is refused, in the order of the items."""
    if not item_by_id:
        return WriteResult(new_ids=set(), refused={})
    admission, new_ids = await quotas.admit(ctx, item_by_id, held), set[str]()
    try:
        if admission.items:
            new_ids = await event_repository.add_events(ctx, admission.items.values(), admission.shares)
    finally:
        admission.close()
    return WriteResult(new_ids=new_ids, refused=admission.refused)
