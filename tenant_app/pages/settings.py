"""/t/[tenant]/settings: what the organisation is called, where it is found, how it looks."""

import json
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from shared.access import actions
from shared.tenancy import logos, tenants
from shared.ui import tokens
from shared.ui.feedback import skeleton_text
from shared.ui.form import button, dialog, field, text_input
from shared.ui.form_model import Form
from shared.ui.gate import needs
from shared.ui.hull import hull, small
from shared.ui.native import NativeForm
from shared.ui.shell import head
from shared.ui.table import avatar
from tenant_app.frame import page
from tenant_app.shell import PageState, Shell, allowed, may


class NameForm(Form):
    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]


class AddressForm(Form):
    slug: Annotated[str, StringConstraints(min_length=1, max_length=60)]


class ColourForm(Form):
    colour: Annotated[str, StringConstraints(max_length=7)]


class SettingsState(PageState):
    loaded: bool = False
    name: str = ""
    slug: str = ""
    colour: str = ""
    tried: str = ""  # what is in the field, saved or not
    verdict: str = ""
    light: dict[str, str] = {}
    dark: dict[str, str] = {}
    moving: bool = False

    @rx.event
    @needs(actions.SETTINGS_READ, page=True)
    async def load(self) -> None:
        async with self._open(SettingsState.load, "settings") as ctx:
            found = await tenants.get_settings(ctx)
        self._show(found)

    def _show(self, found: Any) -> None:
        self.name, self.slug = found.name, found.slug
        if not self.loaded or found.colour != self.colour:  # what somebody is trying out stays
            self._try(found.colour)
        self.colour = found.colour
        self.loaded = True

    def _try(self, colour: str) -> None:
        self.tried = colour
        self.verdict = tokens.verdict(colour)
        self.light, self.dark = tokens.preview(colour, tokens.LIGHT), tokens.preview(colour, tokens.DARK)

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def rename(self, payload: dict[str, Any]) -> EventSpec:
        form = NameForm.read(payload)
        async with self._ctx() as ctx:
            await tenants.rename(ctx, form.name)
        self.name = form.name
        return rx.toast.success("Renamed.", description=f"Everybody sees {form.name} from now on.")

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def show_move(self, open: bool) -> None:
        self.moving = open is True

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def move(self, payload: dict[str, Any]) -> EventSpec:
        """Changes the address. Every open page then stands at an old one, this one too: a full page load."""
        form = AddressForm.read(payload)
        async with self._ctx() as ctx:
            slug = await tenants.change_slug(ctx, form.slug)
        self.moving = False
        return rx.call_script(f"window.location.assign({json.dumps(f'/t/{slug}/settings')})")

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def try_colour(self, colour: str) -> None:
        if tokens.is_colour(colour):
            self._try(colour.lower())

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def save_colour(self, payload: dict[str, Any]) -> list[Any]:
        form = ColourForm.read(payload)
        async with self._ctx() as ctx:
            await tenants.set_brand(ctx, form.colour)
        self._try(form.colour.lower())
        self.colour = self.tried
        return [SettingsState.load, rx.toast.success("Saved the colour.", description=self.verdict)]

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def clear_colour(self) -> list[Any]:
        async with self._ctx() as ctx:
            await tenants.set_brand(ctx, "")
        self._try("")
        self.colour = ""
        return [SettingsState.load, rx.toast.success("Back to the standard colour.")]

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def remove_logo(self) -> list[Any]:
        async with self._ctx() as ctx:
            await logos.remove(ctx)
        return [
            SettingsState.load,
            rx.toast.success("Removed the logo.", description="The first letter stands in its place."),
        ]


def save(label: str) -> rx.Component:
    return rx.el.div(allowed(actions.SETTINGS_WRITE, button(label, type="submit"), label), class_name="row")


def organisation() -> rx.Component:
    locked = ~may(actions.SETTINGS_WRITE)
    name = text_input(
        "name", default_value=SettingsState.name, required=True, max_length=100, read_only=locked, noted=True
    )
    form = rx.form(
        field("Name", name, id="name", hint="As members, invitations and mails show it."),
        save("Save name"),
        on_submit=SettingsState.rename,
        class_name="stack",
        key=SettingsState.name,
        data_testid="name-form",
    )
    return hull(rx.cond(SettingsState.loaded, form, skeleton_text()), title="Organisation", body=True)


