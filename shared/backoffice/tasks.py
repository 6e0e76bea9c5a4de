"""Jobs that operators start. Each may run twice.

They run in every state of the tenant, so that a suspended tenant gets its refund.
"""

from collections.abc import Awaitable, Callable

from shared.backoffice import adjustments, duplicate_subscriptions, tenant_billing
from shared.jobs import worker
from shared.jobs.worker import ExternalJob


@worker.external_job
async def execute_adjustment(ctx: ExternalJob, *, adjustment_id: str) -> None:
    await adjustments.execute_adjustment(ctx.tenant_id, adjustment_id, ctx.request_id)


@worker.external_job
async def execute_reconcile(ctx: ExternalJob, *, customer_id: str, run_id: str) -> None:
    await tenant_billing.execute_reconcile(ctx.tenant_id, customer_id, run_id)


@worker.external_job
async def execute_end(ctx: ExternalJob, *, subscription_id: str, refund_ids: str = "") -> None:
    """`refund_ids`: separated by spaces."""
    await duplicate_subscriptions.execute_end(
        ctx.tenant_id, subscription_id, ctx.request_id, refund_ids=refund_ids.split()
    )


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    adjustments.TASK: execute_adjustment,
    duplicate_subscriptions.TASK: execute_end,
    tenant_billing.RECONCILE_TASK: execute_reconcile,
}
