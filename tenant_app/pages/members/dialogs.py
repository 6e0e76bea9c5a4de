"""The dialogs of the members page."""

from typing import Any

import reflex as rx

from shared.ui.controls import (
    dialog_field,
    radio_cards,
    text_input,
)
from shared.ui.dialogs import confirm_field, form_dialog
from tenant_app.pages.members.state import MembersState
from tenant_app.shell import Shell


def member_dialog(
    name: str, title: Any, sentence: Any, *children: rx.Component, **props: Any
) -> rx.Component:
    return form_dialog(
        MembersState,
        name,
        title,
        sentence,
        *children,
        **props,
    )


def member_dialogs() -> rx.Component:
    name = MembersState.subject.name
    email = text_input(
        "email", type="email", required=True, auto_complete="off", placeholder="name@company.com"
    )
    invite = member_dialog(
        "invite",
        "Invite a member",
        f"We’ll email them a link that works for 7 days. {MembersState.seats} in use.",
        dialog_field("Email", email, id="email"),
        radio_cards("Role", "role", MembersState.grantable, value="member"),
        confirm="Send invitation",
        submit=MembersState.invite_member,
    )
    role = member_dialog(
        "role",
        f"Change the role of {name}",
        "Takes effect immediately.",
        radio_cards("Role", "role", MembersState.grantable, value=MembersState.subject.role),
        confirm="Change role",
        submit=MembersState.change_role,
        version=MembersState.subject.version,
    )
    deactivate = member_dialog(
        "deactivate",
        f"Deactivate {name}",
        "They’ll lose access until reactivated. Their activity stays, and their seat becomes free.",
        confirm="Deactivate",
        submit=MembersState.deactivate_member,
        kind="danger-fill",
    )
    remove = member_dialog(
        "remove",
        f"Remove {name}",
        f"They’ll lose access to {Shell.tenant} immediately and need a new invitation to rejoin.",
        confirm_field("remove", name),
        confirm="Remove",
        submit=MembersState.remove_member,
        kind="danger-fill",
    )
    transfer = member_dialog(
        "transfer",
        f"Transfer ownership to {name}",
        f"They’ll have full control of {Shell.tenant}, including removing you. You’ll become an admin.",
        confirm_field("transfer", Shell.tenant),
        confirm="Transfer ownership",
        submit=MembersState.transfer_ownership,
        kind="danger-fill",
    )
    return rx.fragment(invite, role, deactivate, remove, transfer)
