"""/catalog: plans and add-ons. A draft is edited, its impact on every tenant previewed, then it is published."""

from typing import Any

import reflex as rx

from admin_app.frame import page
from admin_app.pages.catalog.dialogs import catalog_dialogs
from admin_app.pages.catalog.draft import edit_view, impact_view
from admin_app.pages.catalog.state import TABS, CatalogState
from admin_app.pages.catalog.tables import addon_table, plan_comparison, versions_panel
from admin_app.shell import guard_control, is_allowed
from shared.access import actions
from shared.ui.banners import empty_state, skeleton_rows
from shared.ui.controls import button
from shared.ui.dialogs import dialog_opener
from shared.ui.panels import panel
from shared.ui.shell import link, page_header
from shared.ui.tables import has_items


def draft_button(item: Any) -> rx.Component:
    """A button that opens the current draft, or a new one."""
    edit_button = button(
        "Edit draft",
        on_click=CatalogState.edit_draft(item.draft_id),
        aria_label=f"Edit the draft of {item.name}",
    )
    new_button = button(
        "New draft", on_click=CatalogState.open_draft(item.id), aria_label=f"New draft of {item.name}"
    )
    return rx.cond(
        is_allowed(actions.OP_CATALOG_WRITE) & ~item.retired,
        rx.cond(item.draft_id != "", edit_button, new_button),
    )


def items_panel(rows: Any, name: str, title: str, sentence: str, *, tenant: bool = False) -> rx.Component:
    table = addon_table(
        rows,
        name,
        choose=CatalogState.choose_plan,
        chosen=CatalogState.selected_item.id,
        draft_button=draft_button,
        tenant=tenant,
    )
    no_items = empty_state(title, sentence, glyph="package")
    return panel(
        rx.cond(CatalogState.loaded, rx.cond(has_items(rows), table, no_items), skeleton_rows(3)), name=name
    )


def plans_tab() -> rx.Component:
    table = plan_comparison(
        CatalogState.plans,
        CatalogState.limits,
        CatalogState.features,
        choose=CatalogState.choose_plan,
        chosen=CatalogState.selected_item.id,
        draft_button=draft_button,
    )
    return panel(rx.cond(CatalogState.loaded, table, skeleton_rows(9)), name="Plans")


def selected_panel() -> rx.Component:
    retire = rx.cond(
        is_allowed(actions.OP_CATALOG_WRITE) & ~CatalogState.selected_item.retired,
        button("Retire", kind="danger", glyph="archive", **dialog_opener(CatalogState, "retire")),
    )
    panel_actions = rx.fragment(link("Prices", "/prices", class_name="small"), retire)
    return rx.cond(
        CatalogState.selected_item.name != "",
        versions_panel(
            CatalogState.selected_item,
            CatalogState.versions,
            retire=panel_actions,
            choose=CatalogState.choose_plan,
        ),
    )


def list_view() -> rx.Component:
    contents_ = {
        "plans": plans_tab(),
        "addons": items_panel(
            CatalogState.addons,
            "Add-ons",
            "No add-ons",
            "Create an add-on to extend plans.",
        ),
        "own": items_panel(
            CatalogState.tenant_offers,
            "Offered to one tenant",
            "No offers for a single tenant",
            "Plans and add-ons for a single tenant appear here. Other tenants can’t see them.",
            tenant=True,
        ),
        "retired": items_panel(
            CatalogState.retired,
            "Retired",
            "No retired plans or add-ons",
            "Retired plans and add-ons appear here.",
        ),
    }
    return rx.tabs.root(
        rx.tabs.list(*[rx.tabs.trigger(name, value=key) for key, name in TABS.items()], aria_label="Catalog"),
        *[
            rx.tabs.content(rx.el.div(selected_panel(), contents_[key], class_name="stack"), value=key)
            for key in TABS
        ],
        value=CatalogState.tab,
        on_change=CatalogState.choose_tab,
    )


def catalog_header() -> rx.Component:
    new = guard_control(
        actions.OP_CATALOG_WRITE,
        button(
            "New plan or add-on",
            kind="primary",
            glyph="plus",
            **dialog_opener(CatalogState, "create"),
            data_testid="create",
        ),
        "New plan or add-on",
        glyph="plus",
    )
    list_header = page_header(
        "Catalog",
        description="Plans and add-ons. Published versions are immutable.",
        actions=[new],
    )

    def crumbs(*more: rx.Component) -> rx.Component:
        first = rx.el.button("Catalog", class_name="link", type="button", on_click=CatalogState.show_list)
        return rx.el.nav(first, *more, class_name="crumbs", aria_label="You are here")

    slash = rx.el.span("/", aria_hidden="true")
    discard = button("Discard", kind="danger", glyph="trash-2", **dialog_opener(CatalogState, "discard"))
    edit_header = page_header(
        CatalogState.title,
        breadcrumbs=crumbs(slash, rx.el.span("Draft", aria_current="page")),
        description="Drafts don’t affect customers.",
        actions=[discard],
    )
    draft_link = rx.el.button("Draft", class_name="link", type="button", on_click=CatalogState.show_draft)
    publish = button(
        "Publish",
        kind="primary",
        **dialog_opener(CatalogState, "publish"),
        disabled=CatalogState.stale_text != "",
        data_testid="publish",
    )
    impact_header = page_header(
        f"Impact of {CatalogState.title}",
        breadcrumbs=crumbs(slash, draft_link, slash, rx.el.span("Impact", aria_current="page")),
        description=rx.fragment(
            "In force ",
            CatalogState.impact.effective_text,
            ". ",
            CatalogState.impact.moves_text,
            " Checked ",
            CatalogState.impact.tenants_checked,
            ".",
        ),
        actions=[button("Back to the draft", on_click=CatalogState.show_draft), publish],
    )
    return switch_view(edit_header, impact_header, list_header)


def switch_view(edit: rx.Component, effect: rx.Component, listing: rx.Component) -> rx.Component:
    return rx.cond(CatalogState.view == "edit", edit, rx.cond(CatalogState.view == "effect", effect, listing))


@rx.page(route="/catalog", title="Catalog · Operator", on_load=CatalogState.load)
def catalog_page() -> rx.Component:
    shown = switch_view(edit_view(), impact_view(), list_view())
    return page(catalog_header(), shown, catalog_dialogs(), current="Catalog", load=CatalogState.load)
