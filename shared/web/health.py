"""Liveness and readiness endpoints for the process supervisor or orchestrator."""

from functools import cache
from pathlib import Path

from alembic.script import ScriptDirectory
from redis.asyncio import Redis
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.core import db, log
from shared.core.config import settings
from shared.web import app_sites, metrics

ROOT = Path(__file__).resolve().parents[2]


async def show_liveness(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def show_readiness(request: Request) -> Response:
    """503 names the part that is missing. It never gives the cause, because this address is public."""
    checks = {"database": await _check_database(app_sites.get_site(request).realm.db_role)}
    if settings().redis_url is not None:
        checks["redis"] = await _check_redis()
    is_ready = all(status == "ok" for status in checks.values())
    return JSONResponse(
        {"status": "ready" if is_ready else "not ready", "checks": checks}, 200 if is_ready else 503
    )


async def _check_database(role: db.DatabaseRole) -> str:
    try:
        async with db.transaction(role) as session:
            connection = await session.connection()
            versions = (
                (await connection.execute(text("select version_num from alembic_version"))).scalars().all()
            )
    except Exception as problem:  # any error means not ready
        log.get_logger(__name__).warning("not_ready", part="database", problem=type(problem).__name__)
        return "unreachable"
    return "ok" if set(versions) == list_migration_heads() else "migrations missing"


@cache
def list_migration_heads() -> set[str]:
    return set(ScriptDirectory(str(ROOT / "alembic")).get_heads())


async def _check_redis() -> str:
    redis_url = settings().redis_url
    assert redis_url is not None
    try:
        client = Redis.from_url(redis_url.get_secret_value(), socket_timeout=1, socket_connect_timeout=1)
        async with client:
            await client.execute_command("PING")  # type: ignore[no-untyped-call]
    except Exception as problem:
        log.get_logger(__name__).warning("not_ready", part="redis", problem=type(problem).__name__)
        return "unreachable"
    return "ok"


ROUTES = [Route("/healthz", show_liveness), Route("/readyz", show_readiness)]
METRICS_ROUTE = Route("/metrics", metrics.show_metrics)
