"""Reasons that operators state: each is for one operator, one tenant and half an hour."""

from dataclasses import dataclass
from datetime import datetime

from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.stated_reason import REASON_DURATION, clean_stated_reason, invalid_reason


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
    octx.act.tenant_id, octx.act.reason = tenant_id, text
    return Reason(
        text=clean_stated_reason(text), operator_id=octx.actor_id, tenant_id=tenant_id, stated_at=now()
    )


def use_reason(octx: OperatorCtx, reason: Reason, tenant_id: str = "") -> str:
    """The text of the reason, for a change or a visit of this tenant.

    Raises Invalid where it was stated for another tenant, by another operator or too long ago.
    """
    octx.act.tenant_id = tenant_id
    if reason.operator_id != octx.actor_id or not reason.applies_to(tenant_id):
        raise invalid_reason("Your reason no longer applies.", "Reload the page and enter the reason again.")
    octx.act.reason = reason.text
    return reason.text
