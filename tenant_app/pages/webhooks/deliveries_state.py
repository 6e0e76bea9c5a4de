"""The deliveries of one endpoint: the list, one of them with what came back, and sending again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from shared.core.context import Ctx
from shared.core.errors import NotFound
from shared.core.plurals import plural
from shared.outbound_webhooks import actions, deliveries
from shared.outbound_webhooks.deliveries import DeliveryView
from shared.outbound_webhooks.models import DeliveryStatus
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import EmptyForm
from shared.ui.forms import parse_choice, parse_id
from shared.ui.list_state import ListState
from tenant_app.pages.webhooks.rows import STATUS_CHOICES, DeliveryRow, DetailRow, delivery_row, detail_row
from tenant_app.shell import PageState

PAGE_SIZE = 25
REPLAY_DAYS = 3


class DeliveriesState(DialogState, ListState, PageState, mixin=True):
    """For the state of the page, which has the endpoints."""

    shown_id: str = ""  # the endpoint whose deliveries are shown, "" for none
    deliveries: list[DeliveryRow] = []
    status: str = ""
    detail: DetailRow = DetailRow()

    async def _read_deliveries(self, ctx: Ctx) -> None:
        """Shows none where the endpoint was deleted meanwhile."""
        if not self.shown_id:
            self.deliveries = []
            return
        try:
            page = await deliveries.list_deliveries(
                ctx,
                self.shown_id,
                status=DeliveryStatus(self.status) if self.status else None,
                after=self._cursor(),
                limit=PAGE_SIZE,
            )
        except NotFound:
            self.shown_id, self.deliveries, self._cursors = "", [], []
            return
        rows: list[DeliveryView] = list(page.rows)
        self.deliveries = [delivery_row(delivery) for delivery in rows]
        self._show_page(page, "delivery", "deliveries")

    async def _reload(self) -> None:
        async with self._ctx() as ctx:
            await self._read_deliveries(ctx)

    @rx.event
    @needs(actions.WEBHOOK_READ)
    async def choose_status(self, status: str) -> None:
        await self._show_first_page(status=parse_choice(status, [key for key, _ in STATUS_CHOICES]))

    async def _fill_detail(self, delivery_id: str) -> None:
        async with self._ctx() as ctx:
            self.detail = detail_row(await deliveries.get_delivery(ctx, parse_id("whd", delivery_id)))

    @rx.event
    @needs(actions.WEBHOOK_REPLAY)
    async def replay_delivery(self, payload: dict[str, Any]) -> EventSpec:
        EmptyForm.read(payload)
        async with self._change_page() as ctx:
            await deliveries.replay(ctx, parse_id("whd", self.detail.id))
            await self._read_deliveries(ctx)
        self._close_dialog()
        return rx.toast.success("Event queued again.", description="It keeps its id. Updates automatically.")

    @rx.event
    @needs(actions.WEBHOOK_REPLAY)
    async def replay_failed(self) -> EventSpec:
        since = datetime.now(UTC) - timedelta(days=REPLAY_DAYS)
        async with self._change_page() as ctx:
            count = await deliveries.replay_failed(ctx, parse_id("whe", self.shown_id), since)
            await self._read_deliveries(ctx)
        if not count:
            return rx.toast.info(f"No delivery has failed in the last {REPLAY_DAYS} days.")
        return rx.toast.success(
            f"{plural(count, 'event')} queued again.", description="The oldest is sent first."
        )
