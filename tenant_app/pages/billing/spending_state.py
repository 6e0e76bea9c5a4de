"""What the billing page shows of the spend limit, and its form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import reflex as rx
from reflex.event import EventSpec

from shared.access import actions
from shared.access.meters import METERS
from shared.billing.spending import spend_limits
from shared.billing.spending.spend_limits import SpendView
from shared.billing.subscriptions.invoice_usage import InvoiceUsage
from shared.core import money
from shared.files import exports
from shared.metering.actions import USAGE_EXPORT
from shared.metering.events_export import USAGE_EVENTS
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.forms import Form, parse_choice
from tenant_app.shell import PageState

EFFECTS = [("alert", "Only send alerts"), ("cap", "Send alerts, and stop usage that would cost more")]


@dataclass(frozen=True)
class InvoiceUsageRow:
    key: str
    text: str
    meter: str
    starts_at: str
    ends_at: str


class SpendLimitForm(Form):
    amount: str
    effect: Literal["alert", "cap"]


class SpendingState(DialogState, PageState, mixin=True):
    shows_spending: bool = False
    spend_text: str = ""
    spend_note: str = ""
    has_spend_limit: bool = False
    spend_currency: str = "usd"
    spend_amount: str = ""  # of the form
    spend_effect: str = "alert"  # of the form
    usage_rows: list[InvoiceUsageRow] = []  # behind the invoice that is open

    async def _show_change(self) -> None:
        """Reads and shows the page again."""
        raise NotImplementedError

    def _show_spending(self, view: SpendView | None) -> None:
        self.shows_spending = view is not None
        if view is None:
            return
        limit, self.spend_currency = view.limit, view.currency
        spent = money.format_amount(view.spent, view.currency)
        self.has_spend_limit = limit is not None
        if limit is None:
            self.spend_text = f"{spent} in this billing period, without a limit."
            self.spend_note = "Set a limit to be notified at 50, 80 and 100 %, or to stop there."
            self.spend_amount, self.spend_effect = "", "alert"
            return
        amount = money.format_amount(limit.amount, limit.currency)
        self.spend_text = f"{spent} of {amount} in this billing period ({view.percent} %)."
        stop = (
            "Usage that would cost more is refused." if limit.is_cap else "Nothing is stopped at the limit."
        )
        self.spend_note = f"We notify owners and billing contacts at 50, 80 and 100 %. {stop}"
        digits = money.require_currency(limit.currency).digits
        self.spend_amount = f"{limit.amount / 10**digits:.{digits}f}"
        self.spend_effect = "cap" if limit.is_cap else "alert"

    def _show_invoice_usage(self, usage: Sequence[InvoiceUsage]) -> None:
        self.usage_rows = [
            InvoiceUsageRow(
                key=f"{each.meter}:{each.starts_at.isoformat()}",
                text=_describe_usage(each),
                meter=each.meter,
                starts_at=each.starts_at.isoformat(),
                ends_at=each.ends_at.isoformat(),
            )
            for each in usage
        ]

    @rx.event
    @needs(USAGE_EXPORT)
    async def export_events(self, key: str) -> EventSpec:
        """The events behind one line of the invoice that is open, as a CSV file."""
        row_by_key = {row.key: row for row in self.usage_rows}
        row = row_by_key[parse_choice(key, row_by_key)]
        async with self._ctx() as ctx:
            await exports.begin(
                ctx,
                USAGE_EVENTS.name,
                "csv",
                {"meter": row.meter, "since": row.starts_at, "until": row.ends_at},
            )
        return rx.toast.success(
            "The export has started.", description="We’ll notify you when the file is ready."
        )

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def save_spend_limit(self, payload: dict[str, Any]) -> EventSpec:
        form, currency = SpendLimitForm.read(payload), self.spend_currency
        async with self._ctx() as ctx:
            await spend_limits.save(
                ctx,
                money.parse_amount(form.amount, currency),
                currency=currency,
                is_cap=form.effect == "cap",
            )
        self._close_dialog()
        await self._show_change()
        return rx.toast.success("The spend limit is set.", description=self.spend_text)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def remove_spend_limit(self) -> EventSpec:
        async with self._ctx() as ctx:
            await spend_limits.remove(ctx)
        await self._show_change()
        return rx.toast.success("The spend limit is removed.", description="Usage is billed without a limit.")


def _describe_usage(usage: InvoiceUsage) -> str:
    meter = METERS[usage.meter]
    text = f"{meter.title}: {meter.format_units(usage.units)} billed"
    if usage.drawn:
        text += f", {meter.format_units(usage.drawn)} paid by credits"
    return f"{text}, {meter.format_units(usage.moved)} of an earlier period" if usage.moved else text
