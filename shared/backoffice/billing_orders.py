"""What operators ask the provider for: a subscription paid by transfer, an invoice marked as paid, a longer trial.

One transaction stores the order and its audit event. A job then submits it with the row's id as idempotency key, so that it
happens once however often the job runs. Access follows from the sync, never from the order.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import billing_orders_repository as repository
from shared.backoffice.adjustments import LARGE_AMOUNT
from shared.backoffice.reasons import Reason, use_reason
from shared.billing import customers, dunning, provider_registry
from shared.billing.dunning_messages import DunningMessage, format_day
from shared.billing.models import PLATFORM, BillingInvoice, BillingOrder, BillingOrderKind, BillingOrderState
from shared.billing.pricing import prices
from shared.billing.provider import CHECKOUT_PAID, Provider, ProviderRefused
from shared.billing.provider_values import Subscription, TransferOrder
from shared.billing.subscriptions import checkout, subscriptions
from shared.billing.sync import customer_sync, provider_records
from shared.core import live_events, money
from shared.core.context import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.displayed_text import clean_line
from shared.core.errors import Conflict, DomainError, Invalid, NotFound
from shared.core.ids import is_id, new_id
from shared.entitlements import assignments
from shared.jobs import queue
from shared.tenancy import entry, tenants

TASK = "billing.order"
MIN_DUE_DAYS, MAX_DUE_DAYS = 7, 90  # a customer has to pay an invoice
MAX_TRIAL = timedelta(days=90)  # from the start of the subscription, with all extensions
MAX_EXTENSION_DAYS = MAX_TRIAL.days
MAX_REFERENCE_LENGTH, MAX_MESSAGE_LENGTH = 80, 300
KIND_LABELS = {
    BillingOrderKind.MARK_PAID: "Invoice marked as paid",
    BillingOrderKind.TRANSFER_SUBSCRIPTION: "Subscription paid by transfer",
    BillingOrderKind.TRIAL_EXTENSION: "Trial extension",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferTerms:
    """`seats`: ignored without a price per seat. `currency`: "" for the plan's first."""

    version_id: str
    period: str
    seats: int
    currency: str
    days_until_due: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOffer:
    """What can be sold by transfer."""

    version_id: str
    name: str
    period: str
    currency: str


async def request_transfer_subscription(
    octx: OperatorCtx, tenant_id: str, terms: TransferTerms, reason: Reason, *, order_id: str = ""
) -> str:
    """Starts a subscription whose invoices are paid by bank transfer. Returns the id of the order.

    The plan is granted when the provider reports the subscription, before the first invoice is paid; an overdue invoice
    ends access as a failed charge does. `order_id`: as of an adjustment. Raises Invalid, NotFound, and Conflict with a
    subscription, too few seats or an order that is open.
    """
    policy.require_operator(octx, actions.OP_BILLING_ADJUST)
    reason_text = use_reason(octx, reason, tenant_id)
    if not MIN_DUE_DAYS <= terms.days_until_due <= MAX_DUE_DAYS:
        step = f"Choose {MIN_DUE_DAYS} to {MAX_DUE_DAYS} days."
        raise Invalid("The number of days is out of range.", step, fields={"days_until_due": step})
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        await tenants.lock(ctx)
        await tenants.require_not_ending(ctx)
        currency = await checkout.choose_currency(ctx, terms.currency)
        after = await _check_terms(ctx, terms, currency)
        return await _add_order(
            octx,
            ctx,
            BillingOrderKind.TRANSFER_SUBSCRIPTION,
            "",
            terms={
                "version_id": terms.version_id,
                "period": terms.period,
                "seats": terms.seats,
                "currency": currency or "",
                "days_until_due": terms.days_until_due,
            },
            reason=reason_text,
            order_id=order_id,
            event="billing.transfer_asked",
            after=after,
        )


