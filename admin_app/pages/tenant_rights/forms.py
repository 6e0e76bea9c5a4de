"""The forms of a tenant's rights tab."""

from typing import Annotated, Literal

from pydantic import Field

from shared.core.errors import Invalid
from shared.entitlements.assignments import BILLING_STATUSES, MAX_AMOUNT, MAX_TRIAL_DAYS
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.ui.dialogs import ConfirmReasonForm, ReasonForm
from shared.ui.forms import FutureMoment, OptionalFutureMoment, choice_of, id_of, whole

BILLING_STATUS_LABELS = {  # label, tone, explanation
    "active": ("Active", "ok", "No open payments. Full access to the plan."),
    "grace": ("Grace", "warn", "A payment is overdue. Full access, with a warning."),
    "read_only": ("Read-only", "bad", "View, export and pay only."),
    "none": ("No paid subscription", "idle", "Free plan only."),
}
FLAG_OVERRIDE_LABELS = {"on": "On", "off": "Off", "none": "No override"}


MAX_QUANTITY = 10_000


class PlanForm(ConfirmReasonForm):
    version: Annotated[str, id_of("plv"), Field(title="Plan")]
    trial_days: Annotated[int, whole(0, MAX_TRIAL_DAYS)]


class BillingForm(ConfirmReasonForm):
    status: Annotated[str, choice_of(BILLING_STATUSES)]


class AddonForm(ReasonForm):
    version: Annotated[str, id_of("plv"), Field(title="Add-on")]
    quantity: Annotated[int, whole(1, MAX_QUANTITY)]
    until: OptionalFutureMoment = None


class FeatureForm(ReasonForm):
    name: Annotated[str, choice_of(FEATURES), Field(title="Feature")]
    on: Literal["on", "off"]
    until: FutureMoment


class LimitForm(ReasonForm):
    name: Annotated[str, choice_of(LIMITS), Field(title="Limit")]
    kind: Literal["hard", "soft", "unlimited"]
    amount: Annotated[int | None, whole(0, MAX_AMOUNT, required=False)] = None
    until: FutureMoment

    def limit_amount(self) -> int | None:
        """None for unlimited. Raises Invalid without an amount otherwise."""
        if self.kind == "unlimited":
            return None
        if self.amount is None:
            raise Invalid(
                "Enter an amount, or choose Unlimited.",
                "Nothing was changed.",
                fields={"amount": "Enter an amount."},
            )
        return self.amount


class FlagForm(ReasonForm):
    own: Annotated[Literal["on", "off", "none"], Field(title="Override")]


class TraitForm(ReasonForm):
    value: str = ""
