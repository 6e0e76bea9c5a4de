"""Usage of one tenant for operators: the numbers that the tenant sees, and what of them was billed."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.access import actions, policy
from shared.backoffice.reasons import Reason, use_reason
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.metering import reconciliation, usage_reports
from shared.metering.reconciliation import SinkComparison
from shared.metering.usage_reports import UsageQuery, UsageReport
from shared.tenancy import entry


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantUsage:
    report: UsageReport
    comparisons: Sequence[SinkComparison]  # of the running month


async def get_tenant_usage(
    octx: OperatorCtx, tenant_id: str, reason: Reason, *, query: UsageQuery
) -> TenantUsage:
    """Raises Refused, Invalid without a reason or for a time that is too long, NotFound."""
    policy.require_operator(octx, actions.OP_TENANT_READ)
    async with entry.enter_as_operator(octx, tenant_id, use_reason(octx, reason, tenant_id)) as ctx:
        return TenantUsage(
            report=await usage_reports.get_report(ctx, query),
            comparisons=await reconciliation.compare_month(ctx, now()),
        )
