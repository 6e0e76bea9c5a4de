"""Store the state that a sync fetched and the access that follows from it, in the caller's transaction.

Locks, in this order: the claimed webhooks (by the caller), the customer (by the sync guard), the tenant. Two customers
of one tenant have different guards, so the tenant is locked before the records of the other customer are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from shared.billing import dispute_pauses, recurring_revenue, repository, trials, unpaid_taxes
from shared.billing.inbound_webhooks import inbound_webhook_repository
from shared.billing.models import BillingDrift, BillingEvent, BillingSnapshot
from shared.billing.prepaid import balance, top_up_charges
from shared.billing.pricing import prices
from shared.billing.provider_values import CustomerState
from shared.billing.sync import access_schedule, provider_records, refund_results
from shared.billing.sync.access_schedule import AccessSchedule, AccessStatus
from shared.core import live_events, log, money
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import NotFound
from shared.entitlements import subscription_grants
from shared.entitlements.subscription_grants import AccessStage, BoughtAddon
from shared.jobs import queue
from shared.tenancy import tenants

# "return": a member came back from the provider's page; "member": a member's order, change or cancellation.
SyncCause = Literal["webhook", "reconcile", "return", "member", "operator"]
DUNNING_TASK = "billing.dun"
# The provider's state was unchanged, but the tenant's access didn't match it.
LOCAL_DRIFT = provider_records.Difference("what may be used", "something else", "what is paid for")


@dataclass(frozen=True, slots=True)
class SyncResult:
    """`written`: False where a later sync was written first, or another worker has the webhooks."""

    written: bool
    recalculated: bool = False
    differences: Sequence[provider_records.Difference] = ()


async def apply_customer_state(
    ctx: Ctx,
    account_id: str,
    customer_id: str,
    state: CustomerState,
    ticket: int,
    *,
    cause: SyncCause,
    event_ids: Sequence[str] = (),
    run_id: str = "",
) -> SyncResult:
    """Raises NotFound for a customer that is not this tenant's."""
    if not await inbound_webhook_repository.lock_customer_if_newest(
        ctx.session, account_id, customer_id, ticket
    ):
        return SyncResult(written=False)
    if not await repository.has_customer(ctx, account_id, customer_id):
        # A customer without subscriptions would pass every foreign key, and its payment method would go to another tenant.
        raise NotFound(
            "This customer doesn’t belong to this organisation.", "Use the customer of this organisation."
        )
    await tenants.lock(ctx)
    current_customer = await repository.get_customer(ctx, account_id)
    is_current = current_customer is not None and current_customer.id == customer_id
    differences = await provider_records.write_records(ctx, account_id, customer_id, state, ticket)
    await refund_results.fail_adjustments(ctx, state.refunds)
    await top_up_charges.settle_top_ups(ctx, state.invoices)
    if state.refunds or state.disputes:
        await balance.apply_reversals(ctx)
    await trials.check_new_trials(ctx, await repository.list_customer_subscriptions(ctx, customer_id), state)
    # The job itself syncs as a member does: where the provider doesn't show its change, it isn't made again at once.
    is_marked = any(subscription.dispute_mark for subscription in state.subscriptions)
    if cause != "member" and (state.disputes or is_marked):
        await dispute_pauses.request_changes(ctx, account_id, customer_id)
    await unpaid_taxes.request_undo(ctx, account_id, state.subscriptions)
    snapshot = await repository.get_billing_snapshot(ctx)
    changes = [*differences, *(_compare_customer(snapshot, state) if is_current else ())]
    previous_json = snapshot.schedule if snapshot else {}
    at = now()
    subscriptions = [
        provider_records.to_subscription(row) for row in await repository.list_subscriptions(ctx)
    ]
    # Read again, because it can have changed while waiting for the tenant's lock.
    previous_status = cast(
        AccessStatus | None, await subscription_grants.get_granted_status(ctx)
    )  # the database checks its values
    priced_versions = await prices.list_with_versions(ctx.session)
    catalog_prices = prices.map_catalog_prices(priced_versions)
    await recurring_revenue.record(ctx, subscriptions, priced_versions, at=at)
    schedule = access_schedule.schedule_for(
        subscriptions, catalog_prices, at, previous_status=previous_status
    )
    extra_subscriptions = access_schedule.count_extra_subscriptions(subscriptions, catalog_prices)
    schedule_json = schedule.as_json() if schedule else {}
    recalculated = False
    # Reconciliation also repairs differences that only exist on our side.
    if schedule is not None and (schedule_json != previous_json or cause in ("reconcile", "operator")):
        recalculated = await _apply_schedule(ctx, schedule)
        if recalculated and schedule_json == previous_json:
            differences = [*differences, LOCAL_DRIFT]
    snapshot = snapshot or BillingSnapshot(tenant_id=ctx.tenant_id, schedule={}, status="", ticket=ticket)
    is_upcoming_new = is_current and snapshot.upcoming != provider_records.upcoming_to_json(state.upcoming)
    are_methods_new = is_current and snapshot.payment_methods != provider_records.methods_to_json(
        state.methods
    )
    if is_current:
        _set_customer_values(snapshot, customer_id, state)
    record_alerts = await refund_results.list_alerts(ctx)
    await _save_snapshot(ctx, snapshot, schedule, schedule_json, ticket, at, record_alerts)
    if snapshot.extra_subscriptions != extra_subscriptions:
        snapshot.extra_subscriptions = extra_subscriptions
        await _report_extra_subscriptions(ctx, extra_subscriptions)
    if changes or event_ids or recalculated:
        ctx.session.add(
            BillingEvent(
                tenant_id=ctx.tenant_id,
                account_id=account_id,
                customer_id=customer_id,
                cause=cause,
                event_ids=list(event_ids),
                ticket=ticket,
                previous=_summarise(previous_json, changes, "ours"),
                next=_summarise(schedule_json, changes, "theirs"),
                recalculated=recalculated,
                request_id=ctx.request_id,
            )
        )
    if differences and cause == "reconcile":
        ctx.session.add(
            BillingDrift(
                tenant_id=ctx.tenant_id,
                account_id=account_id,
                customer_id=customer_id,
                run_id=run_id,
                differences=[difference._asdict() for difference in differences],
                repaired=True,
            )
        )
    if changes or differences or is_upcoming_new:
        await live_events.refresh_pages(ctx.session, ctx.tenant_id, "billing")
        await live_events.refresh_pages(ctx.session, "*", "billing")
    # Reconciliation plans the reminders once a day, in case a job was lost or an earlier version knew fewer of them.
    if differences or are_methods_new or cause == "reconcile":
        await queue.put(ctx, DUNNING_TASK, ordered=False)
    return SyncResult(True, recalculated, differences)


