"""/prices: what plans and add-ons cost, from when on, and whether the payment provider has it like that."""

from datetime import UTC, datetime
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from admin_app import price_list, words
from admin_app.frame import page
from admin_app.price_list import (
    ADDON_PART_LABELS,
    PART_LABELS,
    PERIOD_LABELS,
    PricedVersionRow,
    PriceForm,
    PriceListSummary,
    PriceRow,
)
from admin_app.shell import PageState, guard_control, is_allowed
from shared.access import actions
from shared.billing.pricing import price_sync, prices
from shared.billing.pricing.price_sync import PriceSyncResult
from shared.core.context import OperatorCtx
from shared.core.money import CURRENCIES
from shared.ui.authorize import needs
from shared.ui.banners import banner, empty_state, local_time, skeleton_rows
from shared.ui.controls import button, datetime_input, dialog, form_field, text_input
from shared.ui.decision_trace import change_list
from shared.ui.dialogs import reason_field
from shared.ui.forms import parse_id
from shared.ui.panels import panel, small, stat, stat_grid
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

COLUMNS = [
    Column("What for"),
    Column("Price", width="32%"),
    Column("From", hidden_on_phone=True, width="13%"),
    Column("Why", hidden_on_phone=True, width="20%"),
    Column("At the provider", hidden_on_phone=True, width="14%"),
]


