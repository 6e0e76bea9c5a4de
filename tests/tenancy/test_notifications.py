"""Notifications: stored once, for one person in one tenant."""

import pytest

from shared.core.errors import NotFound
from shared.tenancy import notifications
from tests.conftest import Cast, Person
from tests.support import factories


async def notify_person(cast: Cast, person: Person, dedupe: str, by: Person | None = None) -> bool:
    async with (by or cast.ann).ctx() as ctx:
        return bool(await notifications.add(ctx, person.user_id, "news", "Title", "Body", dedupe=dedupe))


async def list_titles(person: Person, slug: str = "") -> tuple[list[str], int]:
    async with person.ctx(slug) as ctx:
        listed = await notifications.list_my_notifications(ctx)
        return [notification.dedupe for notification in listed], await notifications.count_unread(ctx)


async def test_notifications_are_listed_newest_first_and_stored_once_per_key(cast: Cast) -> None:
    assert [await notify_person(cast, cast.max, key) for key in ("one", "two", "one")] == [True, True, False]
    assert await list_titles(cast.max) == (["two", "one"], 2)


async def test_notifications_are_private_to_one_member(cast: Cast) -> None:
    await notify_person(cast, cast.max, "one")
    assert await list_titles(cast.ann) == ([], 0)
    async with cast.max.ctx() as ctx:
        (mine,) = await notifications.list_my_notifications(ctx)
    for stranger in (cast.ann, cast.adam, cast.gil):
        with pytest.raises(NotFound, match="no such notification"):
            async with stranger.ctx() as ctx:
                await notifications.mark_read(ctx, mine.id)
    assert await list_titles(cast.max) == (["one"], 1)


async def test_notifications_of_a_person_stay_in_their_tenant(cast: Cast) -> None:
    await factories.join_tenant(cast.gil.account, cast.gil.slug, cast.ann.account, "viewer")
    await notify_person(cast, cast.ann, "same")
    assert await notify_person(cast, cast.ann, "same", by=cast.gil)  # the key is the tenant's own
    assert await list_titles(cast.ann, cast.gil.slug) == (["same"], 1)
    async with cast.ann.ctx() as ctx:
        (mine,) = await notifications.list_my_notifications(ctx)
        await notifications.mark_read(ctx, mine.id)
    assert await list_titles(cast.ann) == (["same"], 0)
    assert await list_titles(cast.ann, cast.gil.slug) == (["same"], 1)


async def test_notification_marked_read_twice_keeps_its_first_time(cast: Cast) -> None:
    await notify_person(cast, cast.max, "one")
    times = []
    for _ in range(2):
        async with cast.max.ctx() as ctx:
            (mine,) = await notifications.list_my_notifications(ctx)
            await notifications.mark_read(ctx, mine.id)
        async with cast.max.ctx() as ctx:
            times.append((await notifications.list_my_notifications(ctx))[0].read_at)
    assert times[0] == times[1] is not None


async def test_notification_for_a_stranger_is_refused_by_the_database(cast: Cast) -> None:
    """The foreign key includes the tenant, so a person of another tenant does not exist here."""
    with pytest.raises(Exception, match="foreign key"):
        await notify_person(cast, cast.gil, "one")
