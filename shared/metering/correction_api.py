"""Corrections of usage over REST."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from shared.access.endpoints import After, ApiCtx, ApiInput, ApiOutput, ApiPage, Endpoint, Limit
from shared.metering import correction_batches, corrections, items
from shared.metering.actions import USAGE_CORRECT, USAGE_READ
from shared.metering.api import MAX_BODY_BYTES, UsageAnswer, show_results
from shared.metering.correction_batches import CorrectionView
from shared.metering.models import CorrectionKind, CorrectionState
from shared.metering.quotas import format_quantity
from shared.tenancy.api.parameters import IdText

ITEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {
            "type": "string",
            "enum": [kind.value for kind in CorrectionKind],
            "description": "`void` and `replace` name an event by its key; `add` is an event that is missing",
        },
        "meter": {"type": "string", "maxLength": 100},
        "idempotency_key": {"type": "string", "minLength": 1, "maxLength": items.MAX_KEY_LENGTH},
        "quantity": {"type": ["number", "string"], "description": "Of `add` and `replace`"},
        "occurred_at": {"type": "string", "format": "date-time", "description": "Of `add`"},
        "subject": {"type": "string", "maxLength": items.MAX_SUBJECT_LENGTH},
        "dimensions": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["kind", "meter", "idempotency_key"],
}
ItemInput = Annotated[Any, WithJsonSchema(ITEM_SCHEMA)]  # any JSON: each is answered by itself
EXAMPLE = {"kind": "replace", "meter": "usage_events", "idempotency_key": "order-1001", "quantity": 2}


class CorrectionInput(ApiInput):
    note: str = Field(
        min_length=3,
        max_length=correction_batches.MAX_NOTE_LENGTH,
        description="Why the usage was wrong",
        examples=["Orders of 1 July were sent twice"],
    )


class CorrectionItemsInput(ApiInput):
    items: list[ItemInput] = Field(
        min_length=1, max_length=correction_batches.MAX_ITEMS, examples=[[EXAMPLE]]
    )


class CorrectionOutput(ApiOutput):
    id: str = Field(examples=["ucr_01jz"])
    state: CorrectionState
    note: str = Field(examples=["Orders of 1 July were sent twice"])
    problem: str = Field(description="Why it could not be closed or reverted", examples=[""])
    item_count: int = Field(examples=[1])
    created_at: datetime
    closed_at: datetime | None
    reverted_at: datetime | None


class WindowEffectOutput(ApiOutput):
    meter: str = Field(examples=["usage_events"])
    size: str = Field(description="`hour` or `month`", examples=["hour"])
    starts_at: datetime
    quantity_before: str = Field(examples=["40"])
    quantity_after: str = Field(examples=["39"])
    is_closed: bool


class BilledEffectOutput(ApiOutput):
    meter: str = Field(examples=["usage_events"])
    quantity: str = Field(description="More, or less where it is negative", examples=["-1"])
    units: int = Field(description="Units of sale that are billed at once", examples=[0])
    carried: str = Field(description="Left for what follows; negative where it lowers that", examples=["-1"])


class EffectOutput(ApiOutput):
    windows: list[WindowEffectOutput]
    billed: list[BilledEffectOutput]


async def open_usage_correction(ctx: ApiCtx, correction: CorrectionInput) -> CorrectionOutput:
    return _show(await corrections.open_correction(ctx, correction.note))


async def list_usage_corrections(
    ctx: ApiCtx, after: After = "", limit: Limit = 50
) -> ApiPage[CorrectionOutput]:
    page = await corrections.list_corrections(ctx, after=after, limit=limit)
    return ApiPage(items=[_show(view) for view in page.rows], next=page.next_cursor or None)


async def get_usage_correction(ctx: ApiCtx, correction_id: IdText) -> CorrectionOutput:
    return _show(await corrections.get_correction(ctx, correction_id))


async def add_usage_correction_items(
    ctx: ApiCtx, correction_id: IdText, batch: CorrectionItemsInput
) -> UsageAnswer:
    return show_results(await corrections.add_items(ctx, correction_id, batch.items))


async def preview_usage_correction(ctx: ApiCtx, correction_id: IdText) -> EffectOutput:
    effect = await corrections.get_effect(ctx, correction_id)
    return EffectOutput(
        windows=[
            WindowEffectOutput(
                meter=window.meter,
                size=window.size,
                starts_at=window.starts_at,
                quantity_before=format_quantity(window.quantity_before),
                quantity_after=format_quantity(window.quantity_after),
                is_closed=window.is_closed,
            )
            for window in effect.windows
        ],
        billed=[
            BilledEffectOutput(
                meter=billed.meter,
                quantity=format_quantity(billed.quantity),
                units=billed.units,
                carried=format_quantity(billed.carried),
            )
            for billed in effect.billed
        ],
    )


async def close_usage_correction(ctx: ApiCtx, correction_id: IdText) -> CorrectionOutput:
    return _show(await corrections.close(ctx, correction_id))


async def revert_usage_correction(ctx: ApiCtx, correction_id: IdText) -> CorrectionOutput:
    return _show(await corrections.revert(ctx, correction_id))


def _show(view: CorrectionView) -> CorrectionOutput:
    correction = view.correction
    return CorrectionOutput(
        id=correction.id,
        state=correction.state,
        note=correction.note,
        problem=correction.problem,
        item_count=view.item_count,
        created_at=correction.created_at,
        closed_at=correction.closed_at,
        reverted_at=correction.reverted_at,
    )


ENDPOINTS = [
    Endpoint(
        method="POST",
        path="/usage/corrections",
        handler=open_usage_correction,
        action=USAGE_CORRECT,
        summary="Open a correction of usage; it counts nothing until it is closed",
        status=201,
    ),
    Endpoint(
        method="GET",
        path="/usage/corrections",
        handler=list_usage_corrections,
        action=USAGE_READ,
        summary="List corrections of usage, newest first",
    ),
    Endpoint(
        method="GET",
        path="/usage/corrections/{correction_id}",
        handler=get_usage_correction,
        action=USAGE_READ,
        summary="Read a correction of usage",
        errors=(404,),
    ),
    Endpoint(
        method="POST",
        path="/usage/corrections/{correction_id}/items",
        handler=add_usage_correction_items,
        action=USAGE_CORRECT,
        summary="Add events, replacements and voids; each item has a result of its own",
        max_body_bytes=MAX_BODY_BYTES,
        accepts_any_number=True,
        errors=(404, 409),
    ),
    Endpoint(
        method="GET",
        path="/usage/corrections/{correction_id}/effect",
        handler=preview_usage_correction,
        action=USAGE_READ,
        summary="Preview what closing it would change, and what would be billed",
        errors=(404,),
    ),
    Endpoint(
        method="POST",
        path="/usage/corrections/{correction_id}/close",
        handler=close_usage_correction,
        action=USAGE_CORRECT,
        summary="Close a correction: from then on it counts",
        errors=(404, 409),
    ),
    Endpoint(
        method="POST",
        path="/usage/corrections/{correction_id}/revert",
        handler=revert_usage_correction,
        action=USAGE_CORRECT,
        summary="Give up an open correction, or revert a closed one",
        errors=(404, 409),
    ),
]
