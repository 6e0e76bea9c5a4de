"""/t/[tenant]/notifications: what this organisation wants one person to know."""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from shared.access import actions
from shared.core.ctx import Ctx
from shared.tenancy import mail_choices, notifications
from shared.ui.feedback import empty, skeleton_rows, when
from shared.ui.form import button
from shared.ui.form_model import an_id
from shared.ui.gate import needs
from shared.ui.hull import hull, small
from shared.ui.shell import head, link
from shared.ui.table import badge, some
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


def notification_row(one: Any) -> NotificationRow:
    return NotificationRow(
        one.id, one.title, one.body, one.href, one.created_at.isoformat(), one.read_at is None
    )


class NotificationsState(PageState):
    loaded: bool = False
    rows: list[NotificationRow] = []
    asks_payments: bool = False  # whether mails about payments are sent to this person at all
    wants_payments: bool = True
    keeps_payments: str = ""  # why they cannot be declined

    @rx.event
    @needs(actions.NOTIFICATION_READ, page=True)
    async def load(self) -> None:
        async with self._open(NotificationsState.load, "notifications") as ctx:
            rows, choice = await self._read(ctx), (await mail_choices.mine(ctx)).get(mail_choices.PAYMENTS)
        self.asks_payments = choice is not None
        self.wants_payments = choice is None or choice.wanted
        self.keeps_payments = choice.refused if choice else ""
        self.rows, self.loaded = rows, True

    async def _read(self, ctx: Ctx) -> list[NotificationRow]:
        return [notification_row(one) for one in await notifications.list_for_me(ctx)]

    @rx.event
    @needs(actions.NOTIFICATION_READ)
    async def mark_read(self, notification_id: str) -> Any:
        async with self._ctx() as ctx:
            await notifications.mark_read(ctx, an_id("ntf", notification_id))
        return NotificationsState.load

    @rx.event
    @needs(actions.NOTIFICATION_READ)
    async def choose_payments(self, wanted: bool) -> Any:
        async with self._ctx() as ctx:
            await mail_choices.choose(ctx, mail_choices.PAYMENTS, wanted is True)
        return NotificationsState.load


def mails() -> rx.Component:
    """For those to whom mails about payments are sent."""
    state = NotificationsState
    choice = rx.cond(
        state.wants_payments,
        button("Stop these mails", kind="quiet", on_click=state.choose_payments(False), data_once="true"),
        button("Send me these mails", kind="quiet", on_click=state.choose_payments(True), data_once="true"),
    )
    words = rx.el.div(
        rx.el.h2("Mails about payments"),
        small(
            rx.cond(
                state.wants_payments, "You get them.", "You do not get them; in the app you read all of it."
            )
        ),
        class_name="two",
    )
    kept = rx.cond(state.keeps_payments != "", small(state.keeps_payments), choice)
    return rx.el.ul(rx.el.li(words, kept, class_name="wrap"), class_name="list")


def line(one: NotificationRow) -> rx.Component:
    title = rx.cond(one.href != "", link(one.title, one.href), rx.el.span(one.title))
    words = rx.el.div(
        rx.el.h2(title, rx.cond(one.unread, rx.fragment(" ", badge("New", "accent")))),
        small(one.body),
        class_name="two",
    )
    done = rx.cond(
        one.unread,
        button("Mark as read", kind="quiet", on_click=NotificationsState.mark_read(one.id), data_once="true"),
    )
    return rx.el.li(
        words,
        small(when(one.at, "", "ago"), class_name="num nowrap"),
        done,
        class_name="wrap",
        data_done=rx.cond(one.unread, "false", "true"),
    )


@rx.page(route="/t/[tenant]/notifications", title="Notifications · Bulkhead", on_load=NotificationsState.load)
def notifications_page() -> rx.Component:
    nothing = empty(
        "Nothing to tell you",
        "When your role changes or somebody accepts your invitation, you read it here.",
        glyph="bell",
    )
    listed = rx.el.ul(
        rx.foreach(NotificationsState.rows, line), class_name="list", data_testid="notifications"
    )
    found = rx.cond(some(NotificationsState.rows), listed, nothing)
    return page(
        head("Notifications", said="Only for you, only in this organisation."),
        hull(rx.cond(NotificationsState.loaded, found, skeleton_rows(3)), name="Notifications"),
        rx.cond(NotificationsState.asks_payments, hull(mails(), name="Mails about payments")),
        current="Notifications",
        load=NotificationsState.load,
    )
