"""The reason a person gives for a change or a visit, as the audit log records it."""

from shared.core.errors import Invalid

MAX_REASON_LENGTH = 300  # characters
REASON_NEXT_STEP = "Explain it in one sentence. It is recorded in the audit log."


def clean_reason(reason: str) -> str:
    """The reason on one line. Raises Invalid when it is empty or too long."""
    reason = " ".join(reason.split())
    if not reason:
        raise Invalid("A reason is required.", REASON_NEXT_STEP, fields={"reason": "Enter a reason."})
    if len(reason) > MAX_REASON_LENGTH:
        message = f"A reason can have at most {MAX_REASON_LENGTH} characters."
        raise Invalid(message, REASON_NEXT_STEP, fields={"reason": message})
    return reason
