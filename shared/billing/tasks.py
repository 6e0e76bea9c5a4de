"""Jobs of billing. Each may run twice and skips rows that have changed meanwhile."""

from collections.abc import Awaitable, Callable

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing import customers, dunning
from shared.billing.sync import reconcile
from shared.jobs import worker
from shared.jobs.worker import ExternalJob
from shared.tenancy import entry


@worker.external_job
async def create_customer(ctx: ExternalJob) -> None:
    async with entry.enter_job(ctx.tenant_id, customers.CREATE_TASK, ctx.request_id):
        pass  # only active tenants get a customer at the provider
    await customers.ensure(ctx.tenant_id, request_id=ctx.request_id)


async def reconcile_all(session: AsyncSession, *, run_id: str) -> None:  # noqa: ARG001  it opens its own, one per customer
    await reconcile.execute_run(run_id)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    customers.CREATE_TASK: create_customer,
    dunning.TASK: dunning.send_due_notices,
    dunning.MAIL_TASK: dunning.send_mail,
}
PLATFORM_TASKS: dict[str, Callable[..., Awaitable[None]]] = {reconcile.RECONCILE_ALL_TASK: reconcile_all}
