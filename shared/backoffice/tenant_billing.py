"""Billing for operators: of one tenant, and the invoices of all tenants.

Access to one tenant needs a reason, recorded in its audit log; access across tenants is recorded in the operator audit
log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import (
    adjustments,
    billing_orders,
    duplicate_subscriptions,
    tenant_billing_repository,
    unbilled_usage,
)
from shared.backoffice.billing_orders import TransferOffer
from shared.backoffice.reasons import Reason, use_reason
from shared.backoffice.tenant_billing_repository import TenantAlert, TenantDrift, TenantInvoice
from shared.backoffice.unbilled_usage_repository import UnbilledGroup
from shared.billing import accounts, customers
from shared.billing.models import (
    PLATFORM,
    BillingAdjustment,
    BillingCustomer,
    BillingDrift,
    BillingEvent,
    BillingInvoice,
    BillingOrder,
    BillingRefund,
    BillingSnapshot,
    BillingSubscription,
    ReconcileRun,
)
from shared.billing.prepaid import balance
from shared.billing.prepaid.balance import PrepaidOverview
from shared.billing.subscriptions import subscriptions
from shared.billing.sync import reconcile
from shared.billing.sync.reconcile import RECONCILE_ALL_TASK
from shared.core import live_events
from shared.core.config import settings
from shared.core.context import OperatorCtx
from shared.core.errors import Conflict, Invalid
from shared.core.paging import Page, build_page, clamp_limit, clean_search_text
from shared.jobs import queue
from shared.tenancy import entry

RECONCILE_TASK = "billing.reconcile"
DRIFT_REASON = "List of differences from Stripe"  # the stated reason where the page itself is the reason
INVOICE_STATUSES = ("draft", "open", "paid", "void", "uncollectible")
RECENT_ROWS = 20


@dataclass(frozen=True, slots=True)
class TenantAlerts:
    alerts: Sequence[TenantAlert]
    total: int  # with those beyond the limit


@dataclass(frozen=True, slots=True)
class BillingDetails:
    """`synced_at`, `provider_urls`: time of the last sync and address in Stripe's dashboard, by customer id."""

    tenant_name: str
    customers: Sequence[BillingCustomer]
    synced_at: Mapping[str, datetime]
    provider_urls: Mapping[str, str]
    snapshot: BillingSnapshot | None
    subscriptions: Sequence[BillingSubscription]
    invoices: Sequence[BillingInvoice]  # the newest
    events: Sequence[BillingEvent]
    drift: Sequence[BillingDrift]
    adjustments: Sequence[BillingAdjustment]
    refunds: Sequence[BillingRefund]  # of adjustments
    duplicate_ids: Sequence[str]  # subscriptions that are charged for a plan, where there are several
    unbilled_usage: Sequence[UnbilledGroup]
    prepaid: PrepaidOverview
    orders: Sequence[BillingOrder]  # to the provider, by operators
    transfer_offers: Sequence[TransferOffer]

    @property
    def schedule(self) -> dict[str, Any]:
        return self.snapshot.schedule if self.snapshot else {}


async def get_billing_details(octx: OperatorCtx, tenant_id: str, reason: Reason) -> BillingDetails:
    """Raises Invalid without a reason, NotFound."""
    policy.require_operator(octx, actions.OP_BILLING_READ)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        tenant_customers = await tenant_billing_repository.list_customers(ctx)
        charged_ids = await duplicate_subscriptions.list_charged_ids(ctx)
        return BillingDetails(
            ctx.tenant_name,
            tenant_customers,
            await tenant_billing_repository.get_sync_times(
                ctx.session, [customer.id for customer in tenant_customers]
            ),
            {
                customer.id: _customer_url(
                    customer.id, live=await _is_live_account(octx, customer.account_id)
                )
                for customer in tenant_customers
            },
            await subscriptions.get_snapshot(ctx),
            await subscriptions.list_records(ctx),
            await tenant_billing_repository.list_invoices(ctx, RECENT_ROWS),
            await tenant_billing_repository.list_events(ctx, RECENT_ROWS),
            await tenant_billing_repository.list_drift(ctx, RECENT_ROWS),
            await adjustments.list_adjustments(ctx, RECENT_ROWS),
            await adjustments.list_refunds(ctx),
            charged_ids if len(charged_ids) > 1 else [],
            await unbilled_usage.list_unbilled(ctx),
            await balance.read_operator_overview(ctx),
            await billing_orders.list_orders(ctx, RECENT_ROWS),
            await billing_orders.list_transfer_offers(ctx),
        )


