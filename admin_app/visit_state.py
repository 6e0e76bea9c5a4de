"""The reason that an operator states before a page shows tenants' data."""

from typing import Any

import reflex as rx

from admin_app.shell import PageState
from shared.backoffice.reasons import Reason


class VisitState(rx.State, mixin=True):
    """Mixin of a page state that shows tenants' data for a reason, for as long as that applies."""

    is_visit_open: bool = False
    reason: str = ""
    _reason: Reason | None = None

    def _current_reason(self, tenant_id: str = "") -> Reason | None:
        """None when no reason was stated, or for another tenant, or too long ago."""
        return self._reason if self._reason and self._reason.applies_to(tenant_id) else None

    def _open_visit(self, reason: Reason) -> None:
        for name, value in visit_vars(reason).items():
            setattr(self, name, value)

    def _close_visit(self) -> None:
        self.is_visit_open, self.reason, self._reason = False, "", None


def visit_vars(reason: Reason) -> dict[str, Any]:
    """The vars of a visit for this reason."""
    return {"is_visit_open": True, "reason": reason.text, "_reason": reason}


class TenantVisitState(VisitState, PageState):
    """The visit of the tenant whose page is shown: one reason for all of its tabs."""

    def _reason_for(self, tenant_id: str) -> Reason | None:
        """The reason, if it was stated for this tenant and still applies. Otherwise None, and the visit is closed."""
        reason = self._current_reason(tenant_id)
        if reason is None:
            self._close_visit()
        return reason
