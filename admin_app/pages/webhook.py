"""/webhooks/[seller]/[webhook]: one of them: how it came and stands; for a reason what it carried and changed."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from admin_app import addresses, billing_words, confirming
from admin_app.confirming import FOR_US, Reason, reason_field
from admin_app.frame import page
from admin_app.shell import PageState, allowed
from shared.access import actions
from shared.billing import webhooks
from shared.billing.models import BillingEvent
from shared.billing.webhooks import Seen
from shared.core.ctx import OperatorCtx
from shared.core.errors import Invalid
from shared.tenancy.entry import LOOK_LASTS
from shared.ui.feedback import bone, empty, skeleton_rows, when
from shared.ui.form import button, dialog, icon_button
from shared.ui.form_model import Form
from shared.ui.gate import needs
from shared.ui.hull import cells, fact, hull, small, strong
from shared.ui.shell import head, link
from shared.ui.table import badge, some
from shared.ui.why import Change, diff


class ReasonForm(Form):
    reason: Reason


@dataclass(frozen=True)
class One:
    id: str = ""
    account: str = ""
    type: str = ""
    status: str = ""
    tone: str = ""
    means: str = ""
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
    waits: bool = False
    replayable: bool = False


@dataclass(frozen=True)
class EffectRow:
    id: str
    at: str
    cause: str
    ticket: str
    recalculated: bool
    request: str  # address of what happened in that request
    request_id: str
    changes: list[Change] = field(default_factory=list)


def shown(one: Seen) -> One:
    word, tone, means = billing_words.WEBHOOK[one.status]
    waits = one.status in ("pending", "working", "parked")
    return One(
        one.event_id,
        one.account_id,
        one.type,
        word,
        tone,
        means,
        "Live mode" if one.livemode else "Test mode",
        one.api_version or "Unknown",
        one.customer_id,
        one.tenant_id,
        one.tenant,
        one.created_at.isoformat(),
        one.received_at.isoformat(),
        billing_words.iso(one.done_at),
        one.due_at.isoformat() if waits else "",
        str(one.attempts),
        one.error,
        waits,
        bool(one.customer_id) and one.status not in ("pending", "working"),
    )


def effect_row(one: BillingEvent) -> EffectRow:
    return EffectRow(
        one.id,
        one.at.isoformat(),
        billing_words.CAUSE.get(one.cause, one.cause),
        str(one.ticket),
        one.recalculated,
        addresses.request(one.tenant_id, one.request_id),
        one.request_id,
        billing_words.effects(one.previous, one.next),
    )


class WebhookState(PageState):
    loaded: bool = False
    one: One = One()
    inside: bool = False  # a reason has been given and still counts
    reason: str = ""
    payload: str = ""
    effects: list[EffectRow] = []
    dialog: bool = False
    _of: tuple[str, str] = ("", "")  # account and event that are shown
    _until: datetime | None = None  # until when the reason counts

    @rx.event
    @needs(actions.OP_WEBHOOK_READ, page=True)
    async def load(self) -> None:
        named = addresses.webhook_of(self.router.url.path)
        if named != self._of:
            self.loaded, self.one, self.dialog, self._of = False, One(), False, named
            self._leave()
        async with self._open(WebhookState.load, "webhooks", "billing") as octx:
            await self._read(octx, self._reason())

    async def _read(self, octx: OperatorCtx, reason: str) -> None:
        """Reads and then shows: a refusal leaves the page as it was."""
        found = await webhooks.get(octx, *self._of)
        within = await webhooks.look(octx, *self._of, reason) if reason else None
        self.one, self.loaded = shown(found), True
        if within is None:
            self._leave()
        else:
            self.payload, self.effects = within.payload, [effect_row(one) for one in within.effects]

    def _leave(self) -> None:
        self.inside, self.reason, self._until, self.payload, self.effects = False, "", None, "", []

    def _reason(self) -> str:
        """ "" when none was given, or too long ago."""
        return self.reason if self._until and datetime.now(UTC) < self._until else ""

    def _still(self) -> tuple[str, str]:
        """Raises Invalid where the page still shows another one than its address names."""
        if addresses.webhook_of(self.router.url.path) != self._of:
            raise Invalid("This page shows another webhook by now.", "Reload it and try again.")
        return self._of

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def enter(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        self._still()
        async with self._ctx() as octx:
            await self._read(octx, form.reason)
        self.inside, self.reason, self._until = True, form.reason, datetime.now(UTC) + LOOK_LASTS
        where = (
            f"The trail of {self.one.tenant} says so." if self.one.tenant else "The operators' trail says so."
        )
        return rx.toast.success("You are looking inside.", description=where)

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def leave(self) -> None:
        self._leave()

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def ask(self) -> None:
        self.dialog = True

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def dismiss(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = False

    @rx.event
    @needs(actions.OP_WEBHOOK_REPLAY)
    async def replay(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        account_id, event_id = self._still()
        async with self._ctx() as octx:
            await webhooks.replay(octx, account_id, event_id, form.reason)
            await self._read(octx, self._reason())
        self.dialog = False
        return rx.toast.success("It is tried again.", description="This page follows by itself.")


def facts() -> rx.Component:
    one = WebhookState.one
    done = rx.cond(one.done_at != "", when(one.done_at, "", "moment"), "Not yet")
    next_try = rx.cond(one.due_at != "", rx.fragment("Next try ", when(one.due_at, "", "ago")), one.means)
    whose = rx.cond(
        one.tenant_id != "",
        link(one.tenant, f"/tenants/{one.tenant_id}?tab=billing", class_name="plain-link"),
        rx.el.span("Nobody known", class_name="muted"),
    )
    customer = rx.cond(
        one.customer != "", rx.el.code(one.customer, class_name="mono cut-anywhere"), "No customer"
    )
    shown_facts = cells(
        fact(
            "Came",
            when(one.received_at, "", "moment"),
            rx.fragment("There ", when(one.created_at, "", "moment")),
        ),
        fact("Done", done, next_try),
        fact("Tenant", whose, customer),
        fact("Tries", one.tries, rx.fragment(one.mode, " · ", one.version)),
    )
    wrong = rx.cond(
        one.error != "",
        rx.el.div(
            small("Last said: ", rx.el.b(one.error), class_name="cut-anywhere"), class_name="body ruled"
        ),
    )
    return hull(
        rx.cond(WebhookState.loaded, rx.fragment(shown_facts, wrong), skeleton_rows(1)),
        name="How it came and stands",
    )


def effect(one: EffectRow) -> rx.Component:
    head_line = rx.el.div(
        strong(one.cause),
        rx.cond(one.recalculated, badge("Access written anew", "accent")),
        small("Ticket ", one.ticket, " · ", when(one.at, "", "moment")),
        class_name="row wrap",
    )
    nothing = small("Nothing differed: what is known was right already.")
    request = rx.cond(
        one.request_id != "",
        small(link(rx.el.code(one.request_id, class_name="mono"), one.request, class_name="plain-link")),
    )
    return rx.el.li(
        rx.el.div(
            head_line,
            rx.cond(some(one.changes), diff(one.changes), nothing),
            request,
            class_name="troubled",
        )
    )


def within() -> rx.Component:
    state = WebhookState
    listed = rx.el.ol(rx.foreach(state.effects, effect), class_name="list", data_testid="effects")
    nothing = empty(
        "Nothing has followed yet",
        "What a look at the customer changes stands here. One look may answer many webhooks.",
        glyph="git-compare-arrows",
    )
    copy = icon_button("Copy what it carried", "copy", on_click=rx.set_clipboard(state.payload))
    said = rx.el.pre(
        state.payload, class_name="payload", tab_index=0, aria_label="Payload", data_testid="payload"
    )
    return rx.el.div(
        confirming.looking("Looking inside: ", state.reason, state.leave),
        hull(rx.cond(some(state.effects), listed, nothing), title="What it changed"),
        hull(said, title="What it carried", aside=copy),
        class_name="section",
    )


def heading() -> rx.Component:
    one = WebhookState.one
    crumbs = rx.el.nav(
        link("Webhooks", "/webhooks", class_name=""),
        rx.el.span("/", aria_hidden="true"),
        rx.el.span(one.id, aria_current="page", class_name="cut-anywhere"),
        class_name="crumbs",
        aria_label="You are here",
    )
    title = rx.cond(
        WebhookState.loaded, rx.el.span(one.type, class_name="cut-anywhere"), bone("220px", "24px")
    )
    state = rx.cond(WebhookState.loaded, badge(one.status, one.tone))
    again = rx.cond(
        WebhookState.loaded & one.replayable,
        allowed(
            actions.OP_WEBHOOK_REPLAY,
            button("Replay", glyph="rotate-cw", on_click=WebhookState.ask, data_testid="replay"),
            "Replay",
            glyph="rotate-cw",
        ),
    )
    said = rx.cond(WebhookState.loaded, one.means, bone("240px"))
    return head(title, above=crumbs, beside=state, said=said, actions=[again])


@rx.page(route="/webhooks/[seller]/[received]", title="Webhook · Operator", on_load=WebhookState.load)
def webhook() -> rx.Component:
    door = confirming.door(
        "Why do you look at what it carried?",
        WebhookState.enter,
        hint="The customer reads it in their audit trail, with your name. It counts for 30 minutes.",
        example="Ticket 4471, paid and still read-only",
    )
    replay = dialog(
        None,
        "Replay this webhook",
        "Its customer is looked at once more. What is right already stays as it is.",
        reason_field("replay", FOR_US),
        confirm="Replay",
        submit=WebhookState.replay,
        open=WebhookState.dialog,
        on_open_change=WebhookState.dismiss,
        test_id="replay-form",
    )
    inside = rx.cond(WebhookState.inside, within(), door)
    return page(
        heading(),
        facts(),
        rx.cond(WebhookState.loaded, inside),
        replay,
        current="Webhooks",
        load=WebhookState.load,
    )
