"""The timeline of a tenant: every stage, in order, with its evidence, and of one tenant only."""

from datetime import timedelta
from decimal import Decimal

import pytest

from shared.audit.models import AuditEvent
from shared.backoffice import tenant_timeline
from shared.backoffice.reasons import state_reason
from shared.backoffice.tenant_timeline import Stage, TimelineEntry
from shared.backoffice.tenant_timeline_rows import DailyEmission
from shared.billing.models import PLATFORM, BillingCustomer, BillingInvoice
from shared.core.db import now
from shared.core.errors import Invalid
from shared.core.ids import new_id
from shared.metering.models import UsageEmission, UsageWindow, WindowSize
from tests.conftest import Cast, Person

WHY = "Ticket 4480, an invoice is disputed"


async def add_usage_and_bill(person: Person) -> str:
    """A month of usage, two reports of it on one day, and an invoice, whose number is returned."""
    at, customer_id, number = now(), new_id("cus"), f"INV-{new_id('x')[-8:]}"
    async with person.ctx() as ctx:
        month = UsageWindow(
            tenant_id=ctx.tenant_id,
            id="api_calls:month:2026-07",
            **{"meter": "api_calls", "size": WindowSize.MONTH, "quantity": Decimal(250), "event_count": 250},
            **{"starts_at": at - timedelta(days=60), "ends_at": at - timedelta(days=30), "checksum": 1},
        )
        emissions = [
            UsageEmission(
                tenant_id=ctx.tenant_id,
                id=f"{month.id}:{seq}",
                **{"window_id": month.id, "meter": "api_calls", "starts_at": month.starts_at, "seq": seq},
                **{"quantity": Decimal(100), "carried_in": Decimal(0), "units": 2, "carried_out": Decimal(0)},
                created_at=at.replace(hour=1, minute=seq),
            )
            for seq in (1, 2)
        ]
        ctx.session.add_all([month, BillingCustomer(tenant_id=ctx.tenant_id, id=customer_id)])
        await ctx.session.flush()
        ctx.session.add_all(emissions)
        ctx.session.add(
            BillingInvoice(
                **{"tenant_id": ctx.tenant_id, "id": new_id("in"), "number": number, "account_id": PLATFORM},
                **{"customer_id": customer_id, "status": "paid", "currency": "usd", "created_at": at},
                **{"total": 1, "due": 1, "paid": 1, "ticket": 1},
            )
        )
    return number


async def list_entries(
    cast: Cast, tenant_id: str, stage: str = "", *, limit: int = 100
) -> list[TimelineEntry]:
    """Of all pages."""
    entries: list[TimelineEntry] = []
    after = ""
    async with cast.sam.octx() as octx:
        reason = state_reason(octx, WHY, tenant_id=tenant_id)
        while True:
            page = await tenant_timeline.list_timeline(
                octx, tenant_id, reason, stage=stage, after=after, limit=limit
            )
            entries += page.rows
            if not (after := page.next_cursor):
                return entries


async def test_timeline_has_every_stage_in_order(cast: Cast) -> None:
    number = await add_usage_and_bill(cast.ann)
    entries = await list_entries(cast, cast.acme)
    assert {entry.stage for entry in entries} >= {
        *(Stage.SIGN_UP, Stage.PROVISIONING, Stage.USE, Stage.USAGE, Stage.BILLING, Stage.SUPPORT),
    }
    times = [(entry.at, entry.id) for entry in entries]
    assert times == sorted(times, reverse=True)
    evidence = [entry.evidence for entry in entries]
    assert [row.number for row in evidence if isinstance(row, BillingInvoice)] == [number]
    assert [(row.units, row.report_count) for row in evidence if isinstance(row, DailyEmission)] == [(4, 2)]
    assert [row.quantity for row in evidence if isinstance(row, UsageWindow)] == [Decimal(250)]


async def test_timeline_is_the_same_in_small_pages(cast: Cast) -> None:
    await add_usage_and_bill(cast.ann)
    whole = await list_entries(cast, cast.acme)
    paged = await list_entries(cast, cast.acme, limit=2)
    assert [entry.id for entry in paged] == [entry.id for entry in whole]


@pytest.mark.parametrize("stage", Stage)
async def test_timeline_of_a_stage_has_its_entries(cast: Cast, stage: Stage) -> None:
    await add_usage_and_bill(cast.ann)
    whole = await list_entries(cast, cast.acme)
    filtered = await list_entries(cast, cast.acme, stage)
    assert [entry.id for entry in filtered] == [entry.id for entry in whole if entry.stage is stage]


async def test_timeline_has_nothing_of_others(cast: Cast) -> None:
    await add_usage_and_bill(cast.ann)
    entries = await list_entries(cast, cast.globex)
    assert {getattr(entry.evidence, "tenant_id", cast.globex) for entry in entries} == {cast.globex}
    assert {type(entry.evidence) for entry in entries} == {AuditEvent}


async def test_timeline_needs_a_reason_for_this_tenant_and_a_known_stage(cast: Cast) -> None:
    async with cast.sam.octx() as octx:
        reason = state_reason(octx, WHY, tenant_id=cast.globex)
        with pytest.raises(Invalid):
            await tenant_timeline.list_timeline(octx, cast.acme, reason)
        with pytest.raises(Invalid):
            await tenant_timeline.list_timeline(octx, cast.globex, reason, stage="other")