async def request_mark_paid(
    octx: OperatorCtx, tenant_id: str, invoice_id: str, reference: str, reason: Reason, *, order_id: str = ""
) -> str:
    """Marks an open invoice as paid by transfer. `reference`: of the transfer, as on the bank's statement.

    Raises Invalid, NotFound, Conflict for an invoice that is charged automatically or isn't open, Refused for a large one.
    """
    policy.require_operator(octx, actions.OP_BILLING_ADJUST)
    reason_text = use_reason(octx, reason, tenant_id)
    reference = clean_line(
        reference,
        noun="reference",
        missing="Enter the reference of the transfer.",
        max_length=MAX_REFERENCE_LENGTH,
        fields=("reference",),
    )
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        await tenants.lock(ctx)
        invoice = await repository.get_invoice(ctx, invoice_id)
        if invoice is None or invoice.absent_at is not None:
            raise NotFound("This invoice doesn’t exist.", "Reload the page.")
        _require_payable_by_transfer(invoice)
        if invoice.due > LARGE_AMOUNT * 10 ** money.require_currency(invoice.currency).digits:
            policy.require_operator(octx, actions.OP_BILLING_ADJUST_ANY)
        return await _add_order(
            octx,
            ctx,
            BillingOrderKind.MARK_PAID,
            invoice.id,
            terms={"reference": reference},
            reason=reason_text,
            order_id=order_id,
            event="billing.paid_by_transfer",
            after={"paid": money.format_amount(invoice.due, invoice.currency), "reference": reference},
        )


async def request_trial_extension(
    octx: OperatorCtx,
    tenant_id: str,
    days: int,
    reason: Reason,
    *,
    message: str = "",
    order_id: str = "",
) -> str:
    """Moves the end of the running trial by `days`. `message`: what the owners read beside the new day.

    Raises Invalid, NotFound, and Conflict without a running trial or beyond `MAX_TRIAL`.
    """
    policy.require_operator(octx, actions.OP_BILLING_ADJUST)
    reason_text = use_reason(octx, reason, tenant_id)
    if not 1 <= days <= MAX_EXTENSION_DAYS:
        step = f"Choose 1 to {MAX_EXTENSION_DAYS} days."
        raise Invalid("The number of days is out of range.", step, fields={"days": step})
    message = clean_line(
        message, noun="message", missing="", max_length=MAX_MESSAGE_LENGTH, fields=("message",)
    )
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        await tenants.lock(ctx)
        trial, ends_at = await _require_trial(ctx)
        until, latest = ends_at + timedelta(days=days), trial.created_at + MAX_TRIAL
        if until > latest:
            step = f"Choose a day until {format_day(latest)}."
            raise Invalid(
                f"A trial lasts at most {MAX_TRIAL.days} days altogether.", step, fields={"days": step}
            )
        return await _add_order(
            octx,
            ctx,
            BillingOrderKind.TRIAL_EXTENSION,
            trial.id,
            terms={"until": until.isoformat(), "message": message},
            reason=reason_text,
            order_id=order_id,
            event="billing.trial_extended",
            before={"trial_ends": format_day(ends_at)},
            after={"trial_ends": format_day(until)},
        )


