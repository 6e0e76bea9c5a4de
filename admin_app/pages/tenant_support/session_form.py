"""The form that begins a support session, and the way from there to the tenant app."""

from typing import Annotated

from pydantic import StringConstraints
from reflex.event import EventSpec

from shared.backoffice.impersonations import (
    MAX_MINUTES,
    MAX_TICKET_LENGTH,
    ImpersonationRequest,
    RequestedImpersonation,
)
from shared.core.config import settings
from shared.core.stated_reason import MAX_REASON_LENGTH
from shared.ui.dialogs import ReasonForm
from shared.ui.forms import whole
from shared.ui.post_form import post_form
from shared.web.same_origin import SUPPORT_PATH


class SupportSessionForm(ReasonForm):
    ticket: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TICKET_LENGTH)]
    minutes: Annotated[int, whole(1, MAX_MINUTES)]
    write_reason: Annotated[str, StringConstraints(max_length=MAX_REASON_LENGTH)] = ""

    def build_request(self, membership_id: str) -> ImpersonationRequest:
        return ImpersonationRequest(
            membership_id=membership_id,
            ticket=self.ticket,
            minutes=self.minutes,
            can_write=bool(self.write_reason),
            write_reason=self.write_reason,
        )


def open_tenant(requested: RequestedImpersonation) -> EventSpec:
    """The browser takes the code to the tenant app, which sets a cookie."""
    return post_form(f"{settings().tenant_url}{SUPPORT_PATH}", {"code": requested.code})
