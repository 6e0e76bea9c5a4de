"""Granting an organisation another trial, although it, its owners or its card have had one."""

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice.reasons import Reason, use_reason
from shared.billing import trials
from shared.billing.models import TrialGrant
from shared.billing.subscriptions import subscriptions
from shared.core.context import OperatorCtx
from shared.core.errors import Conflict
from shared.tenancy import entry, tenants


async def grant_trial(octx: OperatorCtx, tenant_id: str, reason: Reason) -> None:
    """Its next checkout of a plan with a trial has one. Raises Conflict with a subscription or an unused grant."""
    policy.require_operator(octx, actions.OP_BILLING_ADJUST)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        await tenants.lock(ctx)
        if await subscriptions.get_plan_subscription(ctx) is not None:
            raise Conflict(
                f"{ctx.tenant_name} has a subscription.",
                "Issue a credit instead, or wait until it has ended.",
            )
        if await trials.has_open_grant(ctx):
            raise Conflict(
                f"{ctx.tenant_name} has another trial already.", "It’s used with the next checkout."
            )
        grant = TrialGrant(
            tenant_id=tenant_id, reason=reason_text, by_id=octx.actor_id, by_name=octx.actor.name
        )
        ctx.session.add(grant)
        audit_log.record(ctx, "billing.trial_granted", grant.id, reason=reason_text)
