"""Signed links of every kind of file that a manifest declares: with other sessions and keys, edited, expired, revoked.

A bad signature and an expired link are 403, a good link without a right to it is 404.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import httpx

from shared.access.file_kinds import FILE_KINDS
from shared.access.roles import ROLES
from shared.api_keys import keys
from shared.core.db import now
from shared.files import links
from shared.files.links import FileLink
from shared.tenancy import entry
from tests.attack.apps import App
from tests.attack.report import Report
from tests.attack.world import World

KIND = "files"
JSON = {"accept": "application/json"}


async def attack(app: App, world: World, report: Report) -> None:
    if app.name != "tenant":
        return
    own_key, other_key = await _create_key(world), await _create_key(world)
    before = world.prints()
    runs = {kind: _Run(app, world, report, kind, own_key, other_key) for kind in FILE_KINDS}
    for kind, run in runs.items():
        report.covers(KIND, kind)
        if not run.file_ids:
            report.unknown(KIND, f"{kind}: the world has no file of it")
            continue
        await run.attack_link()
        await run.attack_key()
    report.attempt(KIND, "all of these changed nothing", refused=world.prints() == before)
    for run in runs.values():
        if run.file_ids:
            await run.attack_former_member()


async def _create_key(world: World) -> keys.CreatedKey:
    async with entry.enter_tenant(world.ann.cookie, world.acme_slug) as ctx:
        return await keys.create(ctx, keys.KeyRequest(name="Attack", scopes=keys.list_scopes(ctx)))


class _Run:
    """The links to Ann's file of one kind."""

    def __init__(
        self,
        app: App,
        world: World,
        report: Report,
        kind: str,
        own_key: keys.CreatedKey,
        other_key: keys.CreatedKey,
    ) -> None:
        self.app, self.world, self.report, self.kind = app, world, report, kind
        self.own_key, self.other_key = own_key, other_key
        stored = world.rows("stored_file", "tenant_id", world.acme)
        ready = [row["id"] for row in stored if row["kind"] == kind and row["state"] == "ready"]
        self.file_ids = sorted(ready)  # the last one may be deleted by then
        foreign = world.rows("stored_file", "tenant_id", world.globex)
        self.foreign_ids = [row["id"] for row in foreign if row["kind"] == kind]

    @property
    def link(self) -> FileLink:
        return FileLink(
            tenant_id=self.world.acme,
            file_id=self.file_ids[0],
            purpose=FILE_KINDS[self.kind].purpose.value,
            holder_id=self.world.ann.user.id,
            expires_at=now() + timedelta(hours=1),
        )

    async def attack_link(self) -> None:
        world, link = self.world, self.link
        path = links.build_path(link)
        answer = await self._open(path, world.ann.cookie)
        self.report.control(KIND, f"{self.kind}: its owner", works=answer.status_code == 200)
        people = {"Gil of Globex": world.gil, "Bea of both": world.bea, "Carl of none": world.carl}
        for name, person in people.items():
            await self._refused(f"{name} with Ann's link", path, person.cookie, 404)
        await self._refused("nobody with Ann's link", path, "", 401)
        for name, edited in self._edited(path):
            await self._refused(f"edited {name}", edited, world.ann.cookie, 403)
        expired = links.build_path(replace(link, expires_at=now() - timedelta(minutes=1)))
        await self._refused("expired", expired, world.ann.cookie, 403)
        others = {
            "another purpose": replace(link, purpose="invitation"),
            "another tenant": replace(link, tenant_id=world.globex),
            "a file of another tenant": replace(link, file_id=self.foreign_ids[0]),
            "a colleague": replace(link, holder_id=world.bea.user.id),
            "nobody": replace(link, holder_id=""),
        }
        for name, other in others.items():
            await self._refused(f"signed for {name}", links.build_path(other), world.ann.cookie, 404)
        foreign = replace(link, holder_id=world.gil.user.id)
        await self._refused("signed for Gil", links.build_path(foreign), world.gil.cookie, 404)

    async def attack_key(self) -> None:
        link = replace(self.link, holder_id=self.own_key.key.id)
        path = links.build_path(link)
        answer = await self._open(path, key=self.own_key.text)
        self.report.control(KIND, f"{self.kind}: its key", works=answer.status_code == 200)
        await self._refused("another key of Ann", path, "", 404, key=self.other_key.text)
        await self._refused("Ann's session with the link of her key", path, self.world.ann.cookie, 404)
        await self._refused(
            "the key with Ann's link", links.build_path(self.link), "", 404, key=self.own_key.text
        )
        with self._changed("api_key", "revoked_at = now()", self.own_key.key.id, "revoked_at = null"):
            await self._refused("a revoked key", path, "", 404, 401, key=self.own_key.text)

    async def attack_former_member(self) -> None:
        """Ann's own link, while she is no member, and while her role may not read it."""
        member_id = next(
            row["id"]
            for row in self.world.rows("membership", "tenant_id", self.world.acme)
            if row["user_id"] == self.world.ann.user.id
        )
        path = links.build_path(self.link)
        ended = "state = 'removed', ended_at = now()"
        with self._changed("membership", ended, member_id, "state = 'active', ended_at = null"):
            await self._refused("a removed member", path, self.world.ann.cookie, 404)
        permission = FILE_KINDS[self.kind].action.permission
        weak_roles = [key for key, role in ROLES.items() if permission not in role.permissions]
        for role in weak_roles[:1]:  # none where every role may read it
            with self._changed("membership", f"role = '{role}'", member_id, "role = 'owner'"):
                await self._refused("a role without the right", path, self.world.ann.cookie, 404)

    def _edited(self, path: str) -> Iterator[tuple[str, str]]:
        parts = path.removeprefix(links.PATH_PREFIX).split(".")
        values = {
            0: self.world.globex,
            1: self.foreign_ids[0],
            2: "invitation",
            3: self.world.bea.user.id,
            4: str(int(parts[4]) + 60),
            5: "A" * len(parts[5]),
        }
        for place, value in values.items():
            edited = [*parts[:place], value, *parts[place + 1 :]]
            yield f"part {place}", links.PATH_PREFIX + ".".join(edited)

    @contextmanager
    def _changed(self, table: str, change: str, row_id: str, back: str) -> Iterator[None]:
        """A row of Acme is otherwise for a while."""
        statement = "update {} set {} where tenant_id = %s and id = %s"
        with self.world.superuser() as superuser:
            superuser.execute(statement.format(table, change).encode(), [self.world.acme, row_id])
            try:
                yield
            finally:
                superuser.execute(statement.format(table, back).encode(), [self.world.acme, row_id])

    async def _refused(self, name: str, path: str, cookie: str, *statuses: int, key: str = "") -> None:
        answer = await self._open(path, cookie, key=key)
        is_leak = any(word in answer.text for word in self.world.words(self.world.acme))
        refused = answer.status_code in statuses and not is_leak
        self.report.attempt(KIND, f"{self.kind}: {name}: {answer.status_code}", refused=refused)

    async def _open(self, path: str, cookie: str = "", *, key: str = "") -> httpx.Response:
        headers = JSON | ({"authorization": f"Bearer {key}"} if key else {})
        return await self.app.ask("GET", path, cookie, origin=None, headers=headers)
