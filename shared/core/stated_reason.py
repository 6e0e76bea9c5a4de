"""The reason a person gives for a change or a visit, as the audit log records it."""

from datetime import timedelta

from shared.core.errors import Invalid

MIN_REASON_LENGTH, MIN_REASON_WORDS = 8, 2  # as in "Ticket 4471": what somebody else can follow later
MAX_REASON_LENGTH = 300  # characters
REASON_DURATION = timedelta(minutes=30)
REASON_NEXT_STEP = "Explain it in one sentence. It is recorded in the audit log."


def clean_stated_reason(text: str) -> str:
    """What a person has typed, on one line. Raises Invalid when it is too short to explain anything, or too long."""
    reason = clean_reason(text)
    if len(reason) < MIN_REASON_LENGTH or len(reason.split()) < MIN_REASON_WORDS:
        raise invalid_reason("This reason is too short.", f"{REASON_NEXT_STEP} For example: Ticket 4471.")
    return reason


def clean_reason(reason: str) -> str:
    """The reason on one line. Raises Invalid when it is empty or too long."""
    reason = " ".join(reason.split())
    if not reason:
        raise invalid_reason("A reason is required.", REASON_NEXT_STEP, field="Enter a reason.")
    if len(reason) > MAX_REASON_LENGTH:
        raise invalid_reason(f"A reason can have at most {MAX_REASON_LENGTH} characters.", REASON_NEXT_STEP)
    return reason


def invalid_reason(message: str, next_step: str, *, field: str = "") -> Invalid:
    """The error of a form whose reason is wrong. `field`: what its field says, where that differs."""
    return Invalid(message, next_step, fields={"reason": field or f"{message} {next_step}"})
