"""The tab "Billing" of a tenant's page: who it is at the provider, what was last seen there, and what follows from it.

Beside the page's own state, which holds the reason for looking inside: its load asks for this one's while the tab is open.
"""

from dataclasses import dataclass, field
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from admin_app import addresses, billing_words
from admin_app.pages.tenant_rights import select_field, tenant_id_from_path
from admin_app.shell import PageState, guard_control
from shared.access import actions
from shared.backoffice import adjustments, tenant_billing
from shared.billing.models import (
    BillingAdjustment,
    BillingDrift,
    BillingEvent,
    BillingInvoice,
    BillingSubscription,
)
from shared.core import money
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.core.ids import new_id
from shared.core.stated_reason import MAX_REASON_LENGTH
from shared.ui.authorize import needs
from shared.ui.banners import banner, empty_state, local_time, skeleton_rows
from shared.ui.controls import button, dialog, icon_button, radio_cards, text_input
from shared.ui.controls import form_field as labelled
from shared.ui.decision_trace import Change, change_list
from shared.ui.dialogs import ConfirmText, ReasonText, check_confirmation, confirm_field, reason_field
from shared.ui.forms import Form, parse_choice, parse_line
from shared.ui.panels import panel, small, stat, stat_grid, strong, text_with_note
from shared.ui.shell import link
from shared.ui.tables import Column, badge, data_table, has_items, table_row

INVOICE_COLUMNS = [
    Column("Invoice"),
    Column("Status"),
    Column("Due", align_end=True, hidden_on_phone=True),
    Column("Total", align_end=True),
    Column("Date", align_end=True, hidden_on_phone=True),
]
KIND_CHOICES = [
    ["credit", "Credit", "Less to pay on the next invoices."],
    ["refund", "Refund", "Back the way it was paid. Needs the invoice."],
    ["debit", "Debit", "More to pay on the next invoice."],
]
CURRENCY_CHOICES = [[code, code.upper()] for code in money.CURRENCIES]
CODE_CHOICES = [[code, label] for code, label in adjustments.REASON_CODES.items()]
DIALOGS = ("", "adjust", "compare", "again")


class AdjustForm(Form):
    kind: str
    amount: str
    currency: str
    code: str
    invoice: str = ""
    reason: ReasonText
    confirm: ConfirmText


class ReasonForm(Form):
    reason: ReasonText


@dataclass(frozen=True)
class BillingSummary:
    access: str = ""
    tone: str = ""
    reason: str = ""
    provider_status: str = ""
    provider_tone: str = ""
    method: str = ""
    balance: str = ""
    balance_note: str = ""
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
class AccessPhaseRow:
    starts_at: str
    access: str
    tone: str
    reason: str


@dataclass(frozen=True)
class SubscriptionRow:
    id: str
    status: str
    tone: str
    lines_text: str
    ends_at: str
    cancel_at: str
    ticket: str
    seen_at: str
    is_absent: bool


@dataclass(frozen=True)
class TenantInvoiceRow:
    id: str
    number: str
    href: str
    status: str
    tone: str
    due: str
    total: str
    at: str


@dataclass(frozen=True)
class BillingChangeRow:
    """A billing event, or drift."""

    id: str
    title: str
    badge_label: str
    tone: str
    details: str
    at: str
    webhooks: list[tuple[str, str]] = field(default_factory=list)  # id, address
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True)
class AdjustmentRow:
    id: str
    title: str
    state: str
    tone: str
    details: str
    error: str
    at: str
    is_stuck: bool  # asked for, and nobody has carried it out


def billing_summary(billing: tenant_billing.BillingDetails) -> BillingSummary:
    snapshot = billing.snapshot
    if snapshot is None:
        return BillingSummary(
            "None", "idle", "Never subscribed", "None", "idle", "None", "None", "Nothing was ever billed"
        )
    schedule = billing.schedule
    access, tone = billing_words.access_badge(schedule.get("status", ""))
    word, word_tone = (
        billing_words.subscription_badge(snapshot.status) if snapshot.status else ("None", "idle")
    )
    balance = abs(snapshot.balance)
    return BillingSummary(
        access,
        tone,
        schedule.get("why", ""),
        word,
        word_tone,
        snapshot.method or "None",
        billing_words.format_amount(balance, snapshot.currency) if balance else "Even",
        "Credit for the next invoices"
        if snapshot.balance < 0
        else "Owed on the next invoice"
        if balance
        else "",
        str(schedule["seats"]) if schedule.get("seats") else "As the plan says",
        snapshot.alert,
        schedule.get("trial_ends_at") or "",
        snapshot.changed_at.isoformat(),
    )