def address() -> rx.Component:
    slug = text_input(
        "slug",
        default_value=SettingsState.slug,
        required=True,
        max_length=60,
        noted=True,
        auto_complete="off",
        spell_check=False,
    )
    change = dialog(
        button("Change address", data_testid="change-address"),
        "Change the address",
        "Links to the old address stop working at once, also those in mails. Open pages must be reloaded.",
        field("New address", slug, id="slug", hint="Lower-case letters, digits and hyphens."),
        confirm="Change address",
        submit=SettingsState.move,
        open=SettingsState.moving,
        on_open_change=SettingsState.show_move,
        test_id="slug-form",
    )
    shown = rx.el.div(
        rx.el.div(
            rx.el.p(rx.el.code("/t/", SettingsState.slug, class_name="mono"), class_name="strong"),
            small("Part of every link into this organisation."),
            class_name="two grow",
        ),
        allowed(actions.SETTINGS_WRITE, change, "Change address"),
        class_name="row wrap",
    )
    return hull(rx.cond(SettingsState.loaded, shown, skeleton_text(2)), title="Address", body=True)


def swatch(name: str, values: dict[str, str]) -> rx.Component:
    """A button and a link as they would look, painted with the values of one palette only."""
    props = {f"--{key}": values[key] for key in tokens.PREVIEWED}
    return rx.el.div(
        rx.el.span(name, class_name="small"),
        rx.el.span("Invite member", class_name="sample-button"),
        rx.el.span("All members", class_name="sample-link"),
        class_name="swatch",
        style=props,
        aria_hidden="true",
    )


def look() -> rx.Component:
    picker = rx.el.input(
        id="colour",
        name="colour",
        type="color",
        class_name="input",
        default_value=rx.cond(SettingsState.tried != "", SettingsState.tried, tokens.LIGHT["accent"]),
        on_change=SettingsState.try_colour.debounce(120),
        aria_describedby="colour-note",
        disabled=~may(actions.SETTINGS_WRITE),
    )
    standard = rx.cond(
        (SettingsState.colour != "") & may(actions.SETTINGS_WRITE),
        button(
            "Use the standard colour", kind="quiet", on_click=SettingsState.clear_colour, data_once="true"
        ),
    )
    form = rx.form(
        field("Brand colour", picker, id="colour"),
        rx.el.p(SettingsState.verdict, id="colour-note", class_name="small muted", role="status"),
        rx.el.div(
            swatch("Light", SettingsState.light), swatch("Dark", SettingsState.dark), class_name="swatches"
        ),
        rx.el.div(
            allowed(actions.SETTINGS_WRITE, button("Save colour", type="submit"), "Save colour"),
            standard,
            class_name="row wrap",
        ),
        on_submit=SettingsState.save_colour,
        class_name="stack",
        key=SettingsState.colour,
        data_testid="colour-form",
    )
    return hull(rx.cond(SettingsState.loaded, form, skeleton_text(4)), title="Colour", body=True)


def logo() -> rx.Component:
    """A file travels by a plain form to an HTTP route, which asks the same services as the pages."""
    chosen = rx.el.input(
        id="logo",
        name="logo",
        type="file",
        accept="image/png,image/jpeg,image/webp",
        required=True,
        class_name="input",
        aria_describedby="logo-note",
    )
    upload = NativeForm.create(
        field(
            "File",
            chosen,
            id="logo",
            hint=f"PNG, JPEG or WebP, {logos.LARGEST // 1_000_000} MB at most. It is shown square.",
        ),
        rx.el.div(button("Upload logo", type="submit"), class_name="row"),
        method="post",
        action=f"/t/{SettingsState.slug}/logo",
        enc_type="multipart/form-data",
        class_name="stack",
        data_testid="logo-form",
    )
    remove = rx.cond(
        Shell.picture != "",
        allowed(
            actions.SETTINGS_WRITE,
            button("Remove logo", on_click=SettingsState.remove_logo, data_once="true"),
            "Remove logo",
        ),
    )
    now = rx.el.div(
        avatar(Shell.letter, square=True, picture=Shell.picture),
        small(
            rx.cond(
                Shell.picture != "", "As it is shown now.", "No logo: the first letter stands in its place."
            ),
            class_name="grow",
        ),
        remove,
        class_name="row",
    )
    shown = rx.fragment(now, allowed(actions.SETTINGS_WRITE, upload, "Upload logo"))
    return hull(rx.cond(SettingsState.loaded, shown, skeleton_text()), title="Logo", body=True)


@rx.page(route="/t/[tenant]/settings", title="Settings · Bulkhead", on_load=SettingsState.load)
def settings() -> rx.Component:
    return page(
        head("Settings", said="Changes show at once, for everybody, and stand in the audit trail."),
        rx.el.div(organisation(), address(), class_name="split", data_even="true"),
        rx.el.div(look(), logo(), class_name="split", data_even="true"),
        current="Settings",
        load=SettingsState.load,
    )
