"""The health page of operators, and the runbook that an alert links to."""

import pytest

from admin_app.pages.health.state import HealthState
from admin_app.pages.overview.state import OverviewState
from admin_app.pages.runbook import RunbookState
from shared.backoffice import runbooks
from shared.core import db
from shared.core.db import now
from shared.monitoring.models import AlertState
from tests.conftest import Cast


@pytest.fixture
async def firing_alert(schema: str, cast: Cast) -> str:
    async with db.transaction("operator") as session:
        session.add(
            AlertState(
                name="tenant_errors", subject=cast.acme, detail="20 of 40 failed.", since=now(), seen_at=now()
            )
        )
    return cast.acme


async def test_alert_is_shown_with_its_tenant_and_runbook(cast: Cast, firing_alert: str) -> None:
    page = cast.olga.opens(HealthState, path="/health")
    await page.load()
    (row,) = [row for row in page.alerts if row.href == f"/tenants/{firing_alert}"]
    assert (row.title, row.subject, row.urgency) == ("One tenant fails", "Acme", "Now")
    assert [lane.title for lane in page.lanes] == [
        *("Our own work", "Mail", "Payment provider", "Files", "Bulk work")
    ]
    overview = cast.olga.opens(OverviewState)
    await overview.load()
    assert row in overview.alerts
    runbook = cast.olga.opens(RunbookState, path=f"/health/{row.name}")
    await runbook.load()
    assert [part.title for part in runbook.parts] == list(runbooks.PARTS)
    assert "20 % of a tenant’s requests" in runbook.description


async def test_operator_turns_mail_about_alerts_on_and_off(cast: Cast) -> None:
    page = cast.sam.opens(HealthState, path="/health")
    await page.load()
    before = page.is_subscribed
    await page.toggle_mails()
    await page.load()
    assert page.is_subscribed is not before
    await page.toggle_mails()
    assert page.is_subscribed is before
