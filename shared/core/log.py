"""Structured logs: one JSON object a line, with tenant and request id, never with a secret.

Values are redacted by the names of their keys, then every text of the record by the shapes of secrets: other libraries
print our objects, headers and cookies included. A line has a bounded length, whatever a client sends.
"""

import json
import logging
import re
import sys
import traceback
from collections import deque
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from shared.core import request_ids, tenant_scope, trace_ids
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import NoTenant
from shared.core.ids import new_id

SECRET_NAMES = re.compile(r"password|secret|token|cookie|authorization|code|dek|seed|api_?key", re.IGNORECASE)
SECRET_TEXT = re.compile(
    r"(?i)\b((?:token|code|password|secret|key)=)[^&\s\"']+|\b(?:bk|rk|sk|whsec)_[A-Za-z0-9_]+"
)
HIDDEN = "[hidden]"
HEADER_TEXT = re.compile(  # a header in a repr or in plain text: hidden up to the next quote or line
    r"""(?i)(\b(?:set-|proxy-)?(?:cookie|authorization)\b\\*["']?\s*[:=]\s*b?\\*["']?)[^'"\\\r\n]+"""
)
COOKIE_TEXT = re.compile(r"(__(?:Host|Secure)-[\w-]+=)[^\s;,'\"\\]+")
URL_PASSWORD = re.compile(r"(://[^\s:/@'\"\\]+:)[^\s/@'\"\\]+(?=@)")
WEBHOOK_PATH = re.compile(r"(/webhooks/stripe/)[\w-]+")
SECRET_SHAPES = re.compile(
    r"(?<![\w-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])[\w-]{40,}"  # a random token: first, as it may hold the next one
    r"|(?<![0-9a-fA-F])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9a-fA-F])"  # a client token
    r"|(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"  # a signature, or the hash of a token
    r"|\b\d{1,9}:[A-Za-z0-9+/]{43}="  # a master key
)
MAX_TEXT, MAX_EXCEPTION, MAX_LINE = 2_000, 12_000, 20_000  # characters
MAX_ITEMS = 50  # of a list or an object inside a line
MAX_NEW_BUGS = 1_000  # in memory of one process, until they are stored
PROJECT = Path(__file__).parents[2]
_requires_tenants = False
KEPT_NAMES = (
    "tenant_id",
    "event",
    "level",
    "timestamp",
    "request_id",
    "trace_id",
)  # in a line that is too long
# Libraries that attach handlers of their own, with levels that keep them quiet but for problems.
LIBRARY_LEVELS = {
    "engineio.server": "ERROR",
    "socketio.server": "ERROR",
    "httpx": "WARNING",  # it and Stripe's SDK print addresses and answers with the emails of customers
    "stripe": "WARNING",
    "reflex": "WARNING",
    "uvicorn": "WARNING",
    "uvicorn.access": "WARNING",
    "uvicorn.error": "WARNING",
}


