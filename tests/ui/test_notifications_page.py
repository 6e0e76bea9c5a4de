"""The pages of notifications and of their settings: what a person reads, and which channels they choose."""

from typing import Any

import pytest

from shared.core.errors import Conflict, Invalid
from shared.core.notification_kinds import MailChoice
from shared.tenancy import mail_preferences, notifications
from tenant_app.pages.notification_settings import NotificationSettingsState, notification_settings_page
from tenant_app.pages.notifications import NotificationsState, notifications_page
from tenant_app.shell import Shell
from tests.conftest import Cast


async def call(page: Any, name: str, *arguments: Any) -> Any:
    return await type(page).event_handlers[name].fn(page, *arguments)


def list_rows(page: Any) -> dict[str, Any]:
    return {row.key: row for row in page.rows}


@pytest.mark.parametrize("answer", ["later", "", False, 0, None, {}, []])
async def test_answer_that_is_no_choice_changes_nothing(cast: Cast, answer: Any) -> None:
    page = cast.ann.opens(NotificationSettingsState, path="notification-settings")
    for handler in ("choose_mail", "choose_in_app"):
        with pytest.raises(Invalid):
            await call(page, handler, "reminders", answer)
    with pytest.raises(Invalid):
        await call(page, "choose_mail", answer, "off")
    await call(page, "load")
    assert list_rows(page)["reminders"].mail == MailChoice.NOW


async def test_choice_on_the_page_is_what_holds(cast: Cast) -> None:
    page = cast.ann.opens(NotificationSettingsState, path="notification-settings")
    await call(page, "choose_mail", "reminders", "digest")
    await call(page, "choose_in_app", "reminders", "hidden")
    row = list_rows(page)["reminders"]
    assert (row.mail, row.in_app) == ("digest", "hidden")
    async with cast.ann.ctx() as ctx:
        preference = (await mail_preferences.list_my_preferences(ctx))["reminders"]
    assert (preference.mail, preference.in_app) == (MailChoice.DIGEST, False)
    notification_settings_page()


async def test_essential_kinds_say_on_the_page_that_they_are_always_sent(cast: Cast) -> None:
    page = cast.max.opens(NotificationSettingsState, path="notification-settings")
    await call(page, "load")
    rows = list_rows(page)
    assert {key for key, row in rows.items() if row.is_essential} == {"access", "account", "security"}
    assert {row.mail_lock_text for row in rows.values() if row.is_essential} == {mail_preferences.ESSENTIAL}
    assert "payments" not in rows  # a member has nothing to do with payments
    for key in ("security", "access"):
        with pytest.raises(Conflict, match="Always sent"):
            await call(page, "choose_mail", key, "off")
    with pytest.raises(Invalid):
        await call(page, "choose_mail", "payments", "off")


async def test_unknown_time_zone_is_refused(cast: Cast) -> None:
    page = cast.ann.opens(NotificationSettingsState, path="notification-settings")
    await call(page, "save_time_zone", {"time_zone": "Europe/Berlin"})
    with pytest.raises(Invalid, match="time zone"):
        await call(page, "save_time_zone", {"time_zone": "../../etc/passwd"})
    assert page.time_zone == "Europe/Berlin"


async def test_all_notifications_are_marked_as_read_for_their_reader_alone(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        for person in (cast.ann, cast.max):
            for dedupe in ("one", "two"):
                await notifications.add(ctx, person.user_id, "news", "Title", "Body", dedupe=dedupe)
    page = cast.ann.opens(NotificationsState, path="notifications")
    await call(page, "load")
    assert (await page.get_state(Shell)).unread == "2"
    await call(page, "mark_all_read")
    await call(page, "load")
    assert (await page.get_state(Shell)).unread == ""
    assert not any(row.unread for row in page.rows)
    async with cast.max.ctx() as ctx:
        assert await notifications.count_unread(ctx) == 2
    notifications_page()
