"""The pages *Approvals* and *Approval*: one operator asks on the tenant's page, another one decides."""

from collections.abc import Callable
from typing import Any

import pytest

from admin_app.pages.approval.state import ApprovalPageState
from admin_app.pages.approval.view import approval_page
from admin_app.pages.approvals import ApprovalsState, approvals_page
from admin_app.pages.flag.state import FlagPageState
from shared.core.errors import Invalid, NotFound, Refused
from tests.conftest import Cast, Operating
from tests.support import factories
from tests.support.entitlements import flag_fixtures


async def send_event(state: Any, name: str, *args: Any) -> Any:
    handler: Any = type(state).event_handlers[name].fn
    return await handler(state, *args)


async def ask_for_release(cast: Cast) -> str:
    """Asks on the page of a flag. Returns the id of the request, as the list of approvals shows it."""
    key = await flag_fixtures.create_flag(cast, {"kind": "internal"})
    flag_page: Any = cast.olga.opens(FlagPageState, path=f"/flags/{key}")
    await send_event(flag_page, "load")
    await send_event(flag_page, "edit_rules")
    rule = {"kind": "everyone", "value": "", "percent": "", "starts_at": "", "ends_at": ""}
    await send_event(flag_page, "add_rule", rule)
    await send_event(flag_page, "preview_rules")
    form = {"reason": "Ready for everyone", "row_version": str(flag_page.draft_version)}
    await send_event(flag_page, "save_rules", form)
    assert flag_page.version_number == 2  # nothing has changed yet
    list_page: Any = cast.olga.opens(ApprovalsState, path="/approvals")
    await send_event(list_page, "load")
    assert list_page.rows[0].requested_by == "You"
    approval_id: str = list_page.rows[0].id
    return approval_id


async def open_request(operator: Operating, approval_id: str) -> Any:
    state = operator.opens(ApprovalPageState, path=f"/approvals/{approval_id}")
    await send_event(state, "load")
    return state


async def test_request_shows_what_will_happen_and_another_operator_approves_it(
    cast: Cast, environment: Callable[[str, str], None]
) -> None:
    environment("BULKHEAD_APPROVALS", "required")
    approval_id = await ask_for_release(cast)
    first_page = await open_request(cast.olga, approval_id)
    assert "own request" in first_page.facts.obstacle
    with pytest.raises(Refused):
        await send_event(first_page, "approve_request", {"reason": "I am sure of it"})
    second_page = await open_request(Operating(await factories.create_operator("Nora")), approval_id)
    assert (second_page.facts.obstacle, second_page.facts.status) == ("", "Waiting")
    assert [(line.name, line.after) for line in second_page.lines] == [
        ("On for", "internal tenants; everyone")
    ]
    assert [line.name for line in second_page.effects] == ["Tenants"]
    await send_event(second_page, "approve_request", {"reason": "Looked at the numbers"})
    assert (second_page.facts.status, second_page.facts.decided_by) == ("Approved", "Nora")
    list_page: Any = cast.sam.opens(ApprovalsState, path="/approvals")
    await send_event(list_page, "choose_shown", "decided")
    assert approval_id in {row.id for row in list_page.rows}


async def test_forged_addresses_and_choices_are_refused(cast: Cast) -> None:
    for path in ("/approvals/apr_01m8qgrq32etx94n1h1f4nm07b", "/approvals/nothing"):
        page = cast.olga.opens(ApprovalPageState, path=path)
        await send_event(page, "load")  # says so on the page itself
        assert not page.loaded
        with pytest.raises(NotFound):
            await send_event(page, "approve_request", {"reason": "I am sure of it"})
    list_page: Any = cast.olga.opens(ApprovalsState, path="/approvals")
    handler: Any = ApprovalsState.event_handlers["choose_shown"].fn
    with pytest.raises(Invalid):
        await handler.__wrapped__(list_page, "everything")


def test_pages_can_be_drawn() -> None:
    assert "approvals" in str(approvals_page().render())
    assert "approval-lines" in str(approval_page().render())
