"""`python -m tests.attack.serve tenant|admin [hole …]`: one app of the product without its compiled pages.

With a hole in it, if one is named: that is how the suite shows that it would notice. `--list` prints what there is
to attack instead of serving it, `--write-list FILE` writes it before serving.

`--fork` loads the app once and then forks a process for each line of the standard input, because loading takes seconds.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

DONE = "done"
LIBRARY_COOKIE = "q7Zt0AnaryXw-aP_2bK9vYd4LmN8cRfT1hGjU6eWiQxyz"  # a library logs it at every start
ENDING = 20  # seconds for an app to end
UNKNOWN = 0.1  # seconds in which nothing is answered to an event without a handler
PAGE = "<!doctype html><title>A page of the app</title>"  # the compiled ones hold no data either


def load(app_name: str, hole_names: list[str]) -> Any:
    """The app, whose import registers its handlers; then the holes are opened in it."""
    os.environ |= {
        "BULKHEAD_APP": app_name,
        "REFLEX_ENV_MODE": "prod",
        "__REFLEX_SKIP_COMPILE": "1",
        "__REFLEX_MOUNT_FRONTEND_COMPILED_APP": "1",
        "REFLEX_WEB_WORKDIR": str(_frontend(app_name)),
    }
    gc.disable()  # until all is loaded
    if app_name == "tenant":
        from tenant_app.tenant_app import app
    else:
        from admin_app.admin_app import app
    from shared.billing import provider_registry
    from shared.billing.models import PLATFORM
    from tests.attack import billed

    provider_registry.register(PLATFORM, billed.Shop())
    open_holes(hole_names)
    gc.freeze()  # nothing of it ever goes, so the collector need not look at it
    gc.set_threshold(50_000, 10, 10)  # as in the product's own processes
    gc.enable()
    return app


def open_holes(hole_names: list[str]) -> None:
    """Raises KeyError for an unknown name."""
    from tests.attack import holes

    for hole in hole_names:
        (holes.IN_APPS | holes.IN_TESTS)[hole]()


def _frontend(app_name: str) -> Path:
    web = Path(os.environ["BULKHEAD_DATA_DIR"]) / "attack" / app_name
    client = web / "build" / "client"
    client.mkdir(parents=True, exist_ok=True)
    for name in ("index.html", "404.html"):
        (client / name).write_text(PAGE)
    return web


def listing(app_name: str, app: Any) -> dict[str, Any]:
    """`handlers`: by name, with arguments, need, object and dialogs. `unmarked`: those without a need. `pages`, `routes`: of HTTP.

    `app`: loaded, and not called yet.
    """
    from reflex_base.registry import RegistrationContext

    from shared.ui.authorize import list_unmarked_handlers
    from shared.ui.object_state import ObjectState
    from tests.attack import forms

    handlers = {}
    for name, entry in RegistrationContext.get().event_handlers.items():
        if entry.handler.fn.__module__.startswith("reflex"):
            continue
        action = getattr(entry.handler.fn, "__action__", None)
        handlers[name] = {
            "arguments": forms.arguments(entry.handler.fn),
            "permission": str(action.permission) if action else "",
            "writes": action.writes if action else True,
            "page": getattr(entry.handler.fn, "__page__", False),
            "loads": getattr(entry.handler.fn, "__loads__", False),
            "shows_object": any(issubclass(state, ObjectState) for state in entry.states),
            "row_dialogs": _row_dialogs(entry) if name.endswith(".open_dialog") else [],
        }
    return {
        "handlers": handlers,
        "unmarked": list_unmarked_handlers(),
        "pages": {page["route"]: _load(page) for _, page in RegistrationContext.get().decorated_pages},
        "routes": _routes(app_name),
        "framework": sorted(getattr(route, "path", "") for route in app._api.routes),
    }


def _row_dialogs(entry: Any) -> list[str]:
    """Of a page's `open_dialog`: the dialogs about one row of its lists."""
    return [dialog for state in entry.states for dialog in getattr(state, "row_dialogs", ())]


def _load(page: dict[str, Any]) -> str:
    """Name of the handler that runs when the page opens."""
    from reflex_base.utils.format import format_event_handler

    return format_event_handler(page["on_load"])


def _routes(app_name: str) -> list[str]:
    """As in "POST /auth/sign-in". Before the app is called: then everything of Reflex hangs below them."""
    from starlette.routing import Route

    if app_name == "tenant":
        from shared.web.tenant_http import app
    else:
        from shared.web.admin_http import app
    assert all(isinstance(route, Route) for route in app.routes), (
        "a mount would hide its routes from the attacks"
    )
    return sorted(
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, Route)
        for method in sorted((route.methods or {"*"}) - {"HEAD"})
    )


