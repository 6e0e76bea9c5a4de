"""Prepaid credits pay for usage on its way to the provider, in the transaction that prepares the report."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing import usage_repository
from shared.billing.models import BillingUsage
from shared.billing.prepaid import balance, top_ups
from shared.billing.prepaid import prepaid_repository as repository
from shared.billing.pricing import prices_repository
from shared.billing.usage_periods import MeterTerm
from shared.core import live_events


async def draw_rows(session: AsyncSession, rows: Sequence[tuple[BillingUsage, MeterTerm]]) -> None:
    """Pays for usage of one tenant that wasn't sent yet, in this order, and sets `drawn`. `rows`: with what charges for each.

    Locks the grants first: of two workers, the second one sees what the first one has left.
    """
    if not rows:
        return
    tenant_id = rows[0][0].tenant_id
    grants = await repository.lock_usable_grants(session, tenant_id)
    if not grants:
        await top_ups.request_if_due(session, tenant_id)
        return
    await session.flush()
    prices_by_id = await prices_repository.get_prices_by_id(session, {term.price_id for _, term in rows})
    positions = dict[tuple[str, datetime], int]()
    new_ids = {row.id for row, _ in rows}
    for row, term in rows:
        price, period = prices_by_id.get(term.price_id), term.get_period(row.counted_at or row.at)
        if price is None or period is None:
            continue
        key = (row.meter, period[0])
        if key not in positions:
            positions[key] = await usage_repository.sum_billed(
                session, tenant_id, row.meter, *period, without=new_ids
            )
        split = await balance.draw(session, row, price, position=positions[key], grants=grants)
        positions[key] += split.billed
        row.drawn = split.drawn
        session.add(row)
    await top_ups.request_if_due(session, tenant_id)
    await live_events.refresh_pages(session, tenant_id, "billing")
