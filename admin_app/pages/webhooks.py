"""/webhooks: what the payment provider has told us, how far we are with it, and what failed.

That something came is read across tenants. What it carried is on a page of its own, for a reason.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from admin_app import addresses, billing_words, words
from admin_app.frame import page
from admin_app.shell import PageState, guard_control
from shared.access import actions
from shared.backoffice import tenant_billing, webhook_inbox
from shared.backoffice.webhook_inbox import AccountStatus, WebhookFilter, WebhookSummary
from shared.billing import accounts
from shared.core.context import OperatorCtx
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.charts import meter
from shared.ui.controls import button, dialog, form_field, select, text_input
from shared.ui.dialogs import OPERATOR_AUDIT_HINT, ReasonText, reason_field
from shared.ui.forms import Form, parse_choice
from shared.ui.panels import panel, small, stat_grid, strong, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, pager, table_row

COLUMNS = [
    Column("Webhook"),
    Column("Tenant", hidden_on_phone=True),
    Column("Status"),
    Column("Tries", align_end=True, hidden_on_phone=True),
    Column("Came", align_end=True, hidden_on_phone=True),
]
TABS = {"all": "All", "dead": "Dead letters"}
STATUS_CHOICES = [
    ("", "All states"),
    *((key, billing_words.WEBHOOK_STATUS_LABELS[key][0]) for key in webhook_inbox.STATUSES),
]
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


@dataclass(frozen=True)
class WebhookRow:
    href: str
    event_id: str
    type: str
    customer: str
    tenant_id: str
    tenant: str
    status: str
    tone: str
    error: str
    tries: str
    at: str


@dataclass(frozen=True)
class FailingTypeRow:
    """A type of which some failed."""

    type: str
    dead: str
    failing: str
    count: str
    maximum: str  # of any type
    share: str
    value_text: str


@dataclass(frozen=True)
class AccountRow:
    id: str
    name: str
    mode: str
    state: str
    tone: str
    status_text: str
    since: str
    is_paused: bool


def webhook_row(webhook: WebhookSummary) -> WebhookRow:
    status_label, tone, _ = billing_words.WEBHOOK_STATUS_LABELS[webhook.status]
    return WebhookRow(
        addresses.webhook_url(webhook.account_id, webhook.event_id),
        webhook.event_id,
        webhook.type,
        webhook.customer_id or "No customer",
        webhook.tenant_id,
        webhook.tenant_name,
        status_label,
        tone,
        webhook.error,
        str(webhook.attempts),
        webhook.received_at.isoformat(),
    )


def type_rows(pulse: webhook_inbox.InboxStatus) -> list[FailingTypeRow]:
    highest = max((dead + failing for _, dead, failing in pulse.failing_types), default=1)
    return [
        FailingTypeRow(
            kind,
            f"{dead:,} dead" if dead else "",
            f"{failing:,} to be tried again" if failing else "",
            str(dead + failing),
            str(highest),
            f"{(dead + failing) / highest * 100:.1f}%",
            f"{dead:,} dead, {failing:,} to be tried again",
        )
        for kind, dead, failing in pulse.failing_types
    ]


def account_row(account: AccountStatus) -> AccountRow:
    status_label, tone, since = "Answers", "ok", None
    if account.unreachable_since is not None:
        status_label, tone, since = "Does not answer", "warn", account.unreachable_since
    if account.paused_at is not None:
        status_label, tone, since = "Paused", "bad", account.paused_at
    waiting = words.plural(account.waiting, "webhook waits", "webhooks wait")
    dead = f", {account.dead:,} dead" if account.dead else ""
    return AccountRow(
        account.id,
        account.name,
        "Live" if account.livemode else "Test",
        status_label,
        tone,
        f"{account.pause_reason}. {waiting}{dead}." if account.paused_at else f"{waiting}{dead}.",
        billing_words.iso_or_empty(since),
        account.paused_at is not None,
    )


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
        self.count_text = words.plural(len(self.rows), "webhook", "webhooks")
        self.sandbox_url = tenant_billing.sandbox_controls_url()
        self.loaded = True

    def _show_pulse(self, pulse: webhook_inbox.InboxStatus) -> None:
        self.backlog, self.dead = f"{pulse.backlog:,}", f"{pulse.counts['dead']:,}"
        oldest = f"The oldest for {billing_words.format_seconds(pulse.oldest_s)}"
        self.oldest = oldest if pulse.backlog else "Nothing is due"
        self.p95 = billing_words.format_seconds(pulse.p95_s) if pulse.p95_s is not None else "None"
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
    async def open_dialog(self, dialog: str, account_id: str = "") -> None:
        """`about`: id of an account, where the dialog is about one."""
        name = parse_choice(dialog, DIALOGS)
        if name == "resume":
            self._account_id = parse_choice(account_id, [account.id for account in self.accounts])
            self.account = next(account.name for account in self.accounts if account.id == account_id)
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
        message = words.plural(count, "webhook is tried", "webhooks are tried")
        return rx.toast.success(f"{message} again.", description="This page follows by itself.")

    @rx.event
    @needs(actions.OP_ACCOUNT_WRITE)
    async def resume_account(self, payload: dict[str, Any]) -> EventSpec:
        form = ResumeAccountForm.read(payload)
        async with self._ctx() as octx:
            await accounts.unpause(octx, self._account_id, reason=form.reason)
            await self._read(octx, self.tab, self._filter, self._cursors)
        self.dialog = ""
        return rx.toast.success(
            f"{self.account} is asked again.", description="What waited is worked through."
        )


def webhook_stat(label: str, value: Any, note: Any, test_id: str) -> rx.Component:
    return rx.el.div(
        rx.el.h2(label, class_name="label"),
        rx.el.p(value, class_name="figure", data_testid=test_id),
        rx.el.p(note, class_name="small muted num"),
        class_name="stat",
    )


def webhook_stats() -> rx.Component:
    state = WebhooksState
    shown = stat_grid(
        webhook_stat("Waiting", state.backlog, state.oldest, "backlog"),
        webhook_stat("Delay", state.p95, "95 of 100 of the last hour were done within", "delay"),
        webhook_stat("Parked", state.parked, "No organisation has their customer yet", "parked"),
        webhook_stat("Dead", state.dead, "Every try failed", "dead"),
    )
    return panel(rx.cond(state.loaded, shown, skeleton_rows(1)), name="How far we are")


def failures_panel() -> rx.Component:
    def line(failing_type: FailingTypeRow) -> rx.Component:
        counts = rx.fragment(
            rx.cond(failing_type.dead != "", rx.el.span(failing_type.dead, class_name="down")),
            rx.cond((failing_type.dead != "") & (failing_type.failing != ""), rx.fragment(" · ")),
            failing_type.failing,
        )
        bar = meter(
            failing_type.type,
            failing_type.count,
            failing_type.maximum,
            share=failing_type.share,
            tone=rx.cond(failing_type.dead != "", "bad", "warn"),
            value_text=failing_type.value_text,
        )
        return rx.el.li(
            rx.el.div(
                rx.el.div(
                    rx.el.code(failing_type.type, class_name="mono grow cut-anywhere"),
                    small(counts),
                    class_name="row",
                ),
                bar,
                class_name="troubled",
            )
        )

    type_list = rx.el.ul(rx.foreach(WebhooksState.types, line), class_name="list", data_testid="failures")
    no_failures = empty_state(
        "Nothing fails", "Types of which some failed would stand here.", glyph="circle-check"
    )
    content = rx.cond(has_items(WebhooksState.types), type_list, no_failures)
    return panel(rx.cond(WebhooksState.loaded, content, skeleton_rows(2)), title="Failures by type")


def accounts_panel() -> rx.Component:
    def line(account: AccountRow) -> rx.Component:
        since_text = rx.cond(
            account.since != "", rx.fragment(" Since ", local_time(account.since, "", "moment"), ".")
        )
        resume_button = rx.cond(
            account.is_paused,
            guard_control(
                actions.OP_ACCOUNT_WRITE,
                button("Resume", kind="quiet", on_click=WebhooksState.open_dialog("resume", account.id)),
                "Resume",
                id=f"resume-{account.id}",
            ),
        )
        name = rx.el.span(
            strong(account.name), " ", badge(account.state, account.tone), class_name="row wrap"
        )
        return rx.el.li(
            text_with_note(
                name,
                small(account.mode, " mode. ", account.status_text, since_text, class_name="cut-anywhere"),
            ),
            resume_button,
        )

    account_list = rx.el.ul(
        rx.foreach(WebhooksState.accounts, line), class_name="list", data_testid="accounts"
    )
    return panel(
        rx.cond(WebhooksState.loaded, account_list, skeleton_rows(1)), title="Accounts we sell through"
    )


def filter_form() -> rx.Component:
    fields = [
        form_field(
            "Type", text_input("type", placeholder="invoice. or invoice.paid", max_length=255), id="type"
        ),
        form_field("Customer", text_input("customer", placeholder="cus_…", max_length=255), id="customer"),
        form_field("Event", text_input("event", placeholder="evt_…", max_length=255), id="event"),
    ]
    buttons = rx.el.div(
        button("Filter", type="submit", glyph="list-filter"),
        rx.cond(
            WebhooksState.filtered,
            button("Show everything", kind="quiet", type="reset", on_click=WebhooksState.clear_filter),
        ),
        class_name="row wrap",
    )
    return rx.form(
        rx.el.div(*fields, buttons, class_name="filters"),
        on_submit=WebhooksState.apply_filter,
        data_testid="webhook-filter",
    )


def webhook_line(webhook: WebhookRow) -> rx.Component:
    tenant_link = rx.cond(
        webhook.tenant_id != "",
        link(webhook.tenant, f"/tenants/{webhook.tenant_id}", class_name="plain-link"),
        rx.el.span("Nobody known", class_name="muted"),
    )
    name = rx.el.div(
        link(webhook.type, webhook.href, class_name="strong"),
        small(
            rx.el.code(webhook.event_id, class_name="mono"),
            " · ",
            webhook.customer,
            class_name="cut-anywhere",
        ),
        rx.cond(webhook.error != "", small(webhook.error, class_name="cut-anywhere")),
        small(tenant_link, " · ", local_time(webhook.at, "", "ago"), class_name="only-small"),
        class_name="two",
    )
    return table_row(
        COLUMNS,
        name,
        tenant_link,
        badge(webhook.status, webhook.tone),
        webhook.tries,
        local_time(webhook.at, "", "ago"),
    )


def webhooks_table(nothing: rx.Component, test_id: str) -> rx.Component:
    state = WebhooksState
    foot = pager(
        state.count_text,
        on_next=state.next_page,
        on_previous=state.previous_page,
        has_next=state.has_next,
        has_previous=state.has_previous,
    )
    webhook_table = data_table(
        "Webhooks", COLUMNS, rx.foreach(state.rows, webhook_line), footer=foot, test_id=test_id
    )
    return panel(
        rx.cond(state.loaded, rx.cond(has_items(state.rows), webhook_table, nothing), skeleton_rows(5)),
        name="Webhooks",
    )


def all_tab() -> rx.Component:
    no_webhooks = rx.cond(
        WebhooksState.filtered | (WebhooksState.status != ""),
        empty_state("No webhook matches", "Clear a field, or choose another state.", glyph="search-x"),
        empty_state(
            "No webhook has come yet",
            "The first one comes when somebody pays. The provider has to know our address.",
            glyph="webhook",
        ),
    )
    status_select = select(
        "State", STATUS_CHOICES, value=WebhooksState.status, on_change=WebhooksState.choose_status
    )
    return rx.el.div(
        filter_form(),
        rx.el.div(status_select, class_name="row wrap"),
        webhooks_table(no_webhooks, "webhooks"),
        class_name="section",
    )


def dead_letters_tab() -> rx.Component:
    description = small(
        "Every try failed. Replayed, a webhook starts from the beginning and happens once.", class_name="grow"
    )
    replay_button = rx.cond(
        has_items(WebhooksState.rows),
        guard_control(
            actions.OP_WEBHOOK_REPLAY,
            button(
                "Replay",
                glyph="rotate-cw",
                on_click=WebhooksState.open_dialog("replay", ""),
                data_testid="replay-dead",
            ),
            "Replay",
            glyph="rotate-cw",
        ),
    )
    no_dead_letters = empty_state(
        "No dead letters", "What failed every time would stand here.", glyph="circle-check"
    )
    return rx.el.div(
        rx.el.div(description, replay_button, class_name="row"),
        webhooks_table(no_dead_letters, "dead-letters"),
        class_name="section",
    )


def webhook_dialogs() -> rx.Component:
    state = WebhooksState
    type_options = rx.foreach(state.type_choices, lambda option: rx.el.option(option[1], value=option[0]))
    type_select = rx.el.select(
        type_options, name="type", class_name="input", custom_attrs={"id": "replay-type"}
    )
    replay = dialog(
        None,
        "Replay dead letters",
        "Each customer is looked at once more. What is right already stays as it is.",
        form_field("Which", type_select, id="replay-type"),
        reason_field("replay", OPERATOR_AUDIT_HINT),
        confirm="Replay",
        submit=state.replay_dead,
        open=state.dialog == "replay",
        on_open_change=state.close_dialog,
        test_id="replay-form",
    )
    resume = dialog(
        None,
        rx.fragment("Resume ", state.account),
        "Its key was refused. Give it another one first, or it is paused again at once.",
        reason_field("resume", OPERATOR_AUDIT_HINT),
        confirm="Resume",
        submit=state.resume_account,
        open=state.dialog == "resume",
        on_open_change=state.close_dialog,
        test_id="resume-form",
    )
    return rx.fragment(replay, resume)


@rx.page(route="/webhooks", title="Webhooks · Operator", on_load=WebhooksState.load)
def webhooks_page() -> rx.Component:
    contents = {"all": all_tab, "dead": dead_letters_tab}
    panels = rx.tabs.root(
        rx.tabs.list(
            *[rx.tabs.trigger(name, value=key) for key, name in TABS.items()], aria_label="Which webhooks"
        ),
        *[rx.tabs.content(contents[key](), value=key) for key in TABS],
        value=WebhooksState.tab,
        on_change=WebhooksState.choose_tab,
    )
    sandbox_link = rx.cond(
        WebhooksState.sandbox_url != "",
        link(
            "Clock and chaos of the stand-in", WebhooksState.sandbox_url, class_name="link", target="_blank"
        ),
    )
    return page(
        page_header(
            "Webhooks",
            description="What the payment provider has told us. Each asks for a look; none is believed by itself.",
            actions=[sandbox_link],
        ),
        webhook_stats(),
        rx.el.div(failures_panel(), accounts_panel(), class_name="split", data_even="true"),
        panels,
        webhook_dialogs(),
        current="Webhooks",
        load=WebhooksState.load,
    )
