"""The onboarding checklist: items are completed once, by hand or automatically."""

import pytest

from shared.core.errors import NotFound, Refused
from shared.tenancy import audit_reader, invitations, onboarding_checklist
from tests.conftest import Cast, Person


async def list_done_keys(person: Person) -> set[str]:
    async with person.ctx() as ctx:
        return {item.key for item in await onboarding_checklist.list_items(ctx) if item.done_at}


async def add_checklists(cast: Cast) -> None:
    for person in (cast.ann, cast.gil):
        async with person.ctx() as ctx:
            await onboarding_checklist.add_items(ctx)
            await onboarding_checklist.add_items(ctx)  # a step of the setting-up may run twice


async def test_checklist_lists_every_item_once_in_order(cast: Cast) -> None:
    await add_checklists(cast)
    async with cast.max.ctx() as ctx:
        assert [item.key for item in await onboarding_checklist.list_items(ctx)] == list(
            onboarding_checklist.ITEM_KEYS
        )


async def test_completing_an_item_twice_is_audited_once(cast: Cast) -> None:
    await add_checklists(cast)
    async with cast.adam.ctx() as ctx:
        await onboarding_checklist.complete_item(ctx, "review_roles")
    async with cast.ann.ctx() as ctx:
        await onboarding_checklist.complete_item(ctx, "review_roles")
        actions = [event.action for event in (await audit_reader.list_events(ctx)).rows]
        assert actions.count("checklist.completed") == 1
        (item,) = [item for item in await onboarding_checklist.list_items(ctx) if item.done_at]
        assert item.done_by == "Adam"
    assert await list_done_keys(cast.gil) == set()


async def test_invite_completes_its_checklist_item(cast: Cast) -> None:
    await add_checklists(cast)
    async with cast.adam.ctx() as ctx:
        await invitations.invite(ctx, "zoe@acme.test", "member")
    assert await list_done_keys(cast.ann) == {"invite_members"}
    assert await list_done_keys(cast.gil) == set()


async def test_completing_is_refused_for_an_unknown_item_and_a_member(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        with pytest.raises(NotFound):
            await onboarding_checklist.complete_item(ctx, "\x00")
    async with cast.max.ctx() as ctx:
        with pytest.raises(Refused, match="missing_permission"):
            await onboarding_checklist.complete_item(ctx, "brand")
