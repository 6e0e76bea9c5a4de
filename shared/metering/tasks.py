"""Jobs of metering. Each may run twice."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from shared.core.context import Ctx
from shared.core.errors import Invalid
from shared.jobs import mail, worker
from shared.jobs.worker import ExternalJob
from shared.metering import limit_warnings, months, rollups
from shared.tenancy import entry


@worker.bulk_job
async def recompute_month(ctx: Ctx, *, meter: str, month: str) -> None:
    """`month`: its first moment. Raises Invalid."""
    try:
        moment = datetime.fromisoformat(month)
    except ValueError:
        raise Invalid("This isn’t a month.", "Choose one.") from None
    await rollups.recompute_month(ctx, meter, months.get_month(moment))


@worker.mail_job
async def send_limit_warning(job: ExternalJob, *, notification_id: str) -> None:
    async with entry.enter_job(job.tenant_id, limit_warnings.MAIL_TASK, job.request_id) as ctx:
        email = await limit_warnings.build_mail(ctx, notification_id)
    if email is not None:
        await mail.send(email)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    "metering.recompute_month": recompute_month,
    limit_warnings.MAIL_TASK: send_limit_warning,
}
