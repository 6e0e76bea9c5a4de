"""The tab "Billing" of a tenant's page: who it is at the provider, what was last seen there, and what follows from it.

Beside the page's own state, which holds the reason for looking inside: its load asks for this one's while the tab is open.
"""

from dataclasses import dataclass, field
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from admin_app import addresses, billing_words
from admin_app.confirming import Confirm, Reason, check_name, confirm_field, reason_field
from admin_app.pages.tenant_rights import pick, tenant_of
from admin_app.shell import PageState, allowed
from shared.access import actions
from shared.billing import adjustments, desk
from shared.billing.models import (
    BillingAdjustment,
    BillingDrift,
    BillingEvent,
    BillingInvoice,
    BillingSubscription,
)
from shared.core import money
from shared.core.ctx import OperatorCtx
from shared.core.errors import Invalid
from shared.core.ids import new_id
from shared.tenancy.entry import LONGEST_REASON
from shared.ui.feedback import banner, empty, skeleton_rows, when
from shared.ui.form import button, choices, dialog, icon_button, text_input
from shared.ui.form import field as labelled
from shared.ui.form_model import Form, a_line, a_word
from shared.ui.gate import needs
from shared.ui.hull import cells, fact, hull, small, strong, two
from shared.ui.shell import link
from shared.ui.table import Column, badge, data_table, row, some
from shared.ui.why import Change, diff

INVOICES = [
    Column("Invoice"),
    Column("Status"),
    Column("Due", end=True, less=True),
    Column("Total", end=True),
    Column("Date", end=True, less=True),
]
KINDS = [
    ["credit", "Credit", "Less to pay on the next invoices."],
    ["refund", "Refund", "Back the way it was paid. Needs the invoice."],
    ["debit", "Debit", "More to pay on the next invoice."],
]
CURRENCIES = [[code, code.upper()] for code in money.CURRENCIES]
CODES = [[code, said] for code, said in adjustments.CODES.items()]
DIALOGS = ("", "adjust", "compare", "again")


class AdjustForm(Form):
    kind: str
    amount: str
    currency: str
    code: str
    invoice: str = ""
    reason: Reason
    confirm: Confirm


class ReasonForm(Form):
    reason: Reason


@dataclass(frozen=True)
class Now:
    access: str = ""
    tone: str = ""
    why: str = ""
    word: str = ""
    word_tone: str = ""
    method: str = ""
    balance: str = ""
    balance_said: str = ""
    seats: str = ""
    alert: str = ""
    trial_ends_at: str = ""
    changed_at: str = ""


@dataclass(frozen=True)
class CustomerRow:
    id: str
    account: str
    href: str
    synced_at: str


@dataclass(frozen=True)
class StageRow:
    since: str
    access: str
    tone: str
    why: str


@dataclass(frozen=True)
class SubscriptionRow:
    id: str
    word: str
    tone: str
    said: str
    ends_at: str
    cancel_at: str
    ticket: str
    seen_at: str
    absent: bool


@dataclass(frozen=True)
class BillRow:
    id: str
    number: str
    href: str
    status: str
    tone: str
    due: str
    total: str
    at: str


@dataclass(frozen=True)
class ChangeRow:
    """A billing event, or drift."""

    id: str
    title: str
    mark: str
    tone: str
    said: str
    at: str
    webhooks: list[tuple[str, str]] = field(default_factory=list)  # id, address
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True)
class AdjustmentRow:
    id: str
    title: str
    state: str
    tone: str
    said: str
    error: str
    at: str
    stuck: bool  # asked for, and nobody has carried it out


def now_of(known: desk.Billing) -> Now:
    standing = known.standing
    if standing is None:
        return Now(
            "None", "idle", "Never subscribed", "None", "idle", "None", "None", "Nothing was ever billed"
        )
    course = known.course
    access, tone = billing_words.access(course.get("status", ""))
    word, word_tone = billing_words.subscription(standing.status) if standing.status else ("None", "idle")
    balance = abs(standing.balance)
    return Now(
        access,
        tone,
        course.get("why", ""),
        word,
        word_tone,
        standing.method or "None",
        billing_words.amount(balance, standing.currency) if balance else "Even",
        "Credit for the next invoices"
        if standing.balance < 0
        else "Owed on the next invoice"
        if balance
        else "",
        str(course["seats"]) if course.get("seats") else "As the plan says",
        standing.alert,
        course.get("trial_ends_at") or "",
        standing.changed_at.isoformat(),
    )


