"""What an invoice's total is made of, and who changed that: its lines, the usage and its events, prices and plans.

Everything is read as it is stored. Money comes from the provider's lines; usage is what we reported for the time of the
lines, with the aggregates that it came from; prices are those of the plans that the tenant had then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.access import actions, policy
from shared.audit.models import AuditEvent
from shared.backoffice import invoice_evidence_repository as repository
from shared.backoffice.reasons import Reason, use_reason
from shared.billing.models import BillingInvoice, BillingUsage, Price
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import NotFound
from shared.entitlements import assignments
from shared.metering.models import UsageChange, UsageWindow
from shared.tenancy import entry

MAX_ROWS = 100  # of each kind


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceLine:
    """A line as the provider made it. Times are None where it has none."""

    text: str
    amount: int
    quantity: int | None
    starts_at: datetime | None
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvidence:
    """Reported usage. `window`, `changes`: the aggregate that it came from, and what changed that after its end.

    `window` is None for usage that no aggregate has, such as prepaid credits that an operator settled.
    """

    usage: BillingUsage
    window: UsageWindow | None
    changes: Sequence[UsageChange]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceEvidence:
    """`changes`: events of the tenant's audit log about plan, prices and bill from the first line to the invoice."""

    invoice: BillingInvoice
    lines: Sequence[EvidenceLine]
    lines_total: int  # the amounts of all lines; the subtotal, where the provider keeps one
    since: datetime
    until: datetime
    usage: Sequence[UsageEvidence]
    prices: Sequence[Price]  # the oldest first, each with who set it and why
    changes: Sequence[AuditEvent]


async def get_evidence(octx: OperatorCtx, tenant_id: str, invoice_id: str, reason: Reason) -> InvoiceEvidence:
    """At most `MAX_ROWS` of each kind. Raises Invalid without a reason, NotFound."""
    policy.require_operator(octx, actions.OP_BILLING_READ)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        invoice = await repository.get_invoice(ctx, invoice_id)
        if invoice is None:
            raise NotFound("This invoice doesn’t exist.", "Choose one from the list.")
        lines = [_build_line(line) for line in invoice.lines]
        since, until = _find_span(invoice, lines)
        version_ids = await _list_versions(ctx, (since, until, invoice.created_at))
        return InvoiceEvidence(
            invoice=invoice,
            lines=lines,
            lines_total=sum(line.amount for line in lines),
            since=since,
            until=until,
            usage=await _list_usage(ctx, since, until),
            prices=await repository.list_prices(ctx, version_ids, until=max(until, invoice.created_at)),
            changes=await repository.list_changes(
                ctx, since=since, until=max(until, invoice.created_at), limit=MAX_ROWS
            ),
        )


async def _list_usage(ctx: Ctx, since: datetime, until: datetime) -> list[UsageEvidence]:
    usages = await repository.list_usage(ctx, since=since, until=until, limit=MAX_ROWS)
    windows = await repository.list_emitted_windows(ctx, [usage.identifier for usage in usages])
    changes = await repository.list_window_changes(
        ctx, [window.id for window in windows.values()], limit=MAX_ROWS
    )
    evidence = []
    for usage in usages:
        window = windows.get(usage.identifier)
        window_changes = [
            change for change in changes if window is not None and change.window_id == window.id
        ]
        evidence.append(UsageEvidence(usage=usage, window=window, changes=window_changes))
    return evidence


async def _list_versions(ctx: Ctx, times: Sequence[datetime]) -> list[str]:
    """The plan and add-on versions that the tenant had at these times."""
    history, catalog = await assignments.get_history(ctx)
    version_ids = set()
    for at in times:
        snapshot = history.snapshot_at(catalog, at)
        version_ids |= {snapshot.offer.id, *(offer.id for _, offer in snapshot.addons)}
    return sorted(version_ids)


def _find_span(invoice: BillingInvoice, lines: Sequence[EvidenceLine]) -> tuple[datetime, datetime]:
    """The time that the lines are about; without any, that of the invoice."""
    starts = [line.starts_at for line in lines if line.starts_at] + [invoice.period_starts_at]
    ends = [line.ends_at for line in lines if line.ends_at] + [invoice.period_ends_at]
    return (
        min((at for at in starts if at is not None), default=invoice.created_at),
        max((at for at in ends if at is not None), default=invoice.created_at),
    )


def _build_line(line: dict[str, Any]) -> EvidenceLine:  # as a sync has stored it
    return EvidenceLine(
        text=str(line.get("said", "")),
        amount=int(line.get("amount") or 0),
        quantity=line.get("quantity"),
        starts_at=_parse_time(line.get("starts_at")),
        ends_at=_parse_time(line.get("ends_at")),
    )


def _parse_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
