"""Jobs of outbound webhooks. Each may run twice and skips what has changed meanwhile."""

from collections.abc import Awaitable, Callable

from shared.jobs import mail, worker
from shared.jobs.worker import ExternalJob
from shared.outbound_webhooks import pause_notices
from shared.tenancy import entry


@worker.mail_job
async def send_pause_notice(job: ExternalJob, *, notification_id: str, endpoint_id: str) -> None:
    async with entry.enter_job(job.tenant_id, pause_notices.MAIL_TASK, job.request_id) as ctx:
        email = await pause_notices.build_mail(ctx, notification_id, endpoint_id)
    if email is not None:
        await mail.send(email)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {pause_notices.MAIL_TASK: send_pause_notice}
