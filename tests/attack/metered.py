"""Usage of the two tenants: the same keys and one hour that both have, another hour of each, and work that waits."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlmodel import col

from shared.billing.models import SpendLimit
from shared.core.context import Ctx
from shared.core.db import now
from shared.metering import checks, correction_batches, counter_repository, rollups, usage
from shared.metering.allowances import build_month_key
from shared.metering.models import (
    CorrectionState,
    UsageCorrection,
    UsageCounter,
    UsageDraw,
    UsageReservation,
    UsageWindow,
    WindowSize,
)

METER, KEY = "api_calls", "example-1"
HOUR = timedelta(hours=1)
OPEN_CORRECTION, CLOSED_CORRECTION, LATER_CORRECTION = "ucr_a_open", "ucr_b_closed", "ucr_c_later"


async def use(ctx: Ctx, number: int) -> None:
    """`number`: of the tenant, from 1. Its quantities and its own hour depend on it."""
    this_hour = now().replace(minute=0, second=0, microsecond=0)
    common_hour, own_hour = this_hour - 12 * HOUR, this_hour - (2 + number) * HOUR
    await usage.record(ctx, METER, KEY, quantity=20 * number, occurred_at=common_hour)
    await usage.record(ctx, METER, f"own-{number}", quantity=number, occurred_at=own_hour)
    await usage.record(ctx, "active_users", KEY, subject=f"user-{number}", occurred_at=own_hour)
    await rollups.roll_up(ctx)
    await usage.record(ctx, METER, "late", quantity=number, occurred_at=own_hour)
    await rollups.roll_up(ctx)
    await correct(ctx, number, common_hour)
    is_common = sa.and_(
        col(UsageWindow.tenant_id) == ctx.tenant_id, col(UsageWindow.starts_at) == common_hour
    )
    await ctx.session.exec(sa.update(UsageWindow).where(is_common).values(checksum=number))
    # To be closed, to be settled, and a month to be recomputed.
    for days_ago, size, closed_at in (
        (3, WindowSize.HOUR, None),
        (4, WindowSize.HOUR, this_hour),
        (70, WindowSize.MONTH, None),
    ):
        starts_at = this_hour - timedelta(days=days_ago)
        row = UsageWindow(
            tenant_id=ctx.tenant_id,
            id=f"{METER}:{size}:{days_ago}",
            meter=METER,
            size=size,
            starts_at=starts_at,
            ends_at=starts_at + (HOUR if size is WindowSize.HOUR else timedelta(days=30)),
            quantity=Decimal(number),
            event_count=1,
            checksum=1,
            closed_at=closed_at,
        )
        ctx.session.add(row)
    await counter_repository.create_counter(ctx, build_month_key(METER, now()))
    await _reserve(ctx, number)
    ctx.session.add(SpendLimit(tenant_id=ctx.tenant_id, amount=1_000 * number, currency="usd", is_cap=False))
    await usage.record(ctx, METER, "waiting", quantity=number, occurred_at=own_hour - HOUR)
    if number == 2:
        await usage.record(ctx, METER, "waiting too", quantity=number, occurred_at=common_hour)
    await checks.run_check(ctx)
    await ctx.session.flush()


async def correct(ctx: Ctx, number: int, common_hour: datetime) -> None:
    """One of its own, and three whose ids both tenants have: open, closed, and one that voids what the closed one added."""
    own_correction = f"ucr_0_own_{number}"
    for correction_id in (own_correction, OPEN_CORRECTION, CLOSED_CORRECTION, LATER_CORRECTION):
        correction = UsageCorrection(
            tenant_id=ctx.tenant_id,
            id=correction_id,
            note=f"Sent twice by {number}",
            opened_by=ctx.actor_id,
            opened_by_name=ctx.actor.name,
        )
        ctx.session.add(correction)
    await ctx.session.flush()
    adding: dict[str, Any] = {
        "kind": "add",
        "meter": METER,
        "quantity": number,
        "occurred_at": common_hour.isoformat(),
    }
    items_by_correction: dict[str, list[dict[str, Any]]] = {
        own_correction: [adding | {"idempotency_key": "own correction"}],
        CLOSED_CORRECTION: [
            {"kind": "void", "meter": METER, "idempotency_key": KEY},
            adding | {"idempotency_key": "added"},
            adding | {"idempotency_key": "added too"},
        ],
        **(
            {LATER_CORRECTION: [{"kind": "void", "meter": METER, "idempotency_key": "added"}]}
            if number == 2
            else {}
        ),
        OPEN_CORRECTION: [
            {"kind": "void", "meter": METER, "idempotency_key": "added too"},
            *([{"kind": "void", "meter": METER, "idempotency_key": "late"}] if number == 2 else []),
            adding | {"idempotency_key": f"own-{3 - number}"},
        ],
    }
    for correction_id, values in items_by_correction.items():
        await correction_batches.add_items(ctx, correction_id, values, is_program=False)
        if correction_id not in (own_correction, OPEN_CORRECTION):
            await correction_batches.begin(ctx, correction_id, CorrectionState.CLOSING)
            await correction_batches.close(ctx, correction_id, is_program=False)


async def _reserve(ctx: Ctx, number: int) -> None:
    """One reservation that both tenants have, with a draw, and one of each."""
    key = build_month_key(METER, now())
    for reservation_id in (f"urs_{number}", "urs_common"):
        reservation = UsageReservation(
            tenant_id=ctx.tenant_id,
            id=reservation_id,
            counter_id=key.id,
            quantity=Decimal(10 * number),
            expires_at=now() + HOUR,
        )
        ctx.session.add(reservation)
    draw = UsageDraw(
        tenant_id=ctx.tenant_id,
        id="draw_common",
        counter_id=key.id,
        meter=METER,
        starts_at=key.starts_at,
        ends_at=key.ends_at,
        reservation_id="urs_common",
        quantity=Decimal(number),
    )
    ctx.session.add(draw)
    is_own = sa.and_(col(UsageCounter.tenant_id) == ctx.tenant_id, col(UsageCounter.id) == key.id)
    await ctx.session.exec(sa.update(UsageCounter).where(is_own).values(reserved=20 * number))
