"""Every event handler of both apps, called over a real socket by those who may not.

What comes back must hold no word of a tenant that is not the caller's, and must say that it was refused; the
fingerprints of both tenants must stay. Ids are other tenants' rows, and then must get the answer of ids that do not
exist. `attack` calls the product as it is; `gate` calls an app whose services ask for no permission, because two
walls behind one another hide that one is gone.
"""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

from websockets.exceptions import InvalidHandshake

from shared.access.roles import OPERATOR_ROLES, OWNER, ROLES
from shared.core import crypto
from shared.core.ids import new_id
from shared.tenancy import entry
from tests.attack.apps import RELOAD, App, Socket
from tests.attack.frames import bare, heard, short
from tests.attack.payloads import EXTRA, HONEST, WRONG, Handler, filled, inputs, prefix_of
from tests.attack.report import Report
from tests.attack.sockets import fresh_session, strangers
from tests.attack.world import CLAIMED, World
from tests.support import factories

KIND, GATE = "handlers", "gate"
FORBIDDEN = "You may not "
REFUSALS = (entry.NOT_FOUND_MESSAGE, FORBIDDEN, RELOAD)
HYDRATE = "reflex___state____state.hydrate"  # of Reflex: sends all that a tab holds
UNMARKED = "This action is not available on this page."
BUG = "Something went wrong."
OF_OPERATORS = ("operator_id", "plan_id", "version_id")  # rows of no tenant
TABS = ("members", "audit", "tenants", "operators")


