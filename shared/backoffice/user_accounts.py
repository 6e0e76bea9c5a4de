"""Disable and enable the account of a user, on behalf of an operator."""

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice.reasons import Reason, use_reason
from shared.core.context import OperatorCtx
from shared.core.errors import NotFound
from shared.identity import users
from shared.identity.models import User
from shared.jobs import queue


async def disable(octx: OperatorCtx, email: str, *, reason: Reason) -> User:
    """End all sessions and links of the account and refuse its sign-ins; its memberships are kept.

    A job does it: operators' transactions can't write users' rows. Raises NotFound.
    """
    policy.require_operator(octx, actions.OP_USER_DISABLE)
    reason_text = use_reason(octx, reason)
    user = await _require_user(octx, email)
    audit_log.record_operator(octx, "user.disabled", user.id, reason=reason_text, email=user.email)
    await queue.put_platform_job(octx.session, "platform.disable_user", sequence=user.id, user_id=user.id)
    return user


async def enable(octx: OperatorCtx, email: str, *, reason: Reason) -> User:
    """Let the account sign in again with its password and second factor, by a job. Raises NotFound."""
    policy.require_operator(octx, actions.OP_USER_DISABLE)
    reason_text = use_reason(octx, reason)
    user = await _require_user(octx, email)
    audit_log.record_operator(octx, "user.enabled", user.id, reason=reason_text, email=user.email)
    await queue.put_platform_job(octx.session, "platform.enable_user", sequence=user.id, user_id=user.id)
    return user


async def _require_user(octx: OperatorCtx, email: str) -> User:
    user = await users.get_by_email(octx.session, email)
    if user is None:
        raise NotFound("No account has this email address.", "Check the address.")
    return user
