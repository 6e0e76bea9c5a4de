"""What members choose decides where a notification goes: the app, a mail at once, the digest, or nowhere."""

import pytest

from shared.core.notification_kinds import NOTIFICATION_KINDS, MailChoice
from shared.tenancy import mail_preferences, notifications
from tests.conftest import Cast, Person
from tests.support.mail_jobs import send_mails

EVENT, KIND = "usage.limit_warning", "usage_limits"


async def choose(person: Person, kind: str = KIND, *, in_app: bool = True, mail: MailChoice) -> None:
    async with person.ctx() as ctx:
        await mail_preferences.choose(ctx, kind, in_app=in_app, mail=mail)


async def notify(person: Person, dedupe: str = "one", event: str = EVENT) -> str:
    async with person.ctx() as ctx:
        return await notifications.add(
            ctx, person.user_id, event, "9 of 10 projects", "Remove one.", href="access", dedupe=dedupe
        )


@pytest.mark.parametrize(
    ("in_app", "mail", "subjects"),
    [
        (True, MailChoice.NOW, ["9 of 10 projects – Acme"]),
        (False, MailChoice.NOW, ["9 of 10 projects – Acme"]),
        (True, MailChoice.OFF, []),
        (True, MailChoice.DIGEST, ["Your daily summary – Acme"]),
    ],
)
async def test_notification_goes_where_the_member_wants_it(
    cast: Cast, in_app: bool, mail: MailChoice, subjects: list[str]
) -> None:
    await choose(cast.ann, in_app=in_app, mail=mail)
    await notify(cast.ann)
    async with cast.ann.ctx() as ctx:
        assert len(await notifications.list_my_notifications(ctx)) == int(in_app)
        assert await notifications.count_unread(ctx) == int(in_app)
    assert [email.subject for email in await send_mails(cast.ann)] == subjects


async def test_mail_turned_off_before_it_is_sent_is_not_sent(cast: Cast) -> None:
    await notify(cast.ann)
    await choose(cast.ann, mail=MailChoice.OFF)
    assert await send_mails(cast.ann) == []


async def test_mail_is_not_sent_to_whoever_is_not_told_any_more(cast: Cast) -> None:
    await notify(cast.max)  # a member without the permission of this kind
    assert await send_mails(cast.ann) == []


async def test_choice_of_one_member_holds_for_nobody_else(cast: Cast) -> None:
    await choose(cast.adam, mail=MailChoice.OFF)
    kind = NOTIFICATION_KINDS[KIND]
    async with cast.ann.ctx() as ctx:
        assert (await mail_preferences.get_preference(ctx, cast.ann.user_id, kind)).mail is MailChoice.NOW
        assert (await mail_preferences.get_preference(ctx, cast.adam.user_id, kind)).mail is MailChoice.OFF
    async with cast.gil.ctx() as ctx:
        assert (await mail_preferences.get_preference(ctx, cast.adam.user_id, kind)).mail is MailChoice.NOW


async def test_choice_of_an_earlier_version_still_holds(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        await mail_preferences.set_preference(ctx, mail_preferences.REMINDERS, False)
        assert not await mail_preferences.is_mail_enabled(ctx, cast.adam.user_id, "reminders")
        await mail_preferences.set_preference(ctx, mail_preferences.REMINDERS, True)
        assert await mail_preferences.is_mail_enabled(ctx, cast.adam.user_id, "reminders")
