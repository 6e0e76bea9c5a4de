"""Charging automatic top-ups, and finding out what became of a charge.

A charge whose answer is lost is repeated as it was, as long as its job is tried. An hour after its first try it isn't
tried any more: the sync then asks for a job that looks it up at the provider and settles it. A bank may take days to settle a
payment; its credits are given when a sync sees the invoice paid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.audit import audit_log
from shared.billing import customers, dunning, provider_registry
from shared.billing.dunning_messages import DunningMessage
from shared.billing.models import PLATFORM, PrepaidGrant, TopUp
from shared.billing.prepaid import balance, top_ups
from shared.billing.prepaid import top_ups_repository as repository
from shared.billing.provider import ProviderRefused, RefusalKind
from shared.billing.provider_values import Invoice, SingleCharge
from shared.core import money
from shared.core.context import Ctx
from shared.core.db import now
from shared.jobs import queue
from shared.tenancy import entry

DESCRIPTION = "Prepaid credits"
TRY_TIME = timedelta(hours=1)  # longer than the queue tries a job
TURNED_OFF = "Turned off before it was charged"
DISPUTED = "A payment is disputed"
DECLINED_TITLE = "Your credits couldn’t be topped up"
CLOSED_STATUSES = ("void", "uncollectible")  # of invoices that nobody pays any more
METHOD_STEP = "Update your payment method"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why nothing was charged, and what the customer does before they turn top-ups on again, "" for nothing."""

    reason: str
    next_step: str = METHOD_STEP


UNPAID = Failure("The payment failed.")
NO_ANSWER = Failure("The payment provider didn’t confirm the charge.", "")
REFUSALS: dict[RefusalKind, Failure] = {
    "tax_location": Failure(
        "The tax for your billing address can’t be calculated.",
        "Enter the country and the postal code under “Billing details”",
    ),
}
REFUSED = Failure("The payment provider refused the charge.")


@dataclass(frozen=True, slots=True)
class TopUpOrder:
    """A top-up as submitted to the provider. `is_over`: it isn't tried any more, only looked up.

    `is_settling`: a bank has its payment.
    """

    customer_id: str
    method_id: str
    amount: int
    currency: str
    is_over: bool = False
    is_settling: bool = False


async def execute_top_up(tenant_id: str, top_up_id: str, request_id: str) -> None:
    """Charges a top-up, outside of any transaction, and grants what was paid. Idempotent. Raises ProviderDown."""
    async with entry.enter_job(tenant_id, top_ups.TASK, request_id) as ctx:
        order = await _prepare_order(ctx, top_up_id)
    if order is None:
        return
    try:
        outcome = await _submit(order, top_up_id)
    except ProviderRefused as refusal:
        outcome = Failure(refusal.message) if refusal.kind == "card" else REFUSALS.get(refusal.kind, REFUSED)
    async with entry.enter_billing_sync(tenant_id, top_ups.TASK, request_id) as ctx:
        if isinstance(outcome, Failure):
            await _fail(ctx, top_up_id, outcome)
        elif outcome.is_paid:
            await _grant(ctx, top_up_id, outcome.invoice_id)
        else:
            await _await_settlement(ctx, top_up_id, outcome.invoice_id)


async def settle_top_ups(ctx: Ctx, invoices: Sequence[Invoice]) -> None:
    """Grants what was paid meanwhile, and has a job look up what isn't tried any more. For the sync."""
    invoices_by_key = {
        invoice.key: invoice
        for invoice in invoices
        if invoice.key and invoice.status not in ("draft", "open")
    }
    if invoices_by_key:
        for top_up_id in await repository.list_unpaid_ids(ctx, list(invoices_by_key)):
            invoice = invoices_by_key[top_up_id]
            if invoice.status in CLOSED_STATUSES:
                await _fail(ctx, top_up_id, UNPAID)
            else:
                await _grant(ctx, top_up_id, invoice.id)
    top_up = await repository.find_open_top_up(ctx.session, ctx.tenant_id)
    if top_up is not None and _is_over(top_up):
        await queue.put(ctx, top_ups.TASK, top_up_id=top_up.id)


def _is_over(top_up: TopUp) -> bool:
    """Whether it isn't tried any more, because a bank settles it or because it was requested long ago."""
    return bool(top_up.invoice_id) or now() - (top_up.tried_at or top_up.created_at) >= TRY_TIME


