"""/t/[tenant]/notifications: one person's notifications in this organisation."""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from shared.access import actions
from shared.core.context import Ctx
from shared.files import files
from shared.tenancy import links, notifications
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button
from shared.ui.forms import parse_id
from shared.ui.panels import panel, small
from shared.ui.shell import link, page_header
from shared.ui.tables import badge, has_items
from tenant_app.exports import download_form
from tenant_app.frame import page
from tenant_app.nav import page_href
from tenant_app.shell import PageState, Shell


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

    @rx.event
    @needs(actions.NOTIFICATION_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(NotificationsState.load, "notifications") as ctx:
            rows = await self._read(ctx)
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
    async def mark_all_read(self) -> Any:
        async with self._quiet_ctx() as ctx:
            await notifications.mark_all_read(ctx)
        return NotificationsState.load


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


def header_actions() -> list[rx.Component]:
    mark_all_button = button(
        "Mark all as read", on_click=NotificationsState.mark_all_read, data_once="true", kind="quiet"
    )
    settings_link = link("Settings", page_href("notification-settings"), class_name="btn")
    return [rx.cond(Shell.unread != "", mark_all_button), settings_link]


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
        page_header(
            "Notifications",
            description="Your notifications in this organisation.",
            actions=header_actions(),
        ),
        panel(rx.cond(NotificationsState.loaded, content, skeleton_rows(3)), name="Notifications"),
        current="Notifications",
        load=NotificationsState.load,
    )
