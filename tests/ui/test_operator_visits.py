"""What operators' pages show of a tenant for a reason, and what the tenant's audit log keeps of it."""

from typing import Any

import pytest

from admin_app.pages.access.state import AccessState
from admin_app.pages.tenant.lists import TenantEventsState, TenantMembersState
from admin_app.pages.tenant.state import TenantPageState
from admin_app.pages.tenant_billing.state import TenantBillingState
from admin_app.pages.tenant_rights.state import TenantRightsState
from admin_app.visit_state import TenantVisitState
from shared.audit.audit_filter import AuditFilter
from shared.core.errors import Invalid
from shared.tenancy import audit_reader
from tests.conftest import Cast

REASON = "Ticket 4471, cannot sign in"


async def call(page: Any, name: str, *arguments: Any) -> Any:
    return await type(page).event_handlers[name].fn(page, *arguments)


async def list_visits(cast: Cast) -> list[str]:
    """The reasons of all visits, newest first, as the owner of Acme reads them."""
    async with cast.ann.ctx() as ctx:
        events = await audit_reader.list_events(ctx, AuditFilter(action="operator.looked"), limit=100)
    return [event.reason for event in events.rows]


async def open_tenant_page(cast: Cast) -> Any:
    page = cast.olga.opens(TenantPageState, path=f"/tenants/{cast.acme}")
    await call(page, "load")
    return page


async def load_tab(page: Any, tab_state: Any, *arguments: Any) -> Any:
    state = await page.get_state(tab_state)
    await call(state, "load", *arguments)
    return state


async def test_all_tabs_of_a_tenants_page_are_one_visit(cast: Cast) -> None:
    visits = await list_visits(cast)
    page = await open_tenant_page(cast)
    await call(page, "start_visit", {"reason": REASON})
    members = await load_tab(page, TenantMembersState)
    events = await load_tab(page, TenantEventsState)
    await load_tab(page, TenantRightsState)
    await load_tab(page, TenantBillingState)
    assert "Ann" in [member.name for member in members.rows]
    assert events.rows
    assert await list_visits(cast) == [REASON, *visits]


async def test_the_access_page_is_one_visit(cast: Cast) -> None:
    visits = await list_visits(cast)
    question = f"tenant={cast.acme}&person={cast.max.user_id}&action=audit:read"
    page: Any = cast.olga.opens(AccessState, path=f"/access?{question}")
    await call(page, "load")
    assert page.has_answer
    assert len(await list_visits(cast)) == len(visits) + 1


async def test_lists_of_a_tenants_page_are_empty_without_a_reason(cast: Cast) -> None:
    page = await open_tenant_page(cast)
    for reason in ("", " "):
        with pytest.raises(Invalid):
            await call(page, "start_visit", {"reason": reason})
    for tab_state in (TenantMembersState, TenantEventsState):
        assert (await load_tab(page, tab_state)).rows == []


async def test_a_reason_counts_for_the_tenant_it_was_stated_for(cast: Cast) -> None:
    page = await open_tenant_page(cast)
    await call(page, "start_visit", {"reason": REASON})
    visit = await page.get_state(TenantVisitState)
    assert visit._reason_for(cast.acme).text == REASON
    assert visit._reason_for(cast.globex) is None
    assert not visit.is_visit_open


async def test_ending_the_visit_forgets_the_lists(cast: Cast) -> None:
    page = await open_tenant_page(cast)
    await call(page, "start_visit", {"reason": REASON})
    members = await load_tab(page, TenantMembersState)
    await call(page, "end_visit")
    assert (members.rows, (await load_tab(page, TenantMembersState)).rows) == ([], [])


async def test_members_of_a_tenant_are_paged(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admin_app.pages.tenant.lists.PAGE_SIZE", 1)
    page = await open_tenant_page(cast)
    await call(page, "start_visit", {"reason": REASON})
    members = await load_tab(page, TenantMembersState)
    first_page = members.rows
    await call(members, "next_page")
    assert (len(members.rows), members.has_previous) == (1, True)
    assert members.rows != first_page
    await call(page, "choose_tab", "members")  # begins at the first page
    assert (await load_tab(page, TenantMembersState)).rows == first_page
