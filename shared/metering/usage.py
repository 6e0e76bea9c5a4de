"""Record usage: each event counts once, by tenant, meter and idempotency key.

An event is part of its caller's transaction and is acknowledged when that has committed. A key stays used for
`meters.KEY_RETENTION`, whatever time a retry names. The first event with a key wins.
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
from shared.metering import event_repository, items
from shared.metering.actions import USAGE_WRITE
from shared.metering.items import ItemProblem, ItemReason, UsageItem

MAX_BATCH_SIZE = 1_000  # items


class ItemStatus(StrEnum):
    ACCEPTED = "accepted"
    REPEATED = "repeated"  # its key was used before; nothing was counted again
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemResult:
    """Of one item. `reason`, `field` and `detail` are of rejected ones."""

    index: int
    status: ItemStatus
    reason: ItemReason | None = None
    field: str = ""
    detail: str = ""


async def record(
    ctx: Ctx,
    meter: str,
    key: str,
    *,
    quantity: Decimal | int = 1,
    occurred_at: datetime | None = None,
    subject: str | None = None,
    dimensions: Mapping[str, str] | None = None,
) -> bool:
    """Count something that this platform did. False where the key was used before. Raises Invalid.

    For services that have asked for the right to what they count: this asks for none.
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
    return bool(await _write(ctx, {usage_item.id: usage_item}))


async def ingest(ctx: Ctx, batch: Sequence[Any]) -> list[ItemResult]:
    """Count what programs of the tenant send. `batch`: any JSON values. A result for each, in their order.

    Raises Refused, Invalid for an empty batch or more than `MAX_BATCH_SIZE` items.
    """
    policy.require(ctx, USAGE_WRITE)
    if not 1 <= len(batch) <= MAX_BATCH_SIZE:
        raise Invalid(f"A batch has 1 to {MAX_BATCH_SIZE:,} items.", "Split it and send the parts.")
    at, results = now(), dict[int, ItemResult]()
    item_by_id, index_by_id = dict[str, UsageItem](), dict[str, int]()
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
        if index_by_id.setdefault(item.id, index) != index:
            results[index] = ItemResult(index=index, status=ItemStatus.REPEATED)
    new_ids = await _write(ctx, item_by_id)
    for item_id, index in index_by_id.items():
        status = ItemStatus.ACCEPTED if item_id in new_ids else ItemStatus.REPEATED
        results[index] = ItemResult(index=index, status=status)
    return [results[index] for index in range(len(batch))]


async def _write(ctx: Ctx, item_by_id: Mapping[str, UsageItem]) -> set[str]:
    """The ids of those that were new. All usage passes here."""
    if not item_by_id:
        return set()
    # A quota is asked for here, before anything is written: with the tenant, and the quantity of each meter.
    return await event_repository.add_events(ctx, item_by_id.values())