def tell_when_done(app: Any) -> None:
    """After all that an event led to, a packet that no page knows: nobody has to guess how long silence lasts."""
    from reflex_base.event.processor import BaseStateEventProcessor as Processor
    from reflex_base.registry import RegistrationContext

    from shared.ui.event_entry import EventEntry

    enqueue, on_event, telling = Processor.enqueue, EventEntry.on_event, set[asyncio.Task[None]]()
    has_enqueued = ContextVar[list[bool]]("has_enqueued")  # of the frame that is being read

    async def tell(processor: Any, token: str, future: Any, name: str) -> None:
        if name in RegistrationContext.get().event_handlers:
            with suppress(Exception, asyncio.CancelledError):
                await future.wait_all()
        else:
            await asyncio.sleep(UNKNOWN)  # Reflex drops it, and never says so to the future
        while future.txid in processor._tasks:  # noqa: ASYNC110  the handler of exceptions goes on
            await asyncio.sleep(0.001)
        if sid := app.event_namespace.token_to_sid.get(token):
            await app.event_namespace.emit(DONE, to=sid)

    async def answer_and_tell(entry: EventEntry, sid: str, data: Any) -> None:
        """What the entry answers itself, or drops, never reaches the queue."""
        has_enqueued.set(holder := [False])
        await on_event(entry, sid, data)
        if not holder[0]:
            await entry.emit(DONE, to=sid)

    async def enqueue_and_tell(processor: Any, token: str, event: Any, ev_ctx: Any = None) -> Any:
        if (holder := has_enqueued.get(None)) is not None:
            holder[0] = True
        future = await enqueue(processor, token, event, ev_ctx)
        if future.parent is None:
            task = asyncio.create_task(tell(processor, token, future, event.name))
            telling.add(task)
            task.add_done_callback(telling.discard)
        return future

    Processor.enqueue = enqueue_and_tell  # type: ignore[method-assign]
    EventEntry.on_event = answer_and_tell  # type: ignore[method-assign]


def main(app_name: str, app: Any, port: int) -> None:
    """`port`: where it is not the public address's, as behind a proxy; 0 where it is."""
    tell_when_done(app)
    from shared.cli import parent_watch
    from shared.cli.serve import run_server
    from shared.core import log
    from shared.core.config import settings

    parent_watch.end_with_parent(os.getppid())
    log.configure()
    logging.getLogger("some.library").warning(
        "request headers: %r", {"cookie": f"a=b; __Host-x={LIBRARY_COOKIE}"}
    )
    run_server(app(), settings().tenant_url if app_name == "tenant" else settings().admin_url, port=port)


def run(chosen: argparse.Namespace, app: Any) -> None:
    """Lists or serves the app, as the arguments say."""
    if chosen.list:
        print(json.dumps(listing(chosen.app_name, app)), flush=True)
        return
    if chosen.write_list:
        chosen.write_list.write_text(json.dumps(listing(chosen.app_name, app)))
    main(chosen.app_name, app, chosen.port)


def fork_for_requests(app: Any, answers: TextIO) -> None:
    """Answers each line of the standard input with a line in `answers`.

    `{"arguments": …, "environment": …, "output": …}` starts a process, whose id is the answer; `{"ended": id}` is
    answered with whether that process has ended, and `{"end": id}` after it has.
    """
    for line in sys.stdin:
        request = json.loads(line)
        if "arguments" in request:
            answer: Any = os.fork()
            if answer == 0:
                answers.close()
                _run_in_fork(request, app)
        else:
            answer = _end(request["end"]) if "end" in request else _has_ended(request["ended"])
        print(json.dumps(answer), file=answers, flush=True)


def _end(process_id: int) -> bool:
    """True when it ends by itself in time."""
    until = time.monotonic() + ENDING
    with suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGTERM)
        while not _has_ended(process_id):
            if time.monotonic() > until:
                os.kill(process_id, signal.SIGKILL)
                return False
            time.sleep(0.02)
    return True


def _has_ended(process_id: int) -> bool:
    try:
        return os.waitpid(process_id, os.WNOHANG)[0] == process_id
    except ChildProcessError:  # its end was told already
        return True


def _run_in_fork(request: dict[str, Any], app: Any) -> None:
    """Ends the process. It reads its settings anew, and writes into the file that the request names."""
    from shared.core import db
    from shared.core.config import settings
    from tests.attack import canary

    status = 1
    try:
        with Path(request["output"]).open("w") as output, Path(os.devnull).open() as nothing:
            for file, number in ((nothing, 0), (output, 1), (output, 2)):
                os.dup2(file.fileno(), number)
        os.environ |= request["environment"]
        settings.cache_clear()
        db.login_url.cache_clear()
        db.engine.cache_clear()
        chosen = parse(request["arguments"])
        canary.issued_path = chosen.write_issued
        open_holes(chosen.holes)
        run(chosen, app)
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("app_name", choices=["tenant", "admin"])
    parser.add_argument("holes", nargs="*")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--write-list", type=Path)
    parser.add_argument("--write-issued", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fork", action="store_true")
    return parser.parse_intermixed_args(words)


if __name__ == "__main__":
    arguments = parse(sys.argv[1:])
    if arguments.write_issued or arguments.fork:
        from tests.attack import canary

        canary.record_issued(arguments.write_issued)
    if arguments.fork:
        with os.fdopen(os.dup(1), "w") as pipe:
            os.dup2(2, 1)  # what is printed while the app loads is no answer
            fork_for_requests(load(arguments.app_name, arguments.holes), pipe)
    else:
        run(arguments, load(arguments.app_name, arguments.holes))
