"""The page of notifications: which emails a person receives."""

from typing import Any

import pytest

from shared.core.errors import Invalid
from shared.tenancy import mail_preferences
from tenant_app.pages.notifications import NotificationsState, mail_settings
from tests.conftest import Cast


@pytest.mark.parametrize("answer", ["false", 0, None, {}], ids=["text", "number", "nothing", "object"])
async def test_answer_that_is_neither_yes_nor_no_changes_nothing(cast: Cast, answer: Any) -> None:
    page = cast.ann.opens(NotificationsState, path="notifications")
    choose = type(page).event_handlers["choose_reminder_mails"].fn
    with pytest.raises(Invalid):
        await choose(page, answer)
    await page.load()
    assert page.reminder_mails_on
    await choose(page, False)
    await page.load()
    assert not page.reminder_mails_on
    async with cast.ann.ctx() as ctx:
        choices = await mail_preferences.list_my_preferences(ctx)
    assert not choices[mail_preferences.REMINDERS].enabled
    mail_settings()