class PricesState(PageState):
    loaded: bool = False
    versions: list[PricedVersionRow] = []
    summary: PriceListSummary = PriceListSummary()
    selected_version: PricedVersionRow = PricedVersionRow()  # whose price is being set
    is_dialog_open: bool = False

    @rx.event
    @needs(actions.OP_CATALOG_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(PricesState.load, prices.TOPIC, "catalog") as octx:
            await self._read(octx)

    async def _read(self, octx: OperatorCtx) -> None:
        price_history, at = await prices.list_price_history(octx), datetime.now(UTC)
        self.versions = price_list.version_rows(price_history, at)
        self.summary = price_list.summarise_prices(price_history, at)
        self.loaded = True

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def open_dialog(self, version_id: str) -> None:
        plan_version_id = parse_id("plv", version_id)
        self.selected_version = next(
            (version for version in self.versions if version.id == plan_version_id), PricedVersionRow()
        )
        self.is_dialog_open = self.selected_version.id != ""

    @rx.event
    @needs(actions.OP_CATALOG_READ)
    async def close_dialog(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.is_dialog_open = False

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def set_price(self, payload: dict[str, Any]) -> EventSpec:
        arguments = price_list.parse_price_form(PriceForm.read(payload))
        async with self._ctx() as octx:
            price = await prices.set_price(octx, parse_id("plv", self.selected_version.id), **arguments)
            await self._read(octx)
        self.is_dialog_open = False
        message = f"{self.selected_version.name}: {prices.format_price(price)}."
        start_text = "at once" if arguments["effective_at"] is None else f"on {price.effective_at:%-d %B %Y}"
        return rx.toast.success(
            message, description=f"In force {start_text}. Running subscriptions follow at their next renewal."
        )

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def push_prices(self) -> EventSpec:
        async with self._ctx() as octx:
            await price_sync.request_push(octx)
        result = await price_sync.push_prices("operator", repair=True)
        return await self._finish(result, f"Pushed {words.plural(result.count, 'price', 'prices')}.")

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def compare_prices(self) -> EventSpec:
        async with self._ctx() as octx:
            await price_sync.request_compare(octx)
        result = await price_sync.compare_prices("operator")
        difference_text = (
            words.plural(result.drifted_count, "differs", "differ")
            if result.drifted_count
            else "None differs"
        )
        return await self._finish(
            result, f"Compared {words.plural(result.count, 'price', 'prices')}. {difference_text}."
        )

    async def _finish(self, result: PriceSyncResult, title: str) -> EventSpec:
        async with self._ctx() as octx:
            await self._read(octx)
        if result.failures:
            return rx.toast.error(title, description=" ".join(result.failures[:3]))
        return rx.toast.success(title)


def price_line(price: PriceRow) -> rx.Component:
    provider_badge = rx.cond(
        price.provider_status != "", badge(price.provider_status, price.provider_tone), small("–")
    )
    state = rx.cond(price.state != "", badge(price.state, price.tone))
    title = rx.el.div(
        rx.el.span(rx.el.span(price.title), state, class_name="row wrap"),
        small(local_time(price.since, "", "day"), " · ", price.provider_status, class_name="only-small"),
        rx.cond(
            has_items(price.differences),
            rx.el.div(change_list(price.differences), class_name="small", data_testid="differs"),
        ),
        class_name="two",
    )
    return table_row(
        COLUMNS, title, price.cost, local_time(price.since, "", "day"), small(price.origin), provider_badge
    )


def version_panel(version: PricedVersionRow) -> rx.Component:
    name = rx.el.h2(version.name, " ", small(version.version))
    tenant_link = rx.cond(
        version.tenant_id != "",
        link("Offered to one tenant", f"/tenants/{version.tenant_id}", class_name="small"),
    )
    set_price_button = rx.cond(
        is_allowed(actions.OP_CATALOG_WRITE),
        button(
            "Set price",
            kind="quiet",
            glyph="tag",
            on_click=PricesState.open_dialog(version.id),
            aria_label=f"Set price of {version.name}",
        ),
    )
    bar = rx.el.div(name, tenant_link, set_price_button, class_name="bar")
    table = data_table(f"Prices of {version.name}", COLUMNS, rx.foreach(version.prices, price_line))
    no_price = rx.el.p(
        small("Nobody can buy it by themselves: it is free, or agreed on in person."), class_name="body"
    )
    past_prices = rx.cond(
        version.past_title != "",
        rx.el.details(
            rx.el.summary(version.past_title, class_name="small muted body"),
            data_table(
                f"Earlier prices of {version.name}", COLUMNS, rx.foreach(version.past_prices, price_line)
            ),
        ),
    )
    return rx.el.section(
        bar,
        rx.cond(has_items(version.prices), table, no_price),
        past_prices,
        class_name="hull",
        aria_label=f"{version.name}, {version.version}",
    )


def price_stats() -> rx.Component:
    summary = PricesState.summary
    compared_text = rx.cond(
        summary.compared_at != "",
        rx.fragment("Compared ", local_time(summary.compared_at, "", "ago")),
        "Not compared yet",
    )
    return panel(
        stat_grid(
            stat("In force", summary.in_force, "What is asked for now"),
            stat("Coming", summary.coming, summary.next_text),
            stat("Not pushed", summary.not_pushed, "The worker tries every minute"),
            stat("Different at the provider", summary.differing, compared_text),
        ),
        name="In figures",
    )


def form_select(id: str, name: str, options: Any, **props: Any) -> rx.Component:
    return rx.el.select(options, custom_attrs={"id": id}, name=name, class_name="input", **props)


def price_dialog() -> rx.Component:
    def options(labels: dict[str, str]) -> list[rx.Component]:
        return [rx.el.option(label, value=key) for key, label in labels.items()]

    currencies = rx.cond(
        PricesState.selected_version.currency != "",
        rx.el.option(
            PricesState.selected_version.currency.upper(), value=PricesState.selected_version.currency
        ),
        rx.fragment(
            *[
                rx.el.option(code.upper(), value=code)
                for code in sorted(CURRENCIES, key=lambda code: (code != "usd", code))
            ]
        ),
    )
    parts = rx.cond(
        PricesState.selected_version.addon,
        rx.fragment(*options(ADDON_PART_LABELS)),
        rx.fragment(*options(PART_LABELS)),
    )
    included_field = rx.cond(
        ~PricesState.selected_version.addon,
        form_field(
            "Included",
            text_input(
                "price-included",
                name="included",
                has_note=True,
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
        f"Set a price of {PricesState.selected_version.name}",
        "It follows the one before it. What was billed stays billed, and a running period is not touched.",
        rx.el.div(
            form_field("What for", form_select("price-part", "part", parts), id="price-part"),
            form_field(
                "For",
                form_select("price-period", "period", rx.fragment(*options(PERIOD_LABELS))),
                id="price-period",
            ),
            form_field(
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
            form_field(
                "Currency", form_select("price-currency", "currency", currencies), id="price-currency"
            ),
            class_name="split",
            data_even="true",
        ),
        included_field,
        form_field(
            "In force from",
            datetime_input("price-effective_at", name="effective_at"),
            id="price-effective_at",
            hint="Empty: at once.",
        ),
        reason_field("price", "It stands in the operators' trail."),
        confirm="Set price",
        submit=PricesState.set_price,
        open=PricesState.is_dialog_open,
        on_open_change=PricesState.close_dialog,
        test_id="price-form",
    )


@rx.page(route="/prices", title="Prices · Operator", on_load=PricesState.load)
def price_page() -> rx.Component:
    compare_button = guard_control(
        actions.OP_CATALOG_WRITE,
        button("Compare now", glyph="scale", on_click=PricesState.compare_prices, data_testid="compare"),
        "Compare now",
        glyph="scale",
        id="compare",
    )
    push_button = guard_control(
        actions.OP_CATALOG_WRITE,
        button("Push now", glyph="upload", on_click=PricesState.push_prices, data_testid="push"),
        "Push now",
        glyph="upload",
        id="push",
    )
    drift_banner = rx.cond(
        PricesState.summary.differing != "0",
        banner(
            rx.fragment(
                rx.el.b("Prices differ at the payment provider. "),
                "Push now sells ours there again: what was archived, or another price in place of what was changed.",
            ),
            tone="warn",
            glyph="scale",
        ),
    )
    no_versions = panel(
        empty_state("Nothing is published", "Publish a plan in the catalog first.", glyph="tag"),
        name="Prices",
    )
    version_list = rx.cond(
        has_items(PricesState.versions), rx.foreach(PricesState.versions, version_panel), no_versions
    )
    return page(
        page_header(
            "Prices",
            description="What plans and add-ons cost. A price never changes: another one follows it.",
            actions=[compare_button, push_button],
        ),
        price_stats(),
        rx.cond(PricesState.loaded, rx.fragment(version_list), panel(skeleton_rows(6), name="Prices")),
        price_dialog(),
        current="Prices",
        load=PricesState.load,
        banner=drift_banner,
    )
