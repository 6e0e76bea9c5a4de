"""Money that operators give or take outside of the price list: written down with a reason, then carried out.

The row and the line in the tenant's trail come first, in one transaction. The provider is asked by a job, with the
row's id as its key, so that however often the job runs, it happens once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shared.access import actions, policy
from shared.audit import trail
from shared.billing import adjustments_repository as repository
from shared.billing import customers, providers
from shared.billing.models import PLATFORM, BillingAdjustment
from shared.billing.provider import ProviderRefused
from shared.core import money, notices
from shared.core.ctx import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.ids import is_id, new_id
from shared.jobs import queue
from shared.tenancy import entry, tenants

TASK = "billing.adjust"
Kind = Literal["credit", "refund", "debit"]
KINDS = ("credit", "refund", "debit")
CODES = {  # why, in one of few words; the sentence beside it says the rest
    "billing_error": "We billed wrongly",
    "contract": "As the contract says",
    "duplicate_charge": "Charged twice",
    "goodwill": "Goodwill",
    "outage_credit": "For an outage",
}
LARGE = 500  # whole units of a currency; more at once is for who may give or take any amount
MOST = 10**10  # smallest units


@dataclass(frozen=True, slots=True)
class Order:
    """What the provider is asked for."""

    account_id: str
    customer_id: str
    kind: str
    amount: int
    currency: str
    invoice_id: str
    said: str


async def adjust(
    octx: OperatorCtx,
    tenant_id: str,
    kind: str,
    amount: int,
    currency: str,
    code: str,
    reason: str,
    *,
    invoice_id: str = "",
    adjustment_id: str = "",
) -> str:
    """Id of the row. `amount`: in the smallest unit of the currency, never below 1; `kind` says in which direction.

    `adjustment_id`: of a form that may be sent twice. Raises Invalid, NotFound, Conflict, Refused for a large amount.
    """
    policy.require_operator(octx, actions.OP_BILLING_ADJUST)
    digits = _check(kind, amount, currency, code, reason)
    if amount > LARGE * 10**digits:
        policy.require_operator(octx, actions.OP_BILLING_ADJUST_ANY)
    async with entry.visit(octx, tenant_id, reason) as ctx:
        await tenants.lock(ctx)
        await _check_state(ctx, kind, amount, currency, invoice_id)
        row = BillingAdjustment(
            tenant_id=tenant_id,
            id=adjustment_id if is_id("adj", adjustment_id) else new_id("adj"),
            kind=kind,
            amount=amount,
            currency=currency,
            reason_code=code,
            reason=" ".join(reason.split()),
            invoice_id=invoice_id,
            by_id=octx.actor.id,
            by_name=octx.actor.name,
        )
        if await repository.get(ctx, row.id) is not None:
            raise Conflict("This has been asked for already.", "Reload the page: it stands in the list.")
        ctx.session.add(row)
        after = {kind: money.said(amount, currency), "why": CODES[code]}
        trail.record(ctx, "billing.adjusted", row.id, after=after, reason=row.reason, invoice=invoice_id)
        await _promise(ctx, row.id)
    return row.id


async def ask_again(octx: OperatorCtx, tenant_id: str, adjustment_id: str, reason: str) -> None:
    """For one that nobody has carried out, because the provider did not answer for long. Raises NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_BILLING_ADJUST)
    async with entry.visit(octx, tenant_id, reason) as ctx:
        await tenants.lock(ctx)
        row = await repository.get(ctx, adjustment_id)
        if row is None:
            raise NotFound("There is no such adjustment.", "Reload the page.")
        if row.state != "requested":
            raise Conflict(f"This adjustment is {row.state}.", "Reload the page.")
        await _promise(ctx, row.id)


async def list_all(ctx: Ctx, limit: int) -> Sequence[BillingAdjustment]:
    """Newest first. For services that were asked for their right."""
    return await repository.list_newest(ctx, limit)


