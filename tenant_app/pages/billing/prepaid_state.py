"""What the billing page shows of prepaid credits, and the form of automatic top-ups."""

from typing import Any, NamedTuple

import reflex as rx
from reflex.event import EventSpec

from shared.access import actions
from shared.billing.prepaid import balance, top_ups
from shared.billing.prepaid.balance import PrepaidOverview
from shared.billing.prepaid.top_ups import TopUpView
from shared.billing.subscriptions.overview import BillingOverview
from shared.core import money
from shared.core.config import settings
from shared.core.context import Ctx
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.forms import Form
from shared.ui.prepaid_ledger import (
    PrepaidEntryRow,
    PrepaidGrantRow,
    describe_balance,
    entry_rows,
    grant_rows,
)
from tenant_app.shell import PageState


class PrepaidPage(NamedTuple):
    prepaid: PrepaidOverview
    top_up: TopUpView | None


async def read_prepaid(ctx: Ctx, *, has_been_customer: bool) -> PrepaidPage:
    """`has_been_customer`: without it there was never a saved card that automatic top-ups could charge."""
    top_up = await top_ups.get_view(ctx) if has_been_customer else None
    return PrepaidPage(await balance.get_overview(ctx), top_up)


class TopUpForm(Form):
    threshold: str
    amount: str
    maximum: str


class PrepaidState(DialogState, PageState, mixin=True):
    prepaid_balance: str = ""  # "" where nothing is left
    prepaid_grants: list[PrepaidGrantRow] = []
    prepaid_entries: list[PrepaidEntryRow] = []
    shows_prepaid: bool = False
    top_up_on: bool = False
    top_up_text: str = ""
    top_up_obstacle: str = ""  # why it can't be set up now
    top_up_values: dict[str, str] = {}  # by field of the form
    prepaid_currency: str = "usd"
    top_up_adds_tax: bool = False

    async def _show_change(self) -> None:
        """Reads and shows the page again."""
        raise NotImplementedError

    def _show_prepaid(self, page: PrepaidPage, billing: BillingOverview) -> None:
        prepaid, top_up, subscription = page.prepaid, page.top_up, billing.subscription
        is_metered = subscription is not None and bool(subscription.metered_prices)
        self.prepaid_balance = describe_balance(prepaid)
        self.prepaid_grants, self.prepaid_entries = grant_rows(prepaid), entry_rows(prepaid)
        self.top_up_on = top_up is not None and top_up.setting.is_on
        self.shows_prepaid = is_metered or bool(prepaid.grants) or self.top_up_on
        self.top_up_text = _describe_top_up(top_up)
        obstacle = top_ups.find_obstacle(currency=billing.currency, has_method=billing.has_chargeable_method)
        self.top_up_obstacle = " ".join(obstacle or ())
        self.prepaid_currency = billing.currency or "usd"
        self.top_up_adds_tax = settings().automatic_tax
        self.top_up_values = _fill_form(top_up, self.prepaid_currency)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def save_top_up(self, payload: dict[str, Any]) -> EventSpec:
        form = TopUpForm.read(payload)
        currency = self.prepaid_currency
        async with self._ctx() as ctx:
            await top_ups.save_setting(
                ctx,
                threshold=money.parse_amount(form.threshold, currency, "threshold"),
                amount=money.parse_amount(form.amount, currency, "amount"),
                monthly_maximum=money.parse_amount(form.maximum, currency, "maximum"),
                currency=currency,
            )
        self._close_dialog()
        await self._show_change()
        return rx.toast.success("Automatic top-ups are on.", description=self.top_up_text)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def turn_off_top_up(self) -> EventSpec:
        async with self._ctx() as ctx:
            await top_ups.turn_off(ctx)
        await self._show_change()
        return rx.toast.success("Automatic top-ups are off.", description="Your credits stay.")


def _describe_top_up(top_up: TopUpView | None) -> str:
    if top_up is None or not top_up.setting.is_on:
        return "Off. Usage is billed when your credits are used up."
    setting = top_up.setting
    amount, threshold, maximum = (
        money.format_amount(value, setting.currency)
        for value in (setting.amount, setting.threshold, setting.monthly_maximum)
    )
    if setting.stop_reason:
        return f"Stopped: {setting.stop_reason}. Check your payment method and your billing details, then save the form again."
    text = f"{amount} when less than {threshold} is left, at most {maximum} a month."
    if settings().automatic_tax:
        text = f"{text} Tax is added to each."
    if top_up.is_disputed:
        return f"{text} Nothing is bought while a payment is disputed at your bank."
    if top_up.is_settling:
        return f"{text} Your bank is settling the payment of {amount}. The credits follow when it is paid."
    if top_up.is_charging:
        return f"{text} {amount} is being charged."
    return f"{text} The maximum of this month is reached." if top_up.is_at_maximum else text


def _fill_form(top_up: TopUpView | None, currency: str) -> dict[str, str]:
    if top_up is None or top_up.setting.currency != currency:
        return {"threshold": "", "amount": "", "maximum": ""}
    setting = top_up.setting
    amounts = {
        "threshold": setting.threshold,
        "amount": setting.amount,
        "maximum": setting.monthly_maximum,
    }
    digits = money.require_currency(setting.currency).digits
    return {field: f"{amount / 10**digits:.{digits}f}" for field, amount in amounts.items()}
