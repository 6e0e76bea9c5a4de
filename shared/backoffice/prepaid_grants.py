"""Prepaid credits that operators grant and void, each with a reason. Nothing of it is sent to the provider."""

from datetime import datetime

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice.adjustments import LARGE_AMOUNT, MAX_AMOUNT
from shared.backoffice.reasons import Reason, use_reason
from shared.billing.models import PrepaidGrant
from shared.billing.prepaid import balance
from shared.core import money
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.ids import is_id, new_id
from shared.tenancy import entry, tenants

REASON_CODES = {  # code: label; a sentence explains the details
    "contract": "Contract terms",
    "goodwill": "Goodwill",
    "outage": "Outage",
    "prepayment": "Paid in advance",
    "promotion": "Promotion",
}


async def grant_credits(
    octx: OperatorCtx,
    tenant_id: str,
    amount: int,
    currency: str,
    code: str,
    reason: Reason,
    *,
    priority: int = balance.DEFAULT_PRIORITY,
    expires_at: datetime | None = None,
    grant_id: str = "",
) -> str:
    """Grants prepaid credits. Returns the id. `amount`: at least 1, in the smallest unit of the currency.

    `grant_id`: id from the form, so that a form that is sent twice has one effect. Raises Invalid, NotFound, Conflict,
    Refused for a large amount.
    """
    policy.require_operator(octx, actions.OP_BILLING_ADJUST)
    reason_text = use_reason(octx, reason, tenant_id)
    _check_grant(amount, code, priority, expires_at)
    if amount > LARGE_AMOUNT * 10 ** money.require_currency(currency).digits:
        policy.require_operator(octx, actions.OP_BILLING_ADJUST_ANY)
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        await tenants.lock(ctx)
        grant = PrepaidGrant(
            tenant_id=tenant_id,
            id=grant_id if is_id("pgr", grant_id) else new_id("pgr"),
            source=balance.OPERATOR,
            amount=amount,
            remaining=amount,
            currency=currency,
            priority=priority,
            expires_at=expires_at,
            reason_code=code,
            reason=reason_text,
            by_id=octx.actor.id,
            by_name=octx.actor.name,
        )
        if await balance.get_grant(ctx, grant.id) is not None:
            raise Conflict("These credits were already granted.", "Reload the page to see them.")
        after = {"credits": money.format_amount(amount, currency), "why": REASON_CODES[code]}
        await balance.add_grant(ctx, grant)
        audit_log.record(ctx, "billing.prepaid_granted", grant.id, after=after, reason=reason_text)
    return grant.id


async def void_grant(octx: OperatorCtx, tenant_id: str, grant_id: str, reason: Reason) -> int:
    """Voids what is left of a grant. Returns the amount. Raises NotFound, Conflict where nothing is left."""
    policy.require_operator(octx, actions.OP_BILLING_ADJUST)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        grant = await balance.lock_grant(ctx, grant_id)
        if grant is None:
            raise NotFound("These credits don’t exist.", "Reload the page.")
        if not grant.remaining:
            raise Conflict("Nothing is left of these credits.", "Reload the page.")
        amount = await balance.take_all(ctx, grant, balance.VOID, reason=reason_text, by_name=octx.actor.name)
        before = {"credits": money.format_amount(amount, grant.currency)}
        audit_log.record(ctx, "billing.prepaid_voided", grant.id, before=before, reason=reason_text)
    return amount


def _check_grant(amount: int, code: str, priority: int, expires_at: datetime | None) -> None:
    if not 1 <= amount <= MAX_AMOUNT:
        raise Invalid("The amount is out of range.", "Check the amount.", fields={"amount": "Out of range"})
    if code not in REASON_CODES:
        raise Invalid("A reason code is required.", "Choose one from the list.", fields={"code": "Unknown"})
    if not 0 <= priority <= balance.MAX_PRIORITY:
        raise Invalid(
            "The priority is out of range.",
            f"Choose a number from 0 to {balance.MAX_PRIORITY}.",
            fields={"priority": "Out of range"},
        )
    if expires_at is not None and expires_at <= now():
        raise Invalid(
            "The credits would have expired already.",
            "Choose a later day.",
            fields={"expires": "In the past"},
        )
