"""Store the provider's state as rows, and return the differences.

A row that the provider no longer has is marked as absent, not deleted, and treated as ended.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, NamedTuple

from shared.billing import repository
from shared.billing.models import (
    BillingDispute,
    BillingFraudWarning,
    BillingInvoice,
    BillingRefund,
    BillingSubscription,
)
from shared.billing.provider_values import (
    CanceledAddon,
    Cancellation,
    CustomerState,
    Dispute,
    FraudWarning,
    Invoice,
    InvoiceLine,
    OrderLine,
    PaymentMethod,
    PendingChange,
    Refund,
    ScheduledChange,
    Subscription,
    SubscriptionItem,
    UpcomingCharges,
    UpcomingInvoice,
)
from shared.core.context import Ctx
from shared.core.db import now

CANCELED = "canceled"
EXTERNAL_PRICE_ID = "external_price_id"  # key of a stored invoice line
INCLUDED_TAXES = "included_taxes"  # key of the stored upcoming charges


class Difference(NamedTuple):
    """`what`: the object, and the field where it is one, as in "sub_1.status"."""

    what: str
    ours: Any
    theirs: Any


async def write_records(
    ctx: Ctx, account_id: str, customer_id: str, state: CustomerState, ticket: int
) -> list[Difference]:
    """Stores all records of this customer. Callers hold the sync guard with this ticket."""
    return [
        *await _write_subscriptions(ctx, account_id, customer_id, state, ticket),
        *await _write_invoices(ctx, account_id, customer_id, state, ticket),
        *await _write_refunds(ctx, account_id, customer_id, state, ticket),
        *await _write_disputes(ctx, account_id, customer_id, state, ticket),
        *await _write_fraud_warnings(ctx, account_id, customer_id, state, ticket),
    ]


async def _write_subscriptions(
    ctx: Ctx, account_id: str, customer_id: str, state: CustomerState, ticket: int
) -> list[Difference]:
    rows_by_id = {row.id: row for row in await repository.list_customer_subscriptions(ctx, customer_id)}
    differences, at = list[Difference](), now()
    for subscription in state.subscriptions:
        row, state_json = rows_by_id.pop(subscription.id, None), _to_json(subscription)
        del state_json["cancellation"]  # has columns; a customer's comment must not get into the differences
        if row is None:
            row = BillingSubscription(
                tenant_id=ctx.tenant_id,
                id=subscription.id,
                account_id=account_id,
                customer_id=customer_id,
                status=subscription.status,
                state=state_json,
                created_at=subscription.created_at,
                ticket=ticket,
            )
            differences.append(Difference(subscription.id, None, subscription.status))
        else:
            differences += _compare(subscription.id, row.state, state_json)
            if row.absent_at is not None:
                differences.append(Difference(f"{subscription.id}.known", False, True))
        row.status, row.state, row.ticket, row.seen_at, row.absent_at = (
            subscription.status,
            state_json,
            ticket,
            at,
            None,
        )
        row.cancellation_feedback = subscription.cancellation.feedback
        row.cancellation_comment = subscription.cancellation.comment
        row.canceled_at = subscription.cancellation.canceled_at
        ctx.session.add(row)
    for row in rows_by_id.values():
        if row.absent_at is None:
            row.absent_at, row.ticket = at, ticket
            ctx.session.add(row)
            differences.append(Difference(f"{row.id}.known", True, False))
    return differences


async def _write_invoices(
    ctx: Ctx, account_id: str, customer_id: str, state: CustomerState, ticket: int
) -> list[Difference]:
    """A fetch contains the newest and all open invoices, so only missing drafts are known to be deleted."""
    rows_by_id = {row.id: row for row in await repository.list_customer_invoices(ctx, customer_id)}
    differences, at = list[Difference](), now()
    for invoice in state.invoices:
        row, values = rows_by_id.pop(invoice.id, None), _invoice_values(invoice)
        if row is None:
            row = BillingInvoice(
                tenant_id=ctx.tenant_id,
                id=invoice.id,
                account_id=account_id,
                customer_id=customer_id,
                ticket=ticket,
                **values,
            )
            differences.append(Difference(invoice.id, None, invoice.status))
        else:
            for name in ("status", "due", "paid", "total", "attempts", "credited"):
                if (old_value := getattr(row, name)) != values[name]:
                    differences.append(Difference(f"{invoice.id}.{name}", old_value, values[name]))
            for name, value in values.items():
                setattr(row, name, value)
        row.ticket, row.seen_at, row.absent_at = ticket, at, None
        ctx.session.add(row)
    for row in rows_by_id.values():
        if row.status == "draft" and row.absent_at is None:
            row.absent_at, row.ticket = at, ticket
            ctx.session.add(row)
            differences.append(Difference(f"{row.id}.known", True, False))
    return differences


async def _write_refunds(
    ctx: Ctx, account_id: str, customer_id: str, state: CustomerState, ticket: int
) -> list[Difference]:
    """Refunds are never deleted at the provider, so missing ones are only older than what it listed."""
    if not state.refunds:
        return []
    rows_by_id = {row.id: row for row in await repository.list_customer_refunds(ctx, customer_id)}
    owner = _build_owner(ctx, account_id, customer_id)
    differences = list[Difference]()
    for refund in state.refunds:
        row = rows_by_id.get(refund.id)
        differences += _compare_status(refund.id, row, refund.status)
        values = _to_columns(refund)
        values["adjustment_id"] = values.pop("key")
        _store(ctx, row or BillingRefund(**owner, **values, ticket=ticket), values, ticket)
    return differences


async def _write_disputes(
    ctx: Ctx, account_id: str, customer_id: str, state: CustomerState, ticket: int
) -> list[Difference]:
    """As refunds."""
    if not state.disputes:
        return []
    rows_by_id = {row.id: row for row in await repository.list_customer_disputes(ctx, customer_id)}
    owner = _build_owner(ctx, account_id, customer_id)
    differences = list[Difference]()
    for dispute in state.disputes:
        row, values = rows_by_id.get(dispute.id), _to_columns(dispute)
        differences += _compare_status(dispute.id, row, dispute.status)
        _store(ctx, row or BillingDispute(**owner, **values, ticket=ticket), values, ticket)
    return differences


async def _write_fraud_warnings(
    ctx: Ctx, account_id: str, customer_id: str, state: CustomerState, ticket: int
) -> list[Difference]:
    """As refunds."""
    if not state.fraud_warnings:
        return []
    rows_by_id = {row.id: row for row in await repository.list_customer_fraud_warnings(ctx, customer_id)}
    owner = _build_owner(ctx, account_id, customer_id)
    differences = list[Difference]()
    for warning in state.fraud_warnings:
        row, values = rows_by_id.get(warning.id), _to_columns(warning)
        if row is None or row.is_actionable != warning.is_actionable:
            former = row.is_actionable if row else None
            differences.append(Difference(f"{warning.id}.is_actionable", former, warning.is_actionable))
        _store(ctx, row or BillingFraudWarning(**owner, **values, ticket=ticket), values, ticket)
    return differences


def _build_owner(ctx: Ctx, account_id: str, customer_id: str) -> dict[str, Any]:
    """The columns that say whose record a row is."""
    return {"tenant_id": ctx.tenant_id, "account_id": account_id, "customer_id": customer_id}


def _store(
    ctx: Ctx, row: BillingRefund | BillingDispute | BillingFraudWarning, values: dict[str, Any], ticket: int
) -> None:
    for name, value in {**values, "ticket": ticket, "seen_at": now()}.items():
        setattr(row, name, value)
    ctx.session.add(row)


def _to_columns(record: Refund | Dispute | FraudWarning) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _compare_status(
    record_id: str, row: BillingRefund | BillingDispute | None, status: str
) -> list[Difference]:
    if row is None:
        return [Difference(record_id, None, status)]
    return [Difference(f"{record_id}.status", row.status, status)] if row.status != status else []


def to_subscription(row: BillingSubscription) -> Subscription:
    """The subscription as of the last sync; ended where the provider no longer has it."""
    state = row.state
    return Subscription(
        id=row.id,
        status=state["status"] if row.absent_at is None else CANCELED,
        created_at=_parse_time(state["created_at"]),
        lines=tuple(
            SubscriptionItem(
                **{
                    **line,
                    "starts_at": _parse_optional_time(line["starts_at"]),
                    "ends_at": _parse_optional_time(line["ends_at"]),
                }
            )
            for line in state["lines"]
        ),
        kept=tuple(
            CanceledAddon(addon["price_id"], addon["quantity"], _parse_time(addon["until"]))
            for addon in state["kept"]
        ),
        trial_ends_at=_parse_optional_time(state["trial_ends_at"]),
        after_trial=state["after_trial"],
        pays=state["pays"],
        cancel_at=_parse_optional_time(state["cancel_at"]),
        ended_at=_parse_optional_time(state["ended_at"]) or row.absent_at,
        failed_since=_parse_optional_time(state["failed_since"]),
        currency=state["currency"],
        pause_cause=state.get("pause_cause", ""),
        paused_collection=state.get("paused_collection", ""),
        pending_change=PendingChange(pending["invoice_id"], _parse_time(pending["expires_at"]))
        if (pending := state.get("pending_change"))
        else None,
        is_taxed=state.get("is_taxed", False),
        cancellation=Cancellation(
            feedback=row.cancellation_feedback,
            comment=row.cancellation_comment,
            canceled_at=row.canceled_at,
        ),
        scheduled_change=ScheduledChange(
            _parse_time(scheduled["at"]), tuple(OrderLine(**line) for line in scheduled["lines"])
        )
        if (scheduled := state.get("scheduled_change"))
        else None,
        paused_at=_parse_optional_time(state.get("paused_at")),
        unpaid_tax_at=_parse_optional_time(state.get("unpaid_tax_at")),
        dispute_mark=state.get("dispute_mark", ""),
        days_until_due=state.get("days_until_due", 0),
    )


def upcoming_to_json(upcoming: UpcomingCharges) -> dict[str, Any]:
    """`included_tax` beside the invoices, where the version before it was kept doesn't read it."""
    values = _to_json(upcoming)
    for invoice in values["invoices"]:
        for line in invoice["lines"]:
            del line[EXTERNAL_PRICE_ID]  # the version before this one doesn't know it
    return {**values, INCLUDED_TAXES: [invoice.pop("included_tax") for invoice in values["invoices"]]}


