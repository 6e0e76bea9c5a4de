"""Members are told at 80 % and when all is used, once each: in the app, by mail, as an event and in the audit log."""

from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlmodel import select

from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.audit.event_types import AuditAction
from shared.audit.models import EventOutbox
from shared.core.db import now
from shared.metering import reservations, usage
from shared.metering.months import get_month
from shared.metering.usage import ItemStatus
from shared.tenancy import notifications
from tests.conftest import Cast, Person
from tests.metering.test_quotas import METER, send_many
from tests.support import api_clients, workers
from tests.support.limits import roll_up, set_limit
from tests.support.stand_in_mail import run_mailbox


@pytest.fixture(autouse=True)
def other_process() -> None:
    reservations.forget_all()


@dataclass(frozen=True)
class Warnings:
    titles: list[str]
    percents: list[int]  # of the audit log
    events: int


async def list_warnings(person: Person) -> Warnings:
    """The oldest first."""
    async with person.ctx() as ctx:
        titles = [
            row.title
            for row in await notifications.list_my_notifications(ctx)
            if row.kind == "usage.limit_warning"
        ]
        criteria = AuditFilter(action=AuditAction.USAGE_LIMIT_WARNING)
        rows = (await audit_log.list_events(ctx, criteria)).rows
        events = await ctx.session.exec(select(EventOutbox).where(EventOutbox.type == "usage.limit_warning"))
        return Warnings(titles[::-1], [row.after["percent"] for row in rows][::-1], len(events.all()))


async def test_members_are_told_once_at_each_share_of_a_hard_limit(cast: Cast, schema: str) -> None:
    """The journey: 80 % with a mail, the stop with its reason, a larger limit, and on."""
    await set_limit(cast, METER, 10)
    workers.clear_queue(schema)
    for _ in range(2):
        await send_many(cast.ann, 8)
        await roll_up(cast.acme)
    assert await list_warnings(cast.ann) == Warnings(["80 % of this month’s events are used"], [80], 1)
    async with run_mailbox() as mailbox:
        await workers.run_due_jobs()
    assert {mail.to for mail in mailbox.mails} == {cast.ann.email}
    assert "80 % of this month’s events are used" in mailbox.mails[0].subject
    assert await send_many(cast.ann, 3, "last") == [*[ItemStatus.ACCEPTED] * 2, ItemStatus.REJECTED]
    for _ in range(2):
        await roll_up(cast.acme)
    warnings = await list_warnings(cast.ann)
    assert (warnings.titles[1:], warnings.percents) == (["All of this month’s events are used"], [80, 100])
    await set_limit(cast, METER, 20)
    assert await send_many(cast.ann, 6, "larger") == [ItemStatus.ACCEPTED] * 6
    await roll_up(cast.acme)
    assert (await list_warnings(cast.ann)).percents == [80, 100, 80]


async def test_refusal_of_what_does_not_fit_tells_that_the_limit_is_reached(cast: Cast) -> None:
    await set_limit(cast, METER, 10)
    await send_many(cast.ann, 9)
    await roll_up(cast.acme)
    assert await send_many(cast.ann, 1, "large", quantity=2) == [ItemStatus.REJECTED]
    await roll_up(cast.acme)
    assert (await list_warnings(cast.ann)).percents == [80, 100]


async def test_soft_limit_allows_warns_and_is_shown(cast: Cast) -> None:
    await set_limit(cast, METER, 5, hard=False)
    program = await api_clients.create_key(cast.ann, "usage:write")
    items = [{"meter": METER, "idempotency_key": f"k{number}", "quantity": 2} for number in range(3)]
    async with program.client() as client:
        first = await client.post("/api/v1/usage", json={"items": items[:2]})
        second = await client.post("/api/v1/usage", json={"items": items[2:]})
    assert (first.json()["accepted"], first.json()["warnings"]) == (2, [])
    (warning,) = second.json()["warnings"]
    assert warning.startswith("6 events of this month are used, and your plan includes 5. Nothing is blocked")
    await roll_up(cast.acme)
    assert (await list_warnings(cast.ann)).percents == [100]


async def test_members_who_do_not_manage_billing_are_not_told(cast: Cast) -> None:
    await set_limit(cast, METER, 1)
    await send_many(cast.ann, 1)
    await roll_up(cast.acme)
    assert (await list_warnings(cast.max)).titles == []


async def test_warning_about_late_events_names_their_month(cast: Cast) -> None:
    await set_limit(cast, METER, 1)
    late_at = get_month(now()) - timedelta(hours=1)
    async with cast.ann.ctx() as ctx:
        await usage.record(ctx, METER, "late", occurred_at=late_at)
    await roll_up(cast.acme)
    assert (await list_warnings(cast.ann)).titles == [f"All of the events of {late_at:%B} are used"]
    async with cast.ann.ctx() as ctx:
        body = (await notifications.list_my_notifications(ctx))[0].body
    assert "until" not in body
