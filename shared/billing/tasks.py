"""What billing does later. Each may run twice; what it finds changed meanwhile, it leaves alone.

Errands are about what is written down whatever the tenant's own state is: who was suspended gets a refund, too.
"""

from collections.abc import Awaitable, Callable

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing import adjustments, customers, desk, dunning, reconcile
from shared.jobs import worker
from shared.jobs.worker import Errand
from shared.tenancy import entry


@worker.errand
async def adjust(ctx: Errand, *, adjustment_id: str) -> None:
    await adjustments.carry_out(ctx.tenant_id, adjustment_id, ctx.request_id)


@worker.errand
async def compare(ctx: Errand, *, customer_id: str, run_id: str) -> None:
    await desk.carry_out(ctx.tenant_id, customer_id, run_id)


@worker.errand
async def create_customer(ctx: Errand) -> None:
    async with entry.enter_job(ctx.tenant_id, customers.CREATE, ctx.request_id):
        pass  # only who may work is made known to the provider
    await customers.ensure(ctx.tenant_id, request_id=ctx.request_id)


async def reconcile_all(session: AsyncSession, *, run_id: str) -> None:  # noqa: ARG001  it opens its own, one per customer
    await reconcile.go(run_id)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    adjustments.TASK: adjust,
    customers.CREATE: create_customer,
    desk.RECONCILE: compare,
    dunning.TASK: dunning.dun,
    dunning.MAIL: dunning.send,
}
PLATFORM_TASKS: dict[str, Callable[..., Awaitable[None]]] = {reconcile.ALL: reconcile_all}