def to_upcoming(state: dict[str, Any]) -> UpcomingCharges | None:
    """The upcoming charges as of the last sync; None where no sync has fetched them yet."""
    if not state:
        return None
    included_taxes = state.get(INCLUDED_TAXES) or [0] * len(state["invoices"])
    return UpcomingCharges(
        tuple(
            UpcomingInvoice(
                **{
                    **invoice,
                    "at": _parse_optional_time(invoice["at"]),
                    "included_tax": included_tax,
                    "lines": tuple(
                        InvoiceLine(
                            **{
                                **line,
                                "starts_at": _parse_optional_time(line["starts_at"]),
                                "ends_at": _parse_optional_time(line["ends_at"]),
                            }
                        )
                        for line in invoice["lines"]
                    ),
                }
            )
            for invoice, included_tax in zip(state["invoices"], included_taxes, strict=True)
        ),
        tuple(state["unknown_ids"]),
    )


def methods_to_json(methods: Mapping[str, PaymentMethod]) -> dict[str, Any]:
    return {subscription_id: _to_json(method) for subscription_id, method in methods.items()}


def to_payment_methods(state: dict[str, Any]) -> dict[str, PaymentMethod]:
    """What pays each live subscription, by its id, as of the last sync."""
    return {
        subscription_id: PaymentMethod(
            id=method["id"], text=method["text"], expires_at=_parse_optional_time(method["expires_at"])
        )
        for subscription_id, method in state.items()
    }


