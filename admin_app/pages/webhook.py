"""/webhooks/[seller]/[webhook]: one of them: how it came and stands; for a reason what it carried and changed."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from admin_app import addresses, billing_words
from admin_app.frame import page
from admin_app.shell import PageState, guard_control
from shared.access import actions
from shared.backoffice import webhook_inbox
from shared.backoffice.webhook_inbox import WebhookSummary
from shared.billing.models import BillingEvent
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.tenancy.entry import VISIT_DURATION
from shared.ui import dialogs
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_block, skeleton_rows
from shared.ui.controls import button, dialog, icon_button
from shared.ui.decision_trace import Change, change_list
from shared.ui.dialogs import OPERATOR_AUDIT_HINT, ReasonText, reason_field
from shared.ui.forms import Form
from shared.ui.panels import panel, small, stat, stat_grid, strong
from shared.ui.shell import link, page_header
from shared.ui.tables import badge, has_items


class ReasonForm(Form):
    reason: ReasonText


@dataclass(frozen=True)
class WebhookDetail:
    id: str = ""
    account: str = ""
    type: str = ""
    status: str = ""
    tone: str = ""
    explanation: str = ""
    mode: str = ""
    version: str = ""
    customer: str = ""
    tenant_id: str = ""
    tenant: str = ""
    created_at: str = ""
    received_at: str = ""
    done_at: str = ""
    due_at: str = ""
    tries: str = ""
    error: str = ""
    is_waiting: bool = False
    can_replay: bool = False


@dataclass(frozen=True)
class BillingEventRow:
    id: str
    at: str
    cause: str
    ticket: str
    has_new_access: bool
    request_url: str  # address of what happened in that request
    request_id: str
    changes: list[Change] = field(default_factory=list)


def webhook_detail(received: WebhookSummary) -> WebhookDetail:
    status_label, tone, explanation = billing_words.WEBHOOK_STATUS_LABELS[received.status]
    is_waiting = received.status in ("pending", "working", "parked")
    return WebhookDetail(
        received.event_id,
        received.account_id,
        received.type,
        status_label,
        tone,
        explanation,
        "Live mode" if received.livemode else "Test mode",
        received.api_version or "Unknown",
        received.customer_id,
        received.tenant_id,
        received.tenant_name,
        received.created_at.isoformat(),
        received.received_at.isoformat(),
        billing_words.iso_or_empty(received.done_at),
        received.due_at.isoformat() if is_waiting else "",
        str(received.attempts),
        received.error,
        is_waiting,
        bool(received.customer_id) and received.status not in ("pending", "working"),
    )


def billing_event_row(event: BillingEvent) -> BillingEventRow:
    return BillingEventRow(
        event.id,
        event.at.isoformat(),
        billing_words.CAUSE_LABELS.get(event.cause, event.cause),
        str(event.ticket),
        event.recalculated,
        addresses.request_url(event.tenant_id, event.request_id),
        event.request_id,
        billing_words.list_billing_changes(event.previous, event.next),
    )


class WebhookState(PageState):
    loaded: bool = False
    detail: WebhookDetail = WebhookDetail()
    is_visit_open: bool = False  # a reason has been given and still counts
    reason: str = ""
    payload: str = ""
    effects: list[BillingEventRow] = []
    is_dialog_open: bool = False
    _shown_key: tuple[str, str] = ("", "")  # account and event that are shown
    _visit_until: datetime | None = None  # until when the reason counts

    @rx.event
    @needs(actions.OP_WEBHOOK_READ, page=True)
    async def load(self) -> None:
        address_key = addresses.parse_webhook_path(self.router.url.path)
        if address_key != self._shown_key:
            self.loaded, self.detail, self.is_dialog_open, self._shown_key = (
                False,
                WebhookDetail(),
                False,
                address_key,
            )
            self._end_visit()
        async with self._open_page(WebhookState.load, "webhooks", "billing") as octx:
            await self._read(octx, self._current_reason())

    async def _read(self, octx: OperatorCtx, reason: str) -> None:
        """Reads and then shows: a refusal leaves the page as it was."""
        received = await webhook_inbox.get_webhook(octx, *self._shown_key)
        contents = await webhook_inbox.read_content(octx, *self._shown_key, reason) if reason else None
        self.detail, self.loaded = webhook_detail(received), True
        if contents is None:
            self._end_visit()
        else:
            self.payload, self.effects = (
                contents.payload,
                [billing_event_row(event) for event in contents.effects],
            )

    def _end_visit(self) -> None:
        self.is_visit_open, self.reason, self._visit_until, self.payload, self.effects = (
            False,
            "",
            None,
            "",
            [],
        )

    def _current_reason(self) -> str:
        """ "" when none was given, or too long ago."""
        return self.reason if self._visit_until and datetime.now(UTC) < self._visit_until else ""

    def _require_shown(self) -> tuple[str, str]:
        """Raises Invalid where the page still shows another one than its address names."""
        if addresses.parse_webhook_path(self.router.url.path) != self._shown_key:
            raise Invalid("This page shows another webhook by now.", "Reload it and try again.")
        return self._shown_key

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def start_visit(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        self._require_shown()
        async with self._ctx() as octx:
            await self._read(octx, form.reason)
        self.is_visit_open, self.reason, self._visit_until = (
            True,
            form.reason,
            datetime.now(UTC) + VISIT_DURATION,
        )
        audit_note = (
            f"The trail of {self.detail.tenant} says so."
            if self.detail.tenant
            else "The operators' trail says so."
        )
        return rx.toast.success("You are looking inside.", description=audit_note)

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def end_visit(self) -> None:
        self._end_visit()

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def open_dialog(self) -> None:
        self.is_dialog_open = True

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def close_dialog(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.is_dialog_open = False

    @rx.event
    @needs(actions.OP_WEBHOOK_REPLAY)
    async def replay_webhook(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        account_id, event_id = self._require_shown()
        async with self._ctx() as octx:
            await webhook_inbox.replay(octx, account_id, event_id, form.reason)
            await self._read(octx, self._current_reason())
        self.is_dialog_open = False
        return rx.toast.success("It is tried again.", description="This page follows by itself.")


def webhook_stats() -> rx.Component:
    detail = WebhookState.detail
    done_at = rx.cond(detail.done_at != "", local_time(detail.done_at, "", "moment"), "Not yet")
    next_try = rx.cond(
        detail.due_at != "",
        rx.fragment("Next try ", local_time(detail.due_at, "", "ago")),
        detail.explanation,
    )
    tenant_link = rx.cond(
        detail.tenant_id != "",
        link(detail.tenant, f"/tenants/{detail.tenant_id}?tab=billing", class_name="plain-link"),
        rx.el.span("Nobody known", class_name="muted"),
    )
    customer = rx.cond(
        detail.customer != "", rx.el.code(detail.customer, class_name="mono cut-anywhere"), "No customer"
    )
    shown_facts = stat_grid(
        stat(
            "Came",
            local_time(detail.received_at, "", "moment"),
            rx.fragment("There ", local_time(detail.created_at, "", "moment")),
        ),
        stat("Done", done_at, next_try),
        stat("Tenant", tenant_link, customer),
        stat("Tries", detail.tries, rx.fragment(detail.mode, " · ", detail.version)),
    )
    error_text = rx.cond(
        detail.error != "",
        rx.el.div(
            small("Last said: ", rx.el.b(detail.error), class_name="cut-anywhere"), class_name="body ruled"
        ),
    )
    return panel(
        rx.cond(WebhookState.loaded, rx.fragment(shown_facts, error_text), skeleton_rows(1)),
        name="How it came and stands",
    )


def billing_event_item(event: BillingEventRow) -> rx.Component:
    title_row = rx.el.div(
        strong(event.cause),
        rx.cond(event.has_new_access, badge("Access written anew", "accent")),
        small("Ticket ", event.ticket, " · ", local_time(event.at, "", "moment")),
        class_name="row wrap",
    )
    no_change = small("Nothing differed: what is known was right already.")
    request = rx.cond(
        event.request_id != "",
        small(
            link(rx.el.code(event.request_id, class_name="mono"), event.request_url, class_name="plain-link")
        ),
    )
    return rx.el.li(
        rx.el.div(
            title_row,
            rx.cond(has_items(event.changes), change_list(event.changes), no_change),
            request,
            class_name="troubled",
        )
    )


def contents_panel() -> rx.Component:
    state = WebhookState
    event_items = rx.el.ol(
        rx.foreach(state.effects, billing_event_item), class_name="list", data_testid="effects"
    )
    no_events = empty_state(
        "Nothing has followed yet",
        "What a look at the customer changes stands here. One look may answer many webhooks.",
        glyph="git-compare-arrows",
    )
    copy = icon_button("Copy what it carried", "copy", on_click=rx.set_clipboard(state.payload))
    payload_box = rx.el.pre(
        state.payload, class_name="payload", tab_index=0, aria_label="Payload", data_testid="payload"
    )
    return rx.el.div(
        dialogs.access_banner("Looking inside: ", state.reason, state.end_visit),
        panel(rx.cond(has_items(state.effects), event_items, no_events), title="What it changed"),
        panel(payload_box, title="What it carried", aside=copy),
        class_name="section",
    )


def webhook_header() -> rx.Component:
    detail = WebhookState.detail
    crumbs = rx.el.nav(
        link("Webhooks", "/webhooks", class_name=""),
        rx.el.span("/", aria_hidden="true"),
        rx.el.span(detail.id, aria_current="page", class_name="cut-anywhere"),
        class_name="crumbs",
        aria_label="You are here",
    )
    title = rx.cond(
        WebhookState.loaded,
        rx.el.span(detail.type, class_name="cut-anywhere"),
        skeleton_block("220px", "24px"),
    )
    state = rx.cond(WebhookState.loaded, badge(detail.status, detail.tone))
    replay_button = rx.cond(
        WebhookState.loaded & detail.can_replay,
        guard_control(
            actions.OP_WEBHOOK_REPLAY,
            button("Replay", glyph="rotate-cw", on_click=WebhookState.open_dialog, data_testid="replay"),
            "Replay",
            glyph="rotate-cw",
        ),
    )
    description = rx.cond(WebhookState.loaded, detail.explanation, skeleton_block("240px"))
    return page_header(
        title, breadcrumbs=crumbs, badges=state, description=description, actions=[replay_button]
    )


@rx.page(route="/webhooks/[seller]/[received]", title="Webhook · Operator", on_load=WebhookState.load)
def webhook_page() -> rx.Component:
    reason_form = dialogs.access_form(
        "Why do you look at what it carried?",
        WebhookState.start_visit,
        hint="The customer reads it in their audit trail, with your name. It counts for 30 minutes.",
        example="Ticket 4471, paid and still read-only",
    )
    replay = dialog(
        None,
        "Replay this webhook",
        "Its customer is looked at once more. What is right already stays as it is.",
        reason_field("replay", OPERATOR_AUDIT_HINT),
        confirm="Replay",
        submit=WebhookState.replay_webhook,
        open=WebhookState.is_dialog_open,
        on_open_change=WebhookState.close_dialog,
        test_id="replay-form",
    )
    visit_content = rx.cond(WebhookState.is_visit_open, contents_panel(), reason_form)
    return page(
        webhook_header(),
        webhook_stats(),
        rx.cond(WebhookState.loaded, visit_content),
        replay,
        current="Webhooks",
        load=WebhookState.load,
    )
