"""What the webhooks page shows and changes."""

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import reflex as rx
from pydantic import StringConstraints, create_model
from reflex.event import EventSpec

from shared.access.actions import Action
from shared.audit.public_events import EVENT_TYPES
from shared.core.context import Ctx
from shared.outbound_webhooks import actions, endpoints
from shared.outbound_webhooks.endpoints import MAX_DESCRIPTION_LENGTH, MAX_URL_LENGTH, IssuedSecret
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ConfirmForm, EmptyForm
from shared.ui.forms import Form, VersionedForm, parse_id
from shared.ui.list_state import ListState
from tenant_app.pages.webhooks.deliveries_state import DeliveriesState
from tenant_app.pages.webhooks.rows import (
    EndpointRow,
    EventGroup,
    EventRow,
    checkbox_name,
    endpoint_row,
    event_groups,
    event_row,
)
from tenant_app.shell import PageState

OVERLAPS = {
    "24": ("24 hours", "Both secrets sign for 24 hours, so that you can change the receiver without a gap."),
    "0": ("Not at all", "For a secret that others know. Events fail until the receiver has the new one."),
}
ShortUrl = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL_LENGTH)]


class BaseEndpointForm(Form):
    url: ShortUrl
    description: Annotated[str, StringConstraints(max_length=MAX_DESCRIPTION_LENGTH)] = ""

    def selected_events(self) -> list[str]:
        values = self.model_dump()
        return [name for name in EVENT_TYPES if values[checkbox_name(name)] == "on"]


class BaseEndpointChangeForm(BaseEndpointForm, VersionedForm):
    pass


class RotateForm(Form):
    overlap: Literal["24", "0"]


def _checkbox_fields() -> Any:
    """A field for every event of every manifest."""
    return {checkbox_name(name): (Literal["", "on"], "") for name in EVENT_TYPES}


@cache
def endpoint_form() -> type[BaseEndpointForm]:
    return create_model("EndpointForm", __base__=BaseEndpointForm, **_checkbox_fields())


@cache
def endpoint_change_form() -> type[BaseEndpointChangeForm]:
    return create_model("EndpointChangeForm", __base__=BaseEndpointChangeForm, **_checkbox_fields())


