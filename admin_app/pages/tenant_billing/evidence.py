"""The part of the billing tab that explains one invoice: lines, usage, prices, and who changed them."""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from admin_app import labels
from admin_app.tenant_header import TenantHeaderState, TenantObjectState
from admin_app.visit_state import TenantVisitState
from shared.access import actions
from shared.access.meters import METERS
from shared.backoffice import invoice_evidence
from shared.backoffice.invoice_evidence import EvidenceLine, InvoiceEvidence, UsageEvidence
from shared.billing.models import Price
from shared.billing.pricing import prices
from shared.core.errors import Conflict
from shared.core.plurals import plural
from shared.ui.audit_list import EventRow, event_list, event_rows
from shared.ui.authorize import needs
from shared.ui.banners import local_time
from shared.ui.controls import button
from shared.ui.panels import panel, small, strong, text_with_note
from shared.ui.tables import has_items

MAX_ID_LENGTH = 100


@dataclass(frozen=True, kw_only=True)
class EvidenceRow:
    """A line, usage or a price. `at`: "" for none."""

    title: str
    amount: str
    note: str
    at: str


def line_row(line: EvidenceLine, currency: str) -> EvidenceRow:
    return EvidenceRow(
        title=line.text,
        amount=labels.format_amount(line.amount, currency),
        note=f"Quantity {line.quantity:,}" if line.quantity is not None else "",
        at=line.starts_at.isoformat() if line.starts_at else "",
    )


def usage_row(evidence: UsageEvidence) -> EvidenceRow:
    usage, window = evidence.usage, evidence.window
    meter = METERS.get(usage.meter)
    facts = [usage.identifier]
    if window is not None:
        facts.append(f"{plural(window.event_count, 'event')}, revision {window.revision}")
        facts.append(f"checksum {window.checksum}")
    facts += [
        f"{change.cause.value.replace('_', ' ')}: {change.quantity_before:f} became {change.quantity_after:f}"
        for change in evidence.changes
    ]
    return EvidenceRow(
        title=meter.title if meter else usage.meter,
        amount=meter.format_units(usage.quantity) if meter else f"{usage.quantity:,}",
        note=" · ".join(facts),
        at=usage.at.isoformat(),
    )


def price_row(price: Price) -> EvidenceRow:
    return EvidenceRow(
        title=prices.format_title(price),
        amount=prices.format_price_with_tax(price),
        note=f"Set by {price.created_by}: {price.reason} · {price.plan_version_id} · {price.id}",
        at=price.effective_at.isoformat(),
    )


class InvoiceEvidenceState(TenantObjectState, TenantHeaderState, mixin=True):
    """The part of the billing tab's state about one invoice."""

    invoice_id: str = ""  # "" while no invoice is explained
    invoice_title: str = ""
    invoice_total: str = ""
    invoice_lines: list[EvidenceRow] = []
    invoice_usage: list[EvidenceRow] = []
    invoice_prices: list[EvidenceRow] = []
    invoice_changes: list[EventRow] = []

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def explain_invoice(self, invoice_id: str) -> None:
        visit = await self.get_state(TenantVisitState)
        reason = visit._reason_for(self._tenant_id())
        if not reason:
            raise Conflict("Your access to this tenant’s billing has ended.", "Enter the reason again.")
        async with self._ctx() as octx:
            evidence = await invoice_evidence.get_evidence(
                octx, self._tenant_id(), str(invoice_id)[:MAX_ID_LENGTH], reason
            )
        self._show_evidence(evidence)

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def close_evidence(self) -> None:
        self._close()

    def _close(self) -> None:
        self.invoice_id, self.invoice_title, self.invoice_total = "", "", ""
        self.invoice_lines, self.invoice_usage, self.invoice_prices = [], [], []
        self.invoice_changes = []

    def _show_evidence(self, evidence: InvoiceEvidence) -> None:
        invoice = evidence.invoice
        self.invoice_id, self.invoice_title = invoice.id, invoice.number or "Invoice without a number"
        parts = [
            f"Total {labels.format_amount(invoice.total, invoice.currency)}",
            f"lines {labels.format_amount(evidence.lines_total, invoice.currency)}",
        ]
        if invoice.discount:
            parts.append(f"discount {labels.format_amount(invoice.discount, invoice.currency)}")
        if invoice.tax:
            parts.append(labels.describe_tax(invoice.tax, invoice.included_tax, invoice.currency))
        self.invoice_total = " · ".join(parts)
        self.invoice_lines = [line_row(line, invoice.currency) for line in evidence.lines]
        self.invoice_usage = [usage_row(usage) for usage in evidence.usage]
        self.invoice_prices = [price_row(price) for price in evidence.prices]
        self.invoice_changes = event_rows(evidence.changes, list_path="/audit")


def explain_button(state: type[InvoiceEvidenceState], invoice_id: Any) -> rx.Component:
    return button(
        "Explain",
        kind="quiet",
        on_click=state.explain_invoice(invoice_id),
        data_testid="explain-invoice",
    )


def evidence_list(title: str, rows: Any, nothing: str, test_id: str) -> rx.Component:
    def item(row: EvidenceRow) -> rx.Component:
        words = text_with_note(strong(row.title), small(row.note, class_name="cut-anywhere"))
        when = rx.cond(row.at != "", small(local_time(row.at, "", "day")))
        return rx.el.li(words, rx.el.div(row.amount, " ", when, class_name="num"), class_name="wrap")

    shown = rx.el.ul(rx.foreach(rows, item), class_name="list", data_testid=test_id)
    return rx.el.div(
        rx.el.h3(title, class_name="label"),
        rx.cond(has_items(rows), shown, small(nothing)),
        class_name="stack",
    )


def evidence_panel(state: type[InvoiceEvidenceState]) -> rx.Component:
    changes = rx.cond(
        has_items(state.invoice_changes),
        event_list(state.invoice_changes, test_id="invoice-changes"),
        small("Plan, prices and bill were not changed in this time."),
    )
    content = rx.el.div(
        rx.el.p(strong(state.invoice_title), " · ", state.invoice_total, data_testid="invoice-total"),
        evidence_list("Lines", state.invoice_lines, "This invoice has no lines.", "invoice-lines"),
        evidence_list("Usage", state.invoice_usage, "No usage was reported for this time.", "invoice-usage"),
        evidence_list(
            "Prices", state.invoice_prices, "The plans of this time have no price.", "invoice-prices"
        ),
        rx.el.h3("Who changed it", class_name="label"),
        changes,
        class_name="stack",
    )
    close = button("Close", kind="quiet", on_click=state.close_evidence)
    return rx.cond(state.invoice_id != "", panel(content, title="Why this total", aside=close, body=True))
