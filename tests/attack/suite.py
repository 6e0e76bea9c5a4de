"""All kinds of attempts. Each of the apps is attacked in a world of its own, both at the same time.

Nothing else runs while `filters` does: it takes the policies of the database away.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tests.attack import (
    apps,
    caches,
    canary,
    envelopes,
    filters,
    handlers,
    hooks,
    jobs,
    logins,
    malformed,
    people,
    routes,
    services,
    sockets,
    tables,
    world,
)
from tests.attack.report import Report
from tests.attack.world import World

PARTS = (
    "caches",
    "tables",
    "jobs",
    "logins",
    "services",
    "filters",
    "inventory",
    "unmarked",
    "sockets",
    "routes",
    "hooks",
    "handlers",
    "people",
    "frames",
    "envelopes",
    "canary",
    "gate",
)
IN_APPS = {
    *(
        "inventory",
        "unmarked",
        "sockets",
        "routes",
        "hooks",
        "handlers",
        "people",
        "frames",
        "envelopes",
        "canary",
    ),
    "gate",
}


@dataclass(frozen=True)
class Worlds:
    tenant: World
    admin: World


async def build() -> Worlds:
    canary.add_own_secrets()
    return Worlds(await world.build(), await world.build())


async def run(
    worlds: Worlds,
    parts: Collection[str] = PARTS,
    holes: Collection[str] = (),
    app_names: Collection[str] = ("tenant", "admin"),
    *,
    report: Report | None = None,
) -> Report:
    """`holes`: names in `holes.IN_APPS`. `app_names`: of the apps that are attacked. `report`: to add to."""
    report = Report() if report is None else report
    await _at_home(worlds.tenant, parts, report)
    if "filters" in parts:
        await filters.attack(worlds.tenant, report)
    if IN_APPS & set(parts):
        await _of_apps(worlds, set(parts) & IN_APPS, holes, app_names, report)
    return report


async def _at_home(made: World, parts: Collection[str], report: Report) -> None:
    """What needs no app."""
    if "caches" in parts:
        caches.attack(made, report)
    if "tables" in parts:
        tables.attack(made, report)
    if "jobs" in parts:
        await jobs.attack(made, report)
    if "logins" in parts:
        await logins.attack(made, report)
    if "services" in parts:
        await services.attack(made, report)


async def _of_apps(
    worlds: Worlds, parts: set[str], holes: Collection[str], app_names: Collection[str], report: Report
) -> None:
    addresses = apps.free_addresses()
    is_served = bool(parts - {"inventory", "gate"})
    loop = asyncio.get_running_loop()
    listed = {name: loop.create_future() for name in ("tenant", "admin")}

    async def list_app(name: str) -> None:
        listed[name].set_result(await apps.listing(name, addresses, *holes))

    async def attack_app(name: str, made: World) -> None:
        if is_served:
            async with apps.serving(name, addresses, *holes) as app:
                listed[name].set_result(app.listing)
                await attack_served(app, {other: await listed[other] for other in listed}, made)
        listings = {other: await listed[other] for other in listed}
        if "inventory" in parts:
            routes.inventory(name, listings[name], report)
            handlers.Attack(apps.App(name, addresses), listings, made, report).inventory()
        if "gate" in parts:
            async with apps.serving(name, addresses, *{"service", *holes}) as app:
                await handlers.Attack(app, listings, made, report).gate()

    async def attack_served(app: apps.App, listings: dict[str, Any], made: World) -> None:
        if "unmarked" in parts:
            await handlers.Attack(app, listings, made, report).unmarked_calls()
        if "sockets" in parts:
            await sockets.attack(app, made, report)
        if "routes" in parts:
            await routes.attack(app, listings, made, report)
        if "hooks" in parts:
            await hooks.attack(app, made, report)
        if "handlers" in parts:
            await handlers.Attack(app, listings, made, report).run()
        if "people" in parts:
            await people.attack(app, made, report)
        if "frames" in parts:
            await malformed.attack(app, made, report)
        if "envelopes" in parts:
            await envelopes.attack(app, made, report)
        if "canary" in parts:
            await canary.attack(app, made, report)

    made = {"tenant": worlds.tenant, "admin": worlds.admin}
    async with asyncio.TaskGroup() as group:
        for name in listed:
            if name in app_names:
                group.create_task(attack_app(name, made[name]))
            if name not in app_names or not is_served:
                group.create_task(list_app(name))
