"""/prices: what plans and add-ons cost, from when on, and whether the payment provider has it like that."""

from datetime import UTC, datetime
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from admin_app import price_list, words
from admin_app.confirming import reason_field
from admin_app.frame import page
from admin_app.price_list import PARTS, PERIODS, PIECE, Figures, PriceForm, PriceRow, VersionRow
from admin_app.shell import PageState, allowed, may
from shared.access import actions
from shared.billing import price_sync, prices
from shared.billing.price_sync import Outcome
from shared.core.ctx import OperatorCtx
from shared.core.money import CURRENCIES
from shared.ui.feedback import banner, empty, skeleton_rows, when
from shared.ui.form import button, dialog, field, moment, text_input
from shared.ui.form_model import an_id
from shared.ui.gate import needs
from shared.ui.hull import cells, fact, hull, small
from shared.ui.shell import head, link
from shared.ui.table import Column, badge, data_table, row, some
from shared.ui.why import diff

COLUMNS = [
    Column("What for"),
    Column("Price", width="32%"),
    Column("From", less=True, width="13%"),
    Column("Why", less=True, width="20%"),
    Column("At the provider", less=True, width="14%"),
]


class PricesState(PageState):
    loaded: bool = False
    versions: list[VersionRow] = []
    figures: Figures = Figures()
    chosen: VersionRow = VersionRow()  # whose price is being set
    asking: bool = False

    @rx.event
    @needs(actions.OP_CATALOG_READ, page=True)
    async def load(self) -> None:
        async with self._open(PricesState.load, prices.TOPIC, "catalog") as octx:
            await self._read(octx)

    async def _read(self, octx: OperatorCtx) -> None:
        found, at = await prices.history(octx), datetime.now(UTC)
        self.versions = price_list.versions(found, at)
        self.figures = price_list.figures(found, at)
        self.loaded = True

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def ask(self, version_id: str) -> None:
        wanted = an_id("plv", version_id)
        self.chosen = next((one for one in self.versions if one.id == wanted), VersionRow())
        self.asking = self.chosen.id != ""

    @rx.event
    @needs(actions.OP_CATALOG_READ)
    async def dismiss(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.asking = False

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def set_price(self, payload: dict[str, Any]) -> EventSpec:
        meant = price_list.meant(PriceForm.read(payload))
        async with self._ctx() as octx:
            price = await prices.set_price(octx, an_id("plv", self.chosen.id), **meant)
            await self._read(octx)
        self.asking = False
        said = f"{self.chosen.name}: {prices.cost(price)}."
        when_ = "at once" if meant["effective_at"] is None else f"on {price.effective_at:%-d %B %Y}"
        return rx.toast.success(
            said, description=f"In force {when_}. Running subscriptions follow at their next renewal."
        )

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def push(self) -> EventSpec:
        async with self._ctx() as octx:
            await price_sync.ask_push(octx)
        done = await price_sync.push("operator", mends=True)
        return await self._told(done, f"Pushed {words.some_of(done.done, 'price', 'prices')}.")

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def compare(self) -> EventSpec:
        async with self._ctx() as octx:
            await price_sync.ask_compare(octx)
        done = await price_sync.compare("operator")
        differ = words.some_of(done.drifted, "differs", "differ") if done.drifted else "None differs"
        return await self._told(done, f"Compared {words.some_of(done.done, 'price', 'prices')}. {differ}.")

    async def _told(self, done: Outcome, said: str) -> EventSpec:
        async with self._ctx() as octx:
            await self._read(octx)
        if done.failed:
            return rx.toast.error(said, description=" ".join(done.failed[:3]))
        return rx.toast.success(said)


def price_line(one: PriceRow) -> rx.Component:
    there = rx.cond(one.there != "", badge(one.there, one.there_tone), small("–"))
    state = rx.cond(one.state != "", badge(one.state, one.tone))
    title = rx.el.div(
        rx.el.span(rx.el.span(one.title), state, class_name="row wrap"),
        small(when(one.since, "", "day"), " · ", one.there, class_name="only-small"),
        rx.cond(some(one.differs), rx.el.div(diff(one.differs), class_name="small", data_testid="differs")),
        class_name="two",
    )
    return row(COLUMNS, title, one.cost, when(one.since, "", "day"), small(one.why), there)


def version_box(one: VersionRow) -> rx.Component:
    name = rx.el.h2(one.name, " ", small(one.version))
    whose = rx.cond(
        one.tenant_id != "",
        link("Offered to one tenant", f"/tenants/{one.tenant_id}", class_name="small"),
    )
    setting = rx.cond(
        may(actions.OP_CATALOG_WRITE),
        button(
            "Set price",
            kind="quiet",
            glyph="tag",
            on_click=PricesState.ask(one.id),
            aria_label=f"Set price of {one.name}",
        ),
    )
    bar = rx.el.div(name, whose, setting, class_name="bar")
    table = data_table(f"Prices of {one.name}", COLUMNS, rx.foreach(one.prices, price_line))
    nothing = rx.el.p(
        small("Nobody can buy it by themselves: it is free, or agreed on in person."), class_name="body"
    )
    past = rx.cond(
        one.past_said != "",
        rx.el.details(
            rx.el.summary(one.past_said, class_name="small muted body"),
            data_table(f"Earlier prices of {one.name}", COLUMNS, rx.foreach(one.past, price_line)),
        ),
    )
    return rx.el.section(
        bar,
        rx.cond(some(one.prices), table, nothing),
        past,
        class_name="hull",
        aria_label=f"{one.name}, {one.version}",
    )


def overview() -> rx.Component:
    found = PricesState.figures
    compared = rx.cond(
        found.compared != "",
        rx.fragment("Compared ", when(found.compared, "", "ago")),
        "Not compared yet",
    )
    return hull(
        cells(
            fact("In force", found.in_force, "What is asked for now"),
            fact("Coming", found.coming, found.next),
            fact("Not pushed", found.missing, "The worker tries every minute"),
            fact("Different at the provider", found.differing, compared),
        ),
        name="In figures",
    )


def choice(id: str, name: str, options: Any, **props: Any) -> rx.Component:
    return rx.el.select(options, custom_attrs={"id": id}, name=name, class_name="input", **props)


def setting() -> rx.Component:
    def options(of: dict[str, str]) -> list[rx.Component]:
        return [rx.el.option(label, value=key) for key, label in of.items()]

    currencies = rx.cond(
        PricesState.chosen.currency != "",
        rx.el.option(PricesState.chosen.currency.upper(), value=PricesState.chosen.currency),
        rx.fragment(
            *[
                rx.el.option(code.upper(), value=code)
                for code in sorted(CURRENCIES, key=lambda code: (code != "usd", code))
            ]
        ),
    )
    parts = rx.cond(PricesState.chosen.addon, rx.fragment(*options(PIECE)), rx.fragment(*options(PARTS)))
    free = rx.cond(
        ~PricesState.chosen.addon,
        field(
            "Included",
            text_input(
                "price-included",
                name="included",
                noted=True,
                input_mode="numeric",
                max_length=15,
                auto_complete="off",
            ),
            id="price-included",
            hint="Only for what is metered: so many units, such as 1,000 calls, cost nothing in a period.",
        ),
    )
    return dialog(
        None,
        f"Set a price of {PricesState.chosen.name}",
        "It follows the one before it. What was billed stays billed, and a running period is not touched.",
        rx.el.div(
            field("What for", choice("price-part", "part", parts), id="price-part"),
            field("For", choice("price-period", "period", rx.fragment(*options(PERIODS))), id="price-period"),
            field(
                "Price",
                text_input(
                    "price-price",
                    name="price",
                    required=True,
                    input_mode="decimal",
                    max_length=15,
                    auto_complete="off",
                    placeholder="29.00",
                ),
                id="price-price",
            ),
            field("Currency", choice("price-currency", "currency", currencies), id="price-currency"),
            class_name="split",
            data_even="true",
        ),
        free,
        field(
            "In force from",
            moment("price-effective_at", name="effective_at"),
            id="price-effective_at",
            hint="Empty: at once.",
        ),
        reason_field("price", "It stands in the operators' trail."),
        confirm="Set price",
        submit=PricesState.set_price,
        open=PricesState.asking,
        on_open_change=PricesState.dismiss,
        test_id="price-form",
    )


@rx.page(route="/prices", title="Prices · Operator", on_load=PricesState.load)
def price_page() -> rx.Component:
    comparing = allowed(
        actions.OP_CATALOG_WRITE,
        button("Compare now", glyph="scale", on_click=PricesState.compare, data_testid="compare"),
        "Compare now",
        glyph="scale",
        id="compare",
    )
    pushing = allowed(
        actions.OP_CATALOG_WRITE,
        button("Push now", glyph="upload", on_click=PricesState.push, data_testid="push"),
        "Push now",
        glyph="upload",
        id="push",
    )
    differing = rx.cond(
        PricesState.figures.differing != "0",
        banner(
            rx.fragment(
                rx.el.b("Prices differ at the payment provider. "),
                "Push now sells ours there again: what was archived, or another price in place of what was changed.",
            ),
            tone="warn",
            glyph="scale",
        ),
    )
    nothing = hull(
        empty("Nothing is published", "Publish a plan in the catalog first.", glyph="tag"), name="Prices"
    )
    listed = rx.cond(some(PricesState.versions), rx.foreach(PricesState.versions, version_box), nothing)
    return page(
        head(
            "Prices",
            said="What plans and add-ons cost. A price never changes: another one follows it.",
            actions=[comparing, pushing],
        ),
        overview(),
        rx.cond(PricesState.loaded, rx.fragment(listed), hull(skeleton_rows(6), name="Prices")),
        setting(),
        current="Prices",
        load=PricesState.load,
        banner=differing,
    )
