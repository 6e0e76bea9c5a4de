"""The forms of /catalog, and the plan content that the fields of a draft contain."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, create_model

from shared.core.context import Limit
from shared.core.errors import Invalid
from shared.entitlements import plan_content
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.entitlements.plan_content import PlanContent
from shared.ui.decision_trace import Change
from shared.ui.forms import Form

ShortText = Annotated[str, StringConstraints(max_length=200)]


class CreatePlanForm(Form):
    kind: str
    name: ShortText
    key: ShortText
    sentence: Annotated[ShortText, Field(title="Description")] = ""
    tenant: Annotated[ShortText, Field(title="Tenant ID")] = ""


def feature_field_name(name: str) -> str:
    """The form field of a feature."""
    return name.replace(".", "_")


FieldText = Annotated[str, StringConstraints(max_length=20)]
_FIELDS: dict[str, Any] = {
    **{f"limit_{name}": (FieldText, "") for name in LIMITS},
    **{f"mode_{name}": (Literal["hard", "soft", "unlimited"], "hard") for name in LIMITS},
    **{f"feature_{feature_field_name(name)}": (Literal["on", ""], "") for name in FEATURES},
    "trial_days": (FieldText, "0"),
    "moves": (Literal["move", "stay"], "stay"),
    "effective_on": (FieldText, ""),
}
DraftFields: type[Form] = create_model("DraftFields", __base__=Form, **_FIELDS)


def parse_content(form: Form, flags: Sequence[str]) -> PlanContent:
    """The plan content of a submitted form. Raises Invalid for text that isn't a number."""
    values = form.model_dump()
    limits = {}
    for name, kind in LIMITS.items():
        amount_text = values[f"limit_{name}"].replace(",", "").replace(" ", "")
        unlimited = values[f"mode_{name}"] == "unlimited"
        if amount_text or unlimited:
            soft = values[f"mode_{name}"] == "soft"
            limits[name] = Limit(None if unlimited else _parse_number(kind.title, amount_text), hard=not soft)
    return PlanContent(
        _parse_number("Trial", values["trial_days"] or "0"),
        frozenset(name for name in FEATURES if values[f"feature_{feature_field_name(name)}"]),
        limits,
        frozenset(flags),
    )


def _parse_number(title: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Invalid(f"{title} needs a whole number.", "Enter a whole number.") from None


def parse_effective_date(form: Form) -> datetime | None:
    """Midnight UTC of the day, None for now. Raises Invalid."""
    date_text = form.model_dump()["effective_on"]
    if not date_text:
        return None
    try:
        return datetime.strptime(date_text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise Invalid("This is not a date.", "Choose one from the calendar.") from None


def limit_inputs(limit: Limit | None) -> tuple[str, str]:
    """Amount and mode for the form fields."""
    if limit is None:
        return "", "hard"
    mode = "unlimited" if limit.amount is None else "hard" if limit.hard else "soft"
    return "" if limit.amount is None else f"{limit.amount:,}", mode


def list_changes(before: PlanContent, after: PlanContent) -> list[Change]:
    return [Change(*difference) for difference in plan_content.compare(before, after)]
