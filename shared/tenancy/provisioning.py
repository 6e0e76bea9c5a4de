"""Setting up a new tenant, step by step. One step is one transaction, which also promises the next one.

The first steps run in the transaction that founds the tenant, because nobody could enter without them; the rest are
jobs. A process that dies anywhere leaves a step that is either done or not begun; running it again does no harm.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.audit import trail
from shared.core import crypto, notices
from shared.core.config import settings
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.ids import new_id
from shared.entitlements import holdings
from shared.jobs import mail, queue
from shared.tenancy import checklist, notifications, repository
from shared.tenancy.models import Membership, ProvisioningStep, StepState, TenantSettings, TenantState

TASK = "tenancy.provision"
CREATE_CUSTOMER = "billing.create_customer"  # a task of billing, which stands above us


@dataclass(frozen=True, slots=True)
class Step:
    key: str
    title: str
    run: Callable[[Ctx], Awaitable[None]]
    founding: bool = False  # in the transaction that founds the tenant
    verified: bool = False  # waits until the founder's address is proven: nobody else is to be welcomed


@dataclass(frozen=True, slots=True)
class StepView:
    key: str
    title: str
    state: StepState
    attempts: int
    error: str
    finished_at: datetime | None


async def _roles(ctx: Ctx) -> None:
    await repository.add_roles(ctx)


async def _owner(ctx: Ctx) -> None:
    row = Membership(tenant_id=ctx.tenant_id, user_id=ctx.actor_id, role="owner")
    if await repository.get_membership_of(ctx, ctx.actor_id) is None:
        ctx.session.add(row)
        await ctx.session.flush()


async def _settings(ctx: Ctx) -> None:
    await repository.insert_missing(ctx, [TenantSettings(tenant_id=ctx.tenant_id)])
    key = crypto.new_dek()
    await repository.add_key(ctx, key.kek_id, key.wrapped)


async def _plan(ctx: Ctx) -> None:
    await holdings.begin(ctx)


async def _flags(ctx: Ctx) -> None:
    await holdings.seed_flags(ctx)


async def _billing(ctx: Ctx) -> None:
    """Promised, and out of turn: whether the payment provider answers is nothing that a new tenant waits for."""
    await queue.put(ctx, CREATE_CUSTOMER, in_turn=False)


async def _checklist(ctx: Ctx) -> None:
    await checklist.add_all(ctx)


async def _welcome_mail(ctx: Ctx) -> None:
    """The Message-ID is the tenant's, so that the same mail sent again is known to be the same."""
    for owner in await repository.lock_owners(ctx):
        person = await repository.get_person(ctx, owner.user_id)
        link = f"{settings().tenant_url}/t/{ctx.slug}/home"
        await mail.send(
            person.email,
            "welcome",
            f"welcome-{ctx.tenant_id}",
            name=person.name,
            tenant=ctx.tenant_name,
            link=link,
        )


async def _welcome(ctx: Ctx) -> None:
    for owner in await repository.lock_owners(ctx):
        await notifications.add(
            ctx,
            owner.user_id,
            "welcome",
            f"{ctx.tenant_name} is set up",
            "Roles, settings and your first list of things to do are ready.",
            href=f"/t/{ctx.slug}/home",
            dedupe="welcome",
        )


STEPS = (
    Step("roles", "Roles", _roles, founding=True),
    Step("owner", "Owner", _owner, founding=True),
    Step("settings", "Settings and data key", _settings),
    Step("plan", "Plan", _plan),
    Step("flags", "Flags of the plan", _flags),
    Step("billing", "Billing account", _billing),
    Step("checklist", "First steps", _checklist),
    Step("welcome_mail", "Welcome mail", _welcome_mail, verified=True),
    Step("welcome", "Welcome", _welcome, verified=True),
)
_BY_KEY = {step.key: step for step in STEPS}
TITLES = {step.key: step.title for step in STEPS}


async def begin(ctx: Ctx) -> None:
    """For the founding transaction: writes down all steps, runs the founding ones, promises the rest."""
    steps = [
        ProvisioningStep(tenant_id=ctx.tenant_id, id=new_id("stp"), key=step.key, position=position)
        for position, step in enumerate(STEPS)
    ]
    await repository.insert_missing(ctx, steps)
    rows = {row.key: row for row in await repository.lock_steps(ctx)}
    for step in STEPS:
        if step.founding:
            await _run(ctx, step, rows[step.key])
    await queue.put(ctx, TASK)


async def go_on(ctx: Ctx) -> None:
    """Promises the steps that waited: for the founder's address, or for the end of a suspension."""
    await queue.put(ctx, TASK)


async def run_next(ctx: Ctx) -> str:
    """Runs the first step that is not done and promises the one after it. Its key, "" when none is due.

    An error rolls everything back; `fail` then writes it down in a transaction of its own.
    """
    rows = await repository.lock_steps(ctx)
    waiting = [row for row in rows if row.state is not StepState.DONE]
    if not waiting:
        return ""
    row = waiting[0]
    if _BY_KEY[row.key].verified and ctx.tenant_state == TenantState.PENDING_VERIFICATION:
        return ""  # verifying promises it again
    await _run(ctx, _BY_KEY[row.key], row)
    if len(waiting) > 1:
        await queue.put(ctx, TASK)
    return row.key


async def fail(ctx: Ctx, problem: BaseException) -> None:
    """Writes down that the step which is due failed. The queue tries again."""
    for row in await repository.lock_steps(ctx):
        if row.state is not StepState.DONE:
            row.state, row.attempts = StepState.FAILED, row.attempts + 1
            row.error = f"{type(problem).__name__}: it will be tried again."
            row.started_at = row.started_at or now()
            ctx.session.add(row)
            trail.record(ctx, "provisioning.step_failed", row.key, problem=type(problem).__name__)
            await _changed(ctx)
            return


async def list_steps(ctx: Ctx) -> Sequence[StepView]:
    policy.require(ctx, actions.HOME_READ)
    return [view(row) for row in await repository.list_steps(ctx)]


def view(row: ProvisioningStep) -> StepView:
    """A step that there is no more keeps its key for a title."""
    title = TITLES.get(row.key, row.key)
    return StepView(row.key, title, row.state, row.attempts, row.error, row.finished_at)


async def retry(ctx: Ctx) -> None:
    """Now, and not when the queue's own patience is over. For admins of the tenant."""
    policy.require(ctx, actions.SETTINGS_WRITE)
    await resume(ctx, "Tried again from the first page")


async def resume(ctx: Ctx, reason: str) -> None:
    """The same for callers that were already asked for their right, such as an operator's action."""
    if all(row.state is StepState.DONE for row in await repository.lock_steps(ctx)):
        return
    trail.record(ctx, "provisioning.resumed", ctx.tenant_id, reason=reason)
    await _changed(ctx)
    await queue.put(ctx, TASK)


async def _run(ctx: Ctx, step: Step, row: ProvisioningStep) -> None:
    began = now()
    await step.run(ctx)
    row.state, row.attempts, row.error = StepState.DONE, row.attempts + 1, ""
    row.started_at, row.finished_at = began, now()
    ctx.session.add(row)
    trail.record(ctx, "provisioning.step_done", step.key)
    await _changed(ctx)


async def _changed(ctx: Ctx) -> None:
    await notices.page(ctx.session, ctx.tenant_id, "provisioning")
