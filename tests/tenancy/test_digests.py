"""Digests: one mail a day with everything in it, nothing lost and nothing twice."""

import asyncio
from datetime import UTC, datetime

import pytest

from shared.core.notification_kinds import MailChoice
from shared.jobs import mail
from shared.jobs.worker import ExternalJob
from shared.tenancy import digests, entry, mail_preferences, notifications, tasks
from tests.conftest import Cast, Person
from tests.support import database
from tests.support.mail_jobs import send_mails
from tests.support.stand_in_mail import run_mailbox

KIND, EVENT = "usage_limits", "usage.limit_warning"


@pytest.mark.parametrize(
    ("time_zone", "at", "due"),
    [
        ("", "2026-06-01T07:59:59", "2026-06-01T08:00:00"),
        ("", "2026-06-01T08:00:00", "2026-06-02T08:00:00"),
        ("Europe/Berlin", "2026-06-01T05:59:00", "2026-06-01T06:00:00"),
        ("Europe/Berlin", "2026-10-24T06:00:00", "2026-10-25T07:00:00"),  # the clocks go back
        ("Pacific/Kiritimati", "2026-06-01T18:30:00", "2026-06-02T18:00:00"),
        ("Gone/Zone", "2026-06-01T07:00:00", "2026-06-01T08:00:00"),
    ],
)
def test_digest_is_due_at_eight_where_the_person_is(time_zone: str, at: str, due: str) -> None:
    found_time = digests.find_due_time(time_zone, datetime.fromisoformat(at).replace(tzinfo=UTC))
    assert found_time == datetime.fromisoformat(due).replace(tzinfo=UTC)


async def choose_digest(person: Person, mail_choice: MailChoice = MailChoice.DIGEST) -> None:
    async with person.ctx() as ctx:
        await mail_preferences.choose(ctx, KIND, in_app=True, mail=mail_choice)


async def notify(person: Person, title: str) -> None:
    async with person.ctx() as ctx:
        await notifications.add(ctx, person.user_id, EVENT, title, "Body.", dedupe=title)


def list_digest_ids(tenant_id: str) -> list[str]:
    rows = database.connect().execute(
        "select id from notification_digest where tenant_id = %s order by due_at", [tenant_id]
    )
    return [digest_id for (digest_id,) in rows]


async def test_digest_holds_what_happened_once_and_in_order(cast: Cast) -> None:
    await choose_digest(cast.ann)
    for title in ("First", "Second", "First"):
        await notify(cast.ann, title)
    (digest,) = await send_mails(cast.ann)
    assert digest.to == cast.ann.email
    assert digest.text.index("First. Body.") < digest.text.index("Second. Body.")
    assert digest.text.count("First.") == digest.html.count("First.") == 1
    assert await send_mails(cast.ann) == []


async def test_members_with_the_same_time_each_get_their_digest(cast: Cast) -> None:
    """The queue keeps one job of a tenant and a time, unless it is about something else."""
    for person in (cast.ann, cast.adam):
        async with person.ctx() as ctx:
            await mail_preferences.choose(ctx, "webhooks", in_app=True, mail=MailChoice.DIGEST)
    async with cast.ann.ctx() as ctx:
        for person in (cast.ann, cast.adam):
            for title in ("First", "Second"):
                await notifications.add(ctx, person.user_id, "webhook.paused", title, "", dedupe=title)
    digests_sent = await send_mails(cast.ann)
    assert sorted(digest.to for digest in digests_sent) == sorted([cast.ann.email, cast.adam.email])
    assert all("First" in digest.text and "Second" in digest.text for digest in digests_sent)


async def test_job_that_dies_after_closing_the_digest_loses_nothing(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    await choose_digest(cast.ann)
    await notify(cast.ann, "First")
    (digest_id,) = list_digest_ids(cast.acme)
    job = ExternalJob(cast.acme, "")
    with monkeypatch.context() as patch:
        patch.setattr(mail, "send", die)
        with pytest.raises(ConnectionError):
            await tasks.send_digest(job, digest_id=digest_id)
    await notify(cast.ann, "Second")  # joins the next one, because this one is closed
    async with run_mailbox() as box:
        for each_id in [*list_digest_ids(cast.acme), digest_id]:
            await tasks.send_digest(job, digest_id=each_id)
    texts = [digest.text for digest in box.mails]
    assert ["First" in text for text in texts] == [True, False]
    assert ["Second" in text for text in texts] == [False, True]


async def die(email: mail.Email) -> str:
    raise ConnectionError


async def test_notification_added_while_the_digest_is_sent_is_in_the_next_one(cast: Cast) -> None:
    """It waits for the lock of whoever closes the digest."""
    await choose_digest(cast.ann)
    await notify(cast.ann, "First")
    (digest_id,) = list_digest_ids(cast.acme)
    async with entry.enter_job(cast.acme, digests.TASK, "") as ctx:
        email = await digests.build_mail(ctx, digest_id)
        late_notice = asyncio.create_task(notify(cast.ann, "Late"))
        _, waiting = await asyncio.wait({late_notice}, timeout=0.2)
        assert waiting == {late_notice}
    await late_notice
    assert email is not None
    assert list(email.items) == ["First. Body."]
    _, next_id = list_digest_ids(cast.acme)
    async with entry.enter_job(cast.acme, digests.TASK, "") as ctx:
        next_email = await digests.build_mail(ctx, next_id)
    assert next_email is not None
    assert list(next_email.items) == ["Late. Body."]


async def test_digest_waits_for_a_notification_that_has_joined_it(cast: Cast) -> None:
    await choose_digest(cast.ann)
    await notify(cast.ann, "First")
    (digest_id,) = list_digest_ids(cast.acme)

    async def build() -> list[str]:
        async with entry.enter_job(cast.acme, digests.TASK, "") as ctx:
            email = await digests.build_mail(ctx, digest_id)
            return list(email.items) if email else []

    async with cast.ann.ctx() as ctx:
        await notifications.add(ctx, cast.ann.user_id, EVENT, "Late", "Body.", dedupe="Late")
        closing = asyncio.create_task(build())
        _, waiting = await asyncio.wait({closing}, timeout=0.3)
        assert waiting == {closing}
    assert await closing == ["First. Body.", "Late. Body."]


async def test_digest_leaves_out_what_was_turned_off_since(cast: Cast) -> None:
    await choose_digest(cast.ann)
    await notify(cast.ann, "First")
    await choose_digest(cast.ann, MailChoice.OFF)
    assert await send_mails(cast.ann) == []


async def test_digest_says_that_there_is_more_than_it_holds(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "MAX_ITEMS", 2)
    await choose_digest(cast.ann)
    for title in ("First", "Second", "Third"):
        await notify(cast.ann, title)
    (digest,) = await send_mails(cast.ann)
    assert "Second" in digest.text
    assert "Third" not in digest.text
    assert "There’s more" in digest.text
