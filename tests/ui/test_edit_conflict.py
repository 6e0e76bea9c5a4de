"""Pages whose object another person changed after the form had been opened."""

from typing import Any

from shared.access.permissions import Permission as P  # noqa: N817  as in the table of roles
from shared.tenancy import roles, tenants
from shared.ui.edit_conflict import DifferenceRow, EditConflict
from tenant_app.pages.roles.state import RolesState
from tenant_app.pages.settings.state import SettingsState
from tests.conftest import Cast


async def call(page: Any, name: str, *arguments: Any) -> Any:
    return await type(page).event_handlers[name].fn(page, *arguments)


async def open_changed_role(cast: Cast) -> tuple[Any, str, dict[str, str]]:
    """Ann's dialog, which was open when Adam took a permission away; the role; what Ann submits."""
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Editor", "Writes.", {P.MEMBER_READ, P.AUDIT_READ})
    page = cast.ann.opens(RolesState, path="roles")
    await call(page, "load")
    await call(page, "open_dialog", "change", role.key)
    async with cast.adam.ctx() as ctx:
        await roles.change(ctx, role.key, "Editor", "Writes.", {P.MEMBER_READ}, version=role.version)
    payload = {"name": "Editor", "sentence": "Mine.", "may_member_read": "on", "may_audit_read": "on"}
    return page, role.key, payload | {"row_version": str(page.subject.version)}


async def get_permissions(cast: Cast, role: str) -> frozenset[str]:
    async with cast.ann.ctx() as ctx:
        return await roles.get_permissions(ctx, role) or frozenset()


async def test_stale_role_dialog_stays_open_and_shows_both_versions(cast: Cast) -> None:
    page, role, payload = await open_changed_role(cast)
    await call(page, "load")  # as the notice of Adam's change asks for
    assert await call(page, "change_role", payload) is None
    conflict = await page.get_state(EditConflict)
    assert (page.dialog, conflict.handler) == ("change", "change_role")
    assert conflict.text.startswith("Adam changed this role at ")
    assert conflict.differences == [
        DifferenceRow(label="Description", current="Writes.", submitted="Mine."),
        DifferenceRow(label="Permissions that differ", current="–", submitted="audit:read"),
    ]
    assert P.AUDIT_READ not in await get_permissions(cast, role)


async def test_saving_again_replaces_the_version_that_was_shown(cast: Cast) -> None:
    page, role, payload = await open_changed_role(cast)
    await call(page, "change_role", payload)
    assert (
        await call(page, "change_role", payload) is None
    )  # a double click, sent before the notice was shown
    conflict = await page.get_state(EditConflict)
    assert P.AUDIT_READ not in await get_permissions(cast, role)
    assert await call(page, "change_role", payload | {"row_version": str(conflict.version)}) is not None
    assert (page.dialog, conflict.handler) == ("", "")
    assert P.AUDIT_READ in await get_permissions(cast, role)


async def test_dialog_that_is_opened_again_has_the_newer_version(cast: Cast) -> None:
    page, role, payload = await open_changed_role(cast)
    await call(page, "change_role", payload)
    await call(page, "close_dialog", False)
    assert (await page.get_state(EditConflict)).handler == ""
    await call(page, "open_dialog", "change", role)
    checked = {box.field for group in page.groups for box in group.checkboxes if box.is_checked}
    assert (page.subject.version, checked) == (2, {"may_member_read"})


async def open_renamed_settings(cast: Cast) -> Any:
    """Ann has typed a name when Adam renames the organisation and her page is told."""
    page: Any = cast.ann.opens(SettingsState, path="settings")
    await call(page, "load")
    page._get_root_state().is_hydrated = True  # as it is once the page has been opened
    await call(page, "keep_name", "Acme Two")
    async with cast.adam.ctx() as ctx:
        await tenants.rename(ctx, "Acme One", version=page.version)
    await call(page, "load")
    return page


async def test_typed_name_is_kept_and_not_saved_over_a_newer_one(cast: Cast) -> None:
    page = await open_renamed_settings(cast)
    assert (page.name_draft, page.version) == ("Acme Two", 1)
    payload = {"name": "Acme Two", "row_version": "1"}
    assert await call(page, "rename_organisation", payload) is None
    conflict = await page.get_state(EditConflict)
    assert conflict.differences == [DifferenceRow(label="Name", current="Acme One", submitted="Acme Two")]
    assert page.name_draft == "Acme Two"
    assert await call(page, "rename_organisation", payload | {"row_version": "2"}) is not None
    assert (page.name, page.version, conflict.handler) == ("Acme Two", 3, "")


async def test_reloaded_settings_show_the_newer_name(cast: Cast) -> None:
    page = await open_renamed_settings(cast)
    await call(page, "rename_organisation", {"name": "Acme Two", "row_version": "1"})
    page._get_root_state().is_hydrated = False  # as Reflex does before the load of an opened page
    await call(page, "load")
    assert (page.name, page.version) == ("Acme One", 2)
    assert (await page.get_state(EditConflict)).handler == ""


async def test_previewed_colour_is_kept_and_not_saved_over_a_newer_one(cast: Cast) -> None:
    page: Any = cast.ann.opens(SettingsState, path="settings")
    await call(page, "load")
    page._get_root_state().is_hydrated = True
    await call(page, "preview_colour", "#112233")
    async with cast.adam.ctx() as ctx:
        await tenants.set_colour(ctx, "#445566", version=page.branding_version)
    await call(page, "load")
    assert page.colour_draft == "#112233"
    assert await call(page, "save_colour", {"colour": "#112233", "row_version": "1"}) is None
    conflict = await page.get_state(EditConflict)
    assert conflict.differences == [DifferenceRow(label="Colour", current="#445566", submitted="#112233")]
