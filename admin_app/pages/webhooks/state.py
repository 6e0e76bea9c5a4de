"""State of /webhooks."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from admin_app import labels
from admin_app.pages.webhooks.rows import (
    AccountRow,
    FailingTypeRow,
    WebhookRow,
    account_row,
    type_rows,
    webhook_row,
)
from admin_app.shell import PageState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import provider_accounts, tenant_billing, webhook_inbox
from shared.backoffice.reasons import state_reason
from shared.backoffice.webhook_inbox import InboxStatus, WebhookFilter, WebhookSummary
from shared.core.context import OperatorCtx
from shared.core.paging import Page
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ReasonForm, ReasonText
from shared.ui.forms import Form, parse_choice
from shared.ui.list_state import ListState

TABS = {"all": "All", "dead": "Dead letters"}
PAGE_SIZE = 50
FilterText = Annotated[str, StringConstraints(max_length=webhook_inbox.MAX_FILTER_LENGTH)]


class WebhookFilterForm(Form):
    """Every field may be empty: then it does not filter."""

    type: FilterText = ""
    customer: FilterText = ""
    event: FilterText = ""


class ReplayForm(Form):
    type: FilterText = ""
    reason: ReasonText


class WebhooksState(DialogState, ListState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_WEBHOOK_READ
    dialogs: ClassVar[Sequence[str]] = ("replay",)
    row_dialogs: ClassVar[Sequence[str]] = ("resume",)  # about an account
    loaded: bool = False
    tab: str = "all"
    rows: list[WebhookRow] = []
    backlog: str = ""
    oldest: str = ""
    p95: str = ""
    parked: str = ""
    dead: str = ""
    types: list[FailingTypeRow] = []
    type_choices: list[tuple[str, str]] = []
    accounts: list[AccountRow] = []
    status: str = ""
    filtered: bool = False
    account: str = ""  # name of the account that the dialog is about
    sandbox_url: str = ""  # address of the stand-in's own page, "" with a real provider
    _account_id: str = ""
    _filter: WebhookFilter = WebhookFilter()

    @rx.event
    @needs(actions.OP_WEBHOOK_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(WebhooksState.load, "webhooks", "billing") as octx:
            page_data = await self._read(octx)
        self._show(*page_data)

    async def _read(self, octx: OperatorCtx) -> tuple[InboxStatus, Page[WebhookSummary]]:
        status = "dead" if self.tab == "dead" else self._filter.status
        webhook_filter = replace_status(self._filter, status)
        return (
            await webhook_inbox.get_inbox_status(octx),
            await webhook_inbox.list_webhooks(octx, webhook_filter, after=self._cursor(), limit=PAGE_SIZE),
        )

    def _show(self, pulse: InboxStatus, webhook_page: Page[WebhookSummary]) -> None:
        self._show_pulse(pulse)
        self.rows = [webhook_row(webhook) for webhook in webhook_page.rows]
        self._show_page(webhook_page, "webhook")
        self.status = self._filter.status
        self.filtered = bool(self._filter.type or self._filter.customer_id or self._filter.event_id)
        self.sandbox_url = tenant_billing.sandbox_controls_url()
        self.loaded = True

    def _show_pulse(self, pulse: InboxStatus) -> None:
        self.backlog, self.dead = f"{pulse.backlog:,}", f"{pulse.counts['dead']:,}"
        oldest = f"Oldest: {labels.format_seconds(pulse.oldest_s)}"
        self.oldest = oldest if pulse.backlog else "None due"
        self.p95 = labels.format_seconds(pulse.p95_s) if pulse.p95_s is not None else "None"
        self.parked = f"{pulse.counts['parked']:,}"
        self.types = type_rows(pulse)
        dead = [(kind, kind) for kind, count, _ in pulse.failing_types if count]
        self.type_choices = [("", "All types"), *dead]
        self.accounts = [account_row(account) for account in pulse.accounts]

    async def _reload(self) -> None:
        async with self._ctx() as octx:
            page_data = await self._read(octx)
        self._show(*page_data)

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def choose_tab(self, tab: str) -> None:
        await self._show_first_page(tab=parse_choice(tab, TABS), _filter=WebhookFilter())

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def choose_status(self, status: str) -> None:
        status = parse_choice(status, ("", *webhook_inbox.STATUSES))
        await self._show_first_page(_filter=replace_status(self._filter, status))

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def apply_filter(self, payload: dict[str, Any]) -> None:
        form = WebhookFilterForm.read(payload)
        await self._show_first_page(_filter=WebhookFilter(self.status, form.type, form.customer, form.event))

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def clear_filter(self) -> None:
        await self._show_first_page(_filter=WebhookFilter(self.status))

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:
        if dialog == "resume":
            names = {account.id: account.name for account in self.accounts}
            self._account_id = parse_choice(row_id, names)
            self.account = names[self._account_id]

    @rx.event
    @needs(actions.OP_WEBHOOK_REPLAY)
    async def replay_dead(self, payload: dict[str, Any]) -> EventSpec:
        form = ReplayForm.read(payload)
        async with self._change_page() as octx:
            count = await webhook_inbox.replay_dead(octx, state_reason(octx, form.reason), type=form.type)
            self._cursors = []
            page_data = await self._read(octx)
        self._show(*page_data)
        self._close_dialog()
        message = labels.plural(count, "webhook queued", "webhooks queued")
        return rx.toast.success(f"{message} again.", description="Updates automatically.")

    @rx.event
    @needs(actions.OP_ACCOUNT_WRITE)
    async def resume_account(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            await provider_accounts.unpause(octx, self._account_id, reason=state_reason(octx, form.reason))
            page_data = await self._read(octx)
        self._show(*page_data)
        self._close_dialog()
        return rx.toast.success(
            f"{self.account} is active again.", description="Waiting webhooks are being processed."
        )


def replace_status(webhook_filter: WebhookFilter, status: str) -> WebhookFilter:
    """The same filter with another status."""
    return WebhookFilter(status, webhook_filter.type, webhook_filter.customer_id, webhook_filter.event_id)