async def carry_out(tenant_id: str, adjustment_id: str, request_id: str) -> None:
    """Outside of every transaction of the caller. Twice is once. Raises as a provider does that does not answer."""
    async with entry.enter_books(tenant_id, TASK, request_id) as ctx:
        order = await _order(ctx, adjustment_id)
    if order is None:
        return
    try:
        external_id, error = await _ask(order, adjustment_id), ""
    except ProviderRefused as refusal:
        external_id, error = "", refusal.said
    async with entry.enter_books(tenant_id, TASK, request_id) as ctx:
        row = await repository.lock(ctx, adjustment_id)
        if row is not None and row.state == "requested":
            row.state, row.done_at = "failed" if error else "done", now()
            row.external_id, row.error = external_id, error[:500]
            ctx.session.add(row)
            await _told(ctx)


def _check(kind: str, amount: int, currency: str, code: str, reason: str) -> int:
    """Digits after the point of the currency."""
    if kind not in KINDS:
        raise Invalid("There is no such adjustment.", "Choose one.", fields={"kind": "Unknown"})
    if not 1 <= amount <= MOST:
        raise Invalid("This is no amount that can be meant.", "Check it.", fields={"amount": "Out of range"})
    if code not in CODES:
        raise Invalid("An adjustment needs a code for its reason.", "Choose one.", fields={"code": "Unknown"})
    if not reason.strip():
        raise Invalid(
            "An adjustment needs a reason.",
            "Say why in one sentence; the customer may read it.",
            fields={"reason": "Missing"},
        )
    return money.check(currency).digits


async def _check_state(ctx: Ctx, kind: str, amount: int, currency: str, invoice_id: str) -> None:
    if not await customers.find(ctx):
        raise Conflict(
            f"{ctx.tenant_name} is no customer of the provider yet.", "Nothing can be billed before."
        )
    invoice = await repository.get_invoice(ctx, invoice_id) if invoice_id else None
    if invoice_id and invoice is None:
        raise NotFound(f"{ctx.tenant_name} has no such invoice.", "Choose one from the list.")
    if kind != "refund":
        known = await repository.get_currency(ctx)
        if known not in ("", currency):
            raise Invalid(
                f"{ctx.tenant_name} pays in {known.upper()}.",
                "Choose that currency.",
                fields={"currency": "Another one"},
            )
        return
    if invoice is None:
        raise Invalid(
            "A refund belongs to an invoice.", "Choose the one that was paid.", fields={"invoice": "Missing"}
        )
    if invoice.currency != currency:
        raise Invalid(
            f"This invoice is in {invoice.currency.upper()}.",
            "Choose that currency.",
            fields={"currency": "Another one"},
        )
    left = invoice.paid - await repository.sum_refunded(ctx, invoice_id)
    if amount > left:
        raise Conflict(
            f"Of this invoice {money.said(max(left, 0), currency)} can still be given back.",
            "Choose a smaller amount.",
        )


async def _order(ctx: Ctx, adjustment_id: str) -> Order | None:
    """None: there is nothing to do any more."""
    row = await repository.get(ctx, adjustment_id)
    if row is None or row.state != "requested":
        return None
    return Order(
        PLATFORM,
        await customers.find(ctx),
        row.kind,
        row.amount,
        row.currency,
        row.invoice_id,
        CODES[row.reason_code],
    )


async def _ask(order: Order, key: str) -> str:
    provider = await providers.get(order.account_id)
    if order.kind == "refund":
        return await provider.refund(order.invoice_id, order.amount, key)
    amount = order.amount if order.kind == "credit" else -order.amount
    return await provider.credit(order.customer_id, amount, order.currency, order.said, key)


async def _promise(ctx: Ctx, adjustment_id: str) -> None:
    await queue.put(ctx, TASK, in_turn=False, adjustment_id=adjustment_id)
    await _told(ctx)


async def _told(ctx: Ctx) -> None:
    await notices.page(ctx.session, ctx.tenant_id, "billing")
