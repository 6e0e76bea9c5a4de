"""Ending a subscription for which a customer is charged beside another one, and refunding its current period."""

from dataclasses import dataclass

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import adjustments, adjustments_repository
from shared.backoffice.reasons import Reason, use_reason
from shared.billing import customers, provider_registry
from shared.billing.models import PLATFORM, BillingInvoice
from shared.billing.pricing import prices
from shared.billing.subscriptions import subscriptions
from shared.billing.sync import access_schedule, customer_sync, provider_records
from shared.core import money
from shared.core.context import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, NotFound
from shared.jobs import queue
from shared.tenancy import entry, tenants

TASK = "billing.end_duplicate"
REFUND_CODE = "duplicate_charge"


@dataclass(frozen=True, slots=True)
class _Refund:
    invoice_id: str
    amount: int
    currency: str


async def request_end(octx: OperatorCtx, tenant_id: str, subscription_id: str, reason: Reason) -> str:
    """Ends one of several live subscriptions now and refunds what was paid for its current period.

    Returns the refunded amount as text, "" without one. Raises Invalid, NotFound, Conflict with a single subscription,
    Refused for a large amount.
    """
    policy.require_operator(octx, actions.OP_BILLING_ADJUST)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        await tenants.lock(ctx)
        charged_ids = await list_charged_ids(ctx)
        if subscription_id not in charged_ids:
            raise NotFound("This subscription has ended, or isn't to a plan.", "Reload the page.")
        if len(charged_ids) < 2:
            raise Conflict(
                "This is the only subscription of this organisation.",
                "Issue a refund without ending it, or let a member cancel it.",
            )
        refunds = await _list_refunds(ctx, subscription_id)
        audit_log.record(ctx, "billing.duplicate_ended", subscription_id, reason=reason_text)
        await queue.put(ctx, TASK, ordered=False, subscription_id=subscription_id)
    for refund in refunds:
        await adjustments.request_adjustment(
            octx,
            tenant_id,
            "refund",
            refund.amount,
            refund.currency,
            REFUND_CODE,
            reason,
            invoice_id=refund.invoice_id,
        )
    total = sum(refund.amount for refund in refunds)
    return money.format_amount(total, refunds[0].currency) if refunds else ""


async def list_charged_ids(ctx: Ctx) -> list[str]:
    """Ids of the subscriptions that are charged for a plan; each of several is charged beside the others.

    The caller checks the permission.
    """
    records = [provider_records.to_subscription(row) for row in await subscriptions.list_records(ctx)]
    charged_plans = access_schedule.list_charged_plans(records, await prices.get_catalog_prices(ctx.session))
    return [subscription.id for subscription in charged_plans]


async def execute_end(tenant_id: str, subscription_id: str, request_id: str) -> None:
    """Ends the subscription at the provider, outside of any transaction. Idempotent. Raises the provider's errors."""
    async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
        customer_id = await customers.find_id(ctx)
    provider = await provider_registry.get(PLATFORM)
    await provider.cancel_subscription(subscription_id, at_period_end=False, key=f"end-{subscription_id}")
    await customer_sync.sync_customer(PLATFORM, customer_id, tenant_id, cause="operator")


async def _list_refunds(ctx: Ctx, subscription_id: str) -> list[_Refund]:
    refunds = []
    for invoice in await adjustments_repository.list_paid_invoices(ctx, subscription_id):
        amount = invoice.paid - await adjustments_repository.sum_refunded(ctx, invoice.id)
        if amount > 0 and _is_current(invoice):
            refunds.append(_Refund(invoice.id, amount, invoice.currency))
    return refunds


def _is_current(invoice: BillingInvoice) -> bool:
    return invoice.period_ends_at is not None and invoice.period_ends_at > now()
