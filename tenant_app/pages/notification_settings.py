"""/t/[tenant]/notification-settings: by which channels a person gets each kind of notification of this organisation."""

from dataclasses import dataclass
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from shared.access import actions
from shared.core.context import Ctx
from shared.core.notification_kinds import NOTIFICATION_KINDS, MailChoice
from shared.tenancy import digests, mail_preferences
from shared.tenancy.mail_preferences import MailPreferenceView
from shared.ui.authorize import needs
from shared.ui.banners import skeleton_rows
from shared.ui.controls import button, select
from shared.ui.forms import Form, parse_choice
from shared.ui.panels import panel, small
from shared.ui.shell import link, page_header
from tenant_app.frame import page
from tenant_app.nav import page_href
from tenant_app.shell import PageState

SHOWN, HIDDEN = "shown", "hidden"
APP_CHOICES = [(SHOWN, "In the app"), (HIDDEN, "Not in the app")]
MAIL_CHOICES = [
    (MailChoice.NOW.value, "Email at once"),
    (MailChoice.DIGEST.value, "Daily summary"),
    (MailChoice.OFF.value, "No email"),
]


class TimeZoneForm(Form):
    time_zone: str


@dataclass(frozen=True, kw_only=True)
class PreferenceRow:
    key: str
    title: str
    description: str
    in_app: str  # SHOWN or HIDDEN
    has_app: bool  # whether this kind has notifications in the app
    mail: str
    mail_lock_text: str  # why its mail can't be chosen
    is_essential: bool


def preference_row(preference: MailPreferenceView) -> PreferenceRow:
    kind = preference.kind
    return PreferenceRow(
        key=kind.key,
        title=kind.title,
        description=kind.description,
        in_app=SHOWN if preference.in_app else HIDDEN,
        has_app=bool(kind.events) and kind.is_choosable,
        mail=preference.mail.value,
        mail_lock_text=preference.locked_reason,
        is_essential=kind.is_essential,
    )


class NotificationSettingsState(PageState):
    loaded: bool = False
    rows: list[PreferenceRow] = []
    time_zone: str = ""

    @rx.event
    @needs(actions.NOTIFICATION_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(NotificationSettingsState.load) as ctx:
            await self._read(ctx)

    async def _read(self, ctx: Ctx) -> None:
        preferences = await mail_preferences.list_my_preferences(ctx)
        self.time_zone = await digests.get_my_time_zone(ctx)
        self.rows = [preference_row(preference) for preference in preferences.values()]
        self.loaded = True

    @rx.event
    @needs(actions.NOTIFICATION_READ)
    async def choose_in_app(self, kind: str, answer: str) -> None:
        key = parse_choice(kind, NOTIFICATION_KINDS)
        is_on = parse_choice(answer, dict(APP_CHOICES)) == SHOWN
        async with self._ctx() as ctx:
            preference = await mail_preferences.get_my_preference(ctx, key)
            await mail_preferences.choose(ctx, key, in_app=is_on, mail=preference.mail)
            await self._read(ctx)

    @rx.event
    @needs(actions.NOTIFICATION_READ)
    async def choose_mail(self, kind: str, mail: str) -> None:
        key = parse_choice(kind, NOTIFICATION_KINDS)
        choice = MailChoice(parse_choice(mail, [choice.value for choice in MailChoice]))
        async with self._ctx() as ctx:
            preference = await mail_preferences.get_my_preference(ctx, key)
            await mail_preferences.choose(ctx, key, in_app=preference.in_app, mail=choice)
            await self._read(ctx)

    @rx.event
    @needs(actions.NOTIFICATION_READ)
    async def save_time_zone(self, payload: dict[str, Any]) -> EventSpec:
        form = TimeZoneForm.read(payload)
        async with self._ctx() as ctx:
            await digests.choose_my_time_zone(ctx, form.time_zone)
            await self._read(ctx)
        return rx.toast.success("Saved the time zone.")


def preference_item(row: PreferenceRow) -> rx.Component:
    state = NotificationSettingsState
    in_app = select(
        f"{row.title} in the app",
        APP_CHOICES,
        value=row.in_app,
        on_change=lambda answer: state.choose_in_app(row.key, answer),
    )
    mail = select(
        f"Emails about {row.title}",
        MAIL_CHOICES,
        value=row.mail,
        on_change=lambda mail: state.choose_mail(row.key, mail),
    )
    words = rx.el.div(rx.el.h2(row.title), small(row.description), class_name="two")
    return rx.el.li(
        words,
        rx.cond(row.has_app, in_app),
        rx.cond(row.mail_lock_text != "", small(row.mail_lock_text), mail),
        class_name="wrap",
    )


def time_zone_form() -> rx.Component:
    field = rx.el.div(
        rx.el.label("Time zone", html_for="time_zone"),
        rx.el.input(
            custom_attrs={"id": "time_zone"},
            name="time_zone",
            class_name="input",
            default_value=NotificationSettingsState.time_zone,
            max_length=60,
            placeholder="Europe/Berlin",
            aria_describedby="time_zone-hint",
        ),
        rx.el.p(
            "The summary arrives at 8:00. Without a time zone, that is 8:00 UTC.",
            id="time_zone-hint",
            class_name="hint",
        ),
        class_name="field",
    )
    return rx.el.form(
        field,
        rx.el.div(button("Save", type="submit"), class_name="row"),
        on_submit=NotificationSettingsState.save_time_zone,
        class_name="stack",
        key=NotificationSettingsState.time_zone,
    )


@rx.page(
    route="/t/[tenant]/notification-settings",
    title="Notification settings · Bulkhead",
    on_load=NotificationSettingsState.load,
)
def notification_settings_page() -> rx.Component:
    kinds = rx.el.ul(
        rx.foreach(NotificationSettingsState.rows, preference_item),
        class_name="list",
        data_testid="notification-kinds",
    )
    return page(
        page_header(
            "Notification settings",
            description="What you get about this organisation, and where. These settings are yours alone.",
            actions=[link("Notifications", page_href("notifications"), class_name="btn")],
        ),
        panel(rx.cond(NotificationSettingsState.loaded, kinds, skeleton_rows(5)), name="Kinds"),
        panel(time_zone_form(), title="Daily summary", body=True),
        current="Notifications",
        load=NotificationSettingsState.load,
    )
