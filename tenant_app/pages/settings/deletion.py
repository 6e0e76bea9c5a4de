"""The panel on the settings page that deletes the organisation, and its dialogs."""

import reflex as rx

from shared.offboarding.actions import DELETION_READ, DELETION_WRITE
from shared.offboarding.deletions import GRACE_DAYS
from shared.ui.banners import local_time, skeleton_text
from shared.ui.controls import button
from shared.ui.dialogs import confirm_field, dialog_opener, form_dialog, reason_field
from shared.ui.panels import panel, small
from tenant_app.pages.settings.state import SettingsState
from tenant_app.shell import Shell, guard_control, is_allowed


def _not_scheduled() -> rx.Component:
    delete = button(
        "Delete organisation",
        kind="danger",
        **dialog_opener(SettingsState, "delete_organisation"),
        data_testid="delete-organisation",
    )
    return rx.el.div(
        small(
            f"Everything works for another {GRACE_DAYS} days, in which an owner can cancel it. Then all members lose"
            " access, and its data is erased. Cancel your subscription first.",
            class_name="grow",
        ),
        guard_control(DELETION_WRITE, delete, "Delete organisation"),
        class_name="row wrap",
    )


def _scheduled() -> rx.Component:
    keep = button(
        "Cancel deletion",
        kind="primary",
        on_click=SettingsState.cancel_deletion,
        data_once="true",
        data_testid="cancel-deletion",
    )
    return rx.el.div(
        rx.el.div(
            rx.el.p(
                "Will be deleted on ", local_time(SettingsState.deletion_at, "", "day"), class_name="strong"
            ),
            small(SettingsState.deletion_requester, ": ", SettingsState.deletion_reason),
            rx.cond(
                SettingsState.is_deletion_held,
                small("Delayed, because a subscription is still charged. Cancel the subscription."),
            ),
            class_name="two grow",
        ),
        guard_control(DELETION_WRITE, keep, "Cancel deletion"),
        class_name="row wrap",
        data_testid="deletion",
    )


def deletion_panel() -> rx.Component:
    shown = rx.cond(SettingsState.deletion_at != "", _scheduled(), _not_scheduled())
    return rx.cond(
        is_allowed(DELETION_READ),
        panel(rx.cond(SettingsState.loaded, shown, skeleton_text(2)), title="Delete organisation", body=True),
    )


def deletion_dialog() -> rx.Component:
    return form_dialog(
        SettingsState,
        "delete_organisation",
        "Delete the organisation",
        f"All members lose access in {GRACE_DAYS} days, and its data is erased. Until then, an owner can cancel it.",
        reason_field(
            "delete-organisation", "Recorded in the audit log.", example="We moved to another organisation"
        ),
        confirm_field("delete-organisation", Shell.tenant),
        confirm="Delete organisation",
        submit=SettingsState.delete_organisation,
        kind="danger-fill",
    )
