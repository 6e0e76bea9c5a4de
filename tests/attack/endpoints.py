"""Every endpoint of the REST API × key: of another tenant, without the scope, revoked, expired, from elsewhere, none.

Endpoints come from the manifests. A parameter or a body of which nobody has said what it is turns the report red.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import httpx

from shared.access.endpoints import ENDPOINTS, Endpoint, takes_body, takes_file
from shared.access.refusal_codes import Reason
from shared.api_keys import keys
from shared.tenancy import entry
from shared.tenancy.key_texts import LIVE_PREFIX, TEST_PREFIX
from shared.tenancy.models import TenantMode
from shared.test_mode import test_tenants
from tests.attack import operator_endpoints
from tests.attack.apps import App
from tests.attack.report import Report
from tests.attack.sockets import own_cookie
from tests.attack.variety import some
from tests.attack.world import World

KIND = "endpoints"
PREFIX = "/api/v1"
DOCUMENT = "/api/v1/openapi.json"
ACCEPTED = frozenset({200, 201, 202, 204, 409})  # of a control; 409 where an earlier one has done it
REFUSED = frozenset({401, 402, 403, 404})
ISSUER = {
    "name": "By program",
    "issuer": "https://id.example",
    "audience": "https://api.example",
    "jwks_url": "https://id.example/jwks.json",
    "algorithms": ["RS256"],
    "tenant_claim": "organisation",
    "role": "viewer",
}
WEBHOOK = {
    "url": "https://93.184.216.34/hook",
    "event_types": ["member.removed"],
}  # an address needs no name server
BODIES: dict[str, Any] = {  # of an operation: what an honest program sends, of the world and the tenant
    "change_issuer": lambda *_: ISSUER,
    "create_issuer": lambda *_: {**ISSUER, "issuer": "https://another.example"},
    "change_webhook": lambda *_: WEBHOOK,
    "create_webhook": lambda *_: WEBHOOK,
    "replay_failed_deliveries": lambda *_: {"since": "2026-01-01T00:00:00Z"},
    "rotate_webhook_secret": lambda *_: {"overlap_hours": 24},
    "change_key": lambda *_: {"name": "Renamed", "scopes": ["member:read"]},
    "change_member": lambda *_: {"role": "viewer"},
    "create_export": lambda *_: {"kind": "members", "filter": {"role": "member"}},
    "create_key": lambda *_: {"name": "By program", "scopes": ["member:read"]},
    "change_branding": lambda world, tenant: {"colour": _get_colour(world, tenant)},  # whatever its version
    "change_role": lambda *_: {"name": "Renamed", "permissions": ["member:read"]},
    "change_service_account": lambda *_: {"name": "Renamed", "role": "member"},
    "change_settings": lambda world, tenant: {"name": world.names[tenant]},
    "create_invitation": lambda *_: {"email": "program@acme.test", "role": "member"},
    "create_role": lambda *_: {"name": "By program", "permissions": ["member:read"]},
    "create_service_account": lambda *_: {"name": "By program", "role": "member"},
    "decide": lambda *_: {"action": "role:create"},
    "open_usage_correction": lambda *_: {"note": "Sent twice"},
    "add_usage_correction_items": lambda *_: {
        "items": [{"kind": "add", "meter": "usage_events", "idempotency_key": "attack-2", "quantity": 1}]
    },
    "send_usage": lambda *_: {
        "items": [{"meter": "usage_events", "idempotency_key": "attack", "quantity": 1}]
    },
    "rotate_key": lambda *_: {"overlap_hours": 0},
}

USAGE_TIME = {"since": "2026-07-01T00:00:00Z", "until": "2026-07-02T00:00:00Z"}
QUERIES: dict[str, dict[str, str]] = {  # of an operation: the query that it needs
    "get_usage": USAGE_TIME,
    "get_usage_breakdown": {"meter": "usage_events", "by": "region", **USAGE_TIME},
    "list_usage_events": {"meter": "usage_events", **USAGE_TIME},
}

IDS = {
    "event_id": "audit_event_id",
    "member_id": "membership_id",
    "webhook_id": "endpoint_id",
}  # of a path parameter: the name of the claim, where it differs


@dataclass(frozen=True)
class Caller:
    name: str
    key: str = ""
    cookie: str = ""
    address: str = ""


@dataclass(frozen=True)
class Keys:
    """Texts of keys, made for one attack."""

    acme: str
    globex: str
    revoked: str
    expired: str
    elsewhere: str  # works from another network only
    former_member: str
    test: str  # of Acme's test tenant
    lacking: Mapping[str, str]  # by scope: a key with every other one

    def impostors(self, world: World, app: App) -> list[Caller]:
        """Who is nobody to Acme."""
        acme, globex = (text.rpartition("_") for text in (self.acme, self.globex))
        return [
            Caller("nobody"),
            Caller("Acme's owner by cookie", cookie=own_cookie(app, world)),
            Caller("the secret of Globex under Acme's name", f"{acme[0]}_{globex[2]}"),
            Caller("an invented secret", f"{acme[0]}_{'a' * len(acme[2])}"),
            Caller("half a key", self.acme[:-8]),
            Caller("a live key that says test", self.acme.replace(LIVE_PREFIX, TEST_PREFIX)),
            Caller("a test key that says live", self.test.replace(TEST_PREFIX, LIVE_PREFIX)),
            Caller("a revoked key", self.revoked),
            Caller("an expired key", self.expired),
            Caller("a key for another network", self.elsewhere),
            Caller("the key of a former member", self.former_member),
        ]


async def attack(app: App, world: World, report: Report) -> None:
    if app.name != "tenant":
        await operator_endpoints.attack(app, world, report)
        return
    attack_keys = await _make_keys(world)
    run = _Run(app, world, report, attack_keys)
    for endpoint in ENDPOINTS:
        report.covers(KIND, f"{endpoint.method} {endpoint.path}")
        if unknown := _find_unknown(endpoint, world):
            report.unknown(KIND, f"{endpoint.method} {endpoint.path}: {unknown}")
    endpoints = [endpoint for endpoint in ENDPOINTS if not _find_unknown(endpoint, world)]
    before = world.prints()
    for endpoint in endpoints:
        await run.attack(endpoint)
    report.attempt(KIND, "all of these changed nothing", refused=world.prints() == before)
    for endpoint in sorted(endpoints, key=lambda endpoint: endpoint.method == "DELETE"):
        await run.control(endpoint)


def _find_unknown(endpoint: Endpoint, world: World) -> str:
    for name in _list_parameters(endpoint):
        try:
            world.claims(IDS.get(name, name), world.acme)
        except KeyError:
            return f"parameter {name!r}"
    if takes_body(endpoint) and endpoint.handler.__name__ not in BODIES:
        return f"body of {endpoint.handler.__name__}"
    return ""


def _list_parameters(endpoint: Endpoint) -> list[str]:
    return re.findall(r"{(\w+)}", endpoint.path)


def _get_colour(world: World, tenant: str) -> str:
    return str(world.rows("tenant_settings", "tenant_id", tenant)[0]["colour"])


class _Run:
    def __init__(self, app: App, world: World, report: Report, attack_keys: Keys) -> None:
        self.app, self.world, self.report, self.keys = app, world, report, attack_keys

    async def attack(self, endpoint: Endpoint) -> None:
        impostors = self.keys.impostors(self.world, self.app)
        for caller in some(impostors, 5, of=f"callers of {endpoint.path}", always=3):
            answer = await self._ask(endpoint, caller)
            self._judge(endpoint, caller, answer, refused=answer.status_code in (401, 403))
        if endpoint.action is not None:
            caller = Caller("a key with every other scope", self.keys.lacking[endpoint.action.permission])
            answer = await self._ask(endpoint, caller)
            refused = answer.status_code == 403 and answer.json()["reason"] == "missing_scope"
            self._judge(endpoint, caller, answer, refused=refused)
        globex = Caller("Globex", self.keys.globex)
        if _list_parameters(endpoint):
            foreign, unknown = await self._ask(endpoint, globex), await self._ask(endpoint, globex, "zz")
            refused = foreign.status_code == 404 and _strip(foreign) == _strip(unknown)
            self._judge(
                endpoint, replace(globex, name="Globex, as of an unknown id"), foreign, refused=refused
            )
        elif endpoint.method == "GET":
            answer = await self._ask(endpoint, globex)
            self._judge(endpoint, globex, answer, refused=True)
        await self._attack_with_test_key(endpoint)
        for other in {"GET", "POST", "PUT", "PATCH", "DELETE"} - {
            candidate.method for candidate in ENDPOINTS if candidate.path == endpoint.path
        }:
            answer = await self._ask(replace(endpoint, method=other), Caller("Acme", self.keys.acme))
            refused = answer.status_code == 405
            self._judge(endpoint, Caller(f"{other} instead"), answer, refused=refused)

    async def _attack_with_test_key(self, endpoint: Endpoint) -> None:
        """It gets what a foreign key gets, and `test_mode` where test mode has nothing of the kind."""
        caller = Caller("Acme's test key", self.keys.test)
        answer = await self._ask(endpoint, caller)
        is_leak = any(word in answer.text for word in self.world.private(self.world.acme))
        is_absent = answer.status_code == 403 and answer.json()["reason"] == Reason.TEST_MODE
        refused = is_absent or not _list_parameters(endpoint)
        if not refused:
            unknown = await self._ask(endpoint, caller, "zz")
            refused = answer.status_code == 404 and _strip(answer) == _strip(unknown)
        name = f"{endpoint.method} {endpoint.path}: {caller.name}: {answer.status_code}"
        self.report.attempt(KIND, name, refused=refused and not is_leak)

    async def control(self, endpoint: Endpoint) -> None:
        answer = await self._ask(endpoint, Caller("Acme", self.keys.acme))
        name = f"{endpoint.method} {endpoint.path}: {answer.status_code}"
        self.report.control(KIND, name, works=answer.status_code in ACCEPTED)

    def _judge(self, endpoint: Endpoint, caller: Caller, answer: httpx.Response, *, refused: bool) -> None:
        is_leak = any(word in answer.text for word in self.world.words(self.world.acme))
        name = f"{endpoint.method} {endpoint.path}: {caller.name}: {answer.status_code}"
        self.report.attempt(KIND, name, refused=refused and not is_leak)

    def _choose_id(self, parameter: str) -> str:
        """Of a row of Acme that its own keys may change: nobody but an owner changes an owner."""
        if parameter == "key_id":  # of a service account: nobody changes the key of another person
            rows = self.world.rows("api_key", "tenant_id", self.world.acme)
            return min(row["id"] for row in rows if row["service_account_id"] is not None)
        if parameter == "notification_id":  # of the person whose key it is
            rows = self.world.rows("notification", "tenant_id", self.world.acme)
            return min(row["id"] for row in rows if row["user_id"] == self.world.ann.user.id)
        if parameter == "file_id":
            rows = self.world.rows("stored_file", "tenant_id", self.world.acme)
            return max(row["id"] for row in rows if (row["kind"], row["state"]) == ("upload", "ready"))
        if parameter == "correction_id":  # of Acme alone; others have ids that both tenants have
            return self.world.claims(parameter, self.world.acme)[0]
        if parameter == "member_id":
            rows = self.world.rows("membership", "tenant_id", self.world.acme)
            return min(row["id"] for row in rows if row["role"] in ("member", "viewer"))
        return self.world.claims(IDS.get(parameter, parameter), self.world.acme)[-1]

    async def _ask(self, endpoint: Endpoint, caller: Caller, suffix: str = "") -> httpx.Response:
        """Rows are named by ids of Acme. `suffix`: makes ids that nobody has."""
        path = endpoint.path
        for name in _list_parameters(endpoint):
            value = self._choose_id(name)
            path = path.replace(f"{{{name}}}", f"{value}{suffix}")
        if query := QUERIES.get(endpoint.handler.__name__):
            path = f"{path}?{urlencode(query)}"
        headers = {"accept": "application/json", "if-match": '"1"'}
        if caller.key:
            headers["authorization"] = f"Bearer {caller.key}"
        sent: dict[str, Any] = {}
        if takes_body(endpoint):
            sent["json"] = BODIES[endpoint.handler.__name__](self.world, self.world.acme)
        if takes_file(endpoint):
            sent |= {"content": b"A report", "params": {"name": "report.txt"}}
        return await self.app.ask(
            endpoint.method, PREFIX + path, caller.cookie, origin=None, headers=headers, **sent
        )


def _strip(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.text.replace(answer.headers["x-request-id"], "REQUEST")


async def _make_keys(world: World) -> Keys:
    async def create(cookie: str, slug: str, **changed: Any) -> keys.CreatedKey:
        async with entry.enter_tenant(cookie, slug) as ctx:
            request = keys.KeyRequest(name="Attack", scopes=keys.list_scopes(ctx))
            return await keys.create(ctx, replace(request, **changed))

    async def create_for_acme(**changed: Any) -> keys.CreatedKey:
        return await create(world.ann.cookie, world.acme_slug, **changed)

    async with entry.enter_tenant(world.ann.cookie, world.acme_slug) as ctx:
        scopes = keys.list_scopes(ctx)
    revoked, expired = await create_for_acme(), await create_for_acme()
    former_member = await create(world.roles["admin"].cookie, world.acme_slug)
    with world.superuser() as superuser:
        superuser.execute("update api_key set revoked_at = now() where id = %s", [revoked.key.id])
        superuser.execute("update api_key set expires_at = now() where id = %s", [expired.key.id])
        superuser.execute(
            "update membership set state = 'removed', ended_at = now() where tenant_id = %s and user_id = %s",
            [world.acme, world.roles["admin"].user.id],
        )
    async with entry.enter_tenant(world.ann.cookie, world.acme_slug) as ctx:
        await test_tenants.turn_on(ctx)
    asked = {endpoint.action.permission for endpoint in ENDPOINTS if endpoint.action is not None}
    return Keys(
        acme=(await create_for_acme()).text,
        globex=(await create(world.gil.cookie, world.globex_slug)).text,
        revoked=revoked.text,
        expired=expired.text,
        elsewhere=(await create_for_acme(networks=["203.0.113.0/24"])).text,
        former_member=former_member.text,
        test=(await create_for_acme(mode=TenantMode.TEST)).text,
        lacking={
            scope: (await create_for_acme(scopes=[other for other in scopes if other != scope])).text
            for scope in sorted(asked)
        },
    )
