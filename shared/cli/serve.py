"""One process per app, from its build. One process and no more: killed, it leaves no child that holds the port."""

import os
import resource

import uvicorn

from shared import modules
from shared.cli import login_checks, parent_watch, ports
from shared.cli.frontend_build import is_built
from shared.cli.http_protocol import BoundedHttpProtocol
from shared.core import db, log, tracing
from shared.core.config import ConfigurationError, settings
from shared.core.socket_frames import MAX_FRAME

APPS = ("tenant", "admin")
SHUTDOWN_TIMEOUT = (
    3  # seconds for open requests; sockets are closed at once, and the pages come back by themselves
)


def serve(part: str, host: str = "", port: int = 0) -> None:
    """Blocks. `host` and `port` differ from the public address behind a proxy."""
    parent_watch.end_with_supervisor()
    log.configure()
    if part == "stand-ins":
        _serve_stand_ins(host, port)
    elif part in APPS:
        _serve_app(part, host, port)
    else:
        raise ConfigurationError("serve tenant, admin or stand-ins")


def run_server(app: object, url: str, host: str = "", port: int = 0) -> None:
    uvicorn.Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            host=host or ports.LOCAL,
            port=port or ports.port_of(url),
            http=BoundedHttpProtocol,
            ws="websockets-sansio",
            ws_max_size=MAX_FRAME,
            limit_concurrency=_max_connections(),
            lifespan="on",
            log_config=None,  # its records go to our formatter; `log.configure` sets the levels
            access_log=False,
            proxy_headers=False,  # TRUSTED_PROXY_HOPS decides, in one place
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
        )
    ).run()


def _max_connections() -> int:
    """More are answered with 503, while files are left for the database and for logs."""
    max_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(100, min(max_files * 4 // 5, 10_000))


def _serve_app(app_name: str, host: str, port: int) -> None:
    if not is_built(app_name):
        raise ConfigurationError(
            f"the {app_name} app is not built from these sources for this address; run: bulkhead build"
        )
    modules.load()
    tracing.configure(app_name)
    role: db.DatabaseRole = "app" if app_name == "tenant" else "operator"
    if settings().is_production:
        login_checks.require_member(role, f"{app_name} app")
    login_checks.require_direct_connection(role)
    os.environ |= {
        "BULKHEAD_APP": app_name,
        "REFLEX_ENV_MODE": "prod",
        "__REFLEX_SKIP_COMPILE": "1",
        "__REFLEX_MOUNT_FRONTEND_COMPILED_APP": "1",
    }
    if app_name == "tenant":
        from tenant_app.tenant_app import app  # its import registers its handlers, so only one
    else:
        from admin_app.admin_app import app
    run_server(app(), settings().tenant_url if app_name == "tenant" else settings().admin_url, host, port)


def _serve_stand_ins(host: str, port: int) -> None:
    if settings().is_production:
        raise ConfigurationError("stand-ins do not run in production")
    from shared.dev import stand_ins

    run_server(stand_ins.build_app(), settings().sandbox_url, host, port)
