"""The dialogs of /catalog."""

from typing import Any

import reflex as rx

from admin_app.pages.catalog.state import CatalogState
from shared.backoffice import catalog_drafts
from shared.ui.controls import dialog_field, radio_cards, text_input
from shared.ui.dialogs import OPERATOR_AUDIT_HINT, form_dialog, reason_field

KIND_CHOICES = [
    ("plan", "Plan", "Each tenant has one plan. It sets features and limits."),
    ("addon", "Add-on", "Adds features or limits to any plan. A tenant can have several."),
]


def catalog_dialog(
    name: str, title: Any, sentence: Any, *children: rx.Component, **props: Any
) -> rx.Component:
    return form_dialog(
        CatalogState,
        name,
        title,
        sentence,
        *children,
        **props,
    )


def catalog_dialogs() -> rx.Component:
    def text(name: str, label: str, hint: str = "", **props: Any) -> rx.Component:
        control = text_input(f"create-{name}", name=name, auto_complete="off", **props)
        return dialog_field(label, control, id=f"create-{name}", name=name, hint=hint)

    create = catalog_dialog(
        "create",
        "New plan or add-on",
        "Starts as an empty draft. Customers see it after you publish it.",
        radio_cards("Type", "kind", KIND_CHOICES, value="plan"),
        text("name", "Name", required=True, max_length=catalog_drafts.MAX_NAME_LENGTH),
        text(
            "key",
            "Key",
            "Lowercase letters, digits, - and _. You can’t change it later.",
            required=True,
            max_length=40,
        ),
        text("sentence", "Description", "Shown to customers with the name.", max_length=200),
        text(
            "tenant",
            "Tenant ID",
            "Offered to this tenant only. Leave empty to offer it to everyone.",
            max_length=40,
        ),
        confirm="Create draft",
        submit=CatalogState.create_draft,
    )
    discard = catalog_dialog(
        "discard",
        f"Discard {CatalogState.title}",
        "This deletes the draft. Published versions aren’t affected.",
        confirm="Discard",
        submit=CatalogState.discard_draft,
        kind="danger-fill",
    )
    publish = catalog_dialog(
        "publish",
        f"Publish {CatalogState.title}",
        rx.fragment(
            "In force ",
            CatalogState.impact.effective_text,
            ". ",
            CatalogState.impact.moves_text,
            " Published versions can’t be changed.",
        ),
        reason_field("publish", OPERATOR_AUDIT_HINT),
        confirm="Publish",
        submit=CatalogState.publish_draft,
    )
    retire = catalog_dialog(
        "retire",
        f"Retire {CatalogState.selected_item.name}",
        "It’s no longer offered. Tenants that have it keep it.",
        reason_field("retire", OPERATOR_AUDIT_HINT),
        confirm="Retire",
        submit=CatalogState.retire_plan,
        kind="danger-fill",
    )
    return rx.fragment(create, discard, publish, retire)
