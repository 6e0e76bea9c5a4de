"""Jobs that operators start. Each may run twice.

They run in every state of the tenant, so that a suspended tenant gets its refund.
"""

from collections.abc import Awaitable, Callable

from shared.backoffice import adjustments, tenant_billing
from shared.jobs import worker
from shared.jobs.worker import ExternalJob


@worker.external_job
async def execute_adjustment(ctx: ExternalJob, *, adjustment_id: str) -> None:
    await adjustments.execute_adjustment(ctx.tenant_id, adjustment_id, ctx.request_id)


@worker.external_job
async def execute_reconcile(ctx: ExternalJob, *, customer_id: str, run_id: str) -> None:
    await tenant_billing.execute_reconcile(ctx.tenant_id, customer_id, run_id)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    adjustments.TASK: execute_adjustment,
    tenant_billing.RECONCILE_TASK: execute_reconcile,
}
