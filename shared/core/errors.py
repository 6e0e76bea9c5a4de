"""The errors of the domain. Each says what happened and what to do next.

`reason` is stable and for machines, `detail` and `next_step` are sentences for the person. None holds a secret.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import ClassVar

STATUS_BY_REASON = {  # a refusal is 403 unless its reason says otherwise
    "billing_none": 402,
    "billing_read_only": 402,
    "limit_reached": 402,
    "not_in_plan": 402,
    "queue_full": 429,
    "rate_limited": 429,
    "tenant_busy": 429,
    "tenant_throttled": 429,
    "trial_ended": 402,
    "unavailable": 503,
}


class NoTenant(RuntimeError):
    """A statement on tenant data without a tenant: a bug of ours, never an empty list."""


class DomainError(Exception):
    """Base of the errors whose text is shown to the person unchanged."""

    status: ClassVar[int] = 400
    default_reason: ClassVar[str] = "invalid"

    def __init__(self, detail: str, next_step: str = "", *, reason: str = "") -> None:
        self.reason = reason or self.default_reason
        self.detail = detail
        self.next_step = next_step
        self.headers: dict[str, str] = {}  # of the response, by name
        super().__init__(f"{self.reason}: {detail}")

    @property
    def http_status(self) -> int:
        return self.status

    def problem_details(self, request_id: str) -> dict[str, object]:
        """The body of application/problem+json."""
        return {
            "type": "about:blank",
            "title": type(self).__name__,
            "status": self.http_status,
            "reason": self.reason,
            "detail": self.detail,
            "next_step": self.next_step,
            "request_id": request_id,
        }


class NotSignedIn(DomainError):
    status = 401
    default_reason = "not_signed_in"

    def __init__(
        self, detail: str = "You’re not signed in.", next_step: str = "Sign in and try again."
    ) -> None:
        super().__init__(detail, next_step)


class Refused(DomainError):
    """A decision refused the action; `reason` says why. 402 when paying helps, 429 or 503 when waiting helps."""

    status = 403
    default_reason = "missing_permission"

    def __init__(
        self,
        detail: str,
        next_step: str = "",
        *,
        reason: str = "",
        retry_after: int = 0,
        action: str = "",
        plan_names: tuple[str, ...] = (),
        own_step: str = "",
    ) -> None:
        super().__init__(detail, next_step, reason=reason)
        self.action = action  # name of the action, "" without one
        self.plan_names = plan_names  # plans that would allow it
        self.own_step = own_step or next_step  # without the sentence about `plan_names` before it
        self.retry_after = retry_after  # seconds; 0 when waiting does not help
        self.decision_id = ""  # of its record, "" where none was made

    @property
    def http_status(self) -> int:
        return STATUS_BY_REASON.get(self.reason, self.status)

    def problem_details(self, request_id: str) -> dict[str, object]:
        details = super().problem_details(request_id)
        return {**details, "decision_id": self.decision_id} if self.decision_id else details


class NotFound(DomainError):
    """The object does not exist or belongs to another tenant: the same text for both."""

    status = 404
    default_reason = "not_found"


class Conflict(DomainError):
    """The present state does not allow the action."""

    status = 409
    default_reason = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDifference:
    """A field whose stored value differs from the one that was submitted."""

    label: str
    current: str
    submitted: str


class ChangedMeanwhile(Conflict):
    """Another person changed the object after the form had been opened. Nothing was changed."""

    default_reason = "changed_meanwhile"

    def __init__(
        self,
        subject: str,
        *,
        version: int,
        changed_by: str,
        changed_at: datetime,
        differences: tuple[FieldDifference, ...] = (),
    ) -> None:
        at, today = changed_at.astimezone(UTC), datetime.now(UTC).date()
        day = "" if at.date() == today else f" on {at:%-d %B}"
        super().__init__(
            f"{changed_by} changed {subject} at {at:%H:%M} UTC{day}.",
            "Your input is kept: reload to see the other version, or save again to replace it.",
        )
        self.version = version  # of the stored object; submitting it again replaces that version
        self.differences = differences

    def problem_details(self, request_id: str) -> dict[str, object]:
        differences = [asdict(difference) for difference in self.differences]
        return {
            **super().problem_details(request_id),
            "version": self.version,
            "differences": differences,
        }


class Unavailable(DomainError):
    """A part that we need is away for the moment. Nothing was changed."""

    status = 503
    default_reason = "unavailable"

    def __init__(self, detail: str, next_step: str = "", *, retry_after: int) -> None:
        super().__init__(detail, next_step)
        self.retry_after = retry_after  # seconds


class TookTooLong(DomainError):
    """A statement was stopped at its time limit. Nothing was changed."""

    status = 503
    default_reason = "took_too_long"


class Invalid(DomainError):
    """Invalid input. `fields` has a sentence for each wrong field, by its name in the form."""

    status = 422
    default_reason = "invalid"

    def __init__(self, detail: str, next_step: str = "", *, fields: dict[str, str] | None = None) -> None:
        super().__init__(detail, next_step)
        self.fields = fields or {}

    def field_sentences(self) -> dict[str, str]:
        """What to show below each wrong field. With a single one it is what happened, as `detail` says it."""
        return dict.fromkeys(self.fields, self.detail) if len(self.fields) == 1 else dict(self.fields)
