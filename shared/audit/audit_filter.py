"""A filter of events of an audit log."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.audit.event_types import AuditResult


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Empty fields do not filter. `since` is included, `until` is not."""

    actor: str = ""  # id, or part of the name
    action: str = ""  # exact, or "membership." for all of a noun
    object_id: str = ""
    request_id: str = ""
    event_id: str = ""
    result: AuditResult | None = None
    tenant_id: str = ""  # operators reading across tenants
    since: datetime | None = None
    until: datetime | None = None
    hides_accounts: bool = False  # without sign-ins and changes of people's own accounts

    def not_before(self, at: datetime) -> "AuditFilter":
        """A copy that excludes events before `at`."""
        since = max(self.since, at) if self.since else at
        return self.with_changes(since=since)

    def of_request(self, request_id: str) -> "AuditFilter":
        """A copy that asks for another request."""
        return self.with_changes(request_id=request_id)

    def with_changes(self, **changes: Any) -> "AuditFilter":  # Any: values of several fields
        """A copy with other values of these fields."""
        return AuditFilter(**{name: getattr(self, name) for name in self.__slots__} | changes)
