"""The views of /catalog that show a draft and its impact."""

import reflex as rx

from admin_app.pages.catalog.draft_parts import draft_form, impact_panel
from admin_app.pages.catalog.state import CatalogState
from shared.ui.banners import banner
from shared.ui.controls import button
from shared.ui.decision_trace import change_list
from shared.ui.panels import small
from shared.ui.tables import has_items


def conflict_panel() -> rx.Component:
    resolution = rx.cond(
        has_items(CatalogState.saved_changes),
        rx.fragment(
            rx.el.h3("Their changes"),
            change_list(CatalogState.saved_changes),
            small("Your changes are still shown below. Saving them replaces the other changes."),
            rx.el.div(
                button("Keep my changes", on_click=CatalogState.keep_my_changes),
                button("Use their changes", on_click=CatalogState.take_saved_draft),
                class_name="row wrap",
            ),
        ),
        small("Your changes are still shown below, but they can’t be saved to this draft."),
    )
    return rx.cond(
        CatalogState.conflict_text != "",
        rx.el.section(
            rx.el.div(rx.el.h2(CatalogState.conflict_text), resolution, class_name="body", role="alert"),
            class_name="hull",
            id="conflict",
            aria_label="Conflict",
            data_testid="conflict",
        ),
    )


def edit_view() -> rx.Component:
    return rx.fragment(conflict_panel(), draft_form())


def impact_view() -> rx.Component:
    stale = rx.cond(
        CatalogState.stale_text != "",
        rx.el.div(
            banner(
                rx.fragment(rx.el.b(CatalogState.stale_text), " The impact below may be outdated."),
                tone="warn",
                glyph="triangle-alert",
                action=rx.cond(
                    CatalogState.conflict_text != "",
                    button("Back to the draft", on_click=CatalogState.show_draft),
                    button("Refresh impact", on_click=CatalogState.refresh_impact),
                ),
            ),
            data_testid="stale",
        ),
    )
    return rx.fragment(stale, impact_panel())
