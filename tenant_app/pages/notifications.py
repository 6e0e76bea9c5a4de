"""/t/[tenant]/notifications: one person's notifications in this organisation."""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from shared.access import actions
from shared.core.context import Ctx
from shared.tenancy import links, mail_preferences, notifications
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button
from shared.ui.forms import parse_id
from shared.ui.panels import panel, small
from shared.ui.shell import link, page_header
from shared.ui.tables import badge, has_items
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


def notification_row(ctx: Ctx, notification: Any) -> NotificationRow:
    return NotificationRow(
        notification.id,
        notification.title,
        notification.body,
        links.build_path(ctx.slug, notification.href),
        notification.created_at.isoformat(),
        notification.read_at is None,
    )


class NotificationsState(PageState):
    loaded: bool = False
    rows: list[NotificationRow] = []
    has_payment_mails: bool = False  # whether this person receives payment mails at all
    payment_mails_on: bool = True
    payment_mails_lock_text: str = ""  # why they can't be turned off

    @rx.event
    @needs(actions.NOTIFICATION_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(NotificationsState.load, "notifications") as ctx:
            rows, choice = (
                await self._read(ctx),
                (await mail_preferences.list_my_preferences(ctx)).get(mail_preferences.PAYMENTS),
            )
        self.has_payment_mails = choice is not None
        self.payment_mails_on = choice is None or choice.enabled
        self.payment_mails_lock_text = choice.locked_reason if choice else ""
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
            await mail_preferences.set_preference(ctx, mail_preferences.PAYMENTS, enabled is True)
        return NotificationsState.load


def payment_mails_setting() -> rx.Component:
    """Shown to people who receive payment mails."""
    state = NotificationsState
    choice = rx.cond(
        state.payment_mails_on,
        button("Turn off emails", kind="quiet", on_click=state.choose_payment_mails(False), data_once="true"),
        button("Turn on emails", kind="quiet", on_click=state.choose_payment_mails(True), data_once="true"),
    )
    words = rx.el.div(
        rx.el.h2("Payment emails"),
        small(rx.cond(state.payment_mails_on, "On", "Off; you’ll still see them here.")),
        class_name="two",
    )
    control = rx.cond(state.payment_mails_lock_text != "", small(state.payment_mails_lock_text), choice)
    return rx.el.ul(rx.el.li(words, control, class_name="wrap"), class_name="list")


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
        rx.cond(NotificationsState.has_payment_mails, panel(payment_mails_setting(), name="Payment emails")),
        current="Notifications",
        load=NotificationsState.load,
    )
