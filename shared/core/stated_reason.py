"""The reason a person gives for a change or a visit, as the audit log records it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import Invalid

MIN_REASON_LENGTH, MIN_REASON_WORDS = 8, 2  # as in "Ticket 4471": what somebody else can follow later
MAX_REASON_LENGTH = 300  # characters
REASON_DURATION = timedelta(minutes=30)
REASON_NEXT_STEP = "Explain it in one sentence. It is recorded in the audit log."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A reason as one operator has stated it, for one tenant or for what belongs to none (""). Made by `state_reason`."""

    text: str
    operator_id: str
    tenant_id: str
    stated_at: datetime

    def applies_to(self, tenant_id: str) -> bool:
        return self.tenant_id == tenant_id and now() < self.stated_at + REASON_DURATION


def state_reason(octx: OperatorCtx, text: str, *, tenant_id: str = "") -> Reason:
    """Raises Invalid for a text that explains nothing."""
    return Reason(
        text=clean_stated_reason(text), operator_id=octx.actor_id, tenant_id=tenant_id, stated_at=now()
    )


def use_reason(octx: OperatorCtx, reason: Reason, tenant_id: str = "") -> str:
    """The text of the reason, for a change or a visit of this tenant.

    Raises Invalid where it was stated for another tenant, by somebody else or too long ago.
    """
    if reason.operator_id != octx.actor_id or not reason.applies_to(tenant_id):
        raise _invalid("Your reason no longer applies.", "Reload the page and enter the reason again.")
    return reason.text


def clean_stated_reason(text: str) -> str:
    """What a person has typed, on one line. Raises Invalid when it is too short to explain anything, or too long."""
    reason = clean_reason(text)
    if len(reason) < MIN_REASON_LENGTH or len(reason.split()) < MIN_REASON_WORDS:
        raise _invalid("This reason is too short.", f"{REASON_NEXT_STEP} For example: Ticket 4471.")
    return reason


def clean_reason(reason: str) -> str:
    """The reason on one line. Raises Invalid when it is empty or too long."""
    reason = " ".join(reason.split())
    if not reason:
        raise _invalid("A reason is required.", REASON_NEXT_STEP, field="Enter a reason.")
    if len(reason) > MAX_REASON_LENGTH:
        raise _invalid(f"A reason can have at most {MAX_REASON_LENGTH} characters.", REASON_NEXT_STEP)
    return reason


def _invalid(message: str, next_step: str, *, field: str = "") -> Invalid:
    return Invalid(message, next_step, fields={"reason": field or f"{message} {next_step}"})
