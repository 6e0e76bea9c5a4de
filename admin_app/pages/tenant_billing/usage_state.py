"""The part of the billing tab's state about usage: what nothing bills, and prepaid credits that pay for it."""

from typing import Annotated, Any

import reflex as rx
from reflex.event import EventSpec

from admin_app.pages.tenant_billing.rows import UnbilledRow
from admin_app.tenant_header import TenantHeaderState, TenantObjectState
from shared.access import actions
from shared.backoffice import prepaid_grants, tenant_billing, unbilled_usage
from shared.backoffice.unbilled_usage import UnbilledGroup
from shared.billing.prepaid import balance
from shared.core import money
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.core.plurals import plural
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ConfirmReasonForm, ReasonForm
from shared.ui.forms import OptionalFutureMoment, parse_choice, whole
from shared.ui.prepaid_ledger import PrepaidEntryRow, PrepaidGrantRow

SETTLEMENT_CHOICES = [[code, label] for code, label in unbilled_usage.SETTLEMENTS.items()]
PREPAID_CODE_CHOICES = [[code, label] for code, label in prepaid_grants.REASON_CODES.items()]


class SettlementForm(ReasonForm):
    code: str


class GrantForm(ConfirmReasonForm):
    amount: str
    currency: str
    code: str
    priority: Annotated[int, whole(0, balance.MAX_PRIORITY)] = balance.DEFAULT_PRIORITY
    expires: OptionalFutureMoment = None


class UsageBillingState(DialogState, TenantObjectState, TenantHeaderState, mixin=True):
    name: str = ""  # of the tenant
    unbilled_usage: list[UnbilledRow] = []
    prepaid_grants: list[PrepaidGrantRow] = []
    prepaid_entries: list[PrepaidEntryRow] = []
    _draft_id: str = ""  # id of what the open dialog makes, so that sending it twice has one effect
    _grant_id: str = ""  # id of the prepaid credits that the dialog is about
    _settled_group: UnbilledGroup | None = None  # the usage that the dialog names
    _unbilled_groups: dict[str, UnbilledGroup] = {}  # as shown, by id of the row

    async def _read(self, octx: OperatorCtx) -> tenant_billing.BillingDetails:
        raise NotImplementedError

    def _finish(self, billing: tenant_billing.BillingDetails, title: str, detail: str) -> EventSpec:
        """Shows the tab as it is after a change."""
        raise NotImplementedError

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def settle_usage(self, payload: dict[str, Any]) -> EventSpec:
        form = SettlementForm.read(payload)
        code = parse_choice(form.code, unbilled_usage.SETTLEMENTS)
        group = self._settled_group
        if group is None:
            raise Invalid("Choose the usage to settle.", "Open the dialog again.")
        async with self._change_page() as octx:
            count = await unbilled_usage.settle(
                octx,
                self._tenant_id(),
                group.problem,
                group.meter,
                code,
                self._state_reason(octx, form.reason),
                last_id=group.last_id,
            )
            billing = await self._read(octx)
        return self._finish(billing, f"{plural(count, 'record')} settled.", "Nothing was charged by this.")

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def grant_credits(self, payload: dict[str, Any]) -> EventSpec:
        form = GrantForm.read(payload)
        form.check(self.name)
        code = parse_choice(form.code, prepaid_grants.REASON_CODES)
        amount = money.parse_amount(form.amount, form.currency)
        async with self._change_page() as octx:
            await prepaid_grants.grant_credits(
                octx,
                self._tenant_id(),
                amount,
                form.currency,
                code,
                self._state_reason(octx, form.reason),
                priority=form.priority,
                expires_at=form.expires,
                grant_id=self._draft_id,
            )
            billing = await self._read(octx)
        return self._finish(
            billing,
            f"{money.format_amount(amount, form.currency)} granted.",
            "They pay for usage from now on.",
        )

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def void_grant(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            await prepaid_grants.void_grant(
                octx, self._tenant_id(), self._grant_id, self._state_reason(octx, form.reason)
            )
            billing = await self._read(octx)
        return self._finish(billing, "Credits voided.", "Usage is billed from now on.")
