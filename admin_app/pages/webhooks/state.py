"""State of /webhooks."""

from typing import Annotated, Any

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
from shared.backoffice import provider_accounts, tenant_billing, webhook_inbox
from shared.backoffice.webhook_inbox import WebhookFilter
from shared.core.context import OperatorCtx
from shared.ui.authorize import needs
from shared.ui.dialogs import ReasonText
from shared.ui.forms import Form, parse_choice

TABS = {"all": "All", "dead": "Dead letters"}
DIALOGS = ("", "replay", "resume")
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


class ResumeAccountForm(Form):
    reason: ReasonText


class WebhooksState(PageState):
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
    count_text: str = ""
    has_next: bool = False
    has_previous: bool = False
    dialog: str = ""
    account: str = ""  # name of the account that the dialog is about
    sandbox_url: str = ""  # address of the stand-in's own page, "" where a real provider is asked
    _account_id: str = ""
    _filter: WebhookFilter = WebhookFilter()
    _cursors: list[str] = []  # of the pages before this one; the last is this page's own
    _next_cursor: str = ""

    @rx.event
    @needs(actions.OP_WEBHOOK_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(WebhooksState.load, "webhooks", "billing") as octx:
            await self._read(octx, self.tab, self._filter, self._cursors)

    async def _read(
        self, octx: OperatorCtx, tab: str, webhook_filter: WebhookFilter, cursors: list[str]
    ) -> None:
        """Reads and then shows: a refusal leaves the page as it was."""
        pulse = await webhook_inbox.get_inbox_status(octx)
        applied_filter = WebhookFilter(
            "dead" if tab == "dead" else webhook_filter.status,
            webhook_filter.type,
            webhook_filter.customer_id,
            webhook_filter.event_id,
        )
        after = cursors[-1] if cursors else ""
        received = await webhook_inbox.list_webhooks(octx, applied_filter, after=after, limit=PAGE_SIZE)
        self._show_pulse(pulse)
        self.rows = [webhook_row(webhook) for webhook in received.rows]
        self.tab, self._filter, self.status = tab, webhook_filter, webhook_filter.status
        self._cursors, self._next_cursor = cursors, received.after
        self.has_next, self.has_previous = bool(received.after), bool(cursors)
        self.filtered = bool(webhook_filter.type or webhook_filter.customer_id or webhook_filter.event_id)
        self.count_text = labels.plural(len(self.rows), "webhook", "webhooks")
        self.sandbox_url = tenant_billing.sandbox_controls_url()
        self.loaded = True

    def _show_pulse(self, pulse: webhook_inbox.InboxStatus) -> None:
        self.backlog, self.dead = f"{pulse.backlog:,}", f"{pulse.counts['dead']:,}"
        oldest = f"Oldest: {labels.format_seconds(pulse.oldest_s)}"
        self.oldest = oldest if pulse.backlog else "None due"
        self.p95 = labels.format_seconds(pulse.p95_s) if pulse.p95_s is not None else "None"
        self.parked = f"{pulse.counts['parked']:,}"
        self.types = type_rows(pulse)
        dead = [(kind, kind) for kind, count, _ in pulse.failing_types if count]
        self.type_choices = [("", "All types"), *dead]
        self.accounts = [account_row(account) for account in pulse.accounts]

    async def _reload(self, tab: str, webhook_filter: WebhookFilter, cursors: list[str]) -> None:
        async with self._ctx() as octx:
            await self._read(octx, tab, webhook_filter, cursors)

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def choose_tab(self, tab: str) -> None:
        await self._reload(parse_choice(tab, TABS), WebhookFilter(), [])

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def choose_status(self, status: str) -> None:
        previous_filter = self._filter
        status = parse_choice(status, ("", *webhook_inbox.STATUSES))
        await self._reload(
            self.tab,
            WebhookFilter(
                status, previous_filter.type, previous_filter.customer_id, previous_filter.event_id
            ),
            [],
        )

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def apply_filter(self, payload: dict[str, Any]) -> None:
        form = WebhookFilterForm.read(payload)
        await self._reload(self.tab, WebhookFilter(self.status, form.type, form.customer, form.event), [])

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def clear_filter(self) -> None:
        await self._reload(self.tab, WebhookFilter(self.status), [])

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def next_page(self) -> None:
        if self._next_cursor:
            await self._reload(self.tab, self._filter, [*self._cursors, self._next_cursor])

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def previous_page(self) -> None:
        await self._reload(self.tab, self._filter, self._cursors[:-1])

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def open_dialog(self, dialog: str, row_id: str = "") -> None:
        """`row_id`: id of an account, where the dialog is about one."""
        name = parse_choice(dialog, DIALOGS)
        if name == "resume":
            self._account_id = parse_choice(row_id, [account.id for account in self.accounts])
            self.account = next(account.name for account in self.accounts if account.id == row_id)
        self.dialog = name

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def close_dialog(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.OP_WEBHOOK_REPLAY)
    async def replay_dead(self, payload: dict[str, Any]) -> EventSpec:
        form = ReplayForm.read(payload)
        async with self._ctx() as octx:
            count = await webhook_inbox.replay_dead(octx, form.reason, type=form.type)
            await self._read(octx, self.tab, self._filter, [])
        self.dialog = ""
        message = labels.plural(count, "webhook queued", "webhooks queued")
        return rx.toast.success(f"{message} again.", description="Updates automatically.")

    @rx.event
    @needs(actions.OP_ACCOUNT_WRITE)
    async def resume_account(self, payload: dict[str, Any]) -> EventSpec:
        form = ResumeAccountForm.read(payload)
        async with self._ctx() as octx:
            await provider_accounts.unpause(octx, self._account_id, reason=form.reason)
            await self._read(octx, self.tab, self._filter, self._cursors)
        self.dialog = ""
        return rx.toast.success(
            f"{self.account} is active again.", description="Waiting webhooks are being processed."
        )
