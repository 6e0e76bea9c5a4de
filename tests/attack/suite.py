"""All kinds of attempts. Each of the apps is attacked in a world of its own, both at the same time.

Nothing else runs while `filters` does: it takes the policies of the database away.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from tests.attack import apps, caches, filters, handlers, jobs, routes, services, sockets, tables, world
from tests.attack.report import Report
from tests.attack.world import World

PARTS = ("caches", "tables", "jobs", "services", "filters", "sockets", "routes", "handlers", "gate")
IN_APPS = {"sockets", "routes", "handlers", "gate"}


@dataclass(frozen=True)
class Worlds:
    tenant: World
    admin: World


async def build() -> Worlds:
    return Worlds(await world.build(), await world.build())


async def run(worlds: Worlds, parts: Collection[str] = PARTS, holes: Collection[str] = ()) -> Report:
    """`holes`: names in `holes.IN_APPS`, opened in both apps."""
    report = Report()
    await _at_home(worlds.tenant, parts, report)
    if "filters" in parts:
        await filters.attack(worlds.tenant, report)
    if IN_APPS & set(parts):
        await _of_apps(worlds, set(parts) & IN_APPS, holes, report)
    return report


async def _at_home(made: World, parts: Collection[str], report: Report) -> None:
    """What needs no app."""
    if "caches" in parts:
        caches.attack(made, report)
    if "tables" in parts:
        tables.attack(made, report)
    if "jobs" in parts:
        await jobs.attack(made, report)
    if "services" in parts:
        await services.attack(made, report)


async def _of_apps(worlds: Worlds, parts: set[str], holes: Collection[str], report: Report) -> None:
    addresses = apps.free_addresses()
    tenant, admin = await asyncio.gather(*(apps.listing(which, addresses, *holes) for which in ("tenant", "admin")))
    listings = {"tenant": tenant, "admin": admin}

    async def one(which: str, made: World) -> None:
        if parts - {"gate"}:
            async with apps.serving(which, addresses, *holes) as app:
                if "sockets" in parts:
                    await sockets.attack(app, made, report)
                if "routes" in parts:
                    await routes.attack(app, listings, made, report)
                if "handlers" in parts:
                    await handlers.Attack(app, listings, made, report).run()
        if "gate" in parts:
            async with apps.serving(which, addresses, *{"service", *holes}) as app:
                await handlers.Attack(app, listings, made, report).gate()

    await asyncio.gather(one("tenant", worlds.tenant), one("admin", worlds.admin))
