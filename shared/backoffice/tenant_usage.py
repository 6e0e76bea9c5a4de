"""Usage of one tenant for operators: the numbers that the tenant sees, what of them was billed, and what was corrected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.access.meters import list_sold
from shared.backoffice.reasons import Reason, use_reason
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.metering import checks, correction_batches, reconciliation, usage_reports
from shared.metering.correction_batches import CorrectionView
from shared.metering.models import UsageChange, UsageCheck
from shared.metering.reconciliation import SinkComparison, WindowComparison
from shared.metering.usage_reports import UsageQuery, UsageReport
from shared.tenancy import entry

SHOWN_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantUsage:
    report: UsageReport
    comparisons: Sequence[SinkComparison]  # of the month
    windows: Mapping[str, Sequence[WindowComparison]]  # of the month, by sold meter, the latest first
    corrections: Sequence[CorrectionView]  # the newest first
    changes: Sequence[UsageChange]  # of closed windows, the newest first
    check: UsageCheck | None  # None before the first one


async def get_tenant_usage(
    octx: OperatorCtx, tenant_id: str, reason: Reason, *, query: UsageQuery, month: datetime | None = None
) -> TenantUsage:
    """`month`: a moment of the month that is compared, now without it. Raises Refused, Invalid without a reason or for a time that is too
    long, NotFound.
    """
    policy.require_operator(octx, actions.OP_TENANT_READ)
    month = month or now()
    async with entry.enter_as_operator(octx, tenant_id, use_reason(octx, reason, tenant_id)) as ctx:
        return TenantUsage(
            report=await usage_reports.get_report(ctx, query),
            comparisons=await reconciliation.compare_month(ctx, month),
            windows={
                meter.key: await reconciliation.list_window_comparisons(
                    ctx, meter.key, month, limit=SHOWN_ROWS
                )
                for meter in list_sold()
            },
            corrections=await correction_batches.list_views(ctx, after="", limit=SHOWN_ROWS),
            changes=(await usage_reports.list_changes(ctx, limit=SHOWN_ROWS)).rows,
            check=await checks.find_latest(ctx),
        )