def stage_rows(known: desk.Billing) -> list[StageRow]:
    rows = []
    for one in known.course.get("later", []):
        word, tone = billing_words.access(one["status"])
        rows.append(StageRow(one["since"], word, tone, one["why"]))
    if ends := known.course.get("trial_ends_at"):
        rows.append(StageRow(ends, *billing_words.access("none"), "The trial ends by the clock"))
    return rows


def subscription_row(one: BillingSubscription) -> SubscriptionRow:
    told = one.state
    word, tone = billing_words.subscription(one.status)
    parts = [
        f"{line['quantity']} × {line['price_id'] or line['external_price_id']}"
        if line["quantity"]
        else line["price_id"] or line["external_price_id"]
        for line in told["lines"]
    ]
    ends = [line["ends_at"] for line in told["lines"] if line["ends_at"]]
    return SubscriptionRow(
        one.id,
        "Gone there" if one.absent_at else word,
        "bad" if one.absent_at else tone,
        ", ".join(parts) or "No prices",
        max(ends, default=""),
        told["cancel_at"] or "",
        str(one.ticket),
        one.seen_at.isoformat(),
        one.absent_at is not None,
    )


def bill_row(one: BillingInvoice) -> BillRow:
    word, tone = billing_words.invoice(one.status)
    return BillRow(
        one.id,
        one.number or "No number yet",
        one.page_url,
        word,
        tone,
        billing_words.amount(one.due, one.currency) if one.due else "",
        billing_words.amount(one.total, one.currency),
        one.created_at.isoformat(),
    )


def event_row(one: BillingEvent) -> ChangeRow:
    return ChangeRow(
        one.id,
        billing_words.CAUSE.get(one.cause, one.cause),
        "Access written anew" if one.recalculated else "",
        "accent",
        f"Ticket {one.ticket}",
        one.at.isoformat(),
        [(event, addresses.webhook(one.account_id, event)) for event in one.event_ids],
        billing_words.effects(one.previous, one.next),
    )


def drift_row(one: BillingDrift) -> ChangeRow:
    return ChangeRow(
        one.id,
        "Differed from the provider",
        "Repaired" if one.repaired else "Open",
        "ok" if one.repaired else "bad",
        one.customer_id,
        one.at.isoformat(),
        [],
        billing_words.differences(one.differences),
    )


def adjustment_row(one: BillingAdjustment) -> AdjustmentRow:
    word, tone = billing_words.ADJUSTMENT[one.state]
    about = f" · {one.invoice_id}" if one.invoice_id else ""
    return AdjustmentRow(
        one.id,
        f"{billing_words.KIND[one.kind]} of {billing_words.amount(one.amount, one.currency)}",
        word,
        tone,
        f"{adjustments.CODES.get(one.reason_code, one.reason_code)}. {one.by_name}: {one.reason}{about}",
        one.error,
        one.created_at.isoformat(),
        one.state == "requested",
    )


