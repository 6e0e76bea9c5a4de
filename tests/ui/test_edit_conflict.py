"""Pages whose object another person changed after the form had been opened."""

from typing import Any

from shared.access.permissions import Permission as P  # noqa: N817  as in the table of roles
from shared.tenancy import roles
from shared.ui.edit_conflict import DifferenceRow, EditConflict
from tenant_app.pages.roles.state import RolesState
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
