"""Jobs that operators start. Each may run twice.

They run in every state of the tenant, so that a suspended tenant gets its refund.
"""

from collections.abc import Awaitable, Callable

from shared.backoffice import (
    adjustments,
    billing_orders,
    duplicate_subscriptions,
    tenant_billing,
    tenant_exports,
)
from shared.backoffice.alerts import evaluation
from shared.core.config import settings
from shared.jobs import mail, worker
from shared.jobs.mail import Email
from shared.jobs.mail_frames import MailFrame
from shared.jobs.worker import ExternalJob


@worker.external_job
async def execute_adjustment(ctx: ExternalJob, *, adjustment_id: str) -> None:
    await adjustments.execute_adjustment(ctx.tenant_id, adjustment_id, ctx.request_id)


@worker.external_job
async def execute_order(ctx: ExternalJob, *, order_id: str) -> None:
    await billing_orders.execute_order(ctx.tenant_id, order_id, ctx.request_id)


@worker.external_job
async def execute_reconcile(ctx: ExternalJob, *, customer_id: str, run_id: str) -> None:
    await tenant_billing.execute_reconcile(ctx.tenant_id, customer_id, run_id)


@worker.external_job
async def execute_end(ctx: ExternalJob, *, subscription_id: str, refund_ids: str = "") -> None:
    """`refund_ids`: separated by spaces."""
    await duplicate_subscriptions.execute_end(
        ctx.tenant_id, subscription_id, ctx.request_id, refund_ids=refund_ids.split()
    )


@worker.file_job
async def export_tenant(ctx: ExternalJob, *, export_id: str) -> None:
    await tenant_exports.execute(ctx.tenant_id, export_id, ctx.request_id)


@worker.mail_job
async def send_alert(
    _: ExternalJob, *, email: str, name: str, mail_id: str, alerts: str, urgency: str, alert: str
) -> None:
    """The job has name and address, because it can't read operators. `alert`: the only one, "" for several."""
    message = Email(
        to=email,
        template="alert",
        message_id=f"alert-{mail_id}",
        link=f"{settings().admin_url}/health" + (f"/{alert}" if alert else ""),
        values={"name": name, "alerts": alerts, "urgency": urgency},
        frame=MailFrame(kind="alerts"),
    )
    await mail.send(message)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    adjustments.TASK: execute_adjustment,
    billing_orders.TASK: execute_order,
    duplicate_subscriptions.TASK: execute_end,
    evaluation.MAIL_TASK: send_alert,
    tenant_billing.RECONCILE_TASK: execute_reconcile,
    tenant_exports.TASK: export_tenant,
}
