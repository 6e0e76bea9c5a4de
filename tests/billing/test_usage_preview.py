"""The preview of a correction says what it changes on invoices, and closing it does just that."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from admin_app.pages.tenant_usage.rows import describe_invoice
from shared.billing import usage_preview, usage_repository
from shared.billing.models import BillingUsage, PrepaidGrant
from shared.billing.usage_preview import InvoiceEffect, InvoiceOutcome
from shared.core.db import now
from shared.core.ids import new_id
from shared.metering import correction_batches, rollups, usage
from shared.metering.correction_effects import BilledEffect, BilledPart
from shared.metering.models import CorrectionState
from shared.tenancy import entry
from tests.conftest import Cast
from tests.support.billing import metered_subscription
from tests.support.limits import set_limit

METER = "usage_events"
INCLUDED, CENTS = 5_000, 5  # units of 1,000 events in each period; then a unit's price
HOUR = timedelta(hours=1)


@pytest.fixture
async def starts_at(cast: Cast) -> datetime:
    """Of the running period, two days ago. The subscription is a month older."""
    start = now() - timedelta(days=2)
    await metered_subscription.subscribe(cast.acme, start, sold_from=start - timedelta(days=30))
    await set_limit(cast, METER, None)
    return start


async def bill(cast: Cast, units: int, at: datetime) -> None:
    """Units that were reported to the provider."""
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        row = BillingUsage(
            tenant_id=cast.acme, meter=METER, at=at, quantity=units, identifier=new_id("x"), tried_at=now()
        )
        ctx.session.add(row)


async def preview(
    cast: Cast, *parts: tuple[datetime, int], carried_in: int = 0, carried: int = 0
) -> Sequence[InvoiceEffect]:
    billed = BilledEffect(
        meter=METER,
        quantity=Decimal(0),
        units=sum(units for _, units in parts),
        carried_in=Decimal(carried_in),
        carried=Decimal(carried),
        parts=[BilledPart(starts_at=at, units=units) for at, units in parts],
    )
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        return await usage_preview.list_invoice_effects(ctx, [billed])


async def test_added_usage_costs_what_the_tiers_of_its_period_say(cast: Cast, starts_at: datetime) -> None:
    await bill(cast, 4_000, starts_at + HOUR)
    (effect,) = await preview(cast, (now() - 3 * HOUR, 3_000), (now() - 2 * HOUR, 4_000))
    assert (effect.outcome, effect.units, effect.is_moved) == (InvoiceOutcome.INVOICED, 7_000, False)
    assert (effect.amount_before, effect.amount_after) == (0, (11_000 - INCLUDED) * CENTS)
    assert effect.period == (starts_at, starts_at + metered_subscription.PERIOD)
    assert "$0.00 now, $300.00 then, $300.00 more before discounts" in describe_invoice(effect)


async def test_usage_of_a_final_invoice_is_billed_with_the_running_one(
    cast: Cast, starts_at: datetime
) -> None:
    (effect,) = await preview(cast, (starts_at - 5 * HOUR, 6_000))
    assert effect.period == (starts_at, starts_at + metered_subscription.PERIOD)
    assert effect.is_moved
    assert "is final" in describe_invoice(effect)


async def test_prepaid_credits_pay_for_added_usage_first(cast: Cast, starts_at: datetime) -> None:
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        grant = PrepaidGrant(
            tenant_id=cast.acme, source="operator", amount=2_000, remaining=2_000, currency="usd", priority=1
        )
        ctx.session.add(grant)
    await bill(cast, INCLUDED, starts_at + HOUR)
    (effect,) = await preview(cast, (now() - 3 * HOUR, 1_000))
    assert (effect.drawn, effect.amount_after) == (400, 600 * CENTS)
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        stored = await ctx.session.get(PrepaidGrant, (cast.acme, grant.id))
        assert stored is not None
        assert stored.remaining == 2_000


async def test_usage_that_became_less_makes_the_next_units_free(cast: Cast, starts_at: datetime) -> None:
    await bill(cast, INCLUDED + 1_000, starts_at + HOUR)
    (effect,) = await preview(cast, carried_in=-500_000, carried=-2_500_000)
    assert (effect.outcome, effect.units) == (InvoiceOutcome.CREDITED, -2_000)
    assert effect.amount_before - effect.amount_after == 2_000 * CENTS
    assert "would cost $100.00 and are free" in describe_invoice(effect)


async def test_usage_that_nothing_charged_for_stays_free(cast: Cast) -> None:
    (effect,) = await preview(cast, (now() - 3 * HOUR, 7))
    assert (effect.outcome, effect.period) == (InvoiceOutcome.FREE, None)
    assert describe_invoice(effect).startswith("7,000 events stay free")


async def test_closed_correction_bills_the_units_of_its_preview(cast: Cast, starts_at: datetime) -> None:
    """The first hour gains what the second one loses again, so the order of the hours matters."""
    first = now().replace(minute=0, second=0, microsecond=0) - 6 * HOUR
    async with entry.enter_job(cast.acme, "tests", "") as ctx:
        await usage.record(ctx, METER, "early", quantity=100, occurred_at=first)
        await usage.record(ctx, METER, "too much", quantity=5_500, occurred_at=first + HOUR)
        await rollups.roll_up(ctx)
        correction = await correction_batches.add_correction(ctx, "The clock was wrong")
        items: list[dict[str, Any]] = [
            {"kind": "void", "meter": METER, "idempotency_key": "too much"},
            {
                "kind": "add",
                "meter": METER,
                "idempotency_key": "missing",
                "quantity": 7_000,
                "occurred_at": first.isoformat(),
            },
        ]
        await correction_batches.add_items(ctx, correction.id, items, is_program=False)
        effect = await correction_batches.get_effect(ctx, correction.id)
        invoice, credit = await usage_preview.list_invoice_effects(ctx, effect.billed)
        before, _ = await usage_repository.sum_recorded(ctx, METER, since=first, until=now())
        await correction_batches.begin(ctx, correction.id, CorrectionState.CLOSING)
        await correction_batches.close(ctx, correction.id, is_program=False)
        after, _ = await usage_repository.sum_recorded(ctx, METER, since=first, until=now())
    assert after - before == invoice.units == 7
    assert (credit.outcome, credit.units) == (InvoiceOutcome.CREDITED, -4)


async def test_event_added_to_an_hour_without_any_is_in_the_preview(cast: Cast, starts_at: datetime) -> None:
    hour = now().replace(minute=0, second=0, microsecond=0) - 6 * HOUR
    items = [
        {
            "kind": "add",
            "meter": METER,
            "idempotency_key": "missing",
            "quantity": 7_000,
            "occurred_at": hour.isoformat(),
        }
    ]
    async with entry.enter_job(cast.acme, "tests", "") as ctx:
        correction = await correction_batches.add_correction(ctx, "The clock was wrong")
        await correction_batches.add_items(ctx, correction.id, items, is_program=False)
        effect = await correction_batches.get_effect(ctx, correction.id)
        (invoice,) = await usage_preview.list_invoice_effects(ctx, effect.billed)
        await correction_batches.begin(ctx, correction.id, CorrectionState.CLOSING)
        await correction_batches.close(ctx, correction.id, is_program=False)
        await rollups.roll_up(ctx)
        units, _ = await usage_repository.sum_recorded(ctx, METER, since=hour, until=now())
    assert (
        (invoice.outcome, invoice.units) == (InvoiceOutcome.INVOICED, units) == (InvoiceOutcome.INVOICED, 7)
    )
