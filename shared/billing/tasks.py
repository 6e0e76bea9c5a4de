"""Jobs of billing. Each may run twice and skips rows that have changed meanwhile."""

from collections.abc import Awaitable, Callable

from shared.billing import customers, dispute_pauses, dunning, repository, trials, unpaid_taxes
from shared.billing.models import PLATFORM
from shared.billing.prepaid import balance, top_up_charges, top_ups
from shared.billing.pricing import comparison, price_sync
from shared.billing.provider import ProviderDown
from shared.billing.sync import customer_sync, reconcile
from shared.core import db
from shared.jobs import mail, worker
from shared.jobs.worker import ExternalJob
from shared.tenancy import entry


@worker.external_job
async def create_customer(ctx: ExternalJob) -> None:
    async with entry.enter_job(ctx.tenant_id, customers.CREATE_TASK, ctx.request_id):
        pass  # only active tenants get a customer at the provider
    await customers.ensure(ctx.tenant_id, request_id=ctx.request_id)


@worker.mail_job
async def send_notice_mail(job: ExternalJob, *, notification_id: str) -> None:
    async with entry.enter_job(job.tenant_id, dunning.MAIL_TASK, job.request_id) as ctx:
        email = await dunning.build_mail(ctx, notification_id)
    if email is not None:
        await mail.send(email)


@worker.external_job
async def execute_top_up(job: ExternalJob, *, top_up_id: str) -> None:
    await top_up_charges.execute_top_up(job.tenant_id, top_up_id, job.request_id)


@worker.external_job
async def end_trial(job: ExternalJob, *, subscription_id: str) -> None:
    await trials.execute_end(subscription_id)
    async with entry.enter_billing_sync(job.tenant_id, trials.END_TASK, job.request_id) as ctx:
        customer_id = await customers.find_id(ctx)
    await customer_sync.sync_customer(
        PLATFORM, customer_id, job.tenant_id, cause="member", request_id=job.request_id
    )


@worker.external_job
async def pause_collection(job: ExternalJob, *, account_id: str, customer_id: str, key: str) -> None:
    is_done = await dispute_pauses.execute_changes(
        job.tenant_id, account_id, customer_id=customer_id, key=key, request_id=job.request_id
    )
    if is_done:
        await customer_sync.sync_customer(
            account_id, customer_id, job.tenant_id, cause="member", request_id=job.request_id
        )


@worker.external_job
async def undo_unpaid_tax(
    job: ExternalJob, *, account_id: str, subscription_id: str, turned_on_at: str
) -> None:
    async with entry.enter_billing_sync(job.tenant_id, unpaid_taxes.TASK, job.request_id) as ctx:
        own_ids = {row.id for row in await repository.list_subscriptions(ctx)}
    if subscription_id in own_ids:
        await unpaid_taxes.execute_undo(account_id, subscription_id, turned_on_at)


@worker.external_job
async def reconcile_all(_: ExternalJob, *, run_id: str) -> None:
    await reconcile.execute_run(run_id)


@worker.external_job
async def compare_prices(_: ExternalJob) -> None:
    """Raises ProviderDown, so that the comparison is retried, where the provider didn't answer.

    A refusal is logged; trying again gets the same one.
    """
    async with db.transaction() as session:
        await comparison.join_waiting_requests(session)
    result = await price_sync.compare_prices()
    if result.is_cut_short:
        raise ProviderDown("; ".join(result.failures))


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    customers.CREATE_TASK: create_customer,
    balance.EXPIRE_TASK: balance.expire_grants,
    dispute_pauses.TASK: pause_collection,
    dunning.TASK: dunning.send_due_notices,
    dunning.MAIL_TASK: send_notice_mail,
    top_ups.TASK: execute_top_up,
    trials.END_TASK: end_trial,
    unpaid_taxes.TASK: undo_unpaid_tax,
}
PLATFORM_TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    comparison.COMPARE_TASK: compare_prices,
    reconcile.RECONCILE_ALL_TASK: reconcile_all,
}