def _compare(name: str, stored: dict[str, Any], fetched: dict[str, Any]) -> list[Difference]:
    """Fields that the version which stored the row didn't know are no differences while they are empty."""
    keys = [key for key in fetched if (stored.get(key) or None) != (fetched[key] or None)]
    return [Difference(f"{name}.{key}", stored.get(key), fetched[key]) for key in keys]


def _invoice_values(invoice: Invoice) -> dict[str, Any]:
    return {
        "subscription_id": invoice.subscription_id,
        "number": invoice.number,
        "status": invoice.status,
        "currency": invoice.currency,
        "total": invoice.total,
        "due": invoice.due,
        "paid": invoice.paid,
        "attempts": invoice.attempts,
        "next_attempt_at": invoice.next_attempt_at,
        "created_at": invoice.created_at,
        "period_starts_at": invoice.starts_at,
        "period_ends_at": invoice.ends_at,
        "page_url": invoice.page_url,
        "pdf_url": invoice.pdf_url,
        "lines": [_to_json(line) for line in invoice.lines],
        "credited": invoice.credited,
        "subtotal": invoice.subtotal,
        "discount": invoice.discount,
        "tax": invoice.tax,
        "included_tax": invoice.included_tax,
        "due_at": invoice.due_at,
    }


def _to_json(record: Any) -> dict[str, Any]:
    values: dict[str, Any] = _to_plain(asdict(record))
    return values


def _to_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _parse_optional_time(text: str | None) -> datetime | None:
    return _parse_time(text) if text else None
