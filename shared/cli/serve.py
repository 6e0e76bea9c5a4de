"""One process per app, on 127.0.0.1, from the build. Ends when whoever supervises it is gone."""

import os
import signal
import threading
import time
from urllib.parse import urlsplit

from shared.cli.build import web
from shared.core import log
from shared.core.config import Misconfigured, settings


def serve(which: str) -> None:
    log.configure()
    end_with_supervisor()
    if which == "stand-ins":
        if settings().production:
            raise Misconfigured("stand-ins do not run in production")
        from shared.dev.stand_ins import run  # noqa: PLC0415

        run()
        return
    if which not in ("tenant", "admin"):
        raise Misconfigured("serve tenant, admin or stand-ins")
    os.environ |= {
        "BULKHEAD_APP": which,
        "REFLEX_ENV_MODE": "prod",
        "__REFLEX_SKIP_COMPILE": "1",
        "__REFLEX_MOUNT_FRONTEND_COMPILED_APP": "1",
    }
    if not (web(which) / "build" / "client").exists():
        raise Misconfigured(f"the {which} app is not built; run: bulkhead build")
    from granian import Granian  # noqa: PLC0415
    from granian.constants import Interfaces  # noqa: PLC0415

    url = urlsplit(settings().tenant_url if which == "tenant" else settings().admin_url)
    Granian(
        f"{which}_app.{which}_app:app",
        address="127.0.0.1",
        port=int(os.environ.get("PORT") or url.port or 3000),
        interface=Interfaces.ASGI,
        factory=True,
        workers=1,
        log_access=False,
        workers_kill_timeout=3,
    ).serve()


def end_with_supervisor() -> None:
    """A supervisor that was killed cannot stop us; so we look whether it is still there."""
    parent = int(os.environ.get("BULKHEAD_SUPERVISOR", "0"))
    if parent:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while True:
        time.sleep(0.5)
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
            os._exit(1)
