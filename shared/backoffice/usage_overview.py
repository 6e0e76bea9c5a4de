"""Usage of all tenants for operators: who uses most of a meter, how that grows, and who is near a monthly limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from shared.access import actions, policy
from shared.access.meters import METERS, Aggregation, Meter
from shared.backoffice import usage_overview_repository as repository
from shared.backoffice.usage_overview_repository import TopTenant
from shared.core import db, replica
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import NotFound
from shared.core.replica import ReadSource
from shared.entitlements import rights_cache
from shared.metering.months import get_month
from shared.tenancy import entry

REASON = "Overview of usage"
PERIOD = timedelta(days=28)
SHOWN_TENANTS = 20
NEAR_LIMIT = Decimal("0.8")


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantUsageLine:
    """`growth`: against the 28 days before, None without usage then. `limit`: of the month, None without one."""

    tenant_id: str
    name: str
    quantity: Decimal  # of 28 days
    growth: Decimal | None
    month_quantity: Decimal
    limit: int | None

    @property
    def is_near_limit(self) -> bool:
        return self.limit is not None and self.month_quantity >= NEAR_LIMIT * self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageOverview:
    meter: Meter
    source: ReadSource
    tenants: Sequence[TenantUsageLine]  # those that use most, the largest first


def list_meters() -> list[Meter]:
    """Whose hours can be put together across a time without reading events."""
    return [meter for meter in METERS.values() if meter.aggregation in (Aggregation.SUM, Aggregation.MAX)]


async def get_usage_overview(octx: OperatorCtx, meter: str) -> UsageOverview:
    """Raises Refused, NotFound for a meter that isn't one of `list_meters`."""
    policy.require_operator(octx, actions.OP_TENANT_LIST)
    chosen = next((declared_meter for declared_meter in list_meters() if declared_meter.key == meter), None)
    if chosen is None:
        raise NotFound("There is no such meter.", "Choose another one.")
    until = now()
    async with entry.read_across_tenants(octx, REASON) as session:
        catalog = await rights_cache.get_catalog(session)
        reading = await replica.read(
            session,
            lambda reading_session: repository.list_top_tenants(
                reading_session,
                meter,
                chosen.aggregation,
                before=until - 2 * PERIOD,
                since=until - PERIOD,
                until=until,
                month=get_month(until),
                limit=SHOWN_TENANTS,
            ),
        )
    lines = [await _build_line(octx, tenant, meter, epoch=catalog.epoch) for tenant in reading.value]
    await db.clear_scope(octx.session)
    return UsageOverview(meter=chosen, source=reading.source, tenants=lines)


async def _build_line(octx: OperatorCtx, tenant: TopTenant, meter: str, *, epoch: int) -> TenantUsageLine:
    await db.set_tenant(octx.session, tenant.tenant_id)
    rights = await rights_cache.get_rights(
        octx.session, tenant.tenant_id, tenant.rights_version, epoch, tenant.state
    )
    limit = rights.limits.get(meter)
    previous = tenant.previous_quantity
    return TenantUsageLine(
        tenant_id=tenant.tenant_id,
        name=tenant.name,
        quantity=tenant.quantity,
        growth=(tenant.quantity - previous) / previous if previous else None,
        month_quantity=tenant.month_quantity,
        limit=limit.amount if limit is not None else None,
    )