def _compare_customer(
    snapshot: BillingSnapshot | None, state: CustomerState
) -> tuple[provider_records.Difference, ...]:
    """Differences of a customer beside subscriptions and invoices, such as balance and payment method."""
    method, balance, currency = (
        (snapshot.method, snapshot.balance, snapshot.currency) if snapshot else ("", 0, "")
    )
    sides = (
        ("method", method, state.method),
        ("balance", _format_balance(balance, currency), _format_balance(state.balance, state.currency)),
        ("deleted", bool(snapshot and snapshot.deleted_customer_id), state.deleted),
    )
    return tuple(provider_records.Difference(*side) for side in sides if side[1] != side[2])


def _format_balance(balance: int, currency: str) -> str:
    return money.format_amount(balance, currency) if balance and currency else ""


async def _apply_schedule(ctx: Ctx, schedule: AccessSchedule) -> bool:
    first, *later = schedule.phases
    return await subscription_grants.apply_subscription(
        ctx,
        [
            AccessStage(first.status, first.why),
            *(AccessStage(phase.status, phase.why, phase.since) for phase in later),
        ],
        version_id=schedule.version_id,
        seats=schedule.seats,
        trial_ends_at=schedule.trial_ends_at,
        ended_at=schedule.ended_at,
        addons=[BoughtAddon(addon.version_id, addon.quantity, addon.until) for addon in schedule.addons],
    )


def _set_customer_values(row: BillingSnapshot, customer_id: str, state: CustomerState) -> None:
    """Values of the current customer. Those of earlier ones, which were deleted, say nothing about the tenant."""
    if state.deleted and not row.deleted_customer_id:
        log.get_logger(__name__).error("customer_deleted", tenant_id=row.tenant_id, customer_id=customer_id)
    row.deleted_customer_id = customer_id if state.deleted else ""
    row.method, row.balance, row.currency = state.method, state.balance, state.currency
    row.upcoming = provider_records.upcoming_to_json(state.upcoming)
    row.payment_methods = provider_records.methods_to_json(state.methods)


async def _save_snapshot(
    ctx: Ctx,
    row: BillingSnapshot,
    schedule: AccessSchedule | None,
    schedule_json: dict[str, Any],
    ticket: int,
    at: datetime,
    record_alerts: Sequence[str],
) -> None:
    if row.schedule != schedule_json:
        row.changed_at = at
    row.schedule, row.status = schedule_json, schedule.provider_status if schedule else ""
    alerts = schedule.alerts if schedule else ()
    if row.deleted_customer_id:
        alerts = (f"The customer {row.deleted_customer_id} was deleted in Stripe", *alerts)
    row.alert, row.ticket = "; ".join((*alerts, *record_alerts)), ticket
    ctx.session.add(row)
    await ctx.session.flush()


async def _report_extra_subscriptions(ctx: Ctx, number: int) -> None:
    """Operators see these customers on their home page."""
    if number:
        log.get_logger(__name__).error("customer_pays_twice", tenant_id=ctx.tenant_id, extra=number)
    await live_events.refresh_pages(ctx.session, "*", "billing")


def _summarise(
    course: dict[str, Any], differences: Sequence[provider_records.Difference], side: str
) -> dict[str, Any]:
    return {
        "status": course.get("status", ""),
        "word": course.get("word", ""),
        **{difference.what: getattr(difference, side) for difference in differences},
    }