async def retry_order(octx: OperatorCtx, tenant_id: str, order_id: str, reason: Reason) -> None:
    """Submits an order again that the provider hasn’t confirmed. Raises NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_BILLING_ADJUST)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        await tenants.lock(ctx)
        row = await repository.get_order(ctx, order_id)
        if row is None:
            raise NotFound("This order doesn’t exist.", "Reload the page.")
        if row.state is not BillingOrderState.REQUESTED:
            raise Conflict(f"This order is already {row.state}.", "Reload the page.")
        audit_log.record(ctx, "billing.order_retried", row.id, reason=reason_text)
        await _enqueue(ctx, row.id)


async def list_orders(ctx: Ctx, limit: int) -> Sequence[BillingOrder]:
    """The newest first. The caller checks the permission."""
    return await repository.list_orders(ctx, limit)


async def list_transfer_offers(ctx: Ctx) -> list[TransferOffer]:
    """What this tenant can buy now, [] with a subscription. The caller checks the permission."""
    if await _find_subscription_obstacle(ctx):
        return []
    _, catalogue = await assignments.get_snapshot(ctx)
    all_prices = await prices.list_with_versions(ctx.session)
    offers = []
    for offer in checkout.list_offers_on_sale(ctx, catalogue):
        sold = sorted(
            {(price.period, price.currency) for price, version, _ in all_prices if version.id == offer.id}
        )
        offers += [
            TransferOffer(version_id=offer.id, name=offer.name, period=period, currency=currency)
            for period, currency in sold
        ]
    return offers


async def execute_order(tenant_id: str, order_id: str, request_id: str) -> None:
    """Submits the order, outside of any transaction, and syncs the customer. Idempotent. Raises ProviderDown."""
    async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
        row = await repository.get_order(ctx, order_id)
        if row is None or row.state is not BillingOrderState.REQUESTED:
            return
    try:
        external_id, error = await SUBMITTERS[row.kind](row, request_id), ""
    except ProviderRefused as refusal:
        external_id, error = "", refusal.message
    except DomainError as problem:
        external_id, error = "", f"{problem.detail} {problem.next_step}".strip()
    async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
        customer_id = await customers.find_id(ctx)
    if customer_id:
        await customer_sync.sync_customer(PLATFORM, customer_id, tenant_id, cause="operator")
    async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
        await _finish(ctx, order_id, external_id=external_id, error=error)


async def _submit_mark_paid(row: BillingOrder, _: str) -> str:
    await (await provider_registry.get(PLATFORM)).mark_paid(row.subject_id, row.id)
    return row.subject_id


async def _submit_trial_extension(row: BillingOrder, _: str) -> str:
    provider = await provider_registry.get(PLATFORM)
    await provider.extend_trial(row.subject_id, datetime.fromisoformat(row.terms["until"]), row.id)
    return row.subject_id


async def _submit_transfer_subscription(row: BillingOrder, request_id: str) -> str:
    """Open payment pages are closed before and afterwards, so that none of them is paid beside it."""
    async with entry.enter_billing_sync(row.tenant_id, TASK, request_id) as ctx:
        lines = await prices.build_order_lines(
            ctx.session,
            PLATFORM,
            row.terms["version_id"],
            row.terms["period"],
            seats=row.terms["seats"],
            currency=row.terms["currency"] or None,
        )
    customer_id = await customers.ensure(row.tenant_id, request_id=request_id)
    provider = await provider_registry.get(PLATFORM)
    await _close_checkouts(provider, customer_id)
    order = TransferOrder(
        customer_id=customer_id,
        lines=lines,
        days_until_due=row.terms["days_until_due"],
        key=row.id,
        metadata={"tenant_id": row.tenant_id},
    )
    subscription_id = await provider.start_transfer_subscription(order)
    try:
        await _close_checkouts(provider, customer_id)
    except Conflict:
        pass  # the sync shows operators that this customer pays twice
    return subscription_id


SUBMITTERS: dict[BillingOrderKind, Callable[[BillingOrder, str], Awaitable[str]]] = {
    BillingOrderKind.MARK_PAID: _submit_mark_paid,
    BillingOrderKind.TRANSFER_SUBSCRIPTION: _submit_transfer_subscription,
    BillingOrderKind.TRIAL_EXTENSION: _submit_trial_extension,
}


async def _close_checkouts(provider: Provider, customer_id: str) -> None:
    """Raises Conflict where one was paid just now."""
    try:
        await provider.close_checkouts(customer_id)
    except ProviderRefused as refusal:
        if refusal.code != CHECKOUT_PAID:
            raise
        raise Conflict(
            "A member has just paid for a subscription.", "Reload the page to see it."
        ) from refusal


async def _finish(ctx: Ctx, order_id: str, *, external_id: str, error: str) -> None:
    row = await repository.lock_order(ctx, order_id)
    if row is None or row.state is not BillingOrderState.REQUESTED:
        return
    row.state = BillingOrderState.FAILED if error else BillingOrderState.DONE
    row.done_at, row.external_id, row.error = now(), external_id, error[:500]
    ctx.session.add(row)
    if error:
        audit_log.record(ctx, "billing.order_failed", row.id, after={"order": KIND_LABELS[row.kind]})
    elif row.kind is BillingOrderKind.TRIAL_EXTENSION:
        until = datetime.fromisoformat(row.terms["until"])
        text = row.terms["message"] or "Nothing is charged before then."
        await dunning.notify_contacts(
            ctx,
            DunningMessage(
                *(dunning.TRIAL_EXTENDED, row.id, f"Your trial now ends on {format_day(until)}", text)
            ),
        )
    await _refresh_pages(ctx)


async def _add_order(
    octx: OperatorCtx,
    ctx: Ctx,
    kind: BillingOrderKind,
    subject_id: str,
    *,
    terms: dict[str, Any],
    reason: str,
    order_id: str,
    event: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any],
) -> str:
    """Callers hold the tenant's lock. Raises Conflict for an order that was sent twice or is open."""
    row = BillingOrder(
        tenant_id=ctx.tenant_id,
        id=order_id if is_id("bor", order_id) else new_id("bor"),
        kind=kind,
        subject_id=subject_id,
        terms=terms,
        reason=reason,
        by_id=octx.actor_id,
        by_name=octx.actor.name,
    )
    is_sent_twice = await repository.get_order(ctx, row.id) is not None
    if is_sent_twice or await repository.find_open_order(ctx, kind, subject_id) is not None:
        raise Conflict("This was already submitted.", "Wait for Stripe’s answer, then reload the page.")
    ctx.session.add(row)
    audit_log.record(ctx, event, subject_id or row.id, before=before, after=after, reason=reason)
    await _enqueue(ctx, row.id)
    return row.id


