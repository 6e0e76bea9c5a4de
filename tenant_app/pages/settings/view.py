"""The settings page: panels of name, address, colour and logo, and the dialog of the address."""

import reflex as rx

from shared.access import actions
from shared.tenancy import logos
from shared.tenancy.tenants import MAX_KEPT_SLUGS, SLUG_KEPT_FOR
from shared.ui import theme
from shared.ui.banners import skeleton_text
from shared.ui.controls import button, dialog_field, form_field, text_input
from shared.ui.dialogs import dialog_opener, form_dialog
from shared.ui.edit_conflict import VERSION_FIELD, version_fields
from shared.ui.native_form import NativeForm
from shared.ui.panels import panel, small
from shared.ui.shell import page_header
from shared.ui.tables import avatar
from tenant_app.frame import page
from tenant_app.pages.settings.deletion import deletion_dialog, deletion_panel
from tenant_app.pages.settings.state import MAX_NAME_LENGTH, SettingsState
from tenant_app.pages.settings.test_mode import test_data_dialog, test_mode_panel
from tenant_app.shell import Shell, guard_control, is_allowed


def save_button(label: str) -> rx.Component:
    return rx.el.div(
        guard_control(actions.SETTINGS_WRITE, button(label, type="submit"), label), class_name="row"
    )


def name_panel() -> rx.Component:
    locked = ~is_allowed(actions.SETTINGS_WRITE)
    name = text_input(
        "name",
        default_value=SettingsState.name,
        on_change=SettingsState.keep_name.debounce(120),
        required=True,
        max_length=MAX_NAME_LENGTH,
        read_only=locked,
        has_note=True,
    )
    form = rx.form(
        form_field("Name", name, id="name", hint="Shown to members and in emails."),
        version_fields(SettingsState.rename_organisation, SettingsState.version),
        save_button("Save name"),
        on_submit=SettingsState.rename_organisation,
        class_name="stack",
        key=SettingsState.name,
        data_testid="name-form",
    )
    return panel(rx.cond(SettingsState.loaded, form, skeleton_text()), title="Organisation", body=True)


def slug_dialog() -> rx.Component:
    slug = text_input(
        "slug",
        default_value=SettingsState.slug,
        required=True,
        max_length=60,
        auto_complete="off",
        spell_check=False,
    )
    return form_dialog(
        SettingsState,
        "slug",
        "Change the address",
        f"For {SLUG_KEPT_FOR.days} days, links to the old address lead members to the new one, and no other organisation can take it. You can keep up to {MAX_KEPT_SLUGS} former addresses.",
        dialog_field("New address", slug, id="slug", hint="Lower-case letters, digits and hyphens."),
        confirm="Change address",
        submit=SettingsState.change_slug,
        version=SettingsState.version,
    )


def address_panel() -> rx.Component:
    open_button = button(
        "Change address", **dialog_opener(SettingsState, "slug"), data_testid="change-address"
    )
    shown = rx.el.div(
        rx.el.div(
            rx.el.p(rx.el.code("/t/", SettingsState.slug, class_name="mono"), class_name="strong"),
            small("Used in all links to this organisation."),
            class_name="two grow",
        ),
        guard_control(actions.SETTINGS_WRITE, open_button, "Change address"),
        class_name="row wrap",
    )
    return panel(rx.cond(SettingsState.loaded, shown, skeleton_text(2)), title="Address", body=True)


def swatch(name: str, values: dict[str, str]) -> rx.Component:
    """Preview of a button and a link in one palette."""
    props = {f"--{key}": values[key] for key in theme.PREVIEW_TOKENS}
    return rx.el.div(
        rx.el.span(name, class_name="small"),
        rx.el.span("Invite member", class_name="sample-button"),
        rx.el.span("All members", class_name="sample-link"),
        class_name="swatch",
        style=props,
        aria_hidden="true",
    )


def colour_panel() -> rx.Component:
    picker = rx.el.input(
        id="colour",
        name="colour",
        type="color",
        class_name="input",
        default_value=rx.cond(
            SettingsState.colour_draft != "", SettingsState.colour_draft, theme.LIGHT["accent"]
        ),
        on_change=SettingsState.preview_colour.debounce(120),
        aria_describedby="colour-note",
        disabled=~is_allowed(actions.SETTINGS_WRITE),
    )
    standard = rx.cond(
        (SettingsState.colour != "") & is_allowed(actions.SETTINGS_WRITE),
        button("Use the default colour", kind="quiet", on_click=SettingsState.clear_colour, data_once="true"),
    )
    form = rx.form(
        form_field("Brand colour", picker, id="colour"),
        version_fields(SettingsState.save_colour, SettingsState.branding_version),
        rx.el.p(SettingsState.contrast_text, id="colour-note", class_name="small muted", role="status"),
        rx.el.div(
            swatch("Light", SettingsState.light_preview),
            swatch("Dark", SettingsState.dark_preview),
            class_name="swatches",
        ),
        rx.el.div(
            guard_control(actions.SETTINGS_WRITE, button("Save colour", type="submit"), "Save colour"),
            standard,
            class_name="row wrap",
        ),
        on_submit=SettingsState.save_colour,
        class_name="stack",
        key=SettingsState.colour,
        data_testid="colour-form",
    )
    return panel(rx.cond(SettingsState.loaded, form, skeleton_text(4)), title="Colour", body=True)


def logo_panel() -> rx.Component:
    """A plain form uploads the file to an HTTP route, which calls the same services as the pages."""
    file_input = rx.el.input(
        id="logo",
        name="logo",
        type="file",
        accept="image/png,image/jpeg,image/webp",
        required=True,
        class_name="input",
        aria_describedby="logo-note",
    )
    upload = NativeForm.create(
        form_field(
            "File",
            file_input,
            id="logo",
            hint=f"PNG, JPEG or WebP, {logos.MAX_UPLOAD_BYTES // 1_000_000} MB at most. Cropped to a square.",
        ),
        rx.el.input(type="hidden", name=VERSION_FIELD, value=SettingsState.branding_version),
        rx.el.div(button("Upload logo", type="submit"), class_name="row"),
        method="post",
        action=f"/t/{SettingsState.slug}/logo",
        enc_type="multipart/form-data",
        class_name="stack",
        data_testid="logo-form",
    )
    remove = rx.cond(
        Shell.logo_url != "",
        guard_control(
            actions.SETTINGS_WRITE,
            button("Remove logo", on_click=SettingsState.remove_logo, data_once="true"),
            "Remove logo",
        ),
    )
    current_logo = rx.el.div(
        avatar(Shell.letter, square=True, picture=Shell.logo_url),
        small(
            rx.cond(Shell.logo_url != "", "Current logo.", "No logo yet; we show the first letter."),
            class_name="grow",
        ),
        remove,
        class_name="row",
    )
    shown = rx.fragment(current_logo, guard_control(actions.SETTINGS_WRITE, upload, "Upload logo"))
    return panel(rx.cond(SettingsState.loaded, shown, skeleton_text()), title="Logo", body=True)


@rx.page(route="/t/[tenant]/settings", title="Settings · Bulkhead", on_load=SettingsState.load)
def settings_page() -> rx.Component:
    return page(
        page_header("Settings", description="Changes apply to everyone and are recorded in the audit log."),
        rx.el.div(name_panel(), address_panel(), class_name="split", data_even="true"),
        rx.el.div(colour_panel(), logo_panel(), class_name="split", data_even="true"),
        test_mode_panel(),
        deletion_panel(),
        slug_dialog(),
        test_data_dialog(),
        deletion_dialog(),
        current="Settings",
        load=SettingsState.load,
    )