def phase_rows(billing: tenant_billing.BillingDetails) -> list[AccessPhaseRow]:
    rows = []
    for phase in billing.schedule.get("later", []):
        word, tone = billing_words.access_badge(phase["status"])
        rows.append(AccessPhaseRow(phase["since"], word, tone, phase["why"]))
    if ends := billing.schedule.get("trial_ends_at"):
        rows.append(AccessPhaseRow(ends, *billing_words.access_badge("none"), "The trial ends by the clock"))
    return rows


def subscription_row(subscription: BillingSubscription) -> SubscriptionRow:
    provider_state = subscription.state
    word, tone = billing_words.subscription_badge(subscription.status)
    parts = [
        f"{line['quantity']} × {line['price_id'] or line['external_price_id']}"
        if line["quantity"]
        else line["price_id"] or line["external_price_id"]
        for line in provider_state["lines"]
    ]
    ends = [line["ends_at"] for line in provider_state["lines"] if line["ends_at"]]
    return SubscriptionRow(
        subscription.id,
        "Gone there" if subscription.absent_at else word,
        "bad" if subscription.absent_at else tone,
        ", ".join(parts) or "No prices",
        max(ends, default=""),
        provider_state["cancel_at"] or "",
        str(subscription.ticket),
        subscription.seen_at.isoformat(),
        subscription.absent_at is not None,
    )


def tenant_invoice_row(invoice: BillingInvoice) -> TenantInvoiceRow:
    word, tone = billing_words.invoice_badge(invoice.status)
    return TenantInvoiceRow(
        invoice.id,
        invoice.number or "No number yet",
        invoice.page_url,
        word,
        tone,
        billing_words.format_amount(invoice.due, invoice.currency) if invoice.due else "",
        billing_words.format_amount(invoice.total, invoice.currency),
        invoice.created_at.isoformat(),
    )


def event_row(event: BillingEvent) -> BillingChangeRow:
    return BillingChangeRow(
        event.id,
        billing_words.CAUSE_LABELS.get(event.cause, event.cause),
        "Access written anew" if event.recalculated else "",
        "accent",
        f"Ticket {event.ticket}",
        event.at.isoformat(),
        [(event_id, addresses.webhook_url(event.account_id, event_id)) for event_id in event.event_ids],
        billing_words.list_billing_changes(event.previous, event.next),
    )


def drift_row(drift: BillingDrift) -> BillingChangeRow:
    return BillingChangeRow(
        drift.id,
        "Differed from the provider",
        "Repaired" if drift.repaired else "Open",
        "ok" if drift.repaired else "bad",
        drift.customer_id,
        drift.at.isoformat(),
        [],
        billing_words.list_differences(drift.differences),
    )


def adjustment_row(adjustment: BillingAdjustment) -> AdjustmentRow:
    word, tone = billing_words.ADJUSTMENT_STATE_LABELS[adjustment.state]
    invoice_note = f" · {adjustment.invoice_id}" if adjustment.invoice_id else ""
    return AdjustmentRow(
        adjustment.id,
        f"{billing_words.ADJUSTMENT_KIND_LABELS[adjustment.kind]} of {billing_words.format_amount(adjustment.amount, adjustment.currency)}",
        word,
        tone,
        f"{adjustments.REASON_CODES.get(adjustment.reason_code, adjustment.reason_code)}. {adjustment.by_name}: {adjustment.reason}{invoice_note}",
        adjustment.error,
        adjustment.created_at.isoformat(),
        adjustment.state == "requested",
    )