async def _check_terms(ctx: Ctx, terms: TransferTerms, currency: str | None) -> dict[str, Any]:
    """What the audit log says of them. Raises Invalid, NotFound, Conflict."""
    if obstacle := await _find_subscription_obstacle(ctx):
        raise Conflict(obstacle, "Let a member change it, or wait until it has ended.")
    _, catalogue = await assignments.get_snapshot(ctx)
    offer = checkout.get_offer_on_sale(ctx, catalogue, terms.version_id)
    seats = await checkout.check_seats(ctx, offer, terms.period, terms.seats, currency=currency)
    capacity = subscriptions.get_seat_capacity(offer, seats, {}, catalogue)
    if (seat_obstacle := await subscriptions.find_seat_obstacle(ctx, offer, capacity, None)) is not None:
        raise Conflict(*seat_obstacle)
    await prices.build_order_lines(
        ctx.session, PLATFORM, terms.version_id, terms.period, seats=seats or 1, currency=currency
    )
    after: dict[str, Any] = {
        "plan": offer.label,
        "period": terms.period,
        "days_until_due": terms.days_until_due,
    }
    return after | ({"seats": seats} if seats is not None else {})


async def _find_subscription_obstacle(ctx: Ctx) -> str:
    """ "" where the tenant has no subscription that hasn’t ended."""
    if await subscriptions.get_plan_subscription(ctx) is not None:
        return f"{ctx.tenant_name} has a subscription."
    if await subscriptions.get_incomplete_subscription(ctx) is not None:
        return f"The first payment of {ctx.tenant_name} is still open."
    return ""


def _require_payable_by_transfer(invoice: BillingInvoice) -> None:
    if invoice.due_at is None:
        raise Conflict(
            "This invoice is charged automatically.",
            "Issue a credit if it was paid in another way.",
        )
    if invoice.status != "open":
        raise Conflict(f"This invoice is {invoice.status}.", "Only an open invoice can be marked as paid.")


async def _require_trial(ctx: Ctx) -> tuple[Subscription, datetime]:
    """The running trial and its end. Raises Conflict."""
    records = [provider_records.to_subscription(row) for row in await subscriptions.list_records(ctx)]
    trials = [record for record in records if record.trial_ends_at is not None]
    running = [record for record in trials if record.status == "trialing"]
    if running and running[-1].trial_ends_at is not None and running[-1].trial_ends_at > now():
        return running[-1], running[-1].trial_ends_at
    if trials:
        raise Conflict(
            f"The trial of {ctx.tenant_name} has ended.",
            "Grant another trial once the subscription has ended, or issue a credit.",
        )
    raise Conflict(f"{ctx.tenant_name} has no trial.", "Grant a trial for its next checkout.")


async def _enqueue(ctx: Ctx, order_id: str) -> None:
    await queue.put(ctx, TASK, ordered=False, order_id=order_id)
    await _refresh_pages(ctx)


async def _refresh_pages(ctx: Ctx) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "billing")
