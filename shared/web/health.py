"""Liveness and readiness endpoints for the process supervisor or orchestrator."""

import asyncio
import time
from functools import cache
from pathlib import Path

from alembic.script import ScriptDirectory
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.core import db, log
from shared.core.config import settings
from shared.core.schema_fingerprint import SHOWN, list_differences
from shared.web import app_sites, metrics

ROOT = Path(__file__).resolve().parents[2]
DATABASE_TIMEOUT_S = 3
SCHEMA_COMPARED_FOR_S = 300
SELECT_REVISION = text("select version_num from alembic_version")
HAS_SCHEMA_VERSION = text("select to_regclass('schema_version')::text")
SELECT_WORKS_WITH = text("select works_with from schema_version where revision = :revision")
_ending_checks = set[asyncio.Task[str]]()  # or they could be collected while they end
_schema_compared_at: dict[str, float] = {}  # by revision: when its content was found right


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
    check = asyncio.create_task(_connect_and_check_schema(role))
    # Not `asyncio.timeout`: a statement takes long to cancel where the server hangs, and the probe does not wait for it.
    await asyncio.wait({check}, timeout=DATABASE_TIMEOUT_S)
    if check.done():
        return check.result()
    check.cancel()
    _ending_checks.add(check)
    check.add_done_callback(_ending_checks.discard)
    log.get_logger(__name__).warning("not_ready", part="database", problem="no answer")
    return "unreachable"


async def _connect_and_check_schema(role: db.DatabaseRole) -> str:
    try:
        async with db.engine(role).connect() as connection:
            return await _check_schema(connection)
    except Exception as problem:  # any error means not ready
        log.get_logger(__name__).warning("not_ready", part="database", problem=type(problem).__name__)
        return "unreachable"


async def _check_schema(connection: AsyncConnection) -> str:
    """A newer schema is fine where its migration says that it works with a revision that this code knows."""
    revision = (await connection.execute(SELECT_REVISION)).scalar_one_or_none()
    if revision in list_known_revisions():
        if revision not in list_migration_heads():
            return "migrations missing"
        return "ok" if await _is_schema_published(connection, revision) else "schema differs"
    if revision is None or (await connection.execute(HAS_SCHEMA_VERSION)).scalar_one() is None:
        return "schema unknown"
    works_with = (await connection.execute(SELECT_WORKS_WITH, {"revision": revision})).scalar_one_or_none()
    return "ok" if works_with in list_known_revisions() else "schema too new"


async def _is_schema_published(connection: AsyncConnection, revision: str) -> bool:
    """Compared again after some minutes: it reads the whole catalog, and probes ask every few seconds."""
    compared_at = _schema_compared_at.get(revision)
    if compared_at is None or time.monotonic() - compared_at > SCHEMA_COMPARED_FOR_S:
        differences = await connection.run_sync(list_differences, revision)
        if differences:
            log.get_logger(__name__).warning("schema_differs", objects=differences[:SHOWN])
            return False
        _schema_compared_at[revision] = time.monotonic()
    return True


@cache
def list_migration_heads() -> set[str]:
    return set(ScriptDirectory(str(ROOT / "alembic")).get_heads())


@cache
def list_known_revisions() -> set[str]:
    """Every migration that this code has."""
    return {script.revision for script in ScriptDirectory(str(ROOT / "alembic")).walk_revisions()}


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
