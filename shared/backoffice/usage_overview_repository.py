"""SQL of usage across tenants, in a transaction that reads all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.meters import Aggregation

TOP_TENANTS = """
    with used as (
        select tenant_id,
            coalesce({quantity} filter (where starts_at >= :since), 0) as quantity,
            coalesce({quantity} filter (where starts_at < :since), 0) as previous_quantity,
            coalesce({quantity} filter (where starts_at >= :month), 0) as month_quantity
        from usage_window where meter = :meter and size = 'hour' and starts_at >= least(:before, :month)
            and starts_at < :until
        group by tenant_id
    )
    select tenant.id as tenant_id, tenant.name, tenant.state, tenant.rights_version, used.quantity,
        used.previous_quantity, used.month_quantity
    from used join tenant on tenant.id = used.tenant_id
    where tenant.state <> 'deleted' and used.quantity > 0
    order by used.quantity desc, tenant.id limit :most
"""
QUANTITIES = {Aggregation.SUM: "sum(quantity)", Aggregation.MAX: "max(quantity)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TopTenant:
    """Of one meter. `previous_quantity`: of the same time before; `month_quantity`: of the running month."""

    tenant_id: str
    name: str
    state: str
    rights_version: int
    quantity: Decimal
    previous_quantity: Decimal
    month_quantity: Decimal


async def list_top_tenants(
    session: AsyncSession,
    meter: str,
    aggregation: Aggregation,
    *,
    before: datetime,
    since: datetime,
    until: datetime,
    month: datetime,
    limit: int,
) -> Sequence[TopTenant]:
    """Those that used most since then. `before`: where the time before begins."""
    statement = text(TOP_TENANTS.format(quantity=QUANTITIES[aggregation]))
    values = {
        "meter": meter,
        "before": before,
        "since": since,
        "until": until,
        "month": month,
        "most": limit,
    }
    rows = await (await session.connection()).execute(statement, values)
    return [TopTenant(**row) for row in rows.mappings()]