class TenantBillingState(PageState):
    loaded: bool = False
    name: str = ""  # of the tenant
    summary: BillingSummary = BillingSummary()
    customers: list[CustomerRow] = []
    phases: list[AccessPhaseRow] = []
    subscriptions: list[SubscriptionRow] = []
    invoices: list[TenantInvoiceRow] = []
    events: list[BillingChangeRow] = []
    drift: list[BillingChangeRow] = []
    adjustments: list[AdjustmentRow] = []
    invoice_choices: list[tuple[str, str]] = []
    currency: str = "usd"
    dialog: str = ""
    subject: str = ""  # what the dialog is about, in words
    _shown_tenant_id: str = ""  # the tenant that is shown
    _reason: str = ""  # for looking inside, as the page's own state has it
    _draft_id: str = ""  # id of the adjustment that the open dialog asks for: sent twice, it is one
    _adjustment_id: str = ""  # id of the adjustment that the dialog is about

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def load(self, reason: str) -> None:
        """For the page, whose own load has filled the frame and watches. Without a reason nothing is shown."""
        reason = parse_line(reason, MAX_REASON_LENGTH)
        tenant_id = tenant_id_from_path(self.router.url.path)
        if self._shown_tenant_id != tenant_id or not reason:
            self._clear_page(tenant_id)
        if not reason:
            return
        async with self._ctx() as octx:
            billing = await tenant_billing.get_billing_details(octx, tenant_id, reason)
        self._reason = reason
        self._show(billing)

    def _clear_page(self, tenant_id: str) -> None:
        self.reset()
        self._shown_tenant_id = tenant_id

    def _show(self, billing: tenant_billing.BillingDetails) -> None:
        self.name, self.summary, self.phases = (
            billing.tenant_name,
            billing_summary(billing),
            phase_rows(billing),
        )
        self.customers = [
            CustomerRow(
                customer.id,
                customer.account_id,
                billing.provider_urls[customer.id],
                billing_words.iso_or_empty(billing.synced_at.get(customer.id)),
            )
            for customer in billing.customers
        ]
        self.subscriptions = [subscription_row(subscription) for subscription in billing.subscriptions]
        self.invoices = [tenant_invoice_row(invoice) for invoice in billing.invoices]
        self.events, self.drift = (
            [event_row(event) for event in billing.events],
            [drift_row(drift) for drift in billing.drift],
        )
        self.adjustments = [adjustment_row(adjustment) for adjustment in billing.adjustments]
        paid = [
            (
                invoice.id,
                f"{invoice.number or invoice.id}, paid {billing_words.format_amount(invoice.paid, invoice.currency)}",
            )
            for invoice in billing.invoices
            if invoice.paid > 0
        ]
        self.invoice_choices = [("", "None"), *paid]
        self.currency = (billing.snapshot.currency if billing.snapshot else "") or "usd"
        self.loaded = True

    def _tenant_id(self) -> str:
        """Raises Invalid where the page still shows another one than its address names."""
        tenant_id = tenant_id_from_path(self.router.url.path)
        if self._shown_tenant_id != tenant_id or not self._reason:
            raise Invalid("This page shows another tenant by now.", "Reload it and try again.")
        return tenant_id

    async def _read_again(self, octx: OperatorCtx) -> tenant_billing.BillingDetails:
        return await tenant_billing.get_billing_details(octx, self._tenant_id(), self._reason)

    def _finish(self, billing: tenant_billing.BillingDetails, title: str, detail: str) -> EventSpec:
        self._show(billing)
        self.dialog = ""
        return rx.toast.success(title, description=detail)

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def open_dialog(self, dialog_name: str, row_id: str = "") -> None:
        """Opens a dialog. `about`: id of an adjustment, where it is about one."""
        name = parse_choice(dialog_name, DIALOGS)
        if name == "adjust":
            self._draft_id = new_id("adj")
        elif name == "again":
            self._adjustment_id = parse_choice(
                row_id, [adjustment.id for adjustment in self.adjustments if adjustment.is_stuck]
            )
            self.subject = next(
                adjustment.title for adjustment in self.adjustments if adjustment.id == row_id
            )
        self.dialog = name

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def close_dialog(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def adjust_balance(self, payload: dict[str, Any]) -> EventSpec:
        form = AdjustForm.read(payload)
        check_confirmation(self.name, form.confirm)
        kind, code = (
            parse_choice(form.kind, adjustments.KINDS),
            parse_choice(form.code, adjustments.REASON_CODES),
        )
        amount = money.parse_amount(form.amount, form.currency)
        async with self._ctx() as octx:
            await adjustments.request_adjustment(
                octx,
                self._tenant_id(),
                kind,
                amount,
                form.currency,
                code,
                form.reason,
                invoice_id=form.invoice,
                adjustment_id=self._draft_id,
            )
            billing = await self._read_again(octx)
        message = f"{billing_words.ADJUSTMENT_KIND_LABELS[kind]} of {money.format_amount(amount, form.currency)} is asked for."
        return self._finish(billing, message, "The provider is told next; this page follows by itself.")

    @rx.event
    @needs(actions.OP_BILLING_ADJUST)
    async def retry_adjustment(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            await adjustments.retry_adjustment(octx, self._tenant_id(), self._adjustment_id, form.reason)
            billing = await self._read_again(octx)
        return self._finish(
            billing, "The provider is asked again.", "It happens once, however often it is asked for."
        )

    @rx.event
    @needs(actions.OP_BILLING_RECONCILE)
    async def compare_customer(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            await tenant_billing.request_reconcile(octx, self._tenant_id(), form.reason)
            billing = await self._read_again(octx)
        return self._finish(
            billing, f"{self.name} is compared with the provider.", "This page follows by itself."
        )


# ── the tab ──────────────────────────────────────────────────────────────────────────────────────────────────────


def summary_stats() -> rx.Component:
    summary: Any = TenantBillingState.summary
    changed_text = rx.cond(
        summary.changed_at != "", rx.fragment("Since ", local_time(summary.changed_at, "", "moment"))
    )
    return stat_grid(
        stat("Access", badge(summary.access, summary.tone), summary.reason),
        stat("Subscription", badge(summary.provider_status, summary.provider_tone), changed_text),
        stat("Pays with", summary.method, rx.fragment("Seats: ", summary.seats)),
        stat("Balance", summary.balance, summary.balance_note),
    )


def customers_panel() -> rx.Component:
    def line(customer: CustomerRow) -> rx.Component:
        synced_text = rx.cond(
            customer.synced_at != "",
            rx.fragment("Last seen ", local_time(customer.synced_at, "", "ago")),
            "Not seen yet",
        )
        name = rx.el.span(
            rx.el.code(customer.id, class_name="mono cut-anywhere"),
            icon_button("Copy id", "copy", on_click=rx.set_clipboard(customer.id)),
            class_name="row",
        )
        return rx.el.li(
            text_with_note(name, small("Account ", customer.account, " · ", synced_text)),
            link("Open at the provider", customer.href, class_name="link small nowrap", target="_blank"),
        )

    compare_button = guard_control(
        actions.OP_BILLING_RECONCILE,
        button(
            "Compare now", glyph="git-compare-arrows", on_click=TenantBillingState.open_dialog("compare", "")
        ),
        "Compare now",
        glyph="git-compare-arrows",
        id="refused-compare",
    )
    no_customer = empty_state(
        "No customer at the provider yet", "One is made when the organisation is set up.", glyph="building-2"
    )
    customer_list = rx.el.ul(
        rx.foreach(TenantBillingState.customers, line), class_name="list", data_testid="customers"
    )
    return panel(
        rx.cond(has_items(TenantBillingState.customers), customer_list, no_customer),
        title="At the provider",
        aside=compare_button,
    )


def phases_panel() -> rx.Component:
    def line(phase: AccessPhaseRow) -> rx.Component:
        return rx.el.li(
            text_with_note(
                rx.el.span(strong(local_time(phase.starts_at, "", "moment")), class_name="row"),
                small(phase.reason),
            ),
            badge(phase.access, phase.tone),
        )

    phase_list = rx.el.ol(
        rx.foreach(TenantBillingState.phases, line), class_name="list", data_testid="stages"
    )
    no_phases = empty_state("It stays as it is", "Nothing is foreseen to end by the clock.", glyph="clock")
    return panel(
        rx.cond(has_items(TenantBillingState.phases), phase_list, no_phases),
        title="What follows by the clock",
    )


def subscriptions_panel() -> rx.Component:
    def line(subscription: SubscriptionRow) -> rx.Component:
        end_text = rx.cond(
            subscription.cancel_at != "",
            rx.fragment(" · Ends ", local_time(subscription.cancel_at, "", "moment")),
            rx.cond(
                subscription.ends_at != "",
                rx.fragment(" · Paid until ", local_time(subscription.ends_at, "", "day")),
            ),
        )
        return rx.el.li(
            text_with_note(
                rx.el.span(
                    rx.el.code(subscription.id, class_name="mono cut-anywhere"),
                    badge(subscription.status, subscription.tone),
                    class_name="row wrap",
                ),
                small(subscription.lines_text, end_text, class_name="cut-anywhere"),
            ),
            small(
                "Ticket ",
                subscription.ticket,
                " · seen ",
                local_time(subscription.seen_at, "", "ago"),
                class_name="num",
            ),
            class_name="wrap",
        )

    state = TenantBillingState
    subscription_list = rx.el.ul(
        rx.foreach(state.subscriptions, line), class_name="list", data_testid="subscriptions"
    )
    no_subscription = empty_state(
        "No subscription", "It appears when somebody has checked out.", glyph="credit-card"
    )
    return panel(
        rx.cond(has_items(state.subscriptions), subscription_list, no_subscription),
        title="Subscriptions, as last seen",
    )


def invoices_panel() -> rx.Component:
    def line(invoice: TenantInvoiceRow) -> rx.Component:
        number = rx.cond(
            invoice.href != "",
            link(invoice.number, invoice.href, class_name="strong", target="_blank"),
            rx.el.span(invoice.number, class_name="strong"),
        )
        name = rx.el.div(
            number,
            small(rx.el.code(invoice.id, class_name="mono"), class_name="cut-anywhere"),
            small(local_time(invoice.at, "", "day"), class_name="only-small"),
            class_name="two",
        )
        return table_row(
            INVOICE_COLUMNS,
            name,
            badge(invoice.status, invoice.tone),
            invoice.due,
            invoice.total,
            local_time(invoice.at, "", "day"),
        )

    table = data_table(
        "Invoices", INVOICE_COLUMNS, rx.foreach(TenantBillingState.invoices, line), test_id="bills"
    )
    no_invoices = empty_state(
        "No invoices yet", "The first one comes with the first period.", glyph="receipt-text"
    )
    return panel(rx.cond(has_items(TenantBillingState.invoices), table, no_invoices), title="Newest invoices")


def adjustments_panel() -> rx.Component:
    def line(adjustment: AdjustmentRow) -> rx.Component:
        retry_button = rx.cond(
            adjustment.is_stuck,
            guard_control(
                actions.OP_BILLING_ADJUST,
                button(
                    "Ask again", kind="quiet", on_click=TenantBillingState.open_dialog("again", adjustment.id)
                ),
                "Ask again",
                id=f"again-{adjustment.id}",
            ),
        )
        adjustment_text = rx.el.div(
            rx.el.span(
                strong(adjustment.title), badge(adjustment.state, adjustment.tone), class_name="row wrap"
            ),
            small(adjustment.details, class_name="cut-anywhere"),
            rx.cond(
                adjustment.error != "",
                small("The provider said: ", adjustment.error, class_name="cut-anywhere"),
            ),
            small(local_time(adjustment.at, "", "moment")),
            class_name="two",
        )
        return rx.el.li(adjustment_text, retry_button)

    state = TenantBillingState
    adjust_button = guard_control(
        actions.OP_BILLING_ADJUST,
        button("Adjust", glyph="hand-coins", on_click=state.open_dialog("adjust", ""), data_testid="adjust"),
        "Adjust",
        glyph="hand-coins",
        id="refused-adjust",
    )
    adjustment_list = rx.el.ul(
        rx.foreach(state.adjustments, line), class_name="list", data_testid="adjustments"
    )
    no_adjustments = empty_state(
        "Nothing was given or taken",
        "Credits, refunds and debits stand here with their reasons.",
        glyph="hand-coins",
    )
    return panel(
        rx.cond(has_items(state.adjustments), adjustment_list, no_adjustments),
        title="Adjustments",
        aside=adjust_button,
    )


def changes_panel(title: str, rows: Any, empty_text: rx.Component, test_id: str) -> rx.Component:
    def line(change: BillingChangeRow) -> rx.Component:
        label_badge = rx.cond(change.badge_label != "", badge(change.badge_label, change.tone))
        webhook_links = rx.foreach(
            change.webhooks,
            lambda webhook: link(
                rx.el.code(webhook[0], class_name="mono cut-anywhere"),
                webhook[1],
                class_name="plain-link small",
            ),
        )
        no_change = small("Nothing differed: what is known was right already.")
        return rx.el.li(
            rx.el.div(
                rx.el.span(strong(change.title), label_badge, class_name="row wrap"),
                small(change.details, " · ", local_time(change.at, "", "moment")),
                rx.cond(has_items(change.webhooks), rx.el.span(webhook_links, class_name="row wrap")),
                rx.cond(has_items(change.changes), change_list(change.changes), no_change),
                class_name="troubled",
            )
        )

    change_items = rx.el.ol(rx.foreach(rows, line), class_name="list", data_testid=test_id)
    return panel(rx.cond(has_items(rows), change_items, empty_text), title=title)


def billing_dialogs() -> rx.Component:
    state = TenantBillingState

    def about(name: str, title: Any, sentence: Any, *children: rx.Component, **props: Any) -> rx.Component:
        return dialog(
            None,
            title,
            sentence,
            *children,
            open=state.dialog == name,
            on_open_change=state.close_dialog,
            test_id=f"{name}-form",
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
        radio_cards("What", "kind", KIND_CHOICES, value="credit"),
        amount,
        select_field(
            "adjust-currency", "Currency", "currency", CURRENCY_CHOICES, default_value=state.currency
        ),
        select_field("adjust-code", "Why, in a word", "code", CODE_CHOICES),
        select_field("adjust-invoice", "Invoice", "invoice", state.invoice_choices),
        reason_field("adjust"),
        confirm_field("adjust", state.name),
        confirm="Adjust",
        submit=state.adjust_balance,
        kind="danger-fill",
        wide=True,
    )
    compare = about(
        "compare",
        rx.fragment("Compare ", state.name, " with the provider"),
        "Its customer is looked at now. What differs is written down and repaired.",
        reason_field("compare"),
        confirm="Compare",
        submit=state.compare_customer,
    )
    retry = about(
        "again",
        rx.fragment("Ask again: ", state.subject),
        "For when the provider did not answer for long. Asked twice, it happens once.",
        reason_field("again"),
        confirm="Ask again",
        submit=state.retry_adjustment,
    )
    return rx.fragment(adjust, compare, retry)


def billing_panel() -> rx.Component:
    state = TenantBillingState
    alert = rx.cond(
        state.summary.alert != "",
        panel(banner(state.summary.alert, tone="warn", glyph="triangle-alert"), name="To look at"),
    )
    no_events = empty_state(
        "Nothing has happened yet", "Every change at the provider stands here.", glyph="scroll-text"
    )
    no_drift = empty_state(
        "Nothing has differed",
        "What a comparison with the provider finds would stand here.",
        glyph="circle-check",
    )
    shown = rx.el.div(
        alert,
        panel(summary_stats(), name="How it stands"),
        rx.el.div(customers_panel(), phases_panel(), class_name="split", data_even="true"),
        subscriptions_panel(),
        invoices_panel(),
        adjustments_panel(),
        changes_panel("What changed, and why", state.events, no_events, "billing-events"),
        changes_panel("Drift", state.drift, no_drift, "billing-drift"),
        billing_dialogs(),
        class_name="stack",
    )
    return rx.cond(state.loaded, shown, panel(skeleton_rows(5), name="Billing"))
