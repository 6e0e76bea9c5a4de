"""/t/[tenant]/notifications: one person's notifications in this organisation."""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from shared.access import actions
from shared.core.context import Ctx
from shared.files import files
from shared.tenancy import links, mail_preferences, notifications
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button
from shared.ui.forms import parse_flag, parse_id
from shared.ui.panels import panel, small
from shared.ui.shell import link, page_header
from shared.ui.tables import badge, has_items
from tenant_app.exports import download_form
from tenant_app.frame import page
from tenant_app.shell import PageState


@dataclass(frozen=True)
class NotificationRow:
    id: str
    title: str
    body: str
    href: str
    at: str
    unread: bool
    download_path: str  # of a file that it is about


def notification_row(ctx: Ctx, notification: Any) -> NotificationRow:
    page_path = "" if files.is_reference(notification.href) else links.build_path(ctx.slug, notification.href)
    return NotificationRow(
        notification.id,
        notification.title,
        notification.body,
        page_path,
        notification.created_at.isoformat(),
        notification.read_at is None,
        files.build_referenced_path(ctx, notification.href, notification.created_at),
    )


class NotificationsState(PageState):
    loaded: bool = False
    rows: list[NotificationRow] = []
    has_payment_mails: bool = False  # whether this person receives payment mails at all
    payment_mails_on: bool = True
    payment_mails_lock_text: str = ""  # why they can't be turned off
    reminder_mails_on: bool = True  # of renewals and cards that expire

    @rx.event
    @needs(actions.NOTIFICATION_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(NotificationsState.load, "notifications") as ctx:
            rows, choices = await self._read(ctx), await mail_preferences.list_my_preferences(ctx)
        choice, reminder_choice = (
            choices.get(mail_preferences.PAYMENTS),
            choices.get(mail_preferences.REMINDERS),
        )
        self.has_payment_mails = choice is not None
        self.payment_mails_on = choice is None or choice.enabled
        self.payment_mails_lock_text = choice.locked_reason if choice else ""
        self.reminder_mails_on = reminder_choice is None or reminder_choice.enabled
        self.rows, self.loaded = rows, True

    async def _read(self, ctx: Ctx) -> list[NotificationRow]:
        return [
            notification_row(ctx, notification)
            for notification in await notifications.list_my_notifications(ctx)
        ]

    @rx.event
    @needs(actions.NOTIFICATION_READ)
    async def mark_read(self, notification_id: str) -> Any:
        async with self._quiet_ctx() as ctx:
            await notifications.mark_read(ctx, parse_id("ntf", notification_id))
        return NotificationsState.load

    @rx.event
    @needs(actions.NOTIFICATION_READ)
    async def choose_payment_mails(self, enabled: bool) -> Any:
        async with self._quiet_ctx() as ctx:
            await mail_preferences.set_preference(ctx, mail_preferences.PAYMENTS, parse_flag(enabled))
        return NotificationsState.load

    @rx.event
    @needs(actions.NOTIFICATION_READ)
    async def choose_reminder_mails(self, enabled: bool) -> Any:
        async with self._quiet_ctx() as ctx:
            await mail_preferences.set_preference(ctx, mail_preferences.REMINDERS, parse_flag(enabled))
        return NotificationsState.load


def mail_settings() -> rx.Component:
    """Shown to people who receive payment mails."""
    state = NotificationsState
    payment_mails = mail_setting(
        "Payment emails",
        state.payment_mails_on,
        state.choose_payment_mails,
        lock_text=state.payment_mails_lock_text,
    )
    reminder_mails = mail_setting(
        "Reminders of renewals and expiring cards",
        state.reminder_mails_on,
        state.choose_reminder_mails,
    )
    return rx.el.ul(payment_mails, reminder_mails, class_name="list")


def mail_setting(title: str, is_on: Any, choose: Any, *, lock_text: Any = "") -> rx.Component:
    """`choose`: the handler that takes whether they are sent. `lock_text`: why they can't be turned off."""
    choice = rx.cond(
        is_on,
        button("Turn off emails", kind="quiet", on_click=choose(False), data_once="true"),
        button("Turn on emails", kind="quiet", on_click=choose(True), data_once="true"),
    )
    words = rx.el.div(
        rx.el.h2(title),
        small(rx.cond(is_on, "On", "Off; you’ll still see them here.")),
        class_name="two",
    )
    control = rx.cond(lock_text != "", small(lock_text), choice)
    return rx.el.li(words, control, class_name="wrap")


def notification_item(notification: NotificationRow) -> rx.Component:
    title = rx.cond(
        notification.href != "", link(notification.title, notification.href), rx.el.span(notification.title)
    )
    words = rx.el.div(
        rx.el.h2(title, rx.cond(notification.unread, rx.fragment(" ", badge("New", "accent")))),
        small(notification.body),
        class_name="two",
    )
    mark_read_button = rx.cond(
        notification.unread,
        button(
            "Mark as read",
            kind="quiet",
            on_click=NotificationsState.mark_read(notification.id),
            data_once="true",
        ),
    )
    return rx.el.li(
        words,
        small(local_time(notification.at, "", "ago"), class_name="num nowrap"),
        rx.cond(notification.download_path != "", download_form(notification.download_path)),
        mark_read_button,
        class_name="wrap",
        data_done=rx.cond(notification.unread, "false", "true"),
    )


@rx.page(route="/t/[tenant]/notifications", title="Notifications · Bulkhead", on_load=NotificationsState.load)
def notifications_page() -> rx.Component:
    no_notifications = empty_state(
        "You’re all caught up",
        "Role changes and accepted invitations appear here.",
        glyph="bell",
    )
    notification_list = rx.el.ul(
        rx.foreach(NotificationsState.rows, notification_item), class_name="list", data_testid="notifications"
    )
    content = rx.cond(has_items(NotificationsState.rows), notification_list, no_notifications)
    return page(
        page_header("Notifications", description="Your notifications in this organisation."),
        panel(rx.cond(NotificationsState.loaded, content, skeleton_rows(3)), name="Notifications"),
        rx.cond(NotificationsState.has_payment_mails, panel(mail_settings(), name="Emails")),
        current="Notifications",
        load=NotificationsState.load,
    )
