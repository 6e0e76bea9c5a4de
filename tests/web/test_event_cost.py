"""How many people one core serves who click every five seconds, by the processor time of an event with its database.

Half of the core stays free. An event authenticates, reads a page of members and draws it.
"""

from collections.abc import Iterable
from contextlib import suppress

import psutil

from tests.attack.apps import App, Loaded, Socket, serving
from tests.attack.frames import short
from tests.conftest import Cast, Person
from tests.support import database
from tests.support.sizes import is_full, size

SECONDS_BETWEEN_EVENTS, SHARE_OF_CORE = 5, 0.5
GOAL = 240  # people
WARM_UP = 20  # events
QUERIES = ("a", "m", "an", "")


def list_backends() -> list[psutil.Process]:
    """Of the database that the app uses."""
    rows = database.connect().execute(
        "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    return [psutil.Process(row[0]) for row in rows]


def sum_cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            usage = process.cpu_times()
            total += usage.user + usage.system
    return total


async def search(app: App, tab: Socket, person: Person, count: int) -> None:
    handler = next(name for name in app.listing["handlers"] if short(name) == "members_state.search_members")
    for number in range(count):
        query = QUERIES[number % len(QUERIES)]
        answer = await tab.send(handler, {"query": query}, f"/t/{person.slug}/members")
        assert "Something went wrong." not in answer


async def test_one_core_serves_many_active_people(cast: Cast, tenant_app: Loaded) -> None:
    """On an idle machine; `make test` only measures."""
    count = size("web.costed_events")
    own_children = set(psutil.Process().children(recursive=True))
    async with (
        serving(
            "tenant", tenant_app.addresses, loaded=tenant_app, BULKHEAD_EVENTS_PER_SECOND="1000000"
        ) as app,
        app.socket(cast.ann.cookie) as tab,
    ):
        await search(app, tab, cast.ann, WARM_UP)
        apps = set(psutil.Process().children(recursive=True)) - own_children
        before = sum_cpu_seconds(apps), sum_cpu_seconds(list_backends())
        await search(app, tab, cast.ann, count)
        after = sum_cpu_seconds(apps), sum_cpu_seconds(list_backends())
    of_app, of_database = ((late - early) / count for early, late in zip(before, after, strict=True))
    people = SECONDS_BETWEEN_EVENTS * SHARE_OF_CORE / max(of_app + of_database, 1e-9)
    print(
        f"an event: {of_app * 1000:.1f} ms, its database {of_database * 1000:.1f} ms; {people:.0f} people a core"
    )
    assert of_app > 0
    if is_full():
        assert people >= GOAL
