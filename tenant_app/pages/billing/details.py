"""Billing details on the billing page: the form of name, email, address and tax id, and its dialog."""

from typing import Annotated, Any

import reflex as rx
from pydantic import Field, StringConstraints
from reflex.event import EventSpec

from shared.access import actions
from shared.billing.provider import BillingDetails
from shared.billing.subscriptions import billing_details
from shared.billing.subscriptions.billing_details import MAX_LINE_LENGTH, TAX_ID_LABELS
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.forms import Form
from tenant_app.shell import PageState

Line = Annotated[str, StringConstraints(max_length=MAX_LINE_LENGTH)]


class DetailsForm(Form):
    name: Line
    email: Line
    line1: Annotated[Line, Field(title="Address")] = ""
    line2: Annotated[Line, Field(title="Address")] = ""
    postal_code: Line = ""
    city: Line = ""
    state: Line = ""
    country: Line = ""
    tax_id_type: Annotated[Line, Field(title="Tax ID type")] = ""
    tax_id: Annotated[Line, Field(title="Tax ID")] = ""


class DetailsState(DialogState, PageState, mixin=True):
    """The part of the page's state that shows and saves billing details. They are read from the provider each time."""

    details: dict[str, str] = {}  # by field of the form

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def open_details(self) -> None:
        async with self._ctx() as ctx:
            tenant_id = await billing_details.prepare_view(ctx)
        details = await billing_details.fetch(tenant_id)
        self.details = {field: getattr(details, field) for field in DetailsForm.model_fields}
        self.dialog = "details"
        await self._clear_field_errors()

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def save_details(self, payload: dict[str, Any]) -> EventSpec:
        form = DetailsForm.read(payload)
        async with self._ctx() as ctx:
            change = await billing_details.prepare_change(ctx, BillingDetails(**form.model_dump()))
        await billing_details.submit(change)
        self._close_dialog()
        return rx.toast.success("Billing details saved.", description="They appear on your next invoice.")


TAX_ID_CHOICES = [("", "None"), *TAX_ID_LABELS.items()]
