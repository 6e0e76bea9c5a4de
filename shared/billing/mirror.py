"""What the provider says, as rows: written where it differs, and what differed.

A row that the provider no longer knows is marked and not deleted; for what follows from it, it has ended.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Any, NamedTuple

from shared.billing import repository
from shared.billing.models import BillingInvoice, BillingSubscription
from shared.billing.provider import CustomerState, Invoice, Kept, Line, Subscription
from shared.core.ctx import Ctx
from shared.core.db import now

GONE = "canceled"


class Difference(NamedTuple):
    """`what`: the object, and the field where it is one, as in "sub_1.status"."""

    what: str
    ours: Any
    theirs: Any


async def write(
    ctx: Ctx, account_id: str, customer_id: str, state: CustomerState, ticket: int
) -> list[Difference]:
    """Everything of this customer. For callers that passed the guard with this ticket."""
    return [
        *await _subscriptions(ctx, account_id, customer_id, state, ticket),
        *await _invoices(ctx, account_id, customer_id, state, ticket),
    ]


async def _subscriptions(
    ctx: Ctx, account_id: str, customer_id: str, state: CustomerState, ticket: int
) -> list[Difference]:
    known = {row.id: row for row in await repository.list_subscriptions_of(ctx, customer_id)}
    found, at = list[Difference](), now()
    for one in state.subscriptions:
        row, told = known.pop(one.id, None), _json(one)
        if row is None:
            row = BillingSubscription(
                tenant_id=ctx.tenant_id,
                id=one.id,
                account_id=account_id,
                customer_id=customer_id,
                status=one.status,
                state=told,
                created_at=one.created_at,
                ticket=ticket,
            )
            found.append(Difference(one.id, None, one.status))
        else:
            found += _compared(one.id, row.state, told)
            if row.absent_at is not None:
                found.append(Difference(f"{one.id}.known", False, True))
        row.status, row.state, row.ticket, row.seen_at, row.absent_at = one.status, told, ticket, at, None
        ctx.session.add(row)
    for row in known.values():
        if row.absent_at is None:
            row.absent_at, row.ticket = at, ticket
            ctx.session.add(row)
            found.append(Difference(f"{row.id}.known", True, False))
    return found


async def _invoices(
    ctx: Ctx, account_id: str, customer_id: str, state: CustomerState, ticket: int
) -> list[Difference]:
    """A look sees the newest and the open ones; only of drafts does it follow that they are gone."""
    known = {row.id: row for row in await repository.list_invoices_of(ctx, customer_id)}
    found, at = list[Difference](), now()
    for one in state.invoices:
        row, values = known.pop(one.id, None), _values(one)
        if row is None:
            row = BillingInvoice(
                tenant_id=ctx.tenant_id,
                id=one.id,
                account_id=account_id,
                customer_id=customer_id,
                ticket=ticket,
                **values,
            )
            found.append(Difference(one.id, None, one.status))
        else:
            for name in ("status", "due", "paid", "total", "attempts"):
                if (ours := getattr(row, name)) != values[name]:
                    found.append(Difference(f"{one.id}.{name}", ours, values[name]))
            for name, value in values.items():
                setattr(row, name, value)
        row.ticket, row.seen_at, row.absent_at = ticket, at, None
        ctx.session.add(row)
    for row in known.values():
        if row.status == "draft" and row.absent_at is None:
            row.absent_at, row.ticket = at, ticket
            ctx.session.add(row)
            found.append(Difference(f"{row.id}.known", True, False))
    return found


def subscription(row: BillingSubscription) -> Subscription:
    """As last seen; ended where the provider no longer knows it."""
    told = row.state
    return Subscription(
        id=row.id,
        status=told["status"] if row.absent_at is None else GONE,
        created_at=_moment(told["created_at"]),
        lines=tuple(
            Line(**{**one, "starts_at": _maybe(one["starts_at"]), "ends_at": _maybe(one["ends_at"])})
            for one in told["lines"]
        ),
        kept=tuple(Kept(one["price_id"], one["quantity"], _moment(one["until"])) for one in told["kept"]),
        trial_ends_at=_maybe(told["trial_ends_at"]),
        after_trial=told["after_trial"],
        pays=told["pays"],
        cancel_at=_maybe(told["cancel_at"]),
        ended_at=_maybe(told["ended_at"]) or row.absent_at,
        failed_since=_maybe(told["failed_since"]),
        currency=told["currency"],
    )


def _compared(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> list[Difference]:
    keys = [key for key in theirs if ours.get(key) != theirs[key]]
    return [Difference(f"{name}.{key}", ours.get(key), theirs[key]) for key in keys]


def _values(one: Invoice) -> dict[str, Any]:
    return {
        "subscription_id": one.subscription_id,
        "number": one.number,
        "status": one.status,
        "currency": one.currency,
        "total": one.total,
        "due": one.due,
        "paid": one.paid,
        "attempts": one.attempts,
        "next_attempt_at": one.next_attempt_at,
        "created_at": one.created_at,
        "period_starts_at": one.starts_at,
        "period_ends_at": one.ends_at,
        "page_url": one.page_url,
        "pdf_url": one.pdf_url,
        "lines": [_json(line) for line in one.lines],
    }


def _json(one: Any) -> dict[str, Any]:
    told: dict[str, Any] = _plain(asdict(one))
    return told


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _maybe(text: str | None) -> datetime | None:
    return _moment(text) if text else None
