"""Billing details on the billing page: the form of name, email, address and tax id, and its dialog."""

from typing import Annotated, Any

import reflex as rx
from pydantic import Field, StringConstraints
from reflex.event import EventSpec

from shared.access import actions
from shared.billing.provider_values import BillingDetails, TaxId
from shared.billing.subscriptions import billing_details
from shared.billing.subscriptions.billing_details import MAX_LINE_LENGTH, TAX_ID_LABELS
from shared.core.countries import COUNTRY_NAMES
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

    def to_details(self) -> BillingDetails:
        lines = self.model_dump(exclude={"tax_id_type", "tax_id"})
        tax_id = TaxId(self.tax_id_type, self.tax_id)
        return BillingDetails(**lines, tax_ids=(tax_id,) if tax_id.type or tax_id.value else ())


class DetailsState(DialogState, PageState, mixin=True):
    """The part of the page's state that shows and saves billing details. They are read from the provider each time."""

    details: dict[str, str] = {}  # by field of the form
    unlisted_country: str = ""  # one that the provider has and the form doesn't offer
    other_tax_ids: list[str] = []  # sentences about those that the form doesn't show in a field
    _opened: BillingDetails = BillingDetails()

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def open_details(self) -> None:
        async with self._ctx() as ctx:
            view = await billing_details.prepare_view(ctx)
        details = await billing_details.fetch(view)
        self._opened, self.details = details, _fill_form(details)
        self.unlisted_country = "" if details.country in COUNTRY_NAMES else details.country
        self.other_tax_ids = _describe_other_tax_ids(details)
        self.dialog = "details"
        await self._clear_field_errors()

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def save_details(self, payload: dict[str, Any]) -> EventSpec:
        form = DetailsForm.read(payload)
        async with self._ctx() as ctx:
            change = await billing_details.prepare_change(ctx, form.to_details(), self._opened)
        await billing_details.submit(change)
        self._close_dialog()
        return rx.toast.success("Billing details saved.", description="They appear on your next invoice.")


def _fill_form(details: BillingDetails) -> dict[str, str]:
    """Values by field, with the newest tax id of a type that the form offers."""
    tax_id = next(iter(billing_details.list_editable_tax_ids(details)), TaxId("", ""))
    tax_id_fields = {"tax_id_type": tax_id.type, "tax_id": tax_id.value}
    return {
        field: tax_id_fields[field] if field in tax_id_fields else getattr(details, field)
        for field in DetailsForm.model_fields
    }


def _describe_other_tax_ids(details: BillingDetails) -> list[str]:
    editable = billing_details.list_editable_tax_ids(details)
    replaced = [
        f"{TAX_ID_LABELS[tax_id.type]} {tax_id.value} is on your invoices too. Saving removes it."
        for tax_id in editable[1:]
    ]
    kept = [
        f"{tax_id.type.replace('_', ' ').upper()} {tax_id.value} is on your invoices too. "
        "Contact support to change it."
        for tax_id in details.tax_ids
        if tax_id not in editable
    ]
    return replaced + kept


COUNTRY_CHOICES = [("", "None"), *COUNTRY_NAMES.items()]
TAX_ID_CHOICES = [("", "None"), *TAX_ID_LABELS.items()]
