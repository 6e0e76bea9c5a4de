"""The REST API: what a key costs beside its handler, a list beside its service, an idempotency key beside none.

Figures are CPU time of this process for one request, the driver of the requests included; the database's is not. Both
sides run in turn in each round, on the app's real middleware.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import psycopg
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Scope

from shared.access.endpoints import ENDPOINTS
from shared.api_keys import keys
from shared.api_keys.keys import KeyRequest
from shared.core import db
from shared.core.config import settings
from shared.core.ids import new_id
from shared.entitlements import rights_cache
from shared.tenancy import entry, key_entry, members
from shared.web import http_app, tenant_http
from shared.web.app_sites import TENANT
from shared.web.rest.api_realms import TENANT_API
from tests.bench import databases
from tests.bench.broken import Broken
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.people import fill
from tests.bench.rows import Result, counted, ratios
from tests.support import database, factories

JSON_TYPE, ROTATION = {"content-type": "application/json"}, b'{"overlap_hours": 0}'
LIMITS = (
    "BULKHEAD_API_KEY_REQUESTS_PER_MINUTE",
    "BULKHEAD_API_TENANT_REQUESTS_PER_MINUTE",
    "BULKHEAD_TENANT_REQUESTS_PER_SECOND",
    "BULKHEAD_REQUESTS_PER_SECOND",
)
PAGE = 50  # members
ROWS = {  # what is measured, what it is compared with, and what the control measures
    "api/key": ("keyed", "bare", "uncompiled"),
    "api/list": ("list", "service", "one-by-one"),
    "api/idempotent": ("idempotent", "plain", "twice"),
}
Send = Callable[[], Awaitable[None]]


@dataclass
class ApiTimings:
    """CPU microseconds of one request, by round."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def result(self, goal: Goal) -> Result:
        row_side, peer, control = ROWS[goal.control_of or goal.name]
        name = control if goal.control_of else row_side
        return Result(
            goal, ratios(*([timings[side] for timings in counted(self.rounds)] for side in (name, peer)))
        )


@dataclass(frozen=True, slots=True)
class Target:
    admission: key_entry.KeyAdmission
    text: str
    member_id: str
    rotated_id: str  # of another key, which is given new texts


def measure(options: Options) -> ApiTimings:
    timings, repetitions = ApiTimings(), 3 if options.tiny else 40
    with databases.built("api") as name, _unlimited():
        timings.rounds = asyncio.run(_measure(name, options, repetitions))
    return timings


@contextmanager
def _unlimited() -> Iterator[None]:
    """Requests are counted, and none is refused."""
    with patch.dict(os.environ, dict.fromkeys(LIMITS, "1000000")):
        settings.cache_clear()
        yield
    settings.cache_clear()


async def _measure(name: str, options: Options, repetitions: int) -> list[dict[str, float]]:
    try:
        target = await _prepare(name)
        sides = _list_sides(target)
        return [
            {side: await _time(send, repetitions) for side, send in sides.items()}
            for _ in options.numbered("api")
        ]
    finally:
        await db.dispose()


async def _prepare(name: str) -> Target:
    owner = await factories.create_account("Ann")
    tenant = await factories.create_tenant(owner, "Bench")
    with psycopg.connect(database.admin_url(name), autocommit=True) as superuser:
        fill(superuser, [tenant.id], each=2 * PAGE)
    async with entry.enter_tenant(owner.cookie, tenant.slug) as ctx:
        created = await keys.create(ctx, KeyRequest(name="Bench", scopes=keys.list_scopes(ctx)))
        rotated = await keys.create(ctx, KeyRequest(name="Rotated", scopes=keys.list_scopes(ctx)))
        member_id = (await members.list_members(ctx, limit=1)).rows[0].id
    admission = await key_entry.authenticate_key(created.text, address="127.0.0.1")
    return Target(admission, created.text, member_id, rotated.key.id)


def _list_sides(target: Target) -> dict[str, Send]:
    member, page = f"/api/v1/members/{target.member_id}", f"/api/v1/members?limit={PAGE}"
    rotation = f"/api/v1/api-keys/{target.rotated_id}/rotate"
    bare_app = _build_bare_app(target.admission)

    async def call(app: ASGIApp, method: str, path: str, **headers: str) -> None:
        await _request(app, method, path, {"authorization": f"Bearer {target.text}", **headers})

    async def forget_rights() -> None:
        rights_cache.invalidate()
        await call(tenant_http.app, "GET", member)

    async def call_service() -> None:
        async with entry.enter_admitted(target.admission.tenant) as ctx:
            if len((await members.list_members(ctx, limit=PAGE)).rows) != PAGE:
                raise Broken("the service does not list a whole page")

    async def read_one_by_one() -> None:
        async with entry.enter_admitted(target.admission.tenant) as ctx:
            for row in (await members.list_members(ctx, limit=PAGE)).rows:
                await members.get(ctx, row.id)

    async def rotate(**headers: str) -> None:
        headers["authorization"] = f"Bearer {target.text}"
        await _request(tenant_http.app, "POST", rotation, JSON_TYPE | headers, ROTATION)

    async def rotate_twice() -> None:
        for _ in range(2):
            await rotate()

    return {
        "keyed": lambda: call(tenant_http.app, "GET", member),
        "bare": lambda: call(bare_app, "GET", member),
        "uncompiled": forget_rights,
        "list": lambda: call(tenant_http.app, "GET", page),
        "service": call_service,
        "one-by-one": read_one_by_one,
        "idempotent": lambda: rotate(**{"idempotency-key": new_id("idk")}),
        "plain": rotate,
        "twice": rotate_twice,
    }


async def _time(send: Send, repetitions: int) -> float:
    """CPU microseconds of one request."""
    await send()
    began = time.process_time()
    for _ in range(repetitions):
        await send()
    return max(time.process_time() - began, 1e-9) / repetitions * 1e6


def _build_bare_app(admission: key_entry.KeyAdmission) -> ASGIApp:
    """The same endpoints for whoever asks: each enters with an admission that was made before."""

    class BareRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                async with entry.enter_admitted(admission.tenant) as ctx:
                    request.state.ctx = ctx
                    return await handle(request)

            return answer

    router = APIRouter(prefix=TENANT_API.prefix, route_class=BareRoute)
    for endpoint in ENDPOINTS:
        router.add_api_route(endpoint.path, endpoint.handler, methods=[endpoint.method])
    return http_app.build_app(TENANT, api_routes=router.routes)


async def _request(app: ASGIApp, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> None:
    """Raises Broken for an answer that is no success. Without a client library, whose cost would hide the app's."""
    path, _, query = path.partition("?")
    status, messages = 0, [{"type": "http.request", "body": body, "more_body": False}]
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("bulkhead.test", 443),
    }

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    if not 200 <= status < 300:
        raise Broken(f"{method} {path} answered {status}")
