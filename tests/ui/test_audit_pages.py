"""The audit log's pages: the address has the filter and leads to one event; refused acts are marked."""

from typing import Any

import pytest

from admin_app.pages.audit.state import AuditPageState, OperatorEventsState
from shared.core.errors import Invalid
from shared.tenancy import entry, tenants
from tenant_app.pages.audit import AuditState
from tests.conftest import Cast


async def call(page: Any, name: str, *arguments: Any) -> Any:
    return await type(page).event_handlers[name].fn(page, *arguments)


async def open_log(cast: Cast, query: str = "") -> Any:
    page: Any = cast.ann.opens(AuditState, path=f"audit{query}")
    await call(page, "load")
    return page


async def rename(cast: Cast, name: str) -> None:
    async with cast.ann.ctx() as ctx:
        await tenants.rename(ctx, name, version=None)


async def test_address_of_the_log_has_its_filter(cast: Cast) -> None:
    await rename(cast, "Acme One")
    page = await open_log(cast, "?action=tenant.renamed&result=done")
    (row,) = page.rows
    assert (row.action, page.filtered, page.filter_values["action"]) == (
        "tenant.renamed",
        True,
        "tenant.renamed",
    )
    assert [(change.before, change.after) for change in row.changes] == [("Acme", "Acme One")]
    answer = str(await call(page, "apply_filter", {"actor": " Ann ", "since": "2026-01-01"}))
    assert f"/t/{cast.ann.slug}/audit?actor=Ann&since=2026-01-01" in answer
    assert f'/t/{cast.ann.slug}/audit"' in str(await call(page, "clear_filter"))


async def test_permanent_address_shows_one_event(cast: Cast) -> None:
    for name in ("Acme One", "Acme Two"):
        await rename(cast, name)
    chosen = (await open_log(cast)).rows[1]
    page = await open_log(cast, chosen.url.removeprefix(f"/t/{cast.ann.slug}/audit"))
    assert [row.id for row in page.rows] == [chosen.id]


@pytest.mark.parametrize("query", ["action=no.such", "result=lost", "since=yesterday", f"actor={'x' * 500}"])
async def test_address_that_is_no_filter_is_refused(cast: Cast, query: str) -> None:
    page: Any = cast.ann.opens(AuditState, path=f"audit?{query}")
    with pytest.raises(Invalid):
        page._apply_address()


async def test_operators_log_is_filtered_by_its_address(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        for reason in ("Ticket 1, a look", "Ticket 2, a look"):
            async with entry.read_across_tenants(octx, reason):
                pass
    page: Any = cast.olga.opens(OperatorEventsState, path="/audit?tab=operators&action=tenants.read_across")
    frame: Any = await page.get_state(AuditPageState)
    await call(frame, "load")
    await call(page, "load")
    assert {row.action for row in page.rows} == {"tenants.read_across"}
    assert (frame.tab, page.filtered) == ("operators", True)
    answer = str(await call(page, "apply_filter", {"actor": "Olga"}))
    assert "/audit?tab=operators&actor=Olga" in answer
    with pytest.raises(Invalid):
        await call(page, "apply_filter", {"action": "membership.created"})
