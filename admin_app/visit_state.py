"""The reason that an operator states before a page shows tenants' data."""

from datetime import UTC, datetime
from typing import Any

import reflex as rx

from admin_app.shell import PageState
from shared.tenancy.entry import VISIT_DURATION


class VisitState(rx.State, mixin=True):
    """Mixin of a page state that shows tenants' data for a reason, which counts for `VISIT_DURATION`."""

    is_visit_open: bool = False
    reason: str = ""
    _visit_until: datetime | None = None

    def _current_reason(self) -> str:
        """The reason; "" when none was stated, or too long ago."""
        return self.reason if self._visit_until and datetime.now(UTC) < self._visit_until else ""

    def _open_visit(self, reason: str) -> None:
        for name, value in visit_vars(reason).items():
            setattr(self, name, value)

    def _close_visit(self) -> None:
        self.is_visit_open, self.reason, self._visit_until = False, "", None


def visit_vars(reason: str) -> dict[str, Any]:
    """The vars of a visit that begins now with this reason."""
    return {"is_visit_open": True, "reason": reason, "_visit_until": datetime.now(UTC) + VISIT_DURATION}


class TenantVisitState(VisitState, PageState):
    """The visit of the tenant whose page is shown: one reason for all of its tabs."""

    _visited_tenant_id: str = ""

    def _visit(self, tenant_id: str, reason: str) -> None:
        self._visited_tenant_id = tenant_id
        self._open_visit(reason)

    def _reason_for(self, tenant_id: str) -> str:
        """The reason, if it was stated for this tenant and still counts. Otherwise "", and the visit is closed."""
        if self._visited_tenant_id != tenant_id or not self._current_reason():
            self._close_visit()
        return self.reason
