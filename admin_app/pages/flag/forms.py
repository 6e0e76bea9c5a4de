"""The forms of a flag's page."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import StringConstraints

from shared.core.errors import Invalid
from shared.entitlements.flag_evaluation import KINDS_WITH_VALUES, RULE_KINDS
from shared.ui.dialogs import ConfirmReasonForm, ReasonText
from shared.ui.forms import Form, VersionedForm, parse_choice

DateTimeText = Annotated[str, StringConstraints(max_length=30)]


class RuleForm(Form):
    kind: str
    value: str = ""
    percent: str = ""
    starts_at: DateTimeText = ""
    ends_at: DateTimeText = ""

    def to_rule(self) -> dict[str, Any]:
        """The rule in the service's format. Raises Invalid."""
        rule: dict[str, Any] = {"kind": parse_choice(self.kind, RULE_KINDS)}
        if self.kind in KINDS_WITH_VALUES:
            rule["values"] = [self.value]
        if self.kind == "percentage":
            rule["percent"] = _parse_percent(self.percent)
        times = {
            "starts_at": _parse_utc_datetime(self.starts_at),
            "ends_at": _parse_utc_datetime(self.ends_at),
        }
        return rule | {side: at for side, at in times.items() if at}


class SaveRulesForm(VersionedForm):
    reason: ReasonText


class ReviveForm(ConfirmReasonForm, VersionedForm):
    pass


class MoveCleanupForm(VersionedForm):
    cleanup_by: str
    reason: ReasonText


def _parse_percent(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Invalid(
            "A percentage is a number from 0 to 100.", "Enter a number.", fields={"percent": "0 to 100"}
        ) from None


def _parse_utc_datetime(text: str) -> str:
    """The time of a field without time zone, read as UTC. Raises Invalid."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).isoformat() if text else ""
    except ValueError:
        raise Invalid(
            "This isn’t a valid time.", "Choose a date and time.", fields={"starts_at": "Not a time"}
        ) from None
