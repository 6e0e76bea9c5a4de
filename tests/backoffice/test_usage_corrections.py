"""Operators correct and recompute the usage of a tenant, on its usage tab and with a reason."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from admin_app.pages.tenant_usage.state import TenantUsageState
from admin_app.pages.tenant_usage.view import usage_panel
from admin_app.visit_state import TenantVisitState
from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.backoffice import usage_corrections
from shared.backoffice.reasons import state_reason
from shared.core.db import now
from shared.core.errors import Invalid, Refused
from shared.metering import months, rollups, tasks, usage, usage_reports
from shared.metering.usage_reports import Step, UsageQuery
from shared.tenancy import entry
from tests.conftest import Cast

METER = "usage_events"
HOUR = timedelta(hours=1)
OLD_HOUR = now().replace(minute=0, second=0, microsecond=0) - 48 * HOUR
REASON = "Ticket 4471, as agreed"


async def use(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        for key, quantity in (("right", 1_500), ("twice", 400)):
            await usage.record(ctx, METER, key, quantity=quantity, occurred_at=OLD_HOUR)
        await rollups.roll_up(ctx)


async def get_total(cast: Cast) -> Decimal:
    async with cast.ann.ctx() as ctx:
        query = UsageQuery(since=OLD_HOUR - HOUR, until=now(), step=Step.HOUR, meter=METER)
        (meter_usage,) = (await usage_reports.get_report(ctx, query)).meters
    return meter_usage.total


async def send_event(page: Any, name: str, *payload: Any) -> Any:
    return await type(page).event_handlers[name].fn(page, *payload)


async def open_tab(cast: Cast) -> Any:
    page: Any = cast.olga.opens(TenantUsageState, path=f"/tenants/{cast.acme}")
    async with page._ctx() as octx:
        reason = state_reason(octx, REASON, tenant_id=cast.acme)
    (await page.get_state(TenantVisitState))._open_visit(reason)
    await send_event(page, "load")
    return page


async def run_job(cast: Cast, job: Any, **ids: str) -> None:
    async with entry.enter_job(cast.acme, "metering.test", "") as ctx:
        await job(ctx, **ids)


async def test_correction_is_opened_previewed_closed_and_reverted_on_the_tab(cast: Cast) -> None:
    await use(cast)
    page = await open_tab(cast)
    lines = f"void, {METER}, twice\nadd, {METER}, missing, 7000, {OLD_HOUR.isoformat()}"
    await send_event(page, "open_correction", {"lines": lines, "reason": REASON})
    (row,) = page.corrections
    assert (row.note, row.item_count, row.state, row.is_open) == (REASON, "2 items", "Open", True)
    await send_event(page, "open_dialog", "close_correction", row.id)
    assert [(effect.before, effect.after) for effect in page.preview.windows] == [("1,900", "8,500")]
    assert "7,000 events are billed" in page.preview.billed[0]
    await send_event(page, "close_correction", {"reason": REASON})
    assert page.corrections[0].state == "Closing"
    await run_job(cast, tasks.close_correction, correction_id=row.id)
    assert await get_total(cast) == 8_500
    page = await open_tab(cast)
    assert (page.changes[0].cause, page.changes[0].correction_id) == ("Correction", row.id)
    await send_event(page, "choose_month", f"{OLD_HOUR:%Y-%m}")
    assert {comparison.label for comparison in page.comparisons} == {"Equal"}
    usage_panel()
    windows = next(row for row in page.comparisons if row.meter == "Usage events").windows
    assert windows[0].sum == "6,600 used + 900 carried = 7 × 1,000 + 500 carried on"
    await send_event(page, "open_dialog", "revert_correction", row.id)
    await send_event(page, "revert_correction", {"reason": REASON})
    await run_job(cast, tasks.revert_correction, correction_id=row.id)
    assert await get_total(cast) == 1_900
    async with cast.ann.ctx() as ctx:
        events = (await audit_log.list_events(ctx, AuditFilter(action="usage.correction_asked"))).rows
    assert [event.reason for event in events] == [REASON] * 2


async def test_wrong_line_opens_nothing_and_says_which(cast: Cast) -> None:
    await use(cast)
    with pytest.raises(Invalid, match="Line 2: There is no such event"):
        async with cast.olga.octx() as octx:
            await usage_corrections.open_correction(
                octx,
                cast.acme,
                f"void,{METER},twice\nvoid,{METER},unknown",
                state_reason(octx, REASON, tenant_id=cast.acme),
            )
    assert (await open_tab(cast)).corrections == []


async def test_month_is_recomputed_by_a_job_with_a_reason(cast: Cast) -> None:
    await use(cast)
    page = await open_tab(cast)
    month = f"{OLD_HOUR:%Y-%m}"
    await send_event(page, "recompute_month", {"meter": METER, "month": month, "reason": REASON})
    await run_job(cast, tasks.recompute_month, meter=METER, month=f"{month}-01T00:00:00+00:00")
    async with cast.ann.ctx() as ctx:
        asked, done = [
            (await audit_log.list_events(ctx, AuditFilter(action=action))).rows
            for action in ("usage.recompute_asked", "usage.recomputed")
        ]
        digest = await rollups.get_digest(ctx, METER, months.get_month(OLD_HOUR))
    assert [(event.reason, event.object_id) for event in asked] == [(REASON, f"{METER}:{month}")]
    assert [event.after["digest"] for event in done] == [digest]


async def test_support_neither_corrects_nor_recomputes(cast: Cast) -> None:
    async with cast.sam.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=cast.acme)
        for attempt in (
            usage_corrections.open_correction(octx, cast.acme, f"void,{METER},k", reason),
            usage_corrections.close_correction(octx, cast.acme, "ucr_x", reason),
            usage_corrections.revert_correction(octx, cast.acme, "ucr_x", reason),
            usage_corrections.recompute_month(octx, cast.acme, METER, now(), reason),
        ):
            with pytest.raises(Refused):
                await attempt
