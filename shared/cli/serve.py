"""One process per app, from its build. One process and no more: killed, it leaves no child that holds the port."""

import os

import uvicorn

from shared.cli import lifeline, ports
from shared.cli.build import is_built
from shared.core import log
from shared.core.config import Misconfigured, settings

APPS = ("tenant", "admin")
CLOSE_WITHIN = (
    3  # seconds for open requests; sockets are closed at once, and the pages come back by themselves
)


def serve(which: str, host: str = "", port: int = 0) -> None:
    """Blocks. `host` and `port` differ from the public address behind a proxy."""
    lifeline.end_with_supervisor()
    log.configure()
    if which == "stand-ins":
        _serve_stand_ins(host, port)
    elif which in APPS:
        _serve_app(which, host, port)
    else:
        raise Misconfigured("serve tenant, admin or stand-ins")


def run(app: object, url: str, host: str = "", port: int = 0) -> None:
    uvicorn.Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            host=host or ports.LOCAL,
            port=port or ports.port_of(url),
            ws="websockets-sansio",
            lifespan="on",
            log_level="warning",  # at "info" it writes socket addresses, and with them client tokens
            access_log=False,
            proxy_headers=False,  # TRUSTED_PROXY_HOPS decides, in one place
            server_header=False,
            timeout_graceful_shutdown=CLOSE_WITHIN,
        )
    ).run()


def _serve_app(which: str, host: str, port: int) -> None:
    if not is_built(which):
        raise Misconfigured(
            f"the {which} app is not built from these sources for this address; run: bulkhead build"
        )
    os.environ |= {
        "BULKHEAD_APP": which,
        "REFLEX_ENV_MODE": "prod",
        "__REFLEX_SKIP_COMPILE": "1",
        "__REFLEX_MOUNT_FRONTEND_COMPILED_APP": "1",
    }
    if which == "tenant":
        from tenant_app.tenant_app import app  # its import registers its handlers, so only one
    else:
        from admin_app.admin_app import app
    run(app(), settings().tenant_url if which == "tenant" else settings().admin_url, host, port)


def _serve_stand_ins(host: str, port: int) -> None:
    if settings().production:
        raise Misconfigured("stand-ins do not run in production")
    from shared.dev import stand_ins

    run(stand_ins.app(), settings().sandbox_url, host, port)
