"""Ending a subscription for which a customer is charged beside another one, and refunding its current period."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import adjustments, adjustments_repository
from shared.backoffice.reasons import Reason, use_reason
from shared.billing import customers, provider_registry
from shared.billing.models import PLATFORM, BillingInvoice
from shared.billing.pricing import prices
from shared.billing.provider_values import CustomerState
from shared.billing.subscriptions import subscriptions
from shared.billing.sync import access_schedule, customer_sync, provider_records
from shared.billing.sync.access_schedule import CatalogPrice
from shared.core import money
from shared.core.context import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, NotFound
from shared.jobs import queue, queue_status
from shared.tenancy import entry, tenants

TASK = "billing.end_duplicate"
REFUND_CODE = "duplicate_charge"
KEPT_REASON = "It was the only subscription left, so it wasn’t ended or refunded."


@dataclass(frozen=True, slots=True)
class _Refund:
    invoice_id: str
    amount: int
    currency: str


async def request_end(octx: OperatorCtx, tenant_id: str, subscription_id: str, reason: Reason) -> str:
    """Ends one of several live subscriptions now and refunds what was paid for its current period.

    Returns the refunded amount as text, "" without one. Raises Invalid, NotFound, Conflict with a single subscription or
    while another one is being ended, Refused for a large amount.
    """
    policy.require_operator(octx, actions.OP_BILLING_ADJUST)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        await tenants.lock(ctx)
        charged_ids = await list_charged_ids(ctx)
        if subscription_id not in charged_ids:
            raise NotFound("This subscription has ended, or isn’t to a plan.", "Reload the page.")
        if len(charged_ids) < 2:
            raise Conflict(
                "This is the only subscription of this organisation.",
                "Issue a refund without ending it, or let a member cancel it.",
            )
        if await queue_status.has_unfinished_job(octx.session, tenant_id, TASK):
            raise Conflict(
                "A subscription of this organisation is already being ended.",
                "Wait until that is done, then reload the page.",
            )
        refunds = await _list_refunds(ctx, subscription_id)
    refund_ids = [
        await adjustments.request_adjustment(
            octx,
            tenant_id,
            "refund",
            refund.amount,
            refund.currency,
            REFUND_CODE,
            reason,
            invoice_id=refund.invoice_id,
            is_held=True,
        )
        for refund in refunds
    ]
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        audit_log.record(ctx, "billing.duplicate_ended", subscription_id, reason=reason_text)
        # One after another: each looks at what the one before has left.
        await queue.put_tenant_job(
            ctx.session,
            tenant_id,
            TASK,
            sequence=TASK,
            subscription_id=subscription_id,
            refund_ids=" ".join(refund_ids),
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


async def execute_end(
    tenant_id: str, subscription_id: str, request_id: str, *, refund_ids: Sequence[str] = ()
) -> None:
    """Ends the subscription at the provider and submits its refunds, outside of any transaction. Idempotent.

    Where the customer has no other subscription to a plan by now, nothing is ended, the refunds fail, and both are
    recorded. Raises the provider's errors.
    """
    async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
        customer_id = await customers.find_id(ctx)
        catalog_prices = await prices.get_catalog_prices(ctx.session)
    provider = await provider_registry.get(PLATFORM)
    state = await provider.fetch_customer(customer_id)
    is_refused = _is_only_plan(state, subscription_id, catalog_prices)
    if not is_refused:
        await provider.cancel_subscription(subscription_id, at_period_end=False, key=f"end-{subscription_id}")
    await customer_sync.sync_customer(PLATFORM, customer_id, tenant_id, cause="operator")
    async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
        if is_refused:
            audit_log.record(ctx, "billing.duplicate_kept", subscription_id, reason=KEPT_REASON)
        for refund_id in refund_ids:
            if is_refused:
                await adjustments.reject_adjustment(ctx, refund_id, KEPT_REASON)
            else:
                await adjustments.release_adjustment(ctx, refund_id)


def _is_only_plan(
    state: CustomerState, subscription_id: str, catalog_prices: Mapping[str, CatalogPrice]
) -> bool:
    """Whether nothing would be left. False for a subscription that has ended already, as when a job runs twice."""
    charged_ids = {
        subscription.id
        for subscription in access_schedule.list_charged_plans(state.subscriptions, catalog_prices)
    }
    has_ended = any(
        subscription.id == subscription_id and subscription.status in access_schedule.ENDED_STATUSES
        for subscription in state.subscriptions
    )
    return not has_ended and not charged_ids - {subscription_id}


async def _list_refunds(ctx: Ctx, subscription_id: str) -> list[_Refund]:
    refunds = []
    for invoice in await adjustments_repository.list_paid_invoices(ctx, subscription_id):
        amount = invoice.paid - await adjustments_repository.sum_refunded(ctx, invoice.id)
        if amount > 0 and _is_current(invoice):
            refunds.append(_Refund(invoice.id, amount, invoice.currency))
    return refunds


def _is_current(invoice: BillingInvoice) -> bool:
    return invoice.period_ends_at is not None and invoice.period_ends_at > now()