class WebhooksState(DeliveriesState, DialogState, ListState, PageState):
    reads: ClassVar[Action] = actions.WEBHOOK_READ
    filled_dialogs: ClassVar[Sequence[str]] = ("create",)
    row_dialogs: ClassVar[Sequence[str]] = ("change", "rotate", "delete", "delivery")
    loaded: bool = False
    rows: list[EndpointRow] = []
    events: list[EventRow] = []
    subject: EndpointRow = EndpointRow()
    groups: list[EventGroup] = []
    secret: str = ""  # a new one, until its dialog is closed
    shown_url: str = ""
    shown_is_paused: bool = False

    @rx.event
    @needs(actions.WEBHOOK_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(WebhooksState.load, endpoints.TOPIC, "roles") as ctx:
            await self._read(ctx)

    async def _read(self, ctx: Ctx) -> None:
        views = await endpoints.list_endpoints(ctx)
        catalog = await endpoints.list_event_types(ctx)
        await self._read_deliveries(ctx)
        self.rows = [endpoint_row(endpoint, self.shown_id) for endpoint in views]
        shown = next((row for row in self.rows if row.is_shown), EndpointRow())
        self.shown_url, self.shown_is_paused = shown.url, shown.is_paused
        self.events = [event_row(entry) for entry in catalog]
        self.loaded = True

    @rx.event
    @needs(actions.WEBHOOK_READ)
    async def show_deliveries(self, endpoint_id: str) -> None:
        async with self._ctx() as ctx:
            shown = await endpoints.get_endpoint(ctx, parse_id("whe", endpoint_id))
            self.shown_id, self.status, self._cursors = shown.id, "", []
            await self._read(ctx)

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:
        if dialog == "delivery":
            await self._fill_detail(row_id)
            return
        async with self._ctx() as ctx:
            catalog = await endpoints.list_event_types(ctx)
            if dialog == "create":
                self.subject, chosen = EndpointRow(), tuple[str, ...]()
            else:
                view = await endpoints.get_endpoint(ctx, parse_id("whe", row_id))
                self.subject, chosen = endpoint_row(view, self.shown_id), view.event_types
        self.groups = event_groups(catalog, chosen)

    def _empty_dialog(self) -> None:
        self.secret = ""

    async def _check_url(self, url: str) -> None:
        """Its host is looked up outside of any transaction."""
        async with self._ctx() as ctx:
            check = await endpoints.begin_url_check(ctx, url)
        await endpoints.check_url(check)

    @rx.event
    @needs(actions.WEBHOOK_CREATE)
    async def create_endpoint(self, payload: dict[str, Any]) -> EventSpec:
        form = endpoint_form().read(payload)
        await self._check_url(form.url)
        async with self._change_page() as ctx:
            issued = await endpoints.create(ctx, form.url, form.description, form.selected_events())
            await ctx.session.flush()
            await self._read(ctx)
        return self._show_secret(issued, "Added the webhook.")

    @rx.event
    @needs(actions.WEBHOOK_CHANGE)
    async def change_endpoint(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = endpoint_change_form().read(payload), self.subject
        await self._check_url(form.url)
        async with self._change_page() as ctx:
            await endpoints.change(
                ctx,
                parse_id("whe", subject.id),
                form.url,
                description=form.description,
                event_types=form.selected_events(),
                version=form.row_version,
            )
            await ctx.session.flush()
            await self._read(ctx)
        self._close_dialog()
        return rx.toast.success("Changed the webhook.", description="Applies to events from now on.")

    @rx.event
    @needs(actions.WEBHOOK_ROTATE)
    async def rotate_secret(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = RotateForm.read(payload), self.subject
        async with self._change_page() as ctx:
            issued = await endpoints.rotate_secret(
                ctx, parse_id("whe", subject.id), overlap=timedelta(hours=int(form.overlap))
            )
            await ctx.session.flush()
            await self._read(ctx)
        return self._show_secret(issued, "Rotated the secret.")

    def _show_secret(self, issued: IssuedSecret, title: str) -> EventSpec:
        """The secret is nowhere else from now on: closing its dialog forgets it."""
        self._close_dialog()
        self.secret, self.dialog = issued.secret, "secret"
        return rx.toast.success(title)

    @rx.event
    @needs(actions.WEBHOOK_READ)
    async def forget_secret(self, payload: dict[str, Any]) -> None:
        EmptyForm.read(payload)
        self._empty_dialog()
        self._close_dialog()

    @rx.event
    @needs(actions.WEBHOOK_DELETE)
    async def delete_endpoint(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ConfirmForm.read(payload), self.subject
        form.check(subject.url)
        async with self._change_page() as ctx:
            await endpoints.delete(ctx, parse_id("whe", subject.id))
            await ctx.session.flush()
            await self._read(ctx)
        self._close_dialog()
        return rx.toast.success("Deleted the webhook.", description="Nothing more is sent to it.")

    @rx.event
    @needs(actions.WEBHOOK_PAUSE)
    async def pause_endpoint(self, endpoint_id: str) -> EventSpec:
        async with self._change_page() as ctx:
            await endpoints.pause(ctx, parse_id("whe", endpoint_id))
            await ctx.session.flush()
            await self._read(ctx)
        return rx.toast.success("Paused the webhook.", description="Its events wait for up to 30 days.")

    @rx.event
    @needs(actions.WEBHOOK_RESUME)
    async def resume_endpoint(self, endpoint_id: str) -> EventSpec:
        async with self._change_page() as ctx:
            await endpoints.resume(ctx, parse_id("whe", endpoint_id))
            await ctx.session.flush()
            await self._read(ctx)
        return rx.toast.success("Resumed the webhook.", description="Waiting events are being sent.")

    @rx.event
    @needs(actions.WEBHOOK_TEST)
    async def send_test(self, endpoint_id: str) -> EventSpec:
        async with self._change_page() as ctx:
            shown_id = parse_id("whe", endpoint_id)
            await endpoints.send_test(ctx, shown_id)
            await ctx.session.flush()
            self.shown_id, self.status, self._cursors = shown_id, "", []
            await self._read(ctx)
        return rx.toast.success("Sent a test event.", description="Its delivery updates automatically.")
