"""Provision a new tenant in steps. Each step is one transaction, which also enqueues the next step.

The first steps run in the transaction that creates the tenant, because its owner needs them to enter. The others are
jobs. After a crash a step is either done or not started, and every step is idempotent.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.audit import audit_log
from shared.core import crypto, live_events
from shared.core import rows as repository
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.ids import new_id
from shared.entitlements import assignments
from shared.jobs import queue
from shared.jobs.mail import Email
from shared.tenancy import (
    links,
    mail_branding,
    member_repository,
    notification_kinds,
    notifications,
    onboarding_checklist,
    provisioning_repository,
    role_repository,
    tenant_repository,
)
from shared.tenancy.models import (
    Membership,
    MembershipState,
    ProvisioningStep,
    StepState,
    TenantSettings,
    TenantState,
)

TASK_NAME, WELCOME_MAIL_TASK = "tenancy.provision", "tenancy.send_welcome"
CREATE_CUSTOMER_TASK = "billing.create_customer"  # by name, because billing is a higher layer


@dataclass(frozen=True, slots=True)
class StepDefinition:
    key: str
    title: str
    run: Callable[[Ctx], Awaitable[None]]
    runs_on_creation: bool = False  # in the transaction that creates the tenant
    needs_verified_owner: bool = False  # waits until the owner's address is verified


@dataclass(frozen=True, slots=True)
class StepView:
    key: str
    title: str
    state: StepState
    attempts: int
    error: str
    finished_at: datetime | None


async def _add_roles(ctx: Ctx) -> None:
    await role_repository.add_builtin_roles(ctx)


async def _add_owner(ctx: Ctx) -> None:
    row = Membership(tenant_id=ctx.tenant_id, user_id=ctx.actor_id, role="owner")
    if await member_repository.get_membership_of_user(ctx, ctx.actor_id) is None:
        ctx.session.add(row)
        await ctx.session.flush()


async def add_settings(ctx: Ctx) -> None:
    """And the data key. What is there already stays."""
    await repository.insert_missing(ctx, [TenantSettings(tenant_id=ctx.tenant_id)])
    key = crypto.new_dek()
    await tenant_repository.add_key(ctx, key.kek_id, key.wrapped)


async def _assign_plan(ctx: Ctx) -> None:
    await assignments.assign_first_plan(ctx)


async def _seed_flags(ctx: Ctx) -> None:
    await assignments.seed_flags(ctx)


async def _enqueue_billing_account(ctx: Ctx) -> None:
    """Provisioning does not wait for the payment provider."""
    await queue.put(ctx, CREATE_CUSTOMER_TASK)


async def _add_checklist(ctx: Ctx) -> None:
    await onboarding_checklist.add_items(ctx)


async def _enqueue_welcome_mail(ctx: Ctx) -> None:
    for owner in await member_repository.lock_owners(ctx):
        await queue.put(ctx, WELCOME_MAIL_TASK, user_id=owner.user_id)


async def build_welcome_mail(ctx: Ctx, user_id: str) -> Email | None:
    """None for a person who is no longer a member. The Message-ID marks a repeated email as a duplicate."""
    membership = await member_repository.get_membership_of_user(ctx, user_id)
    if membership is None or membership.state is not MembershipState.ACTIVE:
        return None
    person = await member_repository.get_user(ctx, user_id)
    return Email(
        to=person.email,
        template="welcome",
        message_id=f"welcome-{ctx.tenant_id}",
        link=links.build_link(ctx.tenant_id, "home"),
        values={"name": person.name, "tenant": ctx.tenant_name},
        frame=await mail_branding.build_frame(ctx, notification_kinds.SETUP),
    )


async def _notify_owners(ctx: Ctx) -> None:
    for owner in await member_repository.lock_owners(ctx):
        await notifications.add(
            ctx,
            owner.user_id,
            "welcome",
            f"{ctx.tenant_name} is ready",
            "Your roles, settings and checklist are ready.",
            href="home",
            dedupe="welcome",
        )


STEPS = (
    StepDefinition("roles", "Roles", _add_roles, runs_on_creation=True),
    StepDefinition("owner", "Owner", _add_owner, runs_on_creation=True),
    StepDefinition("settings", "Settings and data key", add_settings),
    StepDefinition("plan", "Plan", _assign_plan),
    StepDefinition("flags", "Plan flags", _seed_flags),
    StepDefinition("billing", "Billing account", _enqueue_billing_account),
    StepDefinition("checklist", "Checklist", _add_checklist),
    StepDefinition("welcome_mail", "Welcome email", _enqueue_welcome_mail, needs_verified_owner=True),
    StepDefinition("welcome", "Welcome notification", _notify_owners, needs_verified_owner=True),
)
_STEPS_BY_KEY = {step.key: step for step in STEPS}
STEP_TITLES = {step.key: step.title for step in STEPS}


async def start(ctx: Ctx) -> None:
    """Add all steps, run the first ones and enqueue the rest. For the transaction that creates the tenant."""
    steps = [
        ProvisioningStep(tenant_id=ctx.tenant_id, id=new_id("stp"), key=step.key, position=position)
        for position, step in enumerate(STEPS)
    ]
    await repository.insert_missing(ctx, steps)
    rows = {row.key: row for row in await provisioning_repository.lock_steps(ctx)}
    for step in STEPS:
        if step.runs_on_creation:
            await _run_step(ctx, step, rows[step.key])
    await queue.put(ctx, TASK_NAME)


async def enqueue_waiting_steps(ctx: Ctx) -> None:
    """Enqueue the steps that waited for the verification of the owner or the end of a suspension."""
    await queue.put(ctx, TASK_NAME)


async def run_next_step(ctx: Ctx) -> str:
    """Run the first open step and enqueue the next one. Returns its key, "" when none is due.

    An error rolls the step back. The caller then calls `record_failure` in another transaction.
    """
    await tenant_repository.lock_tenant(ctx)  # before the first row that refers to it
    rows = await provisioning_repository.lock_steps(ctx)
    open_rows = [row for row in rows if row.state is not StepState.DONE]
    if not open_rows:
        return ""
    row = open_rows[0]
    if _STEPS_BY_KEY[row.key].needs_verified_owner and ctx.tenant_state == TenantState.PENDING_VERIFICATION:
        return ""  # the verification enqueues it again
    await _run_step(ctx, _STEPS_BY_KEY[row.key], row)
    if len(open_rows) > 1:
        await queue.put(ctx, TASK_NAME)
    return row.key


async def record_failure(ctx: Ctx, problem: BaseException) -> None:
    """Record the failure of the step that is due. The queue retries it."""
    for row in await provisioning_repository.lock_steps(ctx):
        if row.state is not StepState.DONE:
            row.state, row.attempts = StepState.FAILED, row.attempts + 1
            row.error = f"{type(problem).__name__}: we’ll try again."
            row.started_at = row.started_at or now()
            ctx.session.add(row)
            audit_log.record(ctx, "provisioning.step_failed", row.key, problem=type(problem).__name__)
            await _publish_change(ctx)
            return


async def list_steps(ctx: Ctx) -> Sequence[StepView]:
    policy.require(ctx, actions.HOME_READ)
    return [build_step_view(row) for row in await provisioning_repository.list_steps(ctx)]


def build_step_view(row: ProvisioningStep) -> StepView:
    """The title of a step that no longer exists is its key."""
    title = STEP_TITLES.get(row.key, row.key)
    return StepView(row.key, title, row.state, row.attempts, row.error, row.finished_at)


async def retry(ctx: Ctx) -> None:
    """Retry immediately instead of waiting for the queue. For admins of the tenant."""
    policy.require(ctx, actions.SETTINGS_WRITE)
    await resume(ctx, "Retried from Home")


async def resume(ctx: Ctx, reason: str) -> None:
    """Retry for callers that have checked the permission, such as operator actions."""
    if all(row.state is StepState.DONE for row in await provisioning_repository.lock_steps(ctx)):
        return
    audit_log.record(ctx, "provisioning.resumed", ctx.tenant_id, reason=reason)
    await _publish_change(ctx)
    await queue.put(ctx, TASK_NAME)


async def _run_step(ctx: Ctx, step: StepDefinition, row: ProvisioningStep) -> None:
    started_at = now()
    await step.run(ctx)
    row.state, row.attempts, row.error = StepState.DONE, row.attempts + 1, ""
    row.started_at, row.finished_at = started_at, now()
    ctx.session.add(row)
    audit_log.record(ctx, "provisioning.step_done", step.key)
    await _publish_change(ctx)


async def _publish_change(ctx: Ctx) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "provisioning")
