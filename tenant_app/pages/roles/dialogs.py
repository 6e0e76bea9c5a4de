"""The dialogs of the roles page: create, change, delete."""

from typing import Any

import reflex as rx

from shared.ui.controls import checkbox_group, dialog_field, text_input
from shared.ui.dialogs import confirm_field, form_dialog
from shared.ui.panels import small
from tenant_app.pages.roles.state import RolesState


def role_editor(
    dialog_name: str, title: Any, sentence: str, confirm: str, submit: Any, version: Any = None
) -> rx.Component:
    name = text_input(
        "name", required=True, auto_complete="off", max_length=60, default_value=RolesState.subject.name
    )
    sentence_input = text_input(
        "sentence", auto_complete="off", max_length=200, default_value=RolesState.subject.sentence
    )
    return form_dialog(
        RolesState,
        dialog_name,
        title,
        sentence,
        dialog_field("Name", name, id="name"),
        dialog_field("Description", sentence_input, id="sentence"),
        rx.foreach(RolesState.groups, lambda group: checkbox_group(group.title, group.checkboxes)),
        small("Every role can open the organisation and its own notifications."),
        confirm=confirm,
        submit=submit,
        wide=True,
        version=version,
    )


def role_dialogs() -> rx.Component:
    name = RolesState.subject.name
    delete = form_dialog(
        RolesState,
        "delete",
        f"Delete {name}",
        "Not assigned to anyone. Past activity is kept.",
        confirm_field("delete", name),
        confirm="Delete role",
        submit=RolesState.delete_role,
        kind="danger-fill",
    )
    return rx.fragment(
        role_editor(
            "create",
            "New role",
            "Choose permissions. You can only grant permissions you have.",
            "Create role",
            RolesState.create_role,
        ),
        role_editor(
            "change",
            f"Change {name}",
            "Takes effect immediately for everyone with this role.",
            "Change role",
            RolesState.change_role,
            RolesState.subject.version,
        ),
        delete,
    )