async def _submit(order: TopUpOrder, top_up_id: str) -> SingleCharge | Failure:
    provider = await provider_registry.get(PLATFORM)
    if order.is_over:
        failure = UNPAID if order.is_settling else NO_ANSWER
        return await provider.close_charge(order.customer_id, top_up_id) or failure
    return await provider.charge_once(
        order.customer_id,
        order.amount,
        order.currency,
        DESCRIPTION,
        method_id=order.method_id,
        key=top_up_id,
    )


async def _prepare_order(ctx: Ctx, top_up_id: str) -> TopUpOrder | None:
    """None where it was done, or can't be charged and was marked as failed.

    A charge that was tried is submitted again as it was. Its answer may be lost, and then only the provider knows it.
    """
    top_up = await repository.lock_top_up(ctx, top_up_id)
    if top_up is None or top_up.state != repository.REQUESTED:
        return None
    if top_up.tried_at is not None:
        return TopUpOrder(
            top_up.customer_id,
            top_up.method_id,
            top_up.amount,
            top_up.currency,
            is_over=_is_over(top_up),
            is_settling=bool(top_up.invoice_id),
        )
    if _is_over(top_up):  # nothing was submitted
        await _fail(ctx, top_up_id, NO_ANSWER)
        return None
    setting = await repository.get_setting(ctx)
    if setting is None or not setting.is_on:
        await _mark_failed(ctx, top_up, TURNED_OFF)
        return None
    if await repository.has_collection_dispute(ctx.session, ctx.tenant_id):
        await _mark_failed(ctx, top_up, DISPUTED)
        return None
    customer_id, method_id = await customers.find_id(ctx), await top_ups.find_method_id(ctx)
    if not method_id or not customer_id:
        await _fail(ctx, top_up_id, Failure("There is no payment method."))
        return None
    top_up.tried_at, top_up.customer_id, top_up.method_id = now(), customer_id, method_id
    ctx.session.add(top_up)
    return TopUpOrder(customer_id, method_id, top_up.amount, top_up.currency)


async def _grant(ctx: Ctx, top_up_id: str, invoice_id: str) -> None:
    """Gives the credits once, whatever was believed before: the customer has paid for them."""
    top_up = await repository.lock_top_up(ctx, top_up_id)
    if top_up is None or top_up.state == repository.PAID:
        return
    top_up.state, top_up.invoice_id, top_up.error, top_up.done_at = repository.PAID, invoice_id, "", now()
    ctx.session.add(top_up)
    grant = PrepaidGrant(
        tenant_id=ctx.tenant_id,
        source=balance.TOP_UP,
        amount=top_up.amount,
        remaining=top_up.amount,
        currency=top_up.currency,
        priority=balance.DEFAULT_PRIORITY,
        invoice_id=invoice_id,
    )
    await balance.add_grant(ctx, grant)
    after = {"credits": money.format_amount(top_up.amount, top_up.currency)}
    audit_log.record(ctx, "billing.topped_up", grant.id, after=after, invoice=invoice_id)


async def _await_settlement(ctx: Ctx, top_up_id: str, invoice_id: str) -> None:
    """The invoice's id says that a bank has the payment."""
    top_up = await repository.lock_top_up(ctx, top_up_id)
    if top_up is not None and top_up.state == repository.REQUESTED:
        top_up.invoice_id = invoice_id
        ctx.session.add(top_up)
        await balance.notify_pages(ctx)


async def _fail(ctx: Ctx, top_up_id: str, failure: Failure) -> None:
    """No further top-up until the setting is saved again; everyone who may do that is told."""
    top_up = await repository.lock_top_up(ctx, top_up_id)
    if top_up is None or top_up.state != repository.REQUESTED:
        return
    await _mark_failed(ctx, top_up, failure.reason)
    reason = failure.reason.rstrip(".")
    setting = await repository.lock_setting(ctx.session, ctx.tenant_id)
    if setting is not None:
        setting.stop_reason = reason[:300]
        ctx.session.add(setting)
    amount_text = money.format_amount(top_up.amount, top_up.currency)
    next_step = f"{failure.next_step}, then turn" if failure.next_step else "Turn"
    body = (
        f"{amount_text} for prepaid credits wasn’t charged: {reason}. Automatic top-ups have stopped, and usage is billed. "
        f"{next_step} them on again on the billing page."
    )
    await dunning.send_message(ctx, DunningMessage(dunning.TOP_UP_FAILED, top_up.id, DECLINED_TITLE, body))


async def _mark_failed(ctx: Ctx, top_up: TopUp, error: str) -> None:
    top_up.state, top_up.error, top_up.done_at = repository.FAILED, error[:500], now()
    ctx.session.add(top_up)
    await balance.notify_pages(ctx)
