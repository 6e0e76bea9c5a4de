"""Jobs of the tenancy module. Each may run twice and skips rows that have changed meanwhile."""

from collections.abc import Awaitable, Callable

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import log, transaction_retries
from shared.core.context import Ctx
from shared.identity.account_events import RECORD_FAILURE_TASK, RECORD_TASK
from shared.jobs import mail, worker
from shared.jobs.mail import MailRejected
from shared.jobs.worker import ExternalJob
from shared.tenancy import (
    account_events,
    audit_reader,
    digests,
    entry,
    impersonations,
    invitations,
    members,
    notifications,
    provisioning,
    signups,
)


async def provision(ctx: Ctx) -> None:
    try:
        async with ctx.session.begin_nested():
            await provisioning.run_next_step(ctx)
    except Exception as problem:
        if transaction_retries.is_conflict(problem):  # nothing is wrong with the step
            raise
        # The error rolls this transaction back, so the failure is recorded in another one.
        async with entry.enter_job(ctx.tenant_id, provisioning.TASK_NAME, ctx.request_id) as failure_ctx:
            await provisioning.record_failure(failure_ctx, problem)
        log.bind_logger(ctx, __name__).error("provisioning_failed", problem=type(problem).__name__)
        raise


@worker.mail_job
async def send_invitation(job: ExternalJob, *, invitation_id: str) -> None:
    """Does nothing unless the invitation is pending and this link has not been sent yet."""
    async with entry.enter_job(job.tenant_id, invitations.MAIL_TASK, job.request_id) as ctx:
        delivery = await invitations.build_mail(ctx, invitation_id)
    if delivery is None:
        return
    nonce, email = delivery
    problem = ""
    try:
        if await mail.send(email):
            problem = "This address doesn’t accept our email. Ask for another one."
    except (
        MailRejected
    ) as rejection:  # shown to the inviter, who can correct the address; sending again can't help
        problem = str(rejection)
    async with entry.enter_job(job.tenant_id, invitations.MAIL_TASK, job.request_id) as ctx:
        await invitations.record_delivery(ctx, invitation_id, nonce, problem)


@worker.mail_job
async def send_access_ended(job: ExternalJob, *, membership_id: str) -> None:
    async with entry.enter_job(job.tenant_id, members.ACCESS_ENDED_TASK, job.request_id) as ctx:
        email = await members.build_access_ended_mail(ctx, membership_id)
    if email is not None:
        await mail.send(email)


@worker.mail_job
async def send_welcome(job: ExternalJob, *, user_id: str) -> None:
    async with entry.enter_job(job.tenant_id, provisioning.WELCOME_MAIL_TASK, job.request_id) as ctx:
        email = await provisioning.build_welcome_mail(ctx, user_id)
    if email is not None:
        await mail.send(email)


@worker.mail_job
async def send_notice(job: ExternalJob, *, notification_id: str) -> None:
    async with entry.enter_job(job.tenant_id, notifications.MAIL_TASK, job.request_id) as ctx:
        email = await notifications.build_mail(ctx, notification_id)
    if email is not None:
        await mail.send(email)


@worker.mail_job
async def send_support_notice(job: ExternalJob, *, notification_id: str, impersonation_id: str) -> None:
    async with entry.enter_job(job.tenant_id, impersonations.MAIL_TASK, job.request_id) as ctx:
        email = await impersonations.build_mail(ctx, notification_id, impersonation_id)
    if email is not None:
        await mail.send(email)


@worker.mail_job
async def send_digest(job: ExternalJob, *, digest_id: str) -> None:
    async with entry.enter_job(job.tenant_id, digests.TASK, job.request_id) as ctx:
        email = await digests.build_mail(ctx, digest_id)
    if email is None:
        return
    await mail.send(email)
    async with entry.enter_job(job.tenant_id, digests.TASK, job.request_id) as ctx:
        await digests.record_sent(ctx, digest_id)


async def close_impersonation(ctx: Ctx, *, impersonation_id: str) -> None:
    await impersonations.close(ctx, impersonation_id)


@worker.bulk_job
async def verify_audit_log(ctx: Ctx, *, checked: str) -> None:
    await audit_reader.continue_verification(ctx, checked)


async def complete_sign_up(session: AsyncSession, *, sign_up_id: str) -> None:
    await signups.complete_sign_up(session, sign_up_id)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    provisioning.TASK_NAME: provision,
    members.ACCESS_ENDED_TASK: send_access_ended,
    account_events.RECORD_TASK: account_events.record,
    audit_reader.VERIFY_TASK: verify_audit_log,
    digests.TASK: send_digest,
    impersonations.CLOSE_TASK: close_impersonation,
    impersonations.MAIL_TASK: send_support_notice,
    invitations.MAIL_TASK: send_invitation,
    notifications.MAIL_TASK: send_notice,
    provisioning.WELCOME_MAIL_TASK: send_welcome,
}
PLATFORM_TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    "platform.found": complete_sign_up,
    RECORD_TASK: account_events.fan_out,
    RECORD_FAILURE_TASK: account_events.fan_out_failure,
}
