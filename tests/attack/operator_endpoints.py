"""Every endpoint of the operators' API × key: of each role, without the scope, revoked, expired, from elsewhere, a tenant's, none.

Endpoints come from the manifests. A parameter or a body of which nobody has said what it is turns the report red.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx

from shared.access.actions import OperatorAction
from shared.access.endpoints import OPERATOR_ENDPOINTS, Endpoint, takes_body
from shared.access.roles import OPERATOR_ROLES, OWNER
from shared.api_keys import keys
from shared.core.db import now
from shared.tenancy import entry
from tests.attack.apps import App
from tests.attack.report import Report
from tests.attack.sockets import own_cookie
from tests.attack.variety import some
from tests.attack.world import World
from tests.support import factories, operator_clients

KIND = "endpoints"
PREFIX = "/api/operator/v1"
ACCEPTED = frozenset({200, 201, 204, 409})  # of a control; 409 where an earlier one has done it
WHY = {"reason": "Ticket 4471"}
ORDER = {**WHY, "owner_email": "wanda@ordered.test", "owner_name": "Wanda", "name": "Ordered"}


def _ends_at() -> str:
    return (now() + timedelta(days=30)).isoformat()


BODIES: dict[str, Callable[[World], dict[str, Any]]] = {  # of an operation: what an honest program sends
    "assign_plan": lambda world: {**WHY, "plan_version_id": _find_plan(world)},
    "create_tenant": lambda _: ORDER,
    "end_override": lambda _: WHY,
    "override_feature": lambda _: {**WHY, "feature": "sso", "included": True, "ends_at": _ends_at()},
    "override_limit": lambda _: {**WHY, "limit": "members", "amount": 7, "ends_at": _ends_at()},
    "restore_tenant": lambda _: WHY,
    "set_flag_override": lambda _: {**WHY, "enabled": True},
    "suspend_tenant": lambda _: WHY,
}
PARAMETERS: dict[str, Callable[[World], str]] = {
    "flag": lambda world: world.flags[0],
    "override_id": lambda world: _find_override(world),
    "tenant_id": lambda world: world.acme,
}


def _find_plan(world: World) -> str:
    """The newest version of a plan that Acme does not have."""
    with world.superuser() as superuser:
        row = superuser.execute(
            "select v.id from plan_version v join plan p on p.id = v.plan_id"
            " where p.key = 'business' and v.status = 'published' order by v.number desc limit 1"
        ).fetchone()
    assert row is not None
    return str(row["id"])


def _find_override(world: World) -> str:
    """One of Acme that is in effect, if there is one."""
    rows = world.rows("tenant_override", "tenant_id", world.acme)
    return str(min(rows, key=lambda row: row["closed_at"] is not None)["id"])


@dataclass(frozen=True)
class Caller:
    name: str
    key: str = ""
    cookie: str = ""


@dataclass(frozen=True)
class Keys:
    """Texts of keys, made for one attack."""

    by_role: Mapping[str, str]  # with all scopes that the role can give
    demoted: str  # with all scopes, of an operator who has become support
    lacking: Mapping[str, str]  # by scope: an owner's key with every other one
    revoked: str
    expired: str
    elsewhere: str
    disabled: str  # of an operator who is disabled
    tenants: str  # of Acme's owner, with all scopes

    def impostors(self, world: World, app: App) -> list[Caller]:
        """Who is nobody to the platform."""
        return [
            Caller("nobody"),
            Caller("a tenant's key", self.tenants),
            Caller("the owner by cookie", cookie=own_cookie(app, world)),
            Caller("an invented secret", f"bk_op_{'a' * 43}"),
            Caller("half a key", self.by_role[OWNER][:-8]),
            Caller("a tenant's secret as an operator's", f"bk_op_{self.tenants.rpartition('_')[2]}"),
            Caller("a revoked key", self.revoked),
            Caller("an expired key", self.expired),
            Caller("a key for another network", self.elsewhere),
            Caller("the key of a disabled operator", self.disabled),
        ]


async def attack(app: App, world: World, report: Report) -> None:
    run = _Run(app, world, report, await _make_keys(world))
    for endpoint in OPERATOR_ENDPOINTS:
        report.covers(KIND, f"operators: {endpoint.method} {endpoint.path}")
        if unknown := _find_unknown(endpoint):
            report.unknown(KIND, f"{endpoint.method} {endpoint.path}: {unknown}")
    endpoints = [endpoint for endpoint in OPERATOR_ENDPOINTS if not _find_unknown(endpoint)]
    before = world.prints(), _count_tenants(world)
    for endpoint in endpoints:
        await run.attack(endpoint)
    changed_nothing = (world.prints(), _count_tenants(world)) == before
    report.attempt(KIND, "operators: all of these changed nothing", refused=changed_nothing)
    for endpoint in endpoints:
        await run.control(endpoint)


def _find_unknown(endpoint: Endpoint) -> str:
    unknown = [name for name in _list_parameters(endpoint) if name not in PARAMETERS]
    if unknown:
        return f"parameter {unknown[0]!r}"
    if takes_body(endpoint) and endpoint.handler.__name__ not in BODIES:
        return f"body of {endpoint.handler.__name__}"
    return ""


def _list_parameters(endpoint: Endpoint) -> list[str]:
    return re.findall(r"{(\w+)}", endpoint.path)


def _count_tenants(world: World) -> int:
    with world.superuser() as superuser:
        (row,) = superuser.execute("select count(*) as tenants from tenant").fetchall()
    return int(row["tenants"])


class _Run:
    def __init__(self, app: App, world: World, report: Report, attack_keys: Keys) -> None:
        self.app, self.world, self.report, self.keys = app, world, report, attack_keys

    async def attack(self, endpoint: Endpoint) -> None:
        impostors = self.keys.impostors(self.world, self.app)
        for caller in some(impostors, 6, of=f"callers of {endpoint.path}", always=4):
            await self._expect(endpoint, caller, statuses=(401, 403))
        if isinstance(endpoint.action, OperatorAction):
            permission = str(endpoint.action.permission)
            lacking = Caller("a key with every other scope", self.keys.lacking[permission])
            await self._expect(endpoint, lacking, statuses=(403,), reason="missing_scope")
            for role, key in self.keys.by_role.items():
                if permission not in OPERATOR_ROLES[role].permissions:
                    await self._expect(endpoint, Caller(f"a key of {role}", key), statuses=(403,))
            if permission not in OPERATOR_ROLES["support"].permissions:
                demoted = Caller("a key of an owner who became support", self.keys.demoted)
                await self._expect(endpoint, demoted, statuses=(403,), reason="missing_permission")
        if "{tenant_id}" in endpoint.path:
            unknown = [await self._ask(endpoint, self._owner(), suffix) for suffix in ("zz", "yy")]
            same = _strip(unknown[0]) == _strip(unknown[1])
            self._judge(endpoint, Caller("an unknown tenant"), unknown[0], refused=same, status=404)
        for other in {"GET", "POST", "PUT", "PATCH", "DELETE"} - {
            candidate.method for candidate in OPERATOR_ENDPOINTS if candidate.path == endpoint.path
        }:
            answer = await self._ask(replace(endpoint, method=other), self._owner())
            self._judge(endpoint, Caller(f"{other} instead"), answer, refused=True, status=405)

    async def control(self, endpoint: Endpoint) -> None:
        answer = await self._ask(endpoint, self._owner())
        name = f"operators: {endpoint.method} {endpoint.path}: {answer.status_code}"
        self.report.control(KIND, name, works=answer.status_code in ACCEPTED)

    def _owner(self) -> Caller:
        return Caller("the owner", self.keys.by_role[OWNER])

    async def _expect(
        self, endpoint: Endpoint, caller: Caller, *, statuses: tuple[int, ...], reason: str = ""
    ) -> None:
        answer = await self._ask(endpoint, caller)
        refused = answer.status_code in statuses and reason in ("", answer.json()["reason"])
        self._judge(endpoint, caller, answer, refused=refused)

    def _judge(
        self, endpoint: Endpoint, caller: Caller, answer: httpx.Response, *, refused: bool, status: int = 0
    ) -> None:
        words = self.world.words(self.world.acme, self.world.globex)
        is_leak = any(word in answer.text for word in words)
        is_expected = status in (0, answer.status_code)
        name = f"operators: {endpoint.method} {endpoint.path}: {caller.name}: {answer.status_code}"
        self.report.attempt(KIND, name, refused=refused and is_expected and not is_leak)

    async def _ask(self, endpoint: Endpoint, caller: Caller, suffix: str = "") -> httpx.Response:
        """About Acme. `suffix`: makes the id of a tenant that does not exist."""
        path = endpoint.path
        for name in _list_parameters(endpoint):
            ending = suffix if name == "tenant_id" else ""
            path = path.replace(f"{{{name}}}", f"{PARAMETERS[name](self.world)}{ending}")
        headers = {"accept": "application/json", "if-match": f'"{self._read_version()}"'}
        if caller.key:
            headers["authorization"] = f"Bearer {caller.key}"
        sent: dict[str, Any] = {"params": WHY} if endpoint.method == "GET" else {}
        if takes_body(endpoint):
            sent["json"] = BODIES[endpoint.handler.__name__](self.world)
        return await self.app.ask(
            endpoint.method, PREFIX + path, caller.cookie, origin=None, headers=headers, **sent
        )

    def _read_version(self) -> int:
        (row,) = self.world.rows("tenant", "id", self.world.acme)
        return int(row["rights_version"])


def _strip(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.text.replace(answer.headers["x-request-id"], "REQUEST")


async def _make_keys(world: World) -> Keys:
    owner = world.operators[OWNER]
    scopes = {str(endpoint.action.permission) for endpoint in OPERATOR_ENDPOINTS if endpoint.action}
    by_role = {
        role: (await operator_clients.create_key(cookie)).text for role, cookie in world.operators.items()
    }
    revoked, expired = await operator_clients.create_key(owner), await operator_clients.create_key(owner)
    elsewhere = await operator_clients.create_key(owner, networks=["203.0.113.0/24"])
    demoted, demoted_id = await _create_other_key("Dora")
    disabled, disabled_id = await _create_other_key("Dirk")
    async with entry.enter_tenant(world.ann.cookie, world.acme_slug) as ctx:
        request = keys.KeyRequest(name="Attack", scopes=keys.list_scopes(ctx))
        tenants = await keys.create(ctx, request)
    with world.superuser() as superuser:
        superuser.execute("update operator_key set revoked_at = now() where id = %s", [revoked.key_id])
        superuser.execute("update operator_key set expires_at = now() where id = %s", [expired.key_id])
        superuser.execute("update operator set role = 'support' where id = %s", [demoted_id])
        superuser.execute("update operator set disabled_at = now() where id = %s", [disabled_id])
    return Keys(
        by_role=by_role,
        demoted=demoted,
        lacking={
            scope: (await operator_clients.create_key(owner, *(scopes - {scope}))).text
            for scope in sorted(scopes)
        },
        revoked=revoked.text,
        expired=expired.text,
        elsewhere=elsewhere.text,
        disabled=disabled,
        tenants=tenants.text,
    )


async def _create_other_key(name: str) -> tuple[str, str]:
    """Of a further owner: the text of the key, and the id of the operator."""
    cookie = await factories.create_operator(name)
    async with entry.enter_operator(cookie) as octx:
        operator_id = octx.actor_id
    return (await operator_clients.create_key(cookie)).text, operator_id
