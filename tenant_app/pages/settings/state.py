"""What the settings page shows and changes."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from shared.access import actions
from shared.access.actions import Action
from shared.core.context import Ctx
from shared.offboarding import deletions
from shared.offboarding.actions import DELETION_WRITE
from shared.tenancy import logos, tenants
from shared.test_mode import test_tenants
from shared.test_mode.actions import TEST_DATA_DELETE, TEST_MODE_TURN_ON
from shared.ui import theme
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ConfirmForm, ConfirmReasonForm
from shared.ui.forms import VersionedForm, parse_line
from tenant_app.shell import PageState

MAX_NAME_LENGTH = 100


class NameForm(VersionedForm):
    name: Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH)]


class SlugForm(VersionedForm):
    slug: Annotated[str, StringConstraints(min_length=1, max_length=60)]


class ColourForm(VersionedForm):
    colour: Annotated[str, StringConstraints(max_length=7)]


class SettingsState(DialogState, PageState):
    reads: ClassVar[Action] = actions.SETTINGS_READ
    opens_dialogs: ClassVar[Action] = actions.SETTINGS_WRITE
    dialogs: ClassVar[Sequence[str]] = ("slug", "delete_test_data", "delete_organisation")
    loaded: bool = False
    version: int = 1  # of name and slug, as the forms show them
    branding_version: int = 1  # of colour and logo, as the forms show them
    name: str = ""
    name_draft: str = ""  # the field's value, saved or not
    slug: str = ""
    test_slug: str = ""  # of the test tenant; "" while test mode is off
    deletion_at: str = ""  # while the deletion of the organisation is scheduled
    deletion_requester: str = ""
    deletion_reason: str = ""
    is_deletion_held: bool = False  # a subscription is still charged
    colour: str = ""
    colour_draft: str = ""  # the field's value, saved or not
    contrast_text: str = ""
    light_preview: dict[str, str] = {}
    dark_preview: dict[str, str] = {}

    @rx.event
    @needs(actions.SETTINGS_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(SettingsState.load, "settings") as ctx:
            settings_view, self.test_slug = await tenants.get_settings(ctx), await _read_test_slug(ctx)
            deletion = await _read_deletion(ctx)
        self._show_deletion(deletion)
        if not self.is_hydrated:  # the reader opened or reloaded the page
            self.loaded = False
            await self._clear_field_errors()
        self._show(settings_view)

    def _show(self, settings_view: tenants.TenantSettingsView) -> None:
        """Keeps what was typed and not saved, with the version that it was typed on."""
        is_typed = self.loaded and self.name_draft != self.name
        if not is_typed or settings_view.name == self.name:
            self.version = settings_view.version
        if not is_typed:
            self.name = self.name_draft = settings_view.name
        self.slug = settings_view.slug
        is_previewed = self.loaded and self.colour_draft != self.colour
        if not is_previewed or settings_view.colour == self.colour:
            self.branding_version = settings_view.branding_version
        if not is_previewed:
            self._preview_colour(settings_view.colour)
            self.colour = settings_view.colour
        self.loaded = True

    def _show_deletion(self, deletion: deletions.DeletionView | None) -> None:
        self.deletion_at = deletion.delete_at.isoformat() if deletion else ""
        self.deletion_requester = deletion.requested_by if deletion else ""
        self.deletion_reason = deletion.reason if deletion else ""
        self.is_deletion_held = deletion is not None and deletion.is_held

    def _preview_colour(self, colour: str) -> None:
        self.colour_draft = colour
        self.contrast_text = theme.describe_contrast(colour)
        self.light_preview, self.dark_preview = (
            theme.preview_palette(colour, theme.LIGHT),
            theme.preview_palette(colour, theme.DARK),
        )

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def keep_name(self, name: str) -> None:
        self.name_draft = parse_line(name, MAX_NAME_LENGTH)

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def rename_organisation(self, payload: dict[str, Any]) -> EventSpec:
        form = NameForm.read(payload)
        async with self._ctx() as ctx:
            await tenants.rename(ctx, form.name, version=form.row_version)
            settings_view = await tenants.get_settings(ctx)
        self.name = self.name_draft = form.name
        self.version = settings_view.version
        return rx.toast.success("Renamed.", description=f"Everyone now sees {form.name}.")

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def change_slug(self, payload: dict[str, Any]) -> EventSpec:
        """Changes the address. The page still has the old address, so it is reloaded."""
        form = SlugForm.read(payload)
        async with self._ctx() as ctx:
            slug = await tenants.change_slug(ctx, form.slug, version=form.row_version)
        self._close_dialog()
        return rx.call_script(f"window.location.assign({json.dumps(f'/t/{slug}/settings')})")

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def preview_colour(self, colour: str) -> None:
        if theme.is_colour(colour):
            self._preview_colour(colour.lower())

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def save_colour(self, payload: dict[str, Any]) -> list[Any]:
        form = ColourForm.read(payload)
        async with self._quiet_ctx() as ctx:
            await tenants.set_colour(ctx, form.colour, version=form.row_version)
        self._preview_colour(form.colour.lower())
        self.colour = self.colour_draft
        return [SettingsState.load, rx.toast.success("Saved the colour.", description=self.contrast_text)]

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def clear_colour(self) -> list[Any]:
        async with self._quiet_ctx() as ctx:
            await tenants.set_colour(ctx, "", version=self.branding_version)
        self._preview_colour("")
        self.colour = ""
        return [SettingsState.load, rx.toast.success("Restored the default colour.")]

    @rx.event
    @needs(actions.SETTINGS_WRITE)
    async def remove_logo(self) -> list[Any]:
        async with self._quiet_ctx() as ctx:
            await logos.remove(ctx, version=self.branding_version)
        success = rx.toast.success("Removed the logo.", description="We show the first letter instead.")
        return [SettingsState.load, success]

    @rx.event
    @needs(TEST_MODE_TURN_ON)
    async def turn_on_test_mode(self) -> EventSpec:
        async with self._ctx() as ctx:
            self.test_slug = (await test_tenants.turn_on(ctx)).slug
        return rx.toast.success("Turned on test mode.", description="Members enter it with their own roles.")

    @rx.event
    @needs(TEST_DATA_DELETE)
    async def delete_test_data(self, payload: dict[str, Any]) -> EventSpec:
        ConfirmForm.read(payload).check(self.test_slug)
        async with self._ctx() as ctx:
            await test_tenants.delete_data(ctx)
        self._close_dialog()
        return rx.toast.success("Deleted the test data.", description="API keys and the audit log are kept.")

    @rx.event
    @needs(DELETION_WRITE)
    async def delete_organisation(self, payload: dict[str, Any]) -> EventSpec:
        form = ConfirmReasonForm.read(payload)
        async with self._ctx() as ctx:
            deletion = await deletions.schedule(ctx, form.reason, form.confirm)
        self._show_deletion(deletion)
        self._close_dialog()
        return rx.toast.success("Scheduled the deletion.", description="Every owner gets an email.")

    @rx.event
    @needs(DELETION_WRITE)
    async def cancel_deletion(self) -> EventSpec:
        async with self._ctx() as ctx:
            await deletions.cancel(ctx)
        self._show_deletion(None)
        return rx.toast.success("Cancelled the deletion.", description="Everything stays as it is.")


async def _read_deletion(ctx: Ctx) -> deletions.DeletionView | None:
    return None if ctx.is_test else await deletions.get(ctx)


async def _read_test_slug(ctx: Ctx) -> str:
    return (await test_tenants.get(ctx)).slug