class TenantBillingState(PageState):
    loaded: bool = False
    name: str = ""  # of the tenant
    now: Now = Now()
    customers: list[CustomerRow] = []
    stages: list[StageRow] = []
    subscriptions: list[SubscriptionRow] = []
    invoices: list[BillRow] = []
    events: list[ChangeRow] = []
    drift: list[ChangeRow] = []
    adjustments: list[AdjustmentRow] = []
    invoice_choices: list[tuple[str, str]] = []
    currency: str = "usd"
    dialog: str = ""
    subject: str = ""  # what the dialog is about, in words
    _of: str = ""  # the tenant that is shown
    _reason: str = ""  # for looking inside, as the page's own state has it
    _draft: str = ""  # id of the adjustment that the open dialog asks for: sent twice, it is one
    _about: str = ""  # id of the adjustment that the dialog is about

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def load(self, reason: str) -> None:
        """For the page, whose own load has filled the frame and watches. Without a reason nothing is shown."""
        reason = a_line(reason, LONGEST_REASON)
        tenant_id = tenant_of(self.router.url.path)
        if self._of != tenant_id or not reason:
            self._forget(tenant_id)
        if not reason:
            return
        async with self._ctx() as octx:
            known = await desk.look(octx, tenant_id, reason)
        self._reason = reason
        self._show(known)

    def _forget(self, tenant_id: str) -> None:
        self.reset()
        self._of = tenant_id

    def _show(self, known: desk.Billing) -> None:
        self.name, self.now, self.stages = known.tenant_name, now_of(known), stage_rows(known)
        self.customers = [
            CustomerRow(
                one.id,
                one.account_id,
                known.addresses[one.id],
                billing_words.iso(known.synced_at.get(one.id)),
            )
            for one in known.customers
        ]
        self.subscriptions = [subscription_row(one) for one in known.subscriptions]
        self.invoices = [bill_row(one) for one in known.invoices]
        self.events, self.drift = (
            [event_row(one) for one in known.events],
            [drift_row(one) for one in known.drift],
        )
        self.adjustments = [adjustment_row(one) for one in known.adjustments]
        paid = [
            (one.id, f"{one.number or one.id}, paid {billing_words.amount(one.paid, one.currency)}")
            for one in known.invoices
            if one.paid > 0
        ]
        self.invoice_choices = [("", "None"), *paid]
        self.currency = (known.standing.currency if known.standing else "") or "usd"
        self.loaded = True

    def _tenant_id(self) -> str:
        """Raises Invalid where the page still shows another one than its address names."""
        tenant_id = tenant_of(self.router.url.path)
        if self._of != tenant_id or not self._reason:
            raise Invalid("This page shows another tenant by now.", "Reload it and try again.")
        return tenant_id

    async def _again(self, octx: OperatorCtx) -> desk.Billing:
        return await desk.look(octx, self._tenant_id(), self._reason)

    def _done(self, known: desk.Billing, said: str, then: str) -> EventSpec:
        self._show(known)
        self.dialog = ""
        return rx.toast.success(said, description=then)

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def ask(self, which: str, about: str = "") -> None:
        """Opens a dialog. `about`: id of an adjustment, where it is about one."""
        wanted = a_word(which, DIALOGS)
        if wanted == "adjust":
            self._draft = new_id("adj")
        elif wanted == "again":
            self._about = a_word(about, [one.id for one in self.adjustments if one.stuck])
            self.subject = next(one.title for one in self.adjustments if one.id == about)
        self.dialog = wanted

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def dismiss(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def adjust(self, payload: dict[str, Any]) -> EventSpec:
        form = AdjustForm.read(payload)
        check_name(self.name, form.confirm)
        kind, code = a_word(form.kind, adjustments.KINDS), a_word(form.code, adjustments.CODES)
        amount = money.typed(form.amount, form.currency)
        async with self._ctx() as octx:
            await adjustments.adjust(
                octx,
                self._tenant_id(),
                kind,
                amount,
                form.currency,
                code,
                form.reason,
                invoice_id=form.invoice,
                adjustment_id=self._draft,
            )
            known = await self._again(octx)
        said = f"{billing_words.KIND[kind]} of {money.said(amount, form.currency)} is asked for."
        return self._done(known, said, "The provider is told next; this page follows by itself.")

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def ask_again(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            await adjustments.ask_again(octx, self._tenant_id(), self._about, form.reason)
            known = await self._again(octx)
        return self._done(
            known, "The provider is asked again.", "It happens once, however often it is asked for."
        )

    @rx.event
    @needs(actions.OP_BILLING_RECONCILE)
    async def compare(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            await desk.compare(octx, self._tenant_id(), form.reason)
            known = await self._again(octx)
        return self._done(
            known, f"{self.name} is compared with the provider.", "This page follows by itself."
        )


# ── the tab ──────────────────────────────────────────────────────────────────────────────────────────────────────


def summary() -> rx.Component:
    now: Any = TenantBillingState.now
    changed = rx.cond(now.changed_at != "", rx.fragment("Since ", when(now.changed_at, "", "moment")))
    return cells(
        fact("Access", badge(now.access, now.tone), now.why),
        fact("Subscription", badge(now.word, now.word_tone), changed),
        fact("Pays with", now.method, rx.fragment("Seats: ", now.seats)),
        fact("Balance", now.balance, now.balance_said),
    )


def mapping() -> rx.Component:
    def line(one: CustomerRow) -> rx.Component:
        seen = rx.cond(
            one.synced_at != "", rx.fragment("Last seen ", when(one.synced_at, "", "ago")), "Not seen yet"
        )
        name = rx.el.span(
            rx.el.code(one.id, class_name="mono cut-anywhere"),
            icon_button("Copy id", "copy", on_click=rx.set_clipboard(one.id)),
            class_name="row",
        )
        return rx.el.li(
            two(name, small("Account ", one.account, " · ", seen)),
            link("Open at the provider", one.href, class_name="link small nowrap", target="_blank"),
        )

    again = allowed(
        actions.OP_BILLING_RECONCILE,
        button("Compare now", glyph="git-compare-arrows", on_click=TenantBillingState.ask("compare", "")),
        "Compare now",
        glyph="git-compare-arrows",
        id="refused-compare",
    )
    nothing = empty(
        "No customer at the provider yet", "One is made when the organisation is set up.", glyph="building-2"
    )
    listed = rx.el.ul(
        rx.foreach(TenantBillingState.customers, line), class_name="list", data_testid="customers"
    )
    return hull(
        rx.cond(some(TenantBillingState.customers), listed, nothing), title="At the provider", aside=again
    )


def ahead() -> rx.Component:
    def line(one: StageRow) -> rx.Component:
        return rx.el.li(
            two(rx.el.span(strong(when(one.since, "", "moment")), class_name="row"), small(one.why)),
            badge(one.access, one.tone),
        )

    listed = rx.el.ol(rx.foreach(TenantBillingState.stages, line), class_name="list", data_testid="stages")
    nothing = empty("It stays as it is", "Nothing is foreseen to end by the clock.", glyph="clock")
    return hull(rx.cond(some(TenantBillingState.stages), listed, nothing), title="What follows by the clock")


def subscribed() -> rx.Component:
    def line(one: SubscriptionRow) -> rx.Component:
        ends = rx.cond(
            one.cancel_at != "",
            rx.fragment(" · Ends ", when(one.cancel_at, "", "moment")),
            rx.cond(one.ends_at != "", rx.fragment(" · Paid until ", when(one.ends_at, "", "day"))),
        )
        return rx.el.li(
            two(
                rx.el.span(
                    rx.el.code(one.id, class_name="mono cut-anywhere"),
                    badge(one.word, one.tone),
                    class_name="row wrap",
                ),
                small(one.said, ends, class_name="cut-anywhere"),
            ),
            small("Ticket ", one.ticket, " · seen ", when(one.seen_at, "", "ago"), class_name="num"),
            class_name="wrap",
        )

    state = TenantBillingState
    listed = rx.el.ul(rx.foreach(state.subscriptions, line), class_name="list", data_testid="subscriptions")
    nothing = empty("No subscription", "It appears when somebody has checked out.", glyph="credit-card")
    return hull(rx.cond(some(state.subscriptions), listed, nothing), title="Subscriptions, as last seen")


def bills() -> rx.Component:
    def line(one: BillRow) -> rx.Component:
        number = rx.cond(
            one.href != "",
            link(one.number, one.href, class_name="strong", target="_blank"),
            rx.el.span(one.number, class_name="strong"),
        )
        name = rx.el.div(
            number,
            small(rx.el.code(one.id, class_name="mono"), class_name="cut-anywhere"),
            small(when(one.at, "", "day"), class_name="only-small"),
            class_name="two",
        )
        return row(INVOICES, name, badge(one.status, one.tone), one.due, one.total, when(one.at, "", "day"))

    table = data_table("Invoices", INVOICES, rx.foreach(TenantBillingState.invoices, line), test_id="bills")
    nothing = empty("No invoices yet", "The first one comes with the first period.", glyph="receipt-text")
    return hull(rx.cond(some(TenantBillingState.invoices), table, nothing), title="Newest invoices")


def given() -> rx.Component:
    def line(one: AdjustmentRow) -> rx.Component:
        stuck = rx.cond(
            one.stuck,
            allowed(
                actions.OP_BILLING_ADJUST,
                button("Ask again", kind="quiet", on_click=TenantBillingState.ask("again", one.id)),
                "Ask again",
                id=f"again-{one.id}",
            ),
        )
        words_ = rx.el.div(
            rx.el.span(strong(one.title), badge(one.state, one.tone), class_name="row wrap"),
            small(one.said, class_name="cut-anywhere"),
            rx.cond(one.error != "", small("The provider said: ", one.error, class_name="cut-anywhere")),
            small(when(one.at, "", "moment")),
            class_name="two",
        )
        return rx.el.li(words_, stuck)

    state = TenantBillingState
    add = allowed(
        actions.OP_BILLING_ADJUST,
        button("Adjust", glyph="hand-coins", on_click=state.ask("adjust", ""), data_testid="adjust"),
        "Adjust",
        glyph="hand-coins",
        id="refused-adjust",
    )
    listed = rx.el.ul(rx.foreach(state.adjustments, line), class_name="list", data_testid="adjustments")
    nothing = empty(
        "Nothing was given or taken",
        "Credits, refunds and debits stand here with their reasons.",
        glyph="hand-coins",
    )
    return hull(rx.cond(some(state.adjustments), listed, nothing), title="Adjustments", aside=add)


def changed(title: str, rows: Any, nothing: rx.Component, test_id: str) -> rx.Component:
    def line(one: ChangeRow) -> rx.Component:
        marked = rx.cond(one.mark != "", badge(one.mark, one.tone))
        came = rx.foreach(
            one.webhooks,
            lambda each: link(
                rx.el.code(each[0], class_name="mono cut-anywhere"), each[1], class_name="plain-link small"
            ),
        )
        same = small("Nothing differed: what is known was right already.")
        return rx.el.li(
            rx.el.div(
                rx.el.span(strong(one.title), marked, class_name="row wrap"),
                small(one.said, " · ", when(one.at, "", "moment")),
                rx.cond(some(one.webhooks), rx.el.span(came, class_name="row wrap")),
                rx.cond(some(one.changes), diff(one.changes), same),
                class_name="troubled",
            )
        )

    listed = rx.el.ol(rx.foreach(rows, line), class_name="list", data_testid=test_id)
    return hull(rx.cond(some(rows), listed, nothing), title=title)


def dialogs() -> rx.Component:
    state = TenantBillingState

    def about(which: str, title: Any, sentence: Any, *children: rx.Component, **props: Any) -> rx.Component:
        return dialog(
            None,
            title,
            sentence,
            *children,
            open=state.dialog == which,
            on_open_change=state.dismiss,
            test_id=f"{which}-form",
            **props,
        )

    amount = labelled(
        "Amount",
        text_input(
            "adjust-amount",
            name="amount",
            input_mode="decimal",
            max_length=20,
            required=True,
            auto_complete="off",
            placeholder="25.00",
        ),
        id="adjust-amount",
    )
    adjust = about(
        "adjust",
        rx.fragment("Adjust what ", state.name, " pays"),
        "Written down at once, then carried out by the provider. What is done can only be made good by another one.",
        choices("What", "kind", KINDS, value="credit"),
        amount,
        pick("adjust-currency", "Currency", "currency", CURRENCIES, default_value=state.currency),
        pick("adjust-code", "Why, in a word", "code", CODES),
        pick("adjust-invoice", "Invoice", "invoice", state.invoice_choices),
        reason_field("adjust"),
        confirm_field("adjust", state.name),
        confirm="Adjust",
        submit=state.adjust,
        kind="danger-fill",
        wide=True,
    )
    compare = about(
        "compare",
        rx.fragment("Compare ", state.name, " with the provider"),
        "Its customer is looked at now. What differs is written down and repaired.",
        reason_field("compare"),
        confirm="Compare",
        submit=state.compare,
    )
    again = about(
        "again",
        rx.fragment("Ask again: ", state.subject),
        "For when the provider did not answer for long. Asked twice, it happens once.",
        reason_field("again"),
        confirm="Ask again",
        submit=state.ask_again,
    )
    return rx.fragment(adjust, compare, again)


def billing() -> rx.Component:
    state = TenantBillingState
    alert = rx.cond(
        state.now.alert != "",
        hull(banner(state.now.alert, tone="warn", glyph="triangle-alert"), name="To look at"),
    )
    no_events = empty(
        "Nothing has happened yet", "Every change at the provider stands here.", glyph="scroll-text"
    )
    no_drift = empty(
        "Nothing has differed",
        "What a comparison with the provider finds would stand here.",
        glyph="circle-check",
    )
    shown = rx.el.div(
        alert,
        hull(summary(), name="How it stands"),
        rx.el.div(mapping(), ahead(), class_name="split", data_even="true"),
        subscribed(),
        bills(),
        given(),
        changed("What changed, and why", state.events, no_events, "billing-events"),
        changed("Drift", state.drift, no_drift, "billing-drift"),
        dialogs(),
        class_name="stack",
    )
    return rx.cond(state.loaded, shown, hull(skeleton_rows(5), name="Billing"))
