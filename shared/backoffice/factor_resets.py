"""Requests of users who have lost their second factor: operators start the waiting time, or decline them."""

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice.reasons import Reason, use_reason
from shared.core.context import OperatorCtx
from shared.core.errors import NotFound
from shared.identity import factor_resets, users
from shared.identity.factor_resets import OpenResets
from shared.identity.models import FactorReset


async def list_open(octx: OperatorCtx) -> OpenResets:
    """Requests that wait for an operator or for their time, oldest first."""
    policy.require_operator(octx, actions.OP_USER_READ_RESETS)
    return await factor_resets.list_open(octx.session)


async def start(octx: OperatorCtx, reset_id: str, reason: Reason) -> FactorReset:
    """Begin the waiting time, after which a job removes the factor unless the user cancels.

    Raises Invalid without a reason, Conflict for a request that was started, cancelled or is complete.
    """
    policy.require_operator(octx, actions.OP_USER_RESET_FACTOR)
    reason_text = use_reason(octx, reason)
    reset = await factor_resets.start(octx.session, reset_id, octx.actor.name)
    await _record(octx, "user.factor_reset_started", reset, reason_text)
    return reset


async def decline(octx: OperatorCtx, reset_id: str, reason: Reason) -> None:
    """End the request, including one whose time runs. Raises Invalid without a reason, Conflict."""
    policy.require_operator(octx, actions.OP_USER_RESET_FACTOR)
    reason_text = use_reason(octx, reason)
    reset = await factor_resets.decline(octx.session, reset_id)
    await _record(octx, "user.factor_reset_declined", reset, reason_text)


async def _record(octx: OperatorCtx, action: str, reset: FactorReset, reason: str) -> None:
    user = await users.get(octx.session, reset.user_id)
    if user is None:
        raise NotFound("This account doesn’t exist.", "Reload the page.")
    audit_log.record_operator(octx, action, user.id, reason=reason, email=user.email)
