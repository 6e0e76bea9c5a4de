"""The question in the address of /access, and its form."""

from datetime import datetime
from typing import Annotated

from pydantic import StringConstraints

from shared.access.actions import ACTIONS
from shared.core.errors import Invalid
from shared.core.ids import is_id
from shared.tenancy import recorded_decisions
from shared.ui.forms import Form, parse_datetime

ShortText = Annotated[str, StringConstraints(max_length=120)]


class ExplainQuestion(Form):
    """The query parameters of the address. All are optional."""

    tenant: ShortText = ""
    person: ShortText = ""
    action: ShortText = ""
    at: ShortText = ""
    before: ShortText = ""
    plan: ShortText = ""
    decision: ShortText = ""

    def check(self) -> None:
        """Raises Invalid for unusable values."""
        if self.tenant and not is_id("ten", self.tenant):
            raise Invalid("The URL contains no valid tenant.", "Choose one from the list.")
        if self.person and not is_id("usr", self.person):
            raise Invalid("The URL contains no valid person.", "Choose one from the list.")
        if self.action and self.action not in ACTIONS:
            raise Invalid("The URL contains an unknown action.", "Choose one from the list.")
        if self.decision:
            recorded_decisions.parse_search(self.decision)
        self.parse_times()

    def parse_times(self) -> tuple[datetime | None, datetime | None]:
        """`before` and `at`. Raises Invalid."""
        # A plus sign of a time that was typed into an address arrives as a space.
        return parse_datetime("before", self.before.replace(" ", "+")), parse_datetime(
            "at", self.at.replace(" ", "+")
        )


class ExplainForm(Form):
    person: ShortText = ""
    action: ShortText
    at: ShortText = ""
    before: ShortText = ""
    plan: ShortText = ""
