"""The forms of a tenant's rights tab."""

from datetime import datetime
from typing import Literal

from shared.core.errors import Invalid
from shared.ui.dialogs import ConfirmText, ReasonText
from shared.ui.forms import Form, parse_datetime

BILLING_STATUS_LABELS = {  # label, tone, explanation
    "active": ("Active", "ok", "No open payments. Full access to the plan."),
    "grace": ("Grace", "warn", "A payment is overdue. Full access, with a warning."),
    "read_only": ("Read-only", "bad", "View, export and pay only."),
    "none": ("No paid subscription", "idle", "Free plan only."),
}
FLAG_OVERRIDE_LABELS = {"on": "On", "off": "Off", "none": "No override"}


class PlanForm(Form):
    version: str
    trial_days: str
    reason: ReasonText
    confirm: ConfirmText


class BillingForm(Form):
    status: str
    reason: ReasonText
    confirm: ConfirmText


class AddonForm(Form):
    version: str
    quantity: str
    until: str = ""
    reason: ReasonText


class FeatureForm(Form):
    name: str
    on: Literal["on", "off"]
    until: str = ""
    reason: ReasonText


class LimitForm(Form):
    name: str
    kind: Literal["hard", "soft", "unlimited"]
    amount: str = ""
    until: str = ""
    reason: ReasonText


class EndForm(Form):
    reason: ReasonText


class FlagForm(Form):
    own: Literal["on", "off", "none"]
    reason: ReasonText


class TraitForm(Form):
    value: str = ""
    reason: ReasonText


def _parse_until(value: str) -> datetime:
    until = parse_datetime("until", value)
    if until is None:
        raise Invalid(
            "Overrides need an end date.",
            "Choose the date on which the override expires.",
            fields={"until": "Missing"},
        )
    return until
