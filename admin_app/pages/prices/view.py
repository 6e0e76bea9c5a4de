"""/prices: current and scheduled prices of plans and add-ons, and whether they match Stripe."""

import reflex as rx

from admin_app.frame import page
from admin_app.pages.prices.dialogs import price_dialog
from admin_app.pages.prices.rows import PricedVersionRow, PriceRow
from admin_app.pages.prices.state import PricesState
from admin_app.shell import guard_control, is_allowed
from shared.access import actions
from shared.ui.banners import banner, empty_state, local_time, skeleton_rows
from shared.ui.controls import button
from shared.ui.decision_trace import change_list
from shared.ui.dialogs import dialog_opener
from shared.ui.panels import panel, small, stat, stat_grid
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

COLUMNS = [
    Column("Price type"),
    Column("Price", width="32%"),
    Column("From", hidden_on_phone=True, width="13%"),
    Column("Why", hidden_on_phone=True, width="20%"),
    Column("In Stripe", hidden_on_phone=True, width="14%"),
]


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
            **dialog_opener(PricesState, "price", version.id),
            aria_label=f"Set price of {version.name}",
        ),
    )
    bar = rx.el.div(name, tenant_link, set_price_button, class_name="bar")
    table = data_table(f"Prices of {version.name}", COLUMNS, rx.foreach(version.prices, price_line))
    no_price = rx.el.p(small("Not self-serve (free or contract)."), class_name="body")
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
            stat("In force", summary.in_force, "Current prices"),
            stat("Scheduled", summary.coming, summary.next_text),
            stat("Not pushed", summary.not_pushed, "Retried every minute"),
            stat("Different in Stripe", summary.differing, compared_text),
        ),
        name="Summary",
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
                rx.el.b("Prices differ from Stripe. "),
                "Push now restores our prices in Stripe.",
            ),
            tone="warn",
            glyph="scale",
        ),
    )
    no_versions = panel(
        empty_state("No published plans", "Publish a plan in the catalog first.", glyph="tag"),
        name="Prices",
    )
    version_list = rx.cond(
        has_items(PricesState.versions), rx.foreach(PricesState.versions, version_panel), no_versions
    )
    return page(
        page_header(
            "Prices",
            description="Price history. Prices can’t be edited, only replaced.",
            actions=[compare_button, push_button],
        ),
        price_stats(),
        rx.cond(PricesState.loaded, rx.fragment(version_list), panel(skeleton_rows(6), name="Prices")),
        price_dialog(),
        current="Prices",
        load=PricesState.load,
        banner=drift_banner,
    )
