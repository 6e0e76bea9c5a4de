"""Reasons explain something, and each is for one operator, one tenant and half an hour."""

from dataclasses import replace

import pytest

from shared.backoffice import tenant_directory
from shared.backoffice.reasons import state_reason, use_reason
from shared.core.errors import Invalid
from shared.core.stated_reason import MAX_REASON_LENGTH, REASON_DURATION, clean_reason
from shared.tenancy import audit_reader
from tests.conftest import Cast

REASON = "Ticket 4471: Acme cannot pay"


def test_reason_is_put_on_one_line() -> None:
    assert clean_reason("  Ticket\n 4471 ") == "Ticket 4471"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" \n", "reason is required"),
        ("x", "too short"),
        ("support", "too short"),
        ("xxxxxxxxxxxx", "too short"),
        ("a b", "too short"),
        ("x " * MAX_REASON_LENGTH, "300"),
    ],
)
async def test_reason_that_explains_nothing_is_invalid(cast: Cast, text: str, message: str) -> None:
    async with cast.olga.octx() as octx:
        with pytest.raises(Invalid, match=message) as caught:
            state_reason(octx, text)
    assert set(caught.value.fields) == {"reason"}
    assert caught.value.next_step


async def test_reason_for_one_tenant_cannot_be_used_for_another(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=cast.acme)
        assert use_reason(octx, reason, cast.acme) == REASON
        for tenant_id in (cast.globex, ""):
            with pytest.raises(Invalid, match="no longer applies"):
                use_reason(octx, reason, tenant_id)
    with pytest.raises(Invalid, match="no longer applies"):
        async with cast.olga.octx() as octx:
            await tenant_directory.suspend_tenant(octx, cast.globex, reason)
    async with cast.gil.ctx() as ctx:
        events = (await audit_reader.list_events(ctx, limit=100)).rows
    assert REASON not in [event.reason for event in events]


async def test_reason_of_another_operator_or_of_earlier_is_refused(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=cast.acme)
    async with cast.sam.octx() as octx:
        with pytest.raises(Invalid, match="no longer applies"):
            use_reason(octx, reason, cast.acme)
    old = replace(reason, stated_at=reason.stated_at - REASON_DURATION)
    async with cast.olga.octx() as octx:
        with pytest.raises(Invalid, match="no longer applies"):
            use_reason(octx, old, cast.acme)
