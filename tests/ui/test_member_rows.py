"""Rows of the members page."""

from datetime import timedelta

import pytest

from shared.access.roles import ROLES
from shared.core.db import now
from shared.tenancy.models import Invitation
from shared.ui.tables import TONE_BY_LABEL
from tenant_app.pages.members.rows import invitation_row


@pytest.mark.parametrize(
    ("problem", "days_left", "status"),
    [
        ("", 5, "Invited"),
        ("", 0.5, "Expires soon"),
        ("550 5.1.1 No such user here", 5, "Not delivered"),
        ("550 5.1.1 No such user here", -1, "Expired"),
    ],
)
def test_invitation_says_when_its_mail_could_not_be_delivered(
    problem: str, days_left: float, status: str
) -> None:
    invitation = Invitation(
        tenant_id="ten_x",
        email="typo@acme.test",
        role="member",
        invited_by="usr_x",
        invited_by_name="Ann",
        expires_at=now() + timedelta(days=days_left),
        delivery_problem=problem,
    )
    row = invitation_row(dict(ROLES), invitation)
    assert (row.status, row.tone) == (status, TONE_BY_LABEL[status])
    assert ("could not be delivered" in row.note) == bool(problem)
    assert problem in row.note
