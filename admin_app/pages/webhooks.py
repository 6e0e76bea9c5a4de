"""/webhooks: what the payment provider has told us, how far we are with it, and what failed.

That something came is read across tenants. What it carried is on a page of its own, for a reason.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from admin_app import addresses, billing_words, words
from admin_app.confirming import FOR_US, Reason, reason_field
from admin_app.frame import page
from admin_app.shell import PageState, allowed
from shared.access import actions
from shared.billing import accounts, desk, webhooks
from shared.billing.webhooks import AccountPulse, Seen, Wanted
from shared.core.ctx import OperatorCtx
from shared.ui.chart import meter
from shared.ui.feedback import empty, skeleton_rows, when
from shared.ui.form import button, dialog, field, select, text_input
from shared.ui.form_model import Form, a_word
from shared.ui.gate import needs
from shared.ui.hull import cells, hull, small, strong, two
from shared.ui.shell import head, link
from shared.ui.table import Column, badge, data_table, pager, row, some

COLUMNS = [
    Column("Webhook"),
    Column("Tenant", less=True),
    Column("Status"),
    Column("Tries", end=True, less=True),
    Column("Came", end=True, less=True),
]
TABS = {"all": "All", "dead": "Dead letters"}
CHOICES = [("", "All states"), *((key, billing_words.WEBHOOK[key][0]) for key in webhooks.STATUSES)]
DIALOGS = ("", "replay", "resume")
PAGE = 50
Line = Annotated[str, StringConstraints(max_length=webhooks.LONGEST_FILTER)]


class FilterForm(Form):
    """Every field may be empty: then it does not filter."""

    type: Line = ""
    customer: Line = ""
    event: Line = ""


class ReplayForm(Form):
    type: Line = ""
    reason: Reason


class ResumeForm(Form):
    reason: Reason


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
    said: str
    tries: str
    at: str


@dataclass(frozen=True)
class TypeRow:
    """A type of which some failed."""

    type: str
    dead: str
    failing: str
    count: str
    most: str  # of any type
    share: str
    said: str


@dataclass(frozen=True)
class AccountRow:
    id: str
    name: str
    mode: str
    state: str
    tone: str
    said: str
    since: str
    paused: bool


def webhook_row(one: Seen) -> WebhookRow:
    word, tone, _ = billing_words.WEBHOOK[one.status]
    return WebhookRow(
        addresses.webhook(one.account_id, one.event_id),
        one.event_id,
        one.type,
        one.customer_id or "No customer",
        one.tenant_id,
        one.tenant,
        word,
        tone,
        one.error,
        str(one.attempts),
        one.received_at.isoformat(),
    )


def type_rows(pulse: webhooks.Pulse) -> list[TypeRow]:
    most = max((dead + failing for _, dead, failing in pulse.troubled), default=1)
    return [
        TypeRow(
            kind,
            f"{dead:,} dead" if dead else "",
            f"{failing:,} to be tried again" if failing else "",
            str(dead + failing),
            str(most),
            f"{(dead + failing) / most * 100:.1f}%",
            f"{dead:,} dead, {failing:,} to be tried again",
        )
        for kind, dead, failing in pulse.troubled
    ]


def account_row(one: AccountPulse) -> AccountRow:
    word, tone, since = "Answers", "ok", None
    if one.silent_since is not None:
        word, tone, since = "Does not answer", "warn", one.silent_since
    if one.paused_at is not None:
        word, tone, since = "Paused", "bad", one.paused_at
    waiting = words.some_of(one.waiting, "webhook waits", "webhooks wait")
    dead = f", {one.dead:,} dead" if one.dead else ""
    return AccountRow(
        one.id,
        one.name,
        "Live" if one.livemode else "Test",
        word,
        tone,
        f"{one.pause_reason}. {waiting}{dead}." if one.paused_at else f"{waiting}{dead}.",
        billing_words.iso(since),
        one.paused_at is not None,
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
    types: list[TypeRow] = []
    type_choices: list[tuple[str, str]] = []
    accounts: list[AccountRow] = []
    status: str = ""
    filtered: bool = False
    said: str = ""
    has_next: bool = False
    has_previous: bool = False
    dialog: str = ""
    account: str = ""  # name of the account that the dialog is about
    levers: str = ""  # address of the stand-in's own page, "" where a real provider is asked
    _account_id: str = ""
    _wanted: Wanted = Wanted()
    _cursors: list[str] = []  # of the pages before this one; the last is this page's own
    _next: str = ""

    @rx.event
    @needs(actions.OP_WEBHOOK_READ, page=True)
    async def load(self) -> None:
        async with self._open(WebhooksState.load, "webhooks", "billing") as octx:
            await self._read(octx, self.tab, self._wanted, self._cursors)

    async def _read(self, octx: OperatorCtx, tab: str, wanted: Wanted, cursors: list[str]) -> None:
        """Reads and then shows: a refusal leaves the page as it was."""
        known = await webhooks.pulse(octx)
        asked = Wanted("dead" if tab == "dead" else wanted.status, wanted.type, wanted.customer, wanted.event)
        after = cursors[-1] if cursors else ""
        found = await webhooks.list_received(octx, asked, after=after, limit=PAGE)
        self._count(known)
        self.rows = [webhook_row(one) for one in found.rows]
        self.tab, self._wanted, self.status = tab, wanted, wanted.status
        self._cursors, self._next = cursors, found.after
        self.has_next, self.has_previous = bool(found.after), bool(cursors)
        self.filtered = bool(wanted.type or wanted.customer or wanted.event)
        self.said = words.some_of(len(self.rows), "webhook", "webhooks")
        self.levers = desk.levers()
        self.loaded = True

    def _count(self, known: webhooks.Pulse) -> None:
        self.backlog, self.dead = f"{known.backlog:,}", f"{known.counts['dead']:,}"
        oldest = f"The oldest for {billing_words.seconds(known.oldest_s)}"
        self.oldest = oldest if known.backlog else "Nothing is due"
        self.p95 = billing_words.seconds(known.p95_s) if known.p95_s is not None else "None"
        self.parked = f"{known.counts['parked']:,}"
        self.types = type_rows(known)
        dead = [(kind, kind) for kind, count, _ in known.troubled if count]
        self.type_choices = [("", "All types"), *dead]
        self.accounts = [account_row(one) for one in known.accounts]

    async def _turn(self, tab: str, wanted: Wanted, cursors: list[str]) -> None:
        async with self._ctx() as octx:
            await self._read(octx, tab, wanted, cursors)

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def choose_tab(self, tab: str) -> None:
        await self._turn(a_word(tab, TABS), Wanted(), [])

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def choose_status(self, status: str) -> None:
        known = self._wanted
        status = a_word(status, ("", *webhooks.STATUSES))
        await self._turn(self.tab, Wanted(status, known.type, known.customer, known.event), [])

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def narrow(self, payload: dict[str, Any]) -> None:
        form = FilterForm.read(payload)
        await self._turn(self.tab, Wanted(self.status, form.type, form.customer, form.event), [])

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def clear(self) -> None:
        await self._turn(self.tab, Wanted(self.status), [])

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def next(self) -> None:
        if self._next:
            await self._turn(self.tab, self._wanted, [*self._cursors, self._next])

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def previous(self) -> None:
        await self._turn(self.tab, self._wanted, self._cursors[:-1])

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def ask(self, dialog: str, about: str = "") -> None:
        """`about`: id of an account, where the dialog is about one."""
        wanted = a_word(dialog, DIALOGS)
        if wanted == "resume":
            self._account_id = a_word(about, [one.id for one in self.accounts])
            self.account = next(one.name for one in self.accounts if one.id == about)
        self.dialog = wanted

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def dismiss(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.OP_WEBHOOK_REPLAY)
    async def replay_dead(self, payload: dict[str, Any]) -> EventSpec:
        form = ReplayForm.read(payload)
        async with self._ctx() as octx:
            count = await webhooks.replay_dead(octx, form.reason, type=form.type)
            await self._read(octx, self.tab, self._wanted, [])
        self.dialog = ""
        said = words.some_of(count, "webhook is tried", "webhooks are tried")
        return rx.toast.success(f"{said} again.", description="This page follows by itself.")

    @rx.event
    @needs(actions.OP_ACCOUNT_WRITE)
    async def resume(self, payload: dict[str, Any]) -> EventSpec:
        form = ResumeForm.read(payload)
        async with self._ctx() as octx:
            await accounts.unpause(octx, self._account_id, reason=form.reason)
            await self._read(octx, self.tab, self._wanted, self._cursors)
        self.dialog = ""
        return rx.toast.success(
            f"{self.account} is asked again.", description="What waited is worked through."
        )


def tile(label: str, value: Any, said: Any, test_id: str) -> rx.Component:
    return rx.el.div(
        rx.el.h2(label, class_name="label"),
        rx.el.p(value, class_name="figure", data_testid=test_id),
        rx.el.p(said, class_name="small muted num"),
        class_name="stat",
    )


def tiles() -> rx.Component:
    state = WebhooksState
    shown = cells(
        tile("Waiting", state.backlog, state.oldest, "backlog"),
        tile("Delay", state.p95, "95 of 100 of the last hour were done within", "delay"),
        tile("Parked", state.parked, "No organisation has their customer yet", "parked"),
        tile("Dead", state.dead, "Every try failed", "dead"),
    )
    return hull(rx.cond(state.loaded, shown, skeleton_rows(1)), name="How far we are")


def failures() -> rx.Component:
    def line(one: TypeRow) -> rx.Component:
        counts = rx.fragment(
            rx.cond(one.dead != "", rx.el.span(one.dead, class_name="down")),
            rx.cond((one.dead != "") & (one.failing != ""), rx.fragment(" · ")),
            one.failing,
        )
        bar = meter(
            one.type,
            one.count,
            one.most,
            share=one.share,
            tone=rx.cond(one.dead != "", "bad", "warn"),
            said=one.said,
        )
        return rx.el.li(
            rx.el.div(
                rx.el.div(
                    rx.el.code(one.type, class_name="mono grow cut-anywhere"), small(counts), class_name="row"
                ),
                bar,
                class_name="troubled",
            )
        )

    listed = rx.el.ul(rx.foreach(WebhooksState.types, line), class_name="list", data_testid="failures")
    nothing = empty("Nothing fails", "Types of which some failed would stand here.", glyph="circle-check")
    found = rx.cond(some(WebhooksState.types), listed, nothing)
    return hull(rx.cond(WebhooksState.loaded, found, skeleton_rows(2)), title="Failures by type")


def sellers() -> rx.Component:
    def line(one: AccountRow) -> rx.Component:
        since = rx.cond(one.since != "", rx.fragment(" Since ", when(one.since, "", "moment"), "."))
        again = rx.cond(
            one.paused,
            allowed(
                actions.OP_ACCOUNT_WRITE,
                button("Resume", kind="quiet", on_click=WebhooksState.ask("resume", one.id)),
                "Resume",
                id=f"resume-{one.id}",
            ),
        )
        name = rx.el.span(strong(one.name), " ", badge(one.state, one.tone), class_name="row wrap")
        return rx.el.li(
            two(name, small(one.mode, " mode. ", one.said, since, class_name="cut-anywhere")), again
        )

    listed = rx.el.ul(rx.foreach(WebhooksState.accounts, line), class_name="list", data_testid="accounts")
    return hull(rx.cond(WebhooksState.loaded, listed, skeleton_rows(1)), title="Accounts we sell through")


def tools() -> rx.Component:
    fields = [
        field("Type", text_input("type", placeholder="invoice. or invoice.paid", max_length=255), id="type"),
        field("Customer", text_input("customer", placeholder="cus_…", max_length=255), id="customer"),
        field("Event", text_input("event", placeholder="evt_…", max_length=255), id="event"),
    ]
    go = rx.el.div(
        button("Filter", type="submit", glyph="list-filter"),
        rx.cond(
            WebhooksState.filtered,
            button("Show everything", kind="quiet", type="reset", on_click=WebhooksState.clear),
        ),
        class_name="row wrap",
    )
    return rx.form(
        rx.el.div(*fields, go, class_name="filters"),
        on_submit=WebhooksState.narrow,
        data_testid="webhook-filter",
    )


def webhook_line(one: WebhookRow) -> rx.Component:
    whose = rx.cond(
        one.tenant_id != "",
        link(one.tenant, f"/tenants/{one.tenant_id}", class_name="plain-link"),
        rx.el.span("Nobody known", class_name="muted"),
    )
    name = rx.el.div(
        link(one.type, one.href, class_name="strong"),
        small(rx.el.code(one.event_id, class_name="mono"), " · ", one.customer, class_name="cut-anywhere"),
        rx.cond(one.said != "", small(one.said, class_name="cut-anywhere")),
        small(whose, " · ", when(one.at, "", "ago"), class_name="only-small"),
        class_name="two",
    )
    return row(COLUMNS, name, whose, badge(one.status, one.tone), one.tries, when(one.at, "", "ago"))


def table(nothing: rx.Component, test_id: str) -> rx.Component:
    state = WebhooksState
    foot = pager(
        state.said,
        older=state.next,
        newer=state.previous,
        has_older=state.has_next,
        has_newer=state.has_previous,
    )
    shown = data_table("Webhooks", COLUMNS, rx.foreach(state.rows, webhook_line), foot=foot, test_id=test_id)
    return hull(
        rx.cond(state.loaded, rx.cond(some(state.rows), shown, nothing), skeleton_rows(5)), name="Webhooks"
    )


def everything() -> rx.Component:
    nothing = rx.cond(
        WebhooksState.filtered | (WebhooksState.status != ""),
        empty("No webhook matches", "Clear a field, or choose another state.", glyph="search-x"),
        empty(
            "No webhook has come yet",
            "The first one comes when somebody pays. The provider has to know our address.",
            glyph="webhook",
        ),
    )
    chosen = select("State", CHOICES, value=WebhooksState.status, on_change=WebhooksState.choose_status)
    return rx.el.div(
        tools(), rx.el.div(chosen, class_name="row wrap"), table(nothing, "webhooks"), class_name="section"
    )


def dead_letters() -> rx.Component:
    said = small(
        "Every try failed. Replayed, a webhook starts from the beginning and happens once.", class_name="grow"
    )
    again = rx.cond(
        some(WebhooksState.rows),
        allowed(
            actions.OP_WEBHOOK_REPLAY,
            button(
                "Replay",
                glyph="rotate-cw",
                on_click=WebhooksState.ask("replay", ""),
                data_testid="replay-dead",
            ),
            "Replay",
            glyph="rotate-cw",
        ),
    )
    nothing = empty("No dead letters", "What failed every time would stand here.", glyph="circle-check")
    return rx.el.div(
        rx.el.div(said, again, class_name="row"), table(nothing, "dead-letters"), class_name="section"
    )


def dialogs() -> rx.Component:
    state = WebhooksState
    chosen = rx.foreach(state.type_choices, lambda option: rx.el.option(option[1], value=option[0]))
    kinds = rx.el.select(chosen, name="type", class_name="input", custom_attrs={"id": "replay-type"})
    replay = dialog(
        None,
        "Replay dead letters",
        "Each customer is looked at once more. What is right already stays as it is.",
        field("Which", kinds, id="replay-type"),
        reason_field("replay", FOR_US),
        confirm="Replay",
        submit=state.replay_dead,
        open=state.dialog == "replay",
        on_open_change=state.dismiss,
        test_id="replay-form",
    )
    resume = dialog(
        None,
        rx.fragment("Resume ", state.account),
        "Its key was refused. Give it another one first, or it is paused again at once.",
        reason_field("resume", FOR_US),
        confirm="Resume",
        submit=state.resume,
        open=state.dialog == "resume",
        on_open_change=state.dismiss,
        test_id="resume-form",
    )
    return rx.fragment(replay, resume)


@rx.page(route="/webhooks", title="Webhooks · Operator", on_load=WebhooksState.load)
def webhooks_page() -> rx.Component:
    contents = {"all": everything, "dead": dead_letters}
    panels = rx.tabs.root(
        rx.tabs.list(
            *[rx.tabs.trigger(name, value=key) for key, name in TABS.items()], aria_label="Which webhooks"
        ),
        *[rx.tabs.content(contents[key](), value=key) for key in TABS],
        value=WebhooksState.tab,
        on_change=WebhooksState.choose_tab,
    )
    levers = rx.cond(
        WebhooksState.levers != "",
        link("Clock and chaos of the stand-in", WebhooksState.levers, class_name="link", target="_blank"),
    )
    return page(
        head(
            "Webhooks",
            said="What the payment provider has told us. Each asks for a look; none is believed by itself.",
            actions=[levers],
        ),
        tiles(),
        rx.el.div(failures(), sellers(), class_name="split", data_even="true"),
        panels,
        dialogs(),
        current="Webhooks",
        load=WebhooksState.load,
    )
