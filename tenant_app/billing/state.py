"""What the billing page shows and does. Each act is prepared in a transaction and asked of the provider outside of it."""

import json
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from shared.access import actions
from shared.billing import changes, checkout, endings, invoices, overview, portal, returns
from shared.billing.changes import Wish
from shared.billing.overview import Overview
from shared.billing.prices import PERIODS
from shared.core import money
from shared.core.ctx import Ctx
from shared.core.errors import Conflict, Invalid
from shared.ui import chart
from shared.ui.form_model import Form, a_number, a_word
from shared.ui.gate import needs
from tenant_app.billing import rows
from tenant_app.billing.rows import AddonRow, InvoiceRow, LineRow, PlanRow
from tenant_app.shell import PageState

PAGE = 10
PAUSED = "paused"


class SeatsForm(Form):
    seats: str


class ConfirmForm(Form):
    seats: str = ""


class CancelForm(Form):
    why: str
    comment: Annotated[str, StringConstraints(max_length=endings.LONGEST)] = ""


def leave(address: str) -> EventSpec:
    """To a page of the provider, in this tab."""
    return rx.call_script(f"window.location.assign({json.dumps(address)})")


class BillingState(PageState):
    loaded: bool = False
    period: str = "month"
    saving: str = ""  # what a year costs less
    # What one has.
    subscribed: bool = False
    plan: str = ""
    plan_said: str = ""
    rest: str = ""  # what remains when nobody pays
    next_label: str = "Next invoice"
    next_sum: str = ""
    next_at: str = ""
    next_said: str = ""
    method: str = ""
    method_said: str = ""
    ends_at: str = ""
    paused: bool = False
    ended_at: str = ""
    waiting: bool = False  # the first payment is open
    unpaid: InvoiceRow = InvoiceRow()
    unpaid_sum: str = ""
    by_seat: bool = False
    closed: str = ""  # why nothing of the subscription can be changed now
    seats_said: str = ""
    seats_used: int = 0
    seats_bought: int = 0
    share: str = "0%"
    tone: str = "calm"
    # After a visit at the provider.
    activating: str = ""  # "", "waiting" or "done"
    # What one could have.
    plans: list[PlanRow] = []
    addons: list[AddonRow] = []
    # Invoices.
    bills: list[InvoiceRow] = []
    bills_said: str = ""
    has_older: bool = False
    has_newer: bool = False
    # Dialogs.
    dialog: str = ""
    wanted: PlanRow = PlanRow()
    title: str = ""
    sentence: str = ""
    verb: str = ""
    seats: str = ""
    asks_seats: bool = False
    lines: list[LineRow] = []
    total: str = ""
    total_said: str = ""
    then: str = ""
    then_at: str = ""
    problem: str = ""
    invoice: InvoiceRow = InvoiceRow()
    _chosen: bool = False  # the period was chosen by hand
    _looked: str = ""  # the return that was followed by a look
    _wish: Wish = Wish()
    _offered: changes.Offered | None = None
    _older: str = ""
    _cursors: list[str] = []

    @rx.event
    @needs(actions.BILLING_READ, page=True)
    async def load(self) -> Any:
        async with self._open(BillingState.load, "billing", "members", "invitations") as ctx:
            found = await self._read(ctx)
        self._show(*found)
        return self._returned()

    async def _read(self, ctx: Ctx) -> tuple[Any, ...]:
        after = self._cursors[-1] if self._cursors else ""
        return ctx, await overview.read(ctx), await invoices.list_invoices(ctx, after=after, limit=PAGE)

    async def _reread(self) -> None:
        async with self._ctx() as ctx:
            found = await self._read(ctx)
        self._show(*found)

    def _returned(self) -> Any:
        """From the provider's page: look once, and say so meanwhile. The address is a claim, so it decides nothing."""
        query = self.router.url.query_parameters
        back = query.get("session") or query.get("back") or ""
        if not back or back == self._looked:
            return None
        self._looked, self.dialog = back, ""
        self.activating = "" if not query.get("session") else "done" if self.subscribed else "waiting"
        return BillingState.settle

    @rx.event
    @needs(actions.BILLING_READ)
    async def settle(self) -> EventSpec | None:
        """What a webhook brings as well, at once."""
        async with self._ctx() as ctx:
            back = await returns.prepare(ctx)
        answered = await returns.go(back)
        await self._reread()
        if answered or self.activating != "waiting":
            return None
        return rx.toast.info(
            "The payment provider has not answered yet.",
            description="This page changes by itself when it does.",
        )

    # ── shown ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _show(self, ctx: Ctx, seen: Overview, listed: invoices.Page) -> None:
        held = seen.held
        if held is not None and not self._chosen:
            self.period = held.period
        self._show_held(ctx, seen)
        current = held.offer.key if held and held.offer else "" if seen.ended_at else ctx.rights.plan
        self.plans = rows.plan_rows(seen, self.period, current, not seen.ever)
        self.addons = rows.addon_rows(seen, self.period)
        self.saving = rows.saving(seen)
        self.bills = [rows.invoice_row(one) for one in listed.rows]
        self._older, self.has_older, self.has_newer = listed.older, bool(listed.older), bool(self._cursors)
        count = len(self.bills)
        self.bills_said = "1 invoice" if count == 1 else f"{count} invoices"
        if self.activating == "waiting" and self.subscribed:
            self.activating = "done"
        self.loaded = True

    def _show_held(self, ctx: Ctx, seen: Overview) -> None:
        held, self.waiting = seen.held, seen.waiting is not None
        self.subscribed = held is not None
        given = seen.rest.name if seen.ended_at else ctx.rights.plan_name
        self.plan, self.rest = held.offer.name if held and held.offer else given, seen.rest.name
        self.plan_said = rows.PERIODS[held.period] if held else "No subscription"
        self.next_label, self.next_sum, self.next_at, self.next_said = rows.next_invoice(seen)
        self.method = seen.method
        self.method_said = "Charged automatically" if seen.method else "Added with a first plan"
        self.ends_at = rows.iso(held.told.cancel_at) if held else ""
        self.paused = held is not None and held.told.status == PAUSED
        self.ended_at = rows.iso(seen.ended_at)
        self.unpaid = rows.invoice_row(seen.unpaid) if seen.unpaid else InvoiceRow()
        self.unpaid_sum = money.said(seen.unpaid.due, seen.unpaid.currency) if seen.unpaid else ""
        self.closed = " ".join(seen.closed or ())
        self.by_seat = held is not None and held.seats is not None
        most = ctx.rights.limits["members"].amount
        self.seats_used, self.seats_bought = seen.used, (held.seats or 0) if held else 0
        self.seats_said = f"{seen.used} of {most} in use" if most is not None else f"{seen.used} in use"
        self.share, self.tone = chart.gauge(seen.used, most) if most else ("0%", "calm")

    @rx.event
    @needs(actions.BILLING_READ)
    async def choose_period(self, period: str) -> None:
        self.period, self._chosen = a_word(period, PERIODS), True
        await self._reread()

    @rx.event
    @needs(actions.BILLING_READ)
    async def older(self) -> None:
        if self._older:
            self._cursors = [*self._cursors, self._older]
            await self._reread()

    @rx.event
    @needs(actions.BILLING_READ)
    async def newer(self) -> None:
        self._cursors = self._cursors[:-1]
        await self._reread()

    @rx.event
    @needs(actions.BILLING_READ)
    async def show_invoice(self, invoice_id: str) -> None:
        async with self._ctx() as ctx:
            found = await invoices.get_invoice(ctx, an_invoice(invoice_id))
        self.invoice = rows.invoice_row(found)
        self.lines = rows.line_rows(found.lines, found.currency)
        self.total, self.dialog = money.said(found.total, found.currency), "invoice"

    @rx.event
    @needs(actions.BILLING_READ)
    async def dismiss(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog, self._offered = "", None

    # ── choosing a plan ──────────────────────────────────────────────────────────────────────────────────────────

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def choose(self, version_id: str) -> EventSpec | None:
        """A first plan is paid at the provider, another one is shown with its price first."""
        known = {one.id: one for one in self.plans}
        row = known[a_word(version_id, known)]
        if self.subscribed:
            seats = max(self.seats_bought, self.seats_used) if row.seats else None
            self._begin(row.verb, f"What {row.name} gives is there at once.", row.verb, row.seats)
            await self._propose(Wish(version_id, self.period, seats))
            return None
        if row.seats:
            self.wanted, self.seats, self.dialog = row, str(max(self.seats_used, 1)), "order"
            return None
        return await self._buy(row.id, 1)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def order(self, payload: dict[str, Any]) -> EventSpec:
        form = SeatsForm.read(payload)
        return await self._buy(self.wanted.id, a_number("seats", form.seats, 1, checkout.MOST_SEATS))

    async def _buy(self, version_id: str, seats: int) -> EventSpec:
        async with self._ctx() as ctx:
            order = await checkout.prepare(ctx, version_id, self.period, seats=seats)
        address = await checkout.go(order)
        self.dialog = ""
        return leave(address)

    # ── changing what there is ───────────────────────────────────────────────────────────────────────────────────

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def change_seats(self) -> None:
        self._begin(
            "Change the number of seats",
            f"{self.seats_bought} paid for, {self.seats_used} in use.",
            "Change seats",
            True,
        )
        self._wish, self.seats = Wish(seats=self.seats_bought), str(self.seats_bought)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def set_seats(self, seats: float) -> None:
        """What is asked for has another price. While somebody types there may be no number at all."""
        number = (
            int(seats) if isinstance(seats, int | float) and seats in range(1, checkout.MOST_SEATS + 1) else 0
        )
        self.seats = str(number or "")
        if self.dialog != "change" or not self.asks_seats:
            return
        if number:
            await self._propose(self._wish.of(number))
        else:
            self._clear(f"Seats are a whole number from 1 to {checkout.MOST_SEATS:,}.")

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def add_addon(self, version_id: str) -> None:
        row = self._addon(version_id)
        sentence = "It counts at once." if row.more != "Keep it" else "It is paid for already and goes on."
        self._begin(f"{row.more}: {row.name}", sentence, row.more, False)
        await self._propose(Wish(addon_id=row.id, addons=row.count + 1))

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def drop_addon(self, version_id: str) -> None:
        row = self._addon(version_id)
        sentence = "It stays until the period ends that is paid for, and is not charged again."
        self._begin(f"Remove {row.name}", sentence, "Remove", False)
        await self._propose(Wish(addon_id=row.id, addons=row.count - 1))

    def _addon(self, version_id: str) -> AddonRow:
        known = {one.id: one for one in self.addons}
        return known[a_word(version_id, known)]

    def _begin(self, title: str, sentence: str, verb: str, asks_seats: bool) -> None:
        self.title, self.sentence, self.verb, self.asks_seats = title, sentence, verb, asks_seats
        self.dialog = "change"
        self._clear()

    def _clear(self, problem: str = "") -> None:
        self._offered, self.problem = None, problem
        self.lines, self.total, self.total_said, self.then, self.then_at = [], "", "", "", ""

    async def _propose(self, wish: Wish) -> None:
        """What it costs, or in its place why it is not possible."""
        self._wish = wish
        if wish.seats is not None:
            self.seats = str(wish.seats)
        try:
            async with self._ctx() as ctx:
                change = await changes.weigh(ctx, wish)
            offered = await changes.preview(change)
        except (Conflict, Invalid) as obstacle:
            self._clear(f"{obstacle.detail} {obstacle.next_step}")
            return
        self._clear()
        self._offered = offered
        self.lines, self.total, self.total_said = rows.preview_rows(offered)
        self.then, self.then_at = rows.then(offered)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def confirm(self, payload: dict[str, Any]) -> EventSpec:
        """Exactly what was shown. Where that no longer holds, it is shown anew and nothing happens."""
        form, offered = ConfirmForm.read(payload), self._offered
        if self.asks_seats:
            number = a_number("seats", form.seats, 1, checkout.MOST_SEATS)
            if offered is None or offered.change.seats != number:
                await self._propose(self._wish.of(number))
                return rx.toast.info(
                    self.problem or "Here is the sum for this number of seats.",
                    description="Nothing was changed yet.",
                )
        if offered is None:
            raise Invalid(self.problem or "There is nothing to confirm.", "Choose again what to change.")
        try:
            async with self._ctx() as ctx:
                await changes.prepare(ctx, offered)
        except Conflict as refusal:
            if refusal.reason != changes.STALE:
                raise
            await self._propose(offered.change.wish)
            return rx.toast.info(
                f"{refusal.detail} {refusal.next_step}",
                description="Nothing was changed yet. Confirm it if it is right.",
            )
        shown = await changes.go(offered)
        self.dialog, self._offered, self._chosen = "", None, False
        await self._reread()
        then = "What it gives is there now." if offered.change.prorate else "Nothing is charged for it now."
        return done("Changed.", then, shown)

    # ── ending and paying ────────────────────────────────────────────────────────────────────────────────────────

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def ask_cancel(self) -> None:
        self.dialog = "cancel"

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def cancel(self, payload: dict[str, Any]) -> EventSpec:
        form = CancelForm.read(payload)
        async with self._ctx() as ctx:
            ending = await endings.prepare_cancel(ctx, form.why, form.comment)
        shown = await endings.go(ending)
        self.dialog = ""
        await self._reread()
        return done("Cancelled.", "Everything works until the period ends; nothing more is charged.", shown)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def resume(self) -> EventSpec:
        async with self._ctx() as ctx:
            ending = await endings.prepare_resume(ctx)
        shown = await endings.go(ending)
        await self._reread()
        return done("Resumed.", "It renews as before.", shown)

    @rx.event
    @needs(actions.BILLING_CHANGE)
    async def open_portal(self) -> EventSpec:
        async with self._ctx() as ctx:
            visit = await portal.prepare(ctx)
        return leave(await portal.go(visit))


def an_invoice(value: object) -> str:
    """Ids of invoices are the provider's."""
    if not isinstance(value, str) or not 1 <= len(value) <= 255 or "\0" in value:
        raise Invalid("This is not one of the rows of the page.", "Reload the page and try again.")
    return value


def done(said: str, then: str, shown: bool) -> EventSpec:
    return rx.toast.success(said, description=then if shown else "This page shows it in a moment.")
