"""The panel of test mode on the settings page, and the dialog that deletes the test data."""

import reflex as rx

from shared.test_mode.actions import TEST_DATA_DELETE, TEST_MODE_TURN_ON
from shared.ui.banners import skeleton_text
from shared.ui.controls import button
from shared.ui.dialogs import confirm_field, dialog_opener, form_dialog
from shared.ui.panels import panel, small
from shared.ui.shell import link
from tenant_app.pages.settings.state import SettingsState
from tenant_app.shell import guard_control


def _turned_off() -> rx.Component:
    turn_on = button("Turn on test mode", on_click=SettingsState.turn_on_test_mode, data_once="true")
    return rx.el.div(
        small(
            "A copy of this organisation without its data, for programs that you develop. It has the same members,"
            " roles and plan, and costs nothing.",
            class_name="grow",
        ),
        guard_control(TEST_MODE_TURN_ON, turn_on, "Turn on test mode"),
        class_name="row wrap",
    )


def _turned_on() -> rx.Component:
    delete = button(
        "Delete test data",
        kind="danger",
        **dialog_opener(SettingsState, "delete_test_data"),
        data_testid="delete-test-data",
    )
    return rx.el.div(
        rx.el.div(
            rx.el.p(rx.el.code("/t/", SettingsState.test_slug, class_name="mono"), class_name="strong"),
            small("Same members, roles and plan. Its data is never billed or counted."),
            class_name="two grow",
        ),
        link("Open test mode", f"/t/{SettingsState.test_slug}/home", class_name="btn"),
        guard_control(TEST_DATA_DELETE, delete, "Delete test data"),
        class_name="row wrap",
    )


def test_mode_panel() -> rx.Component:
    shown = rx.cond(SettingsState.test_slug != "", _turned_on(), _turned_off())
    return panel(rx.cond(SettingsState.loaded, shown, skeleton_text(2)), title="Test mode", body=True)


def test_data_dialog() -> rx.Component:
    return form_dialog(
        SettingsState,
        "delete_test_data",
        "Delete the test data",
        "Deletes webhooks, exports and everything that programs have created in test mode. Test API keys and the audit log of"
        " test mode stay. This can’t be undone.",
        confirm_field("delete-test-data", SettingsState.test_slug),
        confirm="Delete test data",
        submit=SettingsState.delete_test_data,
        kind="danger-fill",
    )