def _redact_event(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    return {key: HIDDEN if SECRET_NAMES.search(key) else _redact_value(value) for key, value in event.items()}


def _redact_value(value: Any) -> Any:
    if isinstance(value, str):
        return SECRET_TEXT.sub(lambda match: (match.group(1) or "") + HIDDEN, value)
    if isinstance(value, dict):
        return {
            key: HIDDEN if SECRET_NAMES.search(str(key)) else _redact_value(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redact_value(item) for item in value]
    return value


def redact_record(_: Any, __: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Bounds every text of a record and hides secrets by their shape. The last processor before rendering."""
    exception = event.pop("exception", None)
    record: dict[str, Any] = _to_safe_value(dict(event))
    if exception is not None:
        record["exception"] = hide_secrets(_shorten(str(exception), MAX_EXCEPTION))
    return record


def _to_safe_value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {
            hide_secrets(_shorten(str(key), 100)): _to_safe_value(value[key])
            for key in list(value)[:MAX_ITEMS]
        }
    if isinstance(value, list | tuple):
        return [_to_safe_value(item) for item in value[:MAX_ITEMS]]
    return hide_secrets(_shorten(value if isinstance(value, str) else repr(value), MAX_TEXT))


def hide_secrets(text: str) -> str:
    for pattern in (HEADER_TEXT, COOKIE_TEXT, URL_PASSWORD, WEBHOOK_PATH):
        text = pattern.sub(lambda match: match.group(1) + HIDDEN, text)
    return SECRET_SHAPES.sub(HIDDEN, text)


def _shorten(text: str, max_characters: int) -> str:
    """Keeps the beginning and the end, where a traceback names the error."""
    if len(text) <= max_characters:
        return text
    half = max_characters // 2
    return f"{text[:half]} … {len(text) - 2 * half} characters left out … {text[-half:]}"


def _shorten_line(_: Any, __: str, line: Any) -> str:
    """A rendered line; one with many long values keeps what it is found by."""
    if len(line) <= MAX_LINE:
        return str(line)
    record = json.loads(line)
    kept = {name: record[name] for name in KEPT_NAMES if name in record}
    if "exception" in record:
        kept["exception"] = _shorten(record["exception"], MAX_TEXT)
    return json.dumps(kept | {"line_too_long": len(line)})


def require_tenants() -> None:
    """For tests: from now on a log call raises NoTenant that names no tenant in a transaction of one."""
    global _requires_tenants
    _requires_tenants = True


def add_context(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Adds tenant, actor type, action, and the ids of the request in progress and its trace to every line.

    The tenant is "-" outside of tenants. A call inside a tenant's transaction has to name it: raises NoTenant after
    `require_tenants`, and fills it in otherwise.
    """
    line = {"tenant_id": "-", **request_ids.log_fields(), **event}
    tenant_id = tenant_scope.current()
    if tenant_id and event.get("tenant_id", "") in ("", "-"):
        if _requires_tenants and event.get("_from_structlog", True):
            raise NoTenant(f"the log call {event.get('event')} in the transaction of a tenant names none")
        line["tenant_id"] = tenant_id
    if line.get("request_id"):
        line["trace_id"] = trace_ids.derive(str(line["request_id"]))
    return line


PROCESSORS: list[Any] = [
    add_context,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _redact_event,
]


def configure(level: str = "INFO") -> None:
    """Once per process. Other libraries' records go the same way."""
    structlog.configure(
        processors=[*PROCESSORS, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=PROCESSORS,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact_record,
            structlog.processors.JSONRenderer(),
            _shorten_line,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.setLevel(level)  # also for libraries that have a lower level
    logging.basicConfig(handlers=[handler], level=level, force=True)
    _take_over_libraries()


def _take_over_libraries() -> None:
    """Their records reach our handler only. A level that is set keeps socket.io from adding a handler later."""
    for name, library_level in LIBRARY_LEVELS.items():
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(library_level)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def bind_logger(ctx: Ctx | OperatorCtx, name: str) -> structlog.stdlib.BoundLogger:
    """A logger that names tenant, actor and request on every line, and the person for whom an operator acts."""
    tenant_id = ctx.tenant_id if isinstance(ctx, Ctx) else tenant_scope.current() or "-"
    logger = get_logger(name).bind(tenant_id=tenant_id, actor_id=ctx.actor_id, request_id=ctx.request_id)
    person = ctx.on_behalf_of if isinstance(ctx, Ctx) else None
    return logger.bind(on_behalf_of=person.id) if person is not None else logger


def get_tenant_logger(name: str) -> structlog.stdlib.BoundLogger:
    """For code that has no context: names the tenant of the transaction or else of the request in progress."""
    scope = request_ids.get_scope()
    tenant_id = tenant_scope.current() or (scope.tenant_id if scope is not None else "") or "-"
    return get_logger(name).bind(tenant_id=tenant_id)


def report_outage(exception: BaseException, **facts: Any) -> None:
    """Logs that something we need is away. Thousands of requests may say so, so there is no traceback."""
    request_ids.note_failure()
    if tenant_id := tenant_scope.current():
        facts = {"tenant_id": tenant_id, **facts}
    get_logger("outage").warning("unavailable", problem=type(exception).__name__, **facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    id: str
    at: datetime
    request_id: str
    problem: str  # the type of the exception; its text may hold data of a tenant
    place: str  # the last line of ours, as "shared/tenancy/members.py:120 in remove_member"; "" for none


_new_bugs: deque[Bug] = deque(maxlen=MAX_NEW_BUGS)


def report_bug(exception: BaseException, **facts: Any) -> str:
    """Logs a bug with its traceback and returns the id of the request, under which operators find it."""
    request_id = str(facts.pop("request_id", "")) or request_ids.current()
    request_ids.note_failure()
    if tenant_id := tenant_scope.current():
        facts = {"tenant_id": tenant_id, **facts}
    get_logger("bug").error("bug", exc_info=exception, request_id=request_id, **facts)
    while isinstance(exception, BaseExceptionGroup):
        exception = exception.exceptions[0]
    bug = Bug(
        id=new_id("bug"),
        at=datetime.now(UTC),
        request_id=request_id,
        problem=type(exception).__name__,
        place=_find_place(exception),
    )
    _new_bugs.append(bug)
    return request_id


def take_new_bugs() -> list[Bug]:
    """Bugs that were reported since the last call, the oldest first."""
    bugs = []
    with suppress(IndexError):  # another thread may be adding some
        while True:
            bugs.append(_new_bugs.popleft())
    return bugs


def put_back(bugs: Sequence[Bug]) -> None:
    """Bugs that were taken and couldn't be stored. The oldest are dropped where there are too many."""
    newer = take_new_bugs()
    _new_bugs.extend([*bugs, *newer])


def _find_place(exception: BaseException) -> str:
    place = ""
    for frame, line in traceback.walk_tb(exception.__traceback__):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PROJECT) and "site-packages" not in path.relative_to(PROJECT).parts:
            place = f"{path.relative_to(PROJECT)}:{line} in {frame.f_code.co_name}"
    return place
