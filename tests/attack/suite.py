"""All kinds of attempts. The apps are attacked one after the other, each in a copy of the same world.

Nothing else runs while `filters` does: it takes the policies of the database away.
"""

import time
from collections.abc import AsyncIterator, Collection
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from psycopg import sql

from shared.core import db
from shared.entitlements import rights_cache
from tests.attack import (
    apps,
    caches,
    canary,
    endpoints,
    envelopes,
    files,
    filters,
    handlers,
    hooks,
    impersonated,
    jobs,
    logins,
    malformed,
    people,
    routes,
    services,
    siblings,
    sockets,
    tables,
    world,
)
from tests.attack.report import Report
from tests.attack.world import World, close_connections
from tests.support import database

APP_NAMES = ("tenant", "admin")
PARTS = (
    "caches",
    "tables",
    "jobs",
    "logins",
    "services",
    "impersonated",
    "filters",
    "siblings",
    "inventory",
    "unmarked",
    "sockets",
    "routes",
    "endpoints",
    "files",
    "hooks",
    "handlers",
    "support",
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
        "endpoints",
        "files",
        "hooks",
        "handlers",
        "support",
        "people",
        "frames",
        "envelopes",
        "canary",
    ),
    "gate",
}


class LoadedApps:
    """Both apps at addresses of their own. Each is loaded once, when it is needed first, and forked for every use."""

    def __init__(self) -> None:
        self._holders = ExitStack()
        self.addresses = {name: self._holders.enter_context(apps.held_address()) for name in APP_NAMES}
        self._loaded = dict[str, apps.Loaded]()

    def load(self, name: str) -> apps.Loaded:
        if name not in self._loaded:
            self._loaded[name] = apps.Loaded(name, self.addresses)
        return self._loaded[name]

    def close(self) -> None:
        for loaded in self._loaded.values():
            loaded.close()
        self._holders.close()


@dataclass(frozen=True)
class Target:
    """A world in a database that nobody changes, and copies of it that are attacked."""

    database_name: str
    world: World
    loaded_apps: LoadedApps
    probes: dict[str, set[str]] = field(default_factory=dict)  # of each filter, once the product was attacked
    built_at: float = field(default_factory=time.monotonic)

    async def renew(self) -> None:
        """From here on this process, and the apps that it starts, use a new copy."""
        await db.dispose()
        close_connections()
        database.copy(self.database_name, self.copy_name)
        rights_cache.invalidate()
        self._keep_signed_in()

    def _keep_signed_in(self) -> None:
        """Unused sessions end after half an hour, and all removals take longer: in each copy they are as old as in the first."""
        age = timedelta(seconds=time.monotonic() - self.built_at)
        with self.world.superuser() as superuser:
            for table in ("user_session", "operator_session"):
                superuser.execute(
                    sql.SQL(
                        "update {} set idle_expires_at = idle_expires_at + %(age)s, expires_at = expires_at + %(age)s"
                    ).format(sql.Identifier(table)),
                    {"age": age},
                )

    @property
    def copy_name(self) -> str:
        return f"{self.database_name}_attacked"


@asynccontextmanager
async def built(database_name: str) -> AsyncIterator[Target]:
    """`database_name`: of the database in use, which gets the world. Its copies and the apps end with the context."""
    canary.add_own_secrets()
    target = Target(database_name, await world.build(), LoadedApps())
    try:
        yield target
    finally:
        target.loaded_apps.close()
        await db.dispose()
        close_connections()
        database.drop(target.copy_name)


async def run(
    target: Target,
    parts: Collection[str] = PARTS,
    holes: Collection[str] = (),
    app_names: Collection[str] = APP_NAMES,
    *,
    report: Report | None = None,
    renews: bool = True,
) -> Report:
    """`holes`: names in `holes.IN_APPS`. `app_names`: of the apps that are attacked. `report`: to add to.

    `renews`: False for parts without apps, which then attack the copy as it is.
    """
    report = Report() if report is None else report
    if renews and not IN_APPS.issuperset(parts):
        await target.renew()
    await _at_home(target.world, parts, report)
    if "filters" in parts:
        target.probes.update(await filters.attack(target.world, report))
    if "siblings" in parts:
        if renews:  # of what the parts before it have left
            await target.renew()
        await siblings.attack(target.world, report)
    if app_parts := IN_APPS & set(parts):
        await _of_apps(target, app_parts, holes, app_names, report)
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
    if "impersonated" in parts:
        await impersonated.attack(made, report)


async def _of_apps(
    target: Target, parts: set[str], holes: Collection[str], app_names: Collection[str], report: Report
) -> None:
    """One app after the other, each in a copy of its own."""
    addresses = target.loaded_apps.addresses
    loaded_apps = {name: target.loaded_apps.load(name) for name in APP_NAMES}  # both begin to load
    listings = {
        name: await apps.listing(name, addresses, *holes, loaded=loaded_apps[name]) for name in APP_NAMES
    }
    for name in app_names:
        if "inventory" in parts:
            routes.inventory(name, listings[name], report)
            handlers.Attack(apps.App(name, addresses), listings, target.world, report).inventory()
        if parts - {"inventory", "gate"}:
            await target.renew()
            async with apps.serving(name, addresses, *holes, loaded=loaded_apps[name]) as app:
                await _attack_served(app, listings, target.world, parts, report)
        if "gate" in parts:
            await target.renew()
            opened = {"service", *holes}
            async with apps.serving(name, addresses, *opened, loaded=loaded_apps[name]) as app:
                await handlers.Attack(app, listings, target.world, report).gate()


async def _attack_served(
    app: apps.App, listings: dict[str, Any], made: World, parts: set[str], report: Report
) -> None:
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
    if "support" in parts:
        await impersonated.attack_app(app, listings, made, report)
    if "people" in parts:
        await people.attack(app, made, report)
    if "frames" in parts:
        await malformed.attack(app, made, report)
    if "envelopes" in parts:
        await envelopes.attack(app, made, report)
    if "canary" in parts:
        await canary.attack(app, made, report)
    if "endpoints" in parts:  # last: their controls change members, whom the others need
        await endpoints.attack(app, made, report)
    if "files" in parts:
        await files.attack(app, made, report)
