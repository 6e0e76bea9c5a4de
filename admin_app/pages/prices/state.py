"""State of /prices."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app import labels
from admin_app.pages.prices import forms, rows
from admin_app.pages.prices.forms import PriceForm
from admin_app.pages.prices.rows import PricedVersionRow, PriceListSummary
from admin_app.shell import PageState
from admin_app.submissions import describe_outcome
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import approvals, price_admin
from shared.backoffice.approved_changes import PriceChange, build_price_request
from shared.backoffice.reasons import state_reason
from shared.billing.pricing import price_sync, prices
from shared.billing.pricing.price_sync import PriceSyncResult
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.forms import parse_id


class PricesState(DialogState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_CATALOG_READ
    opens_dialogs: ClassVar[OperatorAction] = actions.OP_CATALOG_WRITE
    row_dialogs: ClassVar[Sequence[str]] = ("price",)  # about a version of a plan
    loaded: bool = False
    versions: list[PricedVersionRow] = []
    summary: PriceListSummary = PriceListSummary()
    selected_version: PricedVersionRow = PricedVersionRow()  # whose price is being set

    @rx.event
    @needs(actions.OP_CATALOG_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(PricesState.load, prices.TOPIC, "catalog") as octx:
            await self._read(octx)

    async def _read(self, octx: OperatorCtx) -> None:
        price_history, at = await price_admin.list_price_history(octx), datetime.now(UTC)
        self.versions = rows.version_rows(price_history, at)
        self.summary = rows.summarise_prices(price_history, at)
        self.loaded = True

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:  # noqa: ARG002  there is one
        versions = {version.id: version for version in self.versions}
        if parse_id("plv", row_id) not in versions:
            raise Invalid("This version is no longer in the list.", "Reload the page.")
        self.selected_version = versions[row_id]

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def set_price(self, payload: dict[str, Any]) -> EventSpec:
        form = PriceForm.read(payload)
        arguments = forms.parse_price_form(form)
        async with self._change_page() as octx:
            version_id, reason = parse_id("plv", self.selected_version.id), state_reason(octx, form.reason)
            change = PriceChange(version_id=version_id, known_prices=form.row_version - 1, **arguments)
            submission = await approvals.submit(octx, actions.OP_PRICE_SET, change, reason)
            await self._read(octx)
        self._close_dialog()
        start = change.effective_at
        start_text = "at once" if start is None else f"on {start:%-d %B %Y}"
        title, detail = describe_outcome(
            submission,
            f"{self.selected_version.name}: {price_admin.describe_price(build_price_request(change))}.",
            f"In force {start_text}. Current subscriptions change at their next renewal.",
        )
        return rx.toast.success(title, description=detail)

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def push_prices(self) -> EventSpec:
        async with self._ctx() as octx:
            await price_admin.request_push(octx)
        with self._skip_own_tab():
            result = await price_sync.push_prices("operator", repair=True)
        return await self._finish(result, f"Pushed {labels.plural(result.count, 'price', 'prices')}.")

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def compare_prices(self) -> EventSpec:
        async with self._ctx() as octx:
            await price_admin.request_compare(octx)
        with self._skip_own_tab():
            result = await price_sync.compare_prices("operator")
        difference_text = (
            labels.plural(result.drifted_count, "differs", "differ")
            if result.drifted_count
            else "No differences"
        )
        return await self._finish(
            result, f"Compared {labels.plural(result.count, 'price', 'prices')}. {difference_text}."
        )

    async def _finish(self, result: PriceSyncResult, title: str) -> EventSpec:
        async with self._change_page() as octx:
            await self._read(octx)
        if result.failures:
            return rx.toast.error(title, description=" ".join(result.failures[:3]))
        return rx.toast.success(title)