class Attack:
    def __init__(self, app: App, listings: dict[str, Any], world: World, report: Report) -> None:
        """`listings`: of both apps, as `apps.listing` found them."""
        self.app, self.world, self.report = app, world, report
        self.handlers: dict[str, Handler] = listings[app.which]["handlers"]
        self.pages: dict[str, str] = listings[app.which]["pages"]
        self.unmarked: list[str] = listings[app.which]["unmarked"]
        (other,) = listings.keys() - {app.which}
        self.others: dict[str, Handler] = listings[other]["handlers"]
        self.own = world.ann.cookie if app.which == "tenant" else world.olga

    # ── the product as it is ─────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        await self.controls()
        leaving = await self._somebody()
        before = self.world.prints()
        await asyncio.gather(
            self.without_session(),
            self.after_the_session(leaving),
            self.of_the_other_app(),
            self.foreign_ids(),
            *self.outsiders(),
            *self.lower_roles(KIND),
        )
        self._unchanged("these calls", before)
        await asyncio.gather(self.between_two_tenants(), self.without_reason())
        await self.inherited_tabs()
        before = self.world.prints()
        await asyncio.gather(self.wrong_types(), self.extra_fields())
        self._unchanged("what could not be read", before)
        await self.foreign_words()

    def inventory(self) -> None:
        for name, one in self.handlers.items():
            self.report.covers(KIND, f"{self.app.which} {short(name)}")
            refused = name not in self.unmarked
            self.report.attempt(
                KIND, f"{self.app.which} {short(name)} without saying what it needs", refused=refused
            )
            for argument in inputs(one):
                if argument not in (*HONEST, *CLAIMED, *OF_OPERATORS):
                    self.report.unknown(KIND, f"{self.app.which} {short(name)}: argument {argument}")

    async def unmarked_calls(self) -> None:
        """Found is not enough: until somebody says what it needs, it is refused to the owner too."""
        async with self.app.socket(self.own) as socket:
            for name in self.unmarked:
                said = await self._call(socket, name, self.handlers[name], self.world.acme)
                self._judge(
                    KIND, f"{short(name)} runs, although nobody said what it needs", said, must=UNMARKED
                )

    async def controls(self) -> None:
        """The owner's own call is not refused; what only reads shows their own."""
        own = self.world.words(self.world.acme)
        async with self.app.socket(self.own) as socket:
            for name, one in self.handlers.items():
                said = await self._call(socket, name, one, self.world.acme)
                works = not any(word in said for word in REFUSALS)
                if one["page"] and self.app.which == "tenant":
                    works = works and any(word in said for word in own)
                self.report.control(
                    KIND, f"{self.app.which} {short(name)} by its owner: {said[-200:]}", works=works
                )

    async def without_session(self) -> None:
        """No socket, so no call: neither with an event in the first packet."""
        for name in self.handlers:
            for who, cookie in list(strangers(self.app, self.world).items())[:3]:
                try:
                    async with self.app.socket(cookie) as socket:
                        said = await self._call(socket, name, self.handlers[name], self.world.acme)
                except InvalidHandshake:
                    said = RELOAD
                self._judge(KIND, f"{short(name)} with {who}", said)

    async def after_the_session(self, cookie: str) -> None:
        """The socket stays open when the row goes; the next event finds out."""
        async with self.app.socket(cookie) as socket:
            await socket.send(next(iter(self.handlers)), {}, self._path(self.world.acme))
            self._forget_session(cookie)
            for name, one in self.handlers.items():
                said = await self._call(socket, name, one, self.world.acme)
                self._judge(KIND, f"{short(name)} after the session", said, must=RELOAD)

    async def _somebody(self) -> str:
        """With every right, and nobody else needs this session."""
        if self.app.which == "admin":
            return await factories.create_operator("Rae")
        rae = await factories.create_account("Rae")
        await factories.join_tenant(self.world.ann, self.world.acme_slug, rae, "admin")
        return rae.cookie

    def _forget_session(self, cookie: str) -> None:
        """Without a word, or the socket would be closed."""
        table = "user_session" if self.app.which == "tenant" else "operator_session"
        with self.world.eye() as eye:
            gone = eye.execute(
                f"delete from {table} where token_hash = %s", [crypto.hash_token(cookie.partition("=")[2])]
            )
            assert gone.rowcount == 1

    async def of_the_other_app(self) -> None:
        """By name. What one process has not imported, it does not know."""
        async with self.app.socket(self.own) as socket:
            for name, one in self.others.items():
                said = await self._call(socket, name, one, self.world.acme)
                silent = name not in self.handlers and (said == "" or BUG in said)
                self.report.attempt(KIND, f"{self.app.which}: {short(name)} of the other app", refused=silent)

    async def without_reason(self) -> None:
        """An operator reads what people did in a tenant only after saying why."""
        if self.app.which == "tenant":
            return
        tenant, reason = self.world.globex, {"reason": "Ticket 4471"}
        _, invited, owner = self.world.secrets[tenant]  # addresses of people
        async with self.app.socket(self.own) as socket:
            for name, one in self.handlers.items():
                if "reason" in inputs(one):
                    continue
                for tab in TABS:
                    said = await self._call(socket, name, one, tenant, {"tab": tab})
                    what = f"admin {short(name)} ({tab}) without a reason"
                    self.report.attempt(KIND, what, refused=invited not in said and owner not in said)
        for state in ("tenant_page_state", "audit_page_state"):
            ways = {short(name): name for name in self.handlers}
            enter, turn = ways[f"{state}.start_visit"], ways[f"{state}.choose_tab"]
            async with self.app.socket(self.own) as socket:
                said = await self._call(socket, enter, self.handlers[enter], tenant, reason)
                for tab in TABS:
                    said += await self._call(socket, turn, self.handlers[turn], tenant, {"tab": tab})
            self.report.control(KIND, f"{state} with a reason shows the trail", works=invited in said)

    def outsiders(self) -> Iterator[Any]:
        if self.app.which == "admin":
            return
        for who, cookie, tenant, slug in (
            ("the owner of Globex", self.world.gil.cookie, self.world.acme, self.world.acme_slug),
            ("the owner of Acme", self.world.ann.cookie, self.world.globex, self.world.globex_slug),
            ("a person without a tenant", self.world.carl.cookie, self.world.acme, self.world.acme_slug),
        ):
            yield self._outsider(who, cookie, tenant, slug)

    async def _outsider(self, who: str, cookie: str, tenant: str, slug: str) -> None:
        unknown = f"{slug[:-2]}zz"
        async with self.app.socket(cookie) as theirs, self.app.socket(cookie) as nobodys:
            for name, one in self.handlers.items():
                said = await self._call(theirs, name, one, tenant)
                self._judge(
                    KIND, f"{short(name)} by {who}", said, hidden=(tenant,), must=entry.NOT_FOUND_MESSAGE
                )
                same = await self._call(nobodys, name, one, tenant, slug=unknown)
                refused = bare(said, slug) == bare(same, unknown)
                self.report.attempt(KIND, f"{short(name)} by {who}: the same as nothing", refused=refused)

    def lower_roles(self, kind: str) -> Iterator[Any]:
        if self.app.which == "tenant":
            for role, account in self.world.roles.items():
                yield self._lower_role(kind, role, account.cookie, ROLES[role].permissions)
        else:
            for role, cookie in self.world.operators.items():
                if role != OWNER:
                    yield self._lower_role(kind, role, cookie, OPERATOR_ROLES[role].permissions)

    async def _lower_role(self, kind: str, role: str, cookie: str, permissions: frozenset[str]) -> None:
        async with self.app.socket(cookie) as socket:
            for name, one in self.handlers.items():
                if one["permission"] in permissions:
                    continue
                said = await self._call(socket, name, one, self.world.acme)
                hidden = (self.world.globex,)
                self._judge(kind, f"{short(name)} by a {role}", said, hidden=hidden, must=FORBIDDEN)

    async def foreign_ids(self) -> None:
        """The owner of Acme, at home, names rows of Globex: they do not exist."""
        async with self.app.socket(self.own) as socket:
            for name, one in self.handlers.items():
                for argument in inputs(one):
                    if argument not in CLAIMED or self.app.which == "admin":
                        continue
                    unknown = new_id(prefix_of(CLAIMED[argument][0]))
                    for value in self.world.claims(argument, self.world.globex):
                        same = await self._call(socket, name, one, self.world.acme, {argument: unknown})
                        said = await self._call(socket, name, one, self.world.acme, {argument: value})
                        refused = bare(said, value) == bare(same, unknown) and "error" in said
                        self.report.attempt(KIND, f"{short(name)} with {argument} of Globex", refused=refused)

    async def between_two_tenants(self) -> None:
        """One tab of somebody in both: what the one page held must not be there on the other's."""
        if self.app.which == "admin":
            return
        before = self.world.print_of(self.world.acme)
        for name, one in self.handlers.items():
            cookie = await fresh_session(self.app, self.world.bea.user.id)
            async with self.app.socket(cookie) as socket:
                for load in self._loads_of(name):
                    await self._call(socket, load, self.handlers[load], self.world.acme)
                everything = await socket.send(HYDRATE, {}, self._path(self.world.globex, name))
                self._judge_tab(f"{short(name)}: the tab of Acme on a page of Globex", everything)
                said = await self._call(socket, name, one, self.world.globex)
                self._judge_tab(f"{short(name)} in a tab that was Acme's", said)
        refused = self.world.print_of(self.world.acme) == before
        self.report.attempt(KIND, "what somebody did in Globex left Acme as it was", refused=refused)

    async def inherited_tabs(self) -> None:
        """A token whose session has ended may be claimed by the next one; what the tab held is not for them."""
        if self.app.which == "admin":
            return
        rae = await self._somebody()
        subject = await self._subject(rae)
        for load in self.pages.values():
            cookie, token = await fresh_session(self.app, subject), str(uuid.uuid4())
            async with self.app.socket(cookie, token=token) as socket:
                await self._call(socket, load, self.handlers[load], self.world.acme)
                held = await socket.send(HYDRATE, {}, self._path(self.world.acme, load))
            works = any(word in held for word in self.world.words(self.world.acme))
            self.report.control(KIND, f"{short(load)}: its own tab holds something", works=works)
            self._forget_session(cookie)
            async with self.app.socket(self.world.gil.cookie, token=token) as socket:
                for tenant in (self.world.globex, self.world.acme):
                    said = await socket.send(HYDRATE, {}, self._path(tenant, load))
                    self._judge_tab(f"{short(load)}: a tab that was somebody else's", said)

    async def _subject(self, cookie: str) -> str:
        async with entry.enter_tenant(cookie, self.world.acme_slug) as ctx:
            return ctx.actor_id

    def _judge_tab(self, what: str, said: str) -> None:
        refused = not any(word in said for word in self.world.private(self.world.acme))
        self.report.attempt(KIND, what, refused=refused)

    async def wrong_types(self) -> None:
        """Even of those who may: a wrong type is refused in words, not by a bug."""
        async with self.app.socket(self.own) as socket:
            for name, one in self.handlers.items():
                for argument in one["arguments"]:
                    for value in WRONG:
                        if value is True and isinstance(HONEST.get(argument), bool):
                            continue  # nothing is wrong with it
                        payload = filled(one, {}) | {argument: value}
                        said = await socket.send(name, payload, self._path(self.world.acme, name))
                        what = f"{short(name)} with {argument} = {str(value)[:10]!r}"
                        refused = BUG not in said and not self._tells(said, self.world.globex)
                        self.report.attempt(KIND, f"{self.app.which} {what}", refused=refused)

    async def extra_fields(self) -> None:
        async with self.app.socket(self.own) as socket:
            for name, one in self.handlers.items():
                for argument, fields in one["arguments"].items():
                    if not isinstance(fields, list):
                        continue
                    for extra, value in EXTRA.items():
                        form = filled(one, {})[argument] | {extra: value}
                        said = await socket.send(name, {argument: form}, self._path(self.world.acme, name))
                        refused = "is not a field of this form" in said
                        what = f"{short(name)} with the extra field {extra}"
                        self.report.attempt(KIND, f"{self.app.which} {what}", refused=refused)

    async def foreign_words(self) -> None:
        """Any text may be an id of Globex, or a word of it. Acme may change by this: it is its owner who asks."""
        if self.app.which == "admin":
            return
        world = self.world
        before = world.print_of(world.globex)
        _, invited, owner = world.secrets[world.globex]
        values = (
            world.globex,
            invited,
            owner,
            world.globex_slug,
            world.claims("membership_id", world.globex)[0],
        )
        async with self.app.socket(self.own) as socket:
            for name, one in self.handlers.items():
                for argument in inputs(one):
                    if isinstance(HONEST.get(argument), bool):
                        continue
                    for value in values:
                        said = await self._call(socket, name, one, world.acme, {argument: value})
                        refused = not self._tells(said.replace(value, ""), world.globex)
                        world.forget_roles()  # named by that word, it would stand in every answer from here on
                        self.report.attempt(KIND, f"{short(name)} with {argument} = {value}", refused=refused)
        refused = world.print_of(world.globex) == before
        self.report.attempt(KIND, "words of Globex left Globex as it was", refused=refused)

    # ── the gate alone ───────────────────────────────────────────────────────────────────────────────────────────

    async def gate(self) -> None:
        """For an app whose services ask for nothing: what stops a lower role is the gate."""
        async with self.app.socket(self.own) as socket:
            for name, one in self.handlers.items():
                if one["page"]:
                    said = await self._call(socket, name, one, self.world.acme)
                    works = not any(word in said for word in REFUSALS)
                    self.report.control(GATE, f"{self.app.which} {short(name)} by its owner", works=works)
        before = self.world.prints()
        await asyncio.gather(*self.lower_roles(GATE))
        refused = self.world.prints() == before
        self.report.attempt(GATE, f"{self.app.which}: all of these changed nothing", refused=refused)

    # ── how ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _call(
        self,
        socket: Socket,
        name: str,
        one: Handler,
        tenant: str,
        values: dict[str, Any] | None = None,
        *,
        slug: str = "",
    ) -> str:
        return await socket.send(name, filled(one, values or {}), self._path(tenant, name, slug))

    def _loads_of(self, name: str) -> list[str]:
        """The load of its own page, and one that shows people."""
        state = name.rpartition(".")[0]
        return [
            load
            for load in self.pages.values()
            if load.rpartition(".")[0] == state or "members_state" in load
        ]

    def _path(self, tenant: str, name: str = "", slug: str = "") -> str:
        """Of the page that has this handler; of any page for a handler of all."""
        state = name.rpartition(".")[0]
        route = next((route for route, load in self.pages.items() if load.rpartition(".")[0] == state), "")
        if self.app.which == "admin":
            return (route or "/").replace("[tenant]", tenant)
        slug = slug or (self.world.acme_slug if tenant == self.world.acme else self.world.globex_slug)
        return (route or "/t/[tenant]/home").replace("[tenant]", slug)

    def _judge(
        self, kind: str, what: str, said: str, *, hidden: tuple[str, ...] = (), must: str = ""
    ) -> None:
        """`must`: the words of the refusal that is due; any of them by default."""
        words = (must,) if must else REFUSALS
        refused = any(word in said for word in words) and not self._tells(said, *hidden)
        self.report.attempt(kind, f"{self.app.which} {what}", refused=refused)

    def _tells(self, said: str, *hidden: str) -> bool:
        hidden = hidden or (self.world.acme, self.world.globex)
        seen = heard(said)
        return any(word in seen for word in self.world.words(*hidden))

    def _unchanged(self, what: str, before: tuple[str, str]) -> None:
        refused = self.world.prints() == before
        self.report.attempt(KIND, f"{self.app.which}: {what} changed nothing", refused=refused)
