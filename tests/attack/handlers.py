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
from tests.attack.frames import contains_words, is_same, short
from tests.attack.payloads import EXTRA, HONEST, WRONG, Handler, filled, inputs, unknown_prefix
from tests.attack.report import Report
from tests.attack.sockets import fresh_session, strangers
from tests.attack.variety import some
from tests.attack.world import CLAIMED, Print, World, list_changes
from tests.support import factories
from tests.support.sizes import is_full

KIND, GATE = "handlers", "gate"
OTHER_OBJECT = "This page no longer matches its address."
FORBIDDEN = "have permission to "  # without the apostrophe, which frames may escape
REFUSALS = (entry.NOT_FOUND_MESSAGE, FORBIDDEN, RELOAD)
HYDRATE = "reflex___state____state.hydrate"  # of Reflex: sends all that a tab holds
UNMARKED = "This action is not available on this page."
BUG = "Something went wrong."
OLD_PAGE = "This page is from an older version."
OF_OPERATORS = ("operator_id", "plan_id", "version_id")  # rows of no tenant
NO_HANDLER = {"shows_object": False}  # of the other app, or of nobody
TABS = ("members", "audit", "tenants", "operators")


class Attack:
    def __init__(self, app: App, listings: dict[str, Any], world: World, report: Report) -> None:
        """`listings`: of both apps, as `apps.listing` found them."""
        self.app, self.world, self.report = app, world, report
        self.handlers: dict[str, Handler] = listings[app.name]["handlers"]
        self.pages: dict[str, str] = listings[app.name]["pages"]
        self.unmarked: list[str] = listings[app.name]["unmarked"]
        (other,) = listings.keys() - {app.name}
        self.others: dict[str, Handler] = listings[other]["handlers"]
        self.object_paths = world.object_paths()
        self.owner_cookie = world.ann.cookie if app.name == "tenant" else world.olga

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
        await self.on_another_object()
        await self.inherited_tabs()
        before = self.world.prints()
        await asyncio.gather(self.wrong_types(), self.extra_fields())
        self._unchanged("what could not be read", before)
        await self.foreign_words()

    def inventory(self) -> None:
        for name, handler in self.handlers.items():
            self.report.covers(KIND, f"{self.app.name} {short(name)}")
            refused = name not in self.unmarked
            self.report.attempt(
                KIND, f"{self.app.name} {short(name)} without saying what it needs", refused=refused
            )
            if name in self.pages.values() and self.app.name == "admin" and not handler["shows_object"]:
                route = next(route for route, load in self.pages.items() if load == name)
                attempt = f"{self.app.name} {short(name)} shows whatever {route} names"
                self.report.attempt(KIND, attempt, refused="[" not in route)
            for argument in inputs(handler):
                if argument not in (*HONEST, *CLAIMED, *OF_OPERATORS):
                    self.report.unknown(KIND, f"{self.app.name} {short(name)}: argument {argument}")

    async def unmarked_calls(self) -> None:
        """Found is not enough: until somebody says what it needs, it is refused to the owner too."""
        async with self.app.socket(self.owner_cookie) as socket:
            for name in self.unmarked:
                answer = await self._call(socket, name, self.handlers[name], self.world.acme)
                self._judge(
                    KIND, f"{short(name)} runs, although nobody said what it needs", answer, must=UNMARKED
                )

    async def controls(self) -> None:
        """The owner's own call is not refused; what only reads shows their own."""
        owner_words = self.world.words(self.world.acme)
        async with self.app.socket(self.owner_cookie) as socket:
            for name, handler in self.handlers.items():
                answer = await self._call_as_shown(socket, name, filled(handler, {}), self.world.acme)
                works = not any(word in answer for word in (*REFUSALS, OTHER_OBJECT))
                if handler["page"] and self.app.name == "tenant":
                    works = works and any(word in answer for word in owner_words)
                self.report.control(
                    KIND, f"{self.app.name} {short(name)} by its owner: {answer[-200:]}", works=works
                )

    async def without_session(self) -> None:
        """No socket, so no call: neither with an event in the first packet."""
        for name in self.handlers:
            for person, cookie in list(strangers(self.app, self.world).items())[:3]:
                try:
                    async with self.app.socket(cookie) as socket:
                        answer = await self._call(socket, name, self.handlers[name], self.world.acme)
                except InvalidHandshake:
                    answer = RELOAD
                self._judge(KIND, f"{short(name)} with {person}", answer)

    async def after_the_session(self, cookie: str) -> None:
        """The socket stays open when the row goes; the next event finds out."""
        async with self.app.socket(cookie) as socket:
            await socket.send(next(iter(self.handlers)), {}, self._path(self.world.acme))
            self._forget_session(cookie)
            for name, handler in self.handlers.items():
                answer = await self._call(socket, name, handler, self.world.acme)
                self._judge(KIND, f"{short(name)} after the session", answer, must=RELOAD)

    async def _somebody(self) -> str:
        """With every right, and nobody else needs this session."""
        if self.app.name == "admin":
            return await factories.create_operator("Rae")
        rae = await factories.create_account("Rae")
        await factories.join_tenant(self.world.ann, self.world.acme_slug, rae, "admin")
        return rae.cookie

    def _forget_session(self, cookie: str) -> None:
        """Without a word, or the socket would be closed."""
        table = "user_session" if self.app.name == "tenant" else "operator_session"
        with self.world.superuser() as superuser:
            gone = superuser.execute(
                f"delete from {table} where token_hash = %s", [crypto.hash_token(cookie.partition("=")[2])]
            )
            assert gone.rowcount == 1

    async def of_the_other_app(self) -> None:
        """By name. What one process has not imported, it does not know."""
        async with self.app.socket(self.owner_cookie) as socket:
            for name, handler in self.others.items():
                answer = await self._call(socket, name, handler, self.world.acme)
                silent = name not in self.handlers and (answer == "" or BUG in answer or OLD_PAGE in answer)
                self.report.attempt(KIND, f"{self.app.name}: {short(name)} of the other app", refused=silent)

    async def without_reason(self) -> None:
        """An operator reads what people did in a tenant only after saying why."""
        if self.app.name == "tenant":
            return
        tenant, reason = self.world.globex, {"reason": "Ticket 4471"}
        _, invited, owner = self.world.secrets[tenant]  # addresses of people
        async with self.app.socket(self.owner_cookie) as socket:
            for name, handler in self.handlers.items():
                if "reason" in inputs(handler):
                    continue
                tabs = TABS if "tab" in inputs(handler) else some(TABS, 1, of=f"tabs for {name}")
                for tab in tabs:
                    payload = filled(handler, {"tab": tab})
                    answer = await self._call_as_shown(socket, name, payload, tenant)
                    attempt = f"admin {short(name)} ({tab}) without a reason"
                    self.report.attempt(KIND, attempt, refused=invited not in answer and owner not in answer)
        # The newest events of all tenants needn't have an invitation among them, and name their tenants.
        trails = {"tenant_page_state": invited, "audit_page_state": self.world.names[tenant]}
        for state, shown in trails.items():
            ways = {short(name): name for name in self.handlers}
            enter, choose_tab = ways[f"{state}.start_visit"], ways[f"{state}.choose_tab"]
            async with self.app.socket(self.owner_cookie) as socket:
                await self._show_object(socket, enter, self._path(tenant, enter))
                answer = await self._call(socket, enter, self.handlers[enter], tenant, reason)
                for tab in TABS:
                    answer += await self._call(
                        socket, choose_tab, self.handlers[choose_tab], tenant, {"tab": tab}
                    )
            self.report.control(KIND, f"{state} with a reason shows the trail", works=shown in answer)

    def outsiders(self) -> Iterator[Any]:
        if self.app.name == "admin":
            return
        for person, cookie, tenant, slug in (
            ("the owner of Globex", self.world.gil.cookie, self.world.acme, self.world.acme_slug),
            ("the owner of Acme", self.world.ann.cookie, self.world.globex, self.world.globex_slug),
            ("a person without a tenant", self.world.carl.cookie, self.world.acme, self.world.acme_slug),
        ):
            yield self._outsider(person, cookie, tenant, slug)

    async def _outsider(self, person: str, cookie: str, tenant: str, slug: str) -> None:
        unknown = f"{slug[:-2]}zz"
        async with self.app.socket(cookie) as existing_socket, self.app.socket(cookie) as unknown_socket:
            for name, handler in self.handlers.items():
                answer = await self._call(existing_socket, name, handler, tenant)
                self._judge(
                    KIND, f"{short(name)} by {person}", answer, hidden=(tenant,), must=entry.NOT_FOUND_MESSAGE
                )
                same = await self._call(unknown_socket, name, handler, tenant, slug=unknown)
                refused = is_same(answer, slug, same, unknown)
                self.report.attempt(KIND, f"{short(name)} by {person}: the same as nothing", refused=refused)

    def lower_roles(self, kind: str) -> Iterator[Any]:
        roles = self._list_lower_roles()
        chosen = {
            name: self._list_roles_to_try(name, handler["permission"], roles)
            for name, handler in self.handlers.items()
        }
        for role, (cookie, _) in roles.items():
            names = [name for name, chosen_roles in chosen.items() if role in chosen_roles]
            yield self._lower_role(kind, role, cookie, names)

    def _list_lower_roles(self) -> dict[str, tuple[str, frozenset[str]]]:
        """By role: the cookie of a member or operator with this role, and the permissions of the role."""
        if self.app.name == "tenant":
            accounts = self.world.roles.items()
            return {role: (account.cookie, ROLES[role].permissions) for role, account in accounts}
        return {
            role: (cookie, OPERATOR_ROLES[role].permissions)
            for role, cookie in self.world.operators.items()
            if role != OWNER
        }

    def _list_roles_to_try(
        self, name: str, permission: str, roles: dict[str, tuple[str, frozenset[str]]]
    ) -> list[str]:
        """Those without the permission. In `make test` the one of them that may do most, and another."""
        lacking = [role for role, (_, permissions) in roles.items() if permission not in permissions]
        first, *others = sorted(lacking, key=lambda role: -len(roles[role][1])) or [""]
        return [first, *some(others, 1, of=f"roles for {name}")]

    async def _lower_role(self, kind: str, role: str, cookie: str, names: list[str]) -> None:
        async with self.app.socket(cookie) as socket:
            for name in names:
                answer = await self._call(socket, name, self.handlers[name], self.world.acme)
                hidden = (self.world.globex,)
                self._judge(kind, f"{short(name)} by a {role}", answer, hidden=hidden, must=FORBIDDEN)

    async def foreign_ids(self) -> None:
        """The owner of Acme, at home, names rows of Globex: they do not exist."""
        async with self.app.socket(self.owner_cookie) as socket:
            for name, handler in self.handlers.items():
                for argument in inputs(handler):
                    if argument not in CLAIMED or self.app.name == "admin":
                        continue
                    for dialog in handler["row_dialogs"] or [HONEST["dialog"]]:
                        for value in self._foreign_values(argument, of=f"{name} {dialog}"):
                            unknown = new_id(unknown_prefix(argument, value))
                            values = {"dialog": dialog}
                            same = await self._call(
                                socket, name, handler, self.world.acme, values | {argument: unknown}
                            )
                            answer = await self._call(
                                socket, name, handler, self.world.acme, values | {argument: value}
                            )
                            refused = is_same(answer, value, same, unknown) and "error" in answer
                            attempt = f"{short(name)} {dialog} with {argument} of Globex"
                            self.report.attempt(KIND, attempt, refused=refused)

    def _foreign_values(self, argument: str, *, of: str) -> list[str]:
        """Ids of rows of Globex; a dialog may be about a row of any list."""
        of_rows = ("row_id", "membership_id", "role_id", "key_id", "service_account_id", "issuer_id")
        names = of_rows if argument == "row_id" else (argument,)
        claims = {name: self.world.claims(name, self.world.globex) for name in names}
        return [value for name in names for value in some(claims[name], 1, of=f"{name} for {of}")]

    async def between_two_tenants(self) -> None:
        """One tab of somebody in both: what the one page held must not be there on the other's."""
        if self.app.name == "admin":
            return
        before = self.world.print_of(self.world.acme)
        for names in self._share_tabs():
            cookie = await fresh_session(self.app, self.world.bea.user.id)
            async with self.app.socket(cookie) as socket:
                await self._load_acme(socket, names[0])
                everything = await socket.send(HYDRATE, {}, self._path(self.world.globex, names[0]))
                self._judge_tab(f"{short(names[0])}: the tab of Acme on a page of Globex", everything)
                for name in names:
                    await self._load_acme(socket, name)  # again: the call before has moved the tab
                    answer = await self._call(socket, name, self.handlers[name], self.world.globex)
                    self._judge_tab(f"{short(name)} in a tab that was Acme's", answer)
        refused = self.world.print_of(self.world.acme) == before
        self.report.attempt(KIND, "what somebody did in Globex left Acme as it was", refused=refused)

    async def _load_acme(self, socket: Socket, name: str) -> None:
        """What the page of this handler shows of Acme."""
        for load in self._loads_of(name):
            await self._call(socket, load, self.handlers[load], self.world.acme)

    def _share_tabs(self) -> list[list[str]]:
        """Handlers that are called one after another in one tab: each in its own, in `make test` those of one page."""
        if is_full():
            return [[name] for name in self.handlers]
        names_by_state: dict[str, list[str]] = {}
        for name in self.handlers:
            names_by_state.setdefault(name.rpartition(".")[0], []).append(name)
        return list(names_by_state.values())

    async def on_another_object(self) -> None:
        """What a tab has loaded, confirmed and given a reason for must not count for the object of another address."""
        before = self.world.print_of(self.world.globex)
        for names in self._share_tabs():
            tried = [name for name in names if self._is_about_an_object(name)]
            for loaded, other in self._pairs_of_paths(tried[0]) if tried else ():
                await self._act_elsewhere(tried, loaded, other)
        refused = self.world.print_of(self.world.globex) == before
        self.report.attempt(KIND, f"{self.app.name}: pages of Acme left Globex as it was", refused=refused)

    def _is_about_an_object(self, name: str) -> bool:
        handler = self.handlers[name]
        return not handler["loads"] and (self.app.name == "tenant" or handler["shows_object"])

    async def _act_elsewhere(self, names: list[str], loaded: str, other: str) -> None:
        """`names`: of handlers of one state. Each leaves the tab with the object at `loaded`, as the next one needs it."""
        cookie = await fresh_session(self.app, self.world.bea.user.id) if self.app.name == "tenant" else ""
        must = RELOAD if self.app.name == "tenant" else OTHER_OBJECT
        async with self.app.socket(cookie or self.owner_cookie) as socket:
            loads = self._loads_of_object(names[0], loaded)
            if self.app.name == "tenant":
                loads = some(self._loads_of(names[0]), 1, of=f"loads of {names[0]}", always=1)
            await self._load(socket, loads, loaded)
            for name in names:
                payload = filled(self.handlers[name], {})
                answer = await socket.send(name, payload, other)
                attempt = f"{short(name)} at {other}, while {loaded} is loaded"
                self.report.attempt(KIND, attempt, refused=must in answer)
                answer = await socket.send(name, payload, loaded)
                if must in answer:  # the tab has dropped what it held
                    await self._load(socket, loads, loaded)
                    answer = await socket.send(name, payload, loaded)
                control = f"{short(name)} at {loaded}, which is loaded"
                self.report.control(KIND, control, works=must not in answer)

    async def _load(self, socket: Socket, loads: list[str], path: str) -> None:
        for load in loads:
            await socket.send(load, filled(self.handlers[load], {}), path)

    def _pairs_of_paths(self, name: str) -> list[tuple[str, str]]:
        """Addresses of two objects, of each kind of page that this handler may belong to."""
        if self.app.name == "tenant":
            return [(self._path(self.world.acme, name), self._path(self.world.globex, name))]
        return [pair for route, pair in self.object_paths.items() if self._is_of(name, route)]

    def _is_of(self, name: str, route: str) -> bool:
        """Whether the handler is of this page, or of a part of it: its package's name begins with the page's."""
        return _package(name).startswith(_package(self.pages[route]))

    def _loads_of_object(self, name: str, path: str) -> list[str]:
        """The load of the page at this address, and that of the handler's own state."""
        routes = {route: paths for route, paths in self.object_paths.items() if path in paths}
        loads = [self.pages[route] for route in routes]
        state = name.rpartition(".")[0]
        own_loads = [
            load
            for load, handler in self.handlers.items()
            if handler["loads"] and load.rpartition(".")[0] == state
        ]
        return list(dict.fromkeys([*loads, *own_loads]))

    async def inherited_tabs(self) -> None:
        """A token whose session has ended may be claimed by the next one; what the tab held is not for them."""
        if self.app.name == "admin":
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
                    answer = await socket.send(HYDRATE, {}, self._path(tenant, load))
                    self._judge_tab(f"{short(load)}: a tab that was somebody else's", answer)

    async def _subject(self, cookie: str) -> str:
        async with entry.enter_tenant(cookie, self.world.acme_slug) as ctx:
            return ctx.actor_id

    def _judge_tab(self, attempt: str, answer: str) -> None:
        refused = not any(word in answer for word in self.world.private(self.world.acme))
        self.report.attempt(KIND, attempt, refused=refused)

    async def wrong_types(self) -> None:
        """Even of those who may: a wrong type is refused in words, not by a bug."""
        async with self.app.socket(self.owner_cookie) as socket:
            load = next(
                iter(self.pages.values())
            )  # or the first call would show its whole page, lists included
            await self._call(socket, load, self.handlers[load], self.world.acme)
            for name, handler in self.handlers.items():
                for argument in handler["arguments"]:
                    wrong = [value for value in WRONG if _is_wrong(argument, value)]
                    for value in some(wrong, 3, of=f"{argument} of {name}"):
                        payload = filled(handler, {}) | {argument: value}
                        answer = await self._call_as_shown(socket, name, payload, self.world.acme)
                        attempt = f"{short(name)} with {argument} = {str(value)[:10]!r}"
                        refused = BUG not in answer and not self._tells(answer, self.world.globex)
                        self.report.attempt(KIND, f"{self.app.name} {attempt}", refused=refused)

    async def extra_fields(self) -> None:
        async with self.app.socket(self.owner_cookie) as socket:
            for name, handler in self.handlers.items():
                for argument, fields in handler["arguments"].items():
                    if not isinstance(fields, list):
                        continue
                    for extra, value in some(EXTRA.items(), 1, of=f"fields for {name}"):
                        form = filled(handler, {})[argument] | {extra: value}
                        answer = await self._call_as_shown(socket, name, {argument: form}, self.world.acme)
                        refused = "t a field of this form" in answer
                        attempt = f"{short(name)} with the extra field {extra}"
                        self.report.attempt(KIND, f"{self.app.name} {attempt}", refused=refused)

    async def foreign_words(self) -> None:
        """Any text may be an id of Globex, or a word of it. Acme may change by this: it is its owner who asks."""
        if self.app.name == "admin":
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
        async with self.app.socket(self.owner_cookie) as socket:
            for name, handler in self.handlers.items():
                for argument in inputs(handler):
                    if isinstance(HONEST.get(argument), bool):
                        continue
                    for value in some(values, 2, of=f"words for {argument} of {name}", always=1):
                        answer = await self._call(socket, name, handler, world.acme, {argument: value})
                        refused = not self._tells(answer.replace(value, ""), world.globex)
                        world.forget_rows_with(values)  # or every answer from here on would contain the word
                        self.report.attempt(KIND, f"{short(name)} with {argument} = {value}", refused=refused)
        refused = world.print_of(world.globex) == before
        self.report.attempt(KIND, "words of Globex left Globex as it was", refused=refused)

    # ── the gate alone ───────────────────────────────────────────────────────────────────────────────────────────

    async def gate(self) -> None:
        """For an app whose services ask for nothing: what stops a lower role is the gate."""
        async with self.app.socket(self.owner_cookie) as socket:
            for name, handler in self.handlers.items():
                if handler["page"]:
                    answer = await self._call(socket, name, handler, self.world.acme)
                    works = not any(word in answer for word in REFUSALS)
                    self.report.control(GATE, f"{self.app.name} {short(name)} by its owner", works=works)
        before = self.world.prints()
        await asyncio.gather(*self.lower_roles(GATE))
        refused = self.world.prints() == before
        self.report.attempt(GATE, f"{self.app.name}: all of these changed nothing", refused=refused)

    # ── how ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _call(
        self,
        socket: Socket,
        name: str,
        handler: Handler,
        tenant: str,
        values: dict[str, Any] | None = None,
        *,
        slug: str = "",
    ) -> str:
        return await socket.send(name, filled(handler, values or {}), self._path(tenant, name, slug))

    async def _call_as_shown(self, socket: Socket, name: str, payload: dict[str, Any], tenant: str) -> str:
        """The answer to a handler of a page that shows the object of its address: loads it where the tab does not."""
        path = self._path(tenant, name)
        answer = await socket.send(name, payload, path)
        if OTHER_OBJECT not in answer:
            return answer
        await self._show_object(socket, name, path)
        return await socket.send(name, payload, path)

    async def _show_object(self, socket: Socket, name: str, path: str) -> None:
        """As an honest page does before its other handlers are called: it loads what its address names."""
        if self.handlers.get(name, NO_HANDLER)["shows_object"] and not self.handlers[name]["loads"]:
            await self._load(socket, self._loads_of_object(name, path), path)

    def _loads_of(self, name: str) -> list[str]:
        """The load of its own page, and one that shows people."""
        state = name.rpartition(".")[0]
        own_loads = [load for load in self.pages.values() if load.rpartition(".")[0] == state]
        return own_loads + [
            load for load in self.pages.values() if "members_state" in load and load not in own_loads
        ]

    def _path(self, tenant: str, name: str = "", slug: str = "") -> str:
        """Of the page that has this handler; of any page for a handler of all."""
        if self.handlers.get(name, NO_HANDLER)["shows_object"]:
            route = next(route for route in self.pages if "[" in route and self._is_of(name, route))
            return self.object_paths[route][tenant != self.world.acme]
        state = name.rpartition(".")[0]
        route = next((route for route, load in self.pages.items() if load.rpartition(".")[0] == state), "")
        if self.app.name == "admin":
            return (route or "/").replace("[tenant]", tenant)
        slug = slug or (self.world.acme_slug if tenant == self.world.acme else self.world.globex_slug)
        return (route or "/t/[tenant]/home").replace("[tenant]", slug)

    def _judge(
        self, kind: str, attempt: str, answer: str, *, hidden: tuple[str, ...] = (), must: str = ""
    ) -> None:
        """`must`: the words of the refusal that is due; any of them by default."""
        words = (must,) if must else REFUSALS
        refused = any(word in answer for word in words) and not self._tells(answer, *hidden)
        self.report.attempt(kind, f"{self.app.name} {attempt}", refused=refused)

    def _tells(self, answer: str, *hidden: str) -> bool:
        hidden = hidden or (self.world.acme, self.world.globex)
        return contains_words(answer, self.world.words(*hidden))

    def _unchanged(self, attempt: str, before: tuple[Print, Print]) -> None:
        changes = list_changes(before, self.world.prints())
        name = f"{self.app.name}: {attempt} changed nothing{f', but {changes}' if changes else ''}"
        self.report.attempt(KIND, name, refused=not changes)


def _is_wrong(argument: str, value: Any) -> bool:
    return not (value is True and isinstance(HONEST.get(argument), bool))


def _package(name: str) -> str:
    """Of the state of this handler, as in "tenant_rights"."""
    return name.split(".")[-2].split("___")[2]
