"""Forms that were opened before another person's change: refused once, with both versions."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.access.permissions import Permission as P  # noqa: N817  as in the table of roles
from shared.core.context import Ctx
from shared.core.errors import ChangedMeanwhile, FieldDifference
from shared.tenancy import logos, members, roles, tenants
from tests.conftest import Cast, Person

EDITOR = {P.MEMBER_READ, P.AUDIT_READ}


async def create_role(person: Person) -> roles.Role:
    async with person.ctx() as ctx:
        return await roles.create(ctx, "Editor", "Writes.", EDITOR)


async def get_role(person: Person, key: str) -> roles.Role:
    async with person.ctx() as ctx:
        role = await roles.get(ctx, key)
    assert role is not None
    return role


async def get_conflict(person: Person, act: Callable[[Ctx], Awaitable[object]]) -> ChangedMeanwhile:
    with pytest.raises(ChangedMeanwhile) as caught:
        async with person.ctx() as ctx:
            await act(ctx)
    return caught.value


async def test_stale_role_dialog_does_not_give_back_a_permission(cast: Cast) -> None:
    role = await create_role(cast.ann)
    async with cast.adam.ctx() as ctx:
        await roles.change(ctx, role.key, "Editor", "Writes.", {P.MEMBER_READ}, version=role.version)
    conflict = await get_conflict(
        cast.ann,
        lambda ctx: roles.change(ctx, role.key, "Editor", "Writes all.", EDITOR, version=role.version),
    )
    assert conflict.reason == "changed_meanwhile"
    assert conflict.detail.startswith("Adam changed this role at ")
    assert conflict.differences == (
        FieldDifference(label="Description", current="Writes.", submitted="Writes all."),
        FieldDifference(label="Permissions that differ", current="", submitted="audit:read"),
    )
    stored = await get_role(cast.ann, role.key)
    assert (stored.sentence, P.AUDIT_READ in stored.permissions) == ("Writes.", False)


async def test_role_is_changed_when_the_newer_version_was_shown(cast: Cast) -> None:
    role = await create_role(cast.ann)
    async with cast.adam.ctx() as ctx:
        await roles.change(ctx, role.key, "Editor", "Writes.", {P.MEMBER_READ}, version=role.version)

    def save(version: int) -> Callable[[Ctx], Awaitable[object]]:
        return lambda ctx: roles.change(ctx, role.key, "Editor", "Mine.", EDITOR, version=version)

    conflict = await get_conflict(cast.ann, save(role.version))
    async with cast.ann.ctx() as ctx:
        await save(conflict.version)(ctx)
    stored = await get_role(cast.ann, role.key)
    assert (stored.sentence, stored.version) == ("Mine.", conflict.version + 1)


async def test_stale_form_with_the_stored_values_is_accepted(cast: Cast) -> None:
    role = await create_role(cast.ann)
    for person in (cast.adam, cast.ann):  # both typed the same
        async with person.ctx() as ctx:
            await roles.change(ctx, role.key, "Writer", "Writes.", EDITOR, version=role.version)
    assert (await get_role(cast.ann, role.key)).version == role.version + 1


async def list_results(*changes: tuple[Person, Callable[[Ctx], Awaitable[object]]]) -> list[str]:
    """What became of changes that people save at the same time."""
    barrier = asyncio.Barrier(len(changes))

    async def save(person: Person, act: Callable[[Ctx], Awaitable[object]]) -> str:
        try:
            async with person.ctx() as ctx:
                await barrier.wait()
                await act(ctx)
        except ChangedMeanwhile as conflict:
            return conflict.reason
        return "saved"

    return sorted(await asyncio.gather(*(save(person, act) for person, act in changes)))


async def test_one_of_two_concurrent_role_changes_is_refused(cast: Cast) -> None:
    role = await create_role(cast.ann)

    def save(sentence: str) -> Callable[[Ctx], Awaitable[object]]:
        return lambda ctx: roles.change(ctx, role.key, "Editor", sentence, EDITOR, version=role.version)

    results = await list_results((cast.ann, save("Ann's")), (cast.adam, save("Adam's")))
    assert results == ["changed_meanwhile", "saved"]


async def get_member(cast: Cast, person: Person) -> members.Member:
    async with cast.ann.ctx() as ctx:
        (member,) = (await members.list_members(ctx, query=person.email)).rows
    return member


async def test_stale_role_choice_does_not_replace_a_newer_one(cast: Cast) -> None:
    member = await get_member(cast, cast.max)
    async with cast.adam.ctx() as ctx:
        await members.set_role(ctx, member.id, "viewer", version=member.version)
    conflict = await get_conflict(
        cast.ann, lambda ctx: members.set_role(ctx, member.id, "admin", version=member.version)
    )
    assert conflict.differences == (FieldDifference(label="Role", current="Viewer", submitted="Admin"),)
    assert (await get_member(cast, cast.max)).role == "viewer"


async def test_one_of_two_concurrent_role_choices_is_refused(cast: Cast) -> None:
    member = await get_member(cast, cast.max)

    def choose(role: str) -> Callable[[Ctx], Awaitable[object]]:
        return lambda ctx: members.set_role(ctx, member.id, role, version=member.version)

    results = await list_results((cast.ann, choose("viewer")), (cast.adam, choose("admin")))
    assert results == ["changed_meanwhile", "saved"]


async def get_settings(person: Person) -> tenants.TenantSettingsView:
    async with person.ctx() as ctx:
        return await tenants.get_settings(ctx)


STALE_SETTINGS: dict[str, Callable[[Ctx, str, tenants.TenantSettingsView], Awaitable[object]]] = {
    "Name": lambda ctx, text, view: tenants.rename(ctx, f"Acme {text}", version=view.version),
    "Address": lambda ctx, text, view: tenants.change_slug(ctx, f"{view.slug}-{text}", version=view.version),
    "Colour": lambda ctx, text, view: tenants.set_colour(
        ctx, f"#{len(text):06}", version=view.branding_version
    ),
    "Logo": lambda ctx, text, view: logos.save(
        ctx, logos.RedrawnLogo(text.encode()), version=view.branding_version
    ),
}


@pytest.mark.parametrize("label", STALE_SETTINGS)
async def test_one_of_two_concurrent_settings_is_refused(cast: Cast, label: str) -> None:
    view, save = await get_settings(cast.ann), STALE_SETTINGS[label]
    results = await list_results(
        (cast.ann, lambda ctx: save(ctx, "first", view)), (cast.adam, lambda ctx: save(ctx, "later-on", view))
    )
    assert results == ["changed_meanwhile", "saved"]


async def test_stale_removal_of_a_logo_keeps_the_newer_one(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        await logos.save(ctx, logos.RedrawnLogo(b"first"), version=None)
    view = await get_settings(cast.ann)
    async with cast.adam.ctx() as ctx:
        await logos.save(ctx, logos.RedrawnLogo(b"second"), version=view.branding_version)
    conflict = await get_conflict(cast.ann, lambda ctx: logos.remove(ctx, version=view.branding_version))
    assert [(difference.label, difference.submitted) for difference in conflict.differences] == [("Logo", "")]
    assert (await get_settings(cast.ann)).logo_digest