async def request_reconcile(octx: OperatorCtx, tenant_id: str, reason: Reason) -> str:
    """Requests a sync of this tenant's customer. Returns the id of the run. Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_BILLING_RECONCILE)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        customer_id = await customers.find_id(ctx)
        if not customer_id:
            raise Conflict(
                f"{ctx.tenant_name} isn’t in Stripe yet.",
                "Try again after provisioning has created the customer.",
            )
        run = ReconcileRun(cause="operator", by_name=octx.actor.name, reason=reason_text)
        ctx.session.add(run)
        audit_log.record(ctx, "billing.reconcile_asked", customer_id, reason=reason_text)
        await queue.put(ctx, RECONCILE_TASK, ordered=False, customer_id=customer_id, run_id=run.id)
        return run.id


async def execute_reconcile(tenant_id: str, customer_id: str, run_id: str) -> None:
    """Runs a requested comparison, outside of any transaction. Raises the provider's errors."""
    result = await reconcile.reconcile_customer(PLATFORM, customer_id, tenant_id, run_id)
    async with entry.enter_billing_sync(tenant_id, RECONCILE_TASK) as ctx:
        await tenant_billing_repository.finish_run(ctx.session, run_id, drifted=int(bool(result.differences)))
        await live_events.refresh_pages(ctx.session, tenant_id, "billing")


async def list_reconcile_runs(octx: OperatorCtx, limit: int = 10) -> Sequence[ReconcileRun]:
    """Comparisons of all or one of the customers with the provider, newest first."""
    policy.require_operator(octx, actions.OP_BILLING_READ)
    return await tenant_billing_repository.list_runs(octx.session, clamp_limit(limit))


async def list_drift(octx: OperatorCtx, *, after: str = "", limit: int = 50) -> Page[TenantDrift]:
    """Unexpected differences from Stripe in all tenants, newest first, and whether they are repaired."""
    policy.require_operator(octx, actions.OP_BILLING_READ)
    limit = clamp_limit(limit)
    async with entry.read_across_tenants(octx, DRIFT_REASON) as session:
        rows = await tenant_billing_repository.list_drift_of_all_tenants(
            session, after=after, limit=limit + 1
        )
    return build_page(rows, limit=limit, cursor_of=tenant_billing_repository.get_drift_cursor)


async def list_alerts(octx: OperatorCtx, limit: int = 50) -> TenantAlerts:
    """Tenants whose billing needs a review: a deleted customer, two subscriptions, a price of another product."""
    policy.require_operator(octx, actions.OP_BILLING_READ)
    limit = clamp_limit(limit)
    async with entry.read_across_tenants(octx, DRIFT_REASON) as session:
        alerts = await tenant_billing_repository.list_alerts_of_all_tenants(session, limit)
        is_whole = len(alerts) < limit
        total = (
            len(alerts) if is_whole else await tenant_billing_repository.count_alerts_of_all_tenants(session)
        )
    return TenantAlerts(alerts, total)


async def list_invoices(
    octx: OperatorCtx,
    reason: Reason,
    status: str = "",
    *,
    query: str = "",
    after: str = "",
    limit: int = 50,
) -> Page[TenantInvoice]:
    """Of every tenant, newest first. `query`: a number or id of an invoice, or the name or id of a tenant. Raises Invalid."""
    policy.require_operator(octx, actions.OP_BILLING_READ)
    reason_text = use_reason(octx, reason)
    if status and status not in INVOICE_STATUSES:
        raise Invalid("This invoice status doesn’t exist.", "Choose one from the list.")
    needle = " ".join(clean_search_text(query).split()).lower()
    limit = clamp_limit(limit)
    async with entry.read_across_tenants(octx, reason_text) as session:
        rows = await tenant_billing_repository.list_invoices_of_all_tenants(
            session, status, needle, after=after, limit=limit + 1
        )
    return build_page(rows, limit=limit, cursor_of=tenant_billing_repository.get_invoice_cursor)


def sandbox_controls_url() -> str:
    """Address of the stand-in's controls; "" with a real provider."""
    base = settings().stripe_base
    return f"{base}/_control" if base is not None else ""


async def _is_live_account(octx: OperatorCtx, account_id: str) -> bool:
    if account_id == PLATFORM:
        return accounts.get_platform_account().livemode
    return await tenant_billing_repository.is_live_account(octx.session, account_id)


def _customer_url(customer_id: str, *, live: bool) -> str:
    """Address of the customer in Stripe's dashboard, or of the stand-in's controls."""
    return (
        sandbox_controls_url()
        or f"https://dashboard.stripe.com/{'' if live else 'test/'}customers/{customer_id}"
    )


async def request_run(octx: OperatorCtx, reason: Reason) -> str:
    """Queue a comparison of every customer with Stripe; returns the id of the run. Raises Invalid without a reason."""
    policy.require_operator(octx, actions.OP_BILLING_RECONCILE)
    reason_text = use_reason(octx, reason)
    row = ReconcileRun(cause="operator", by_name=octx.actor.name, reason=reason_text)
    octx.session.add(row)
    audit_log.record_operator(octx, "billing.reconcile_asked", row.id, reason=reason_text)
    await queue.put_platform_job(octx.session, RECONCILE_ALL_TASK, sequence=RECONCILE_ALL_TASK, run_id=row.id)
    return row.id
