"""A tenant's billing as operators see it, and the invoices of all of them.

Seen from inside of the tenant, with a reason that its trail keeps; across tenants with one that the operators' keeps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.access import actions, policy
from shared.audit import trail
from shared.billing import accounts, adjustments, customers, reconcile, repository
from shared.billing import desk_repository as own
from shared.billing.desk_repository import ListedDrift, ListedInvoice
from shared.billing.models import (
    PLATFORM,
    BillingAdjustment,
    BillingCustomer,
    BillingDrift,
    BillingEvent,
    BillingInvoice,
    BillingStanding,
    BillingSubscription,
    ReconcileRun,
)
from shared.core import notices
from shared.core.config import settings
from shared.core.ctx import OperatorCtx
from shared.core.errors import Conflict, Invalid
from shared.jobs import queue
from shared.tenancy import entry

RECONCILE = "billing.reconcile"
FOR_DRIFT = "List of drift"  # the stated reason where the page itself is the reason
INVOICE_STATUSES = ("draft", "open", "paid", "void", "uncollectible")
MOST, NEWEST = 100, 20


@dataclass(frozen=True, slots=True)
class Billing:
    """By id of a customer: when it was last looked at, and where the provider shows it to us.

    `course`: what follows, a `course.Course` as JSON.
    """

    tenant_name: str
    customers: Sequence[BillingCustomer]
    synced_at: Mapping[str, datetime]
    addresses: Mapping[str, str]
    standing: BillingStanding | None
    subscriptions: Sequence[BillingSubscription]
    invoices: Sequence[BillingInvoice]  # the newest
    events: Sequence[BillingEvent]
    drift: Sequence[BillingDrift]
    adjustments: Sequence[BillingAdjustment]

    @property
    def course(self) -> dict[str, Any]:
        return self.standing.course if self.standing else {}


@dataclass(frozen=True, slots=True)
class InvoicesPage:
    """Newest first. `after` is the cursor of the next page, "" on the last one."""

    rows: Sequence[ListedInvoice]
    after: str = ""


@dataclass(frozen=True, slots=True)
class DriftPage:
    rows: Sequence[ListedDrift]
    after: str = ""


async def look(octx: OperatorCtx, tenant_id: str, reason: str) -> Billing:
    """Raises Invalid without a reason, NotFound."""
    policy.require_operator(octx, actions.OP_BILLING_READ)
    async with entry.visit(octx, tenant_id, reason) as ctx:
        known = await own.list_customers(ctx)
        return Billing(
            ctx.tenant_name,
            known,
            await own.synced_at(ctx.session, [one.id for one in known]),
            {one.id: _address(one.id, live=await _is_live(octx, one.account_id)) for one in known},
            await repository.get_standing(ctx),
            await repository.list_subscriptions(ctx),
            await own.list_invoices(ctx, NEWEST),
            await own.list_events(ctx, NEWEST),
            await own.list_drift(ctx, NEWEST),
            await adjustments.list_all(ctx, NEWEST),
        )


async def compare(octx: OperatorCtx, tenant_id: str, reason: str) -> str:
    """Promises a look at this tenant's customer now. Id of the run. Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_BILLING_RECONCILE)
    async with entry.visit(octx, tenant_id, reason) as ctx:
        customer_id = await customers.find(ctx)
        if not customer_id:
            raise Conflict(
                f"{ctx.tenant_name} is no customer of the provider yet.", "There is nothing to compare."
            )
        run = ReconcileRun(cause="operator", by_name=octx.actor.name, reason=" ".join(reason.split()))
        ctx.session.add(run)
        trail.record(ctx, "billing.reconcile_asked", customer_id, reason=reason)
        await queue.put(ctx, RECONCILE, in_turn=False, customer_id=customer_id, run_id=run.id)
        return run.id


async def carry_out(tenant_id: str, customer_id: str, run_id: str) -> None:
    """What `compare` promised. Outside of every transaction of the caller; raises as the provider does."""
    effect = await reconcile.one(PLATFORM, customer_id, tenant_id, run_id)
    async with entry.enter_books(tenant_id, RECONCILE) as ctx:
        await own.finish(ctx.session, run_id, drifted=int(bool(effect.differences)))
        await notices.page(ctx.session, tenant_id, "billing")


async def list_runs(octx: OperatorCtx, limit: int = 10) -> Sequence[ReconcileRun]:
    """Comparisons of all or one of the customers with the provider, newest first."""
    policy.require_operator(octx, actions.OP_BILLING_READ)
    return await own.list_runs(octx.session, min(max(limit, 1), MOST))


async def list_drift(octx: OperatorCtx, *, after: str = "", limit: int = 50) -> DriftPage:
    """Of every tenant, newest first: what differed although nobody had said so, and whether it is repaired."""
    policy.require_operator(octx, actions.OP_BILLING_READ)
    limit = min(max(limit, 1), MOST)
    async with entry.across(octx, FOR_DRIFT) as session:
        found = await own.list_all_drift(session, after=after, limit=limit + 1)
    shown = found[:limit]
    return DriftPage(shown, own.drift_cursor(shown[-1]) if len(found) > limit else "")


async def list_invoices(
    octx: OperatorCtx,
    reason: str,
    status: str = "",
    *,
    query: str = "",
    after: str = "",
    limit: int = 50,
) -> InvoicesPage:
    """Of every tenant. `query`: a number or id of an invoice, or the name or id of a tenant. Raises Invalid."""
    policy.require_operator(octx, actions.OP_BILLING_READ)
    if status and status not in INVOICE_STATUSES:
        raise Invalid("There is no such status of an invoice.", "Choose one from the list.")
    needle = " ".join(query.split()).lower()
    if len(needle) > 200 or "\0" in needle:
        raise Invalid("A search has at most 200 characters.", "Shorten it.")
    limit = min(max(limit, 1), MOST)
    async with entry.across(octx, reason) as session:
        found = await own.list_all_invoices(session, status, needle, after=after, limit=limit + 1)
    shown = found[:limit]
    return InvoicesPage(shown, own.invoice_cursor(shown[-1]) if len(found) > limit else "")


def levers() -> str:
    """Of the stand-in: its clock, and what befalls its webhooks. "" where a real provider is asked."""
    base = settings().stripe_base
    return f"{base}/_control" if base is not None else ""


async def _is_live(octx: OperatorCtx, account_id: str) -> bool:
    if account_id == PLATFORM:
        return accounts.platform().livemode
    return await own.is_live(octx.session, account_id)


def _address(customer_id: str, *, live: bool) -> str:
    """Of its dashboard, or of the levers of the stand-in."""
    return levers() or f"https://dashboard.stripe.com/{'' if live else 'test/'}customers/{customer_id}"
