"""Is the process alive, and can it work? For whoever starts and watches it."""

from functools import cache
from pathlib import Path

from alembic.script import ScriptDirectory
from redis.asyncio import Redis
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.api import metrics, sites
from shared.core import db, log
from shared.core.config import settings

ROOT = Path(__file__).resolve().parents[2]


async def alive(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """503 names the part that is missing, never why: this address is open."""
    checks = {"database": await _database(sites.of(request).realm.db_role)}
    if settings().redis_url is not None:
        checks["redis"] = await _redis()
    well = all(said == "ok" for said in checks.values())
    return JSONResponse({"status": "ready" if well else "not ready", "checks": checks}, 200 if well else 503)


async def _database(role: db.Role) -> str:
    try:
        async with db.transaction(role) as session:
            connection = await session.connection()
            found = (
                (await connection.execute(text("select version_num from alembic_version"))).scalars().all()
            )
    except Exception as problem:  # whatever it is: not ready
        log.get(__name__).warning("not_ready", part="database", problem=type(problem).__name__)
        return "unreachable"
    return "ok" if set(found) == _heads() else "migrations missing"


@cache
def _heads() -> set[str]:
    return set(ScriptDirectory(str(ROOT / "alembic")).get_heads())


async def _redis() -> str:
    given = settings().redis_url
    assert given is not None
    try:
        client = Redis.from_url(given.get_secret_value(), socket_timeout=1, socket_connect_timeout=1)
        async with client:
            await client.execute_command("PING")  # type: ignore[no-untyped-call]
    except Exception as problem:
        log.get(__name__).warning("not_ready", part="redis", problem=type(problem).__name__)
        return "unreachable"
    return "ok"


ROUTES = [Route("/healthz", alive), Route("/readyz", ready)]
METRICS = Route("/metrics", metrics.show)
