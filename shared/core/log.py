"""Structured logs: one JSON object a line, with tenant and request id, never with a secret."""

import logging
import re
import sys
from typing import Any

import structlog

from shared.core.context import Ctx, OperatorCtx
from shared.core.ids import new_id

SECRET_NAMES = re.compile(r"password|secret|token|cookie|authorization|code|dek|seed|api_?key", re.IGNORECASE)
SECRET_TEXT = re.compile(
    r"(?i)\b((?:token|code|password|secret|key)=)[^&\s\"']+|\b(?:bk|rk|sk|whsec)_[A-Za-z0-9_]+"
)
HIDDEN = "[hidden]"


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


def _add_tenant_id(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Adds the tenant id to every line, "-" outside of tenants."""
    return {"tenant_id": "-", **event}


PROCESSORS: list[Any] = [
    _add_tenant_id,
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
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level, force=True)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def bind_logger(ctx: Ctx | OperatorCtx, name: str) -> structlog.stdlib.BoundLogger:
    """A logger that names tenant, actor and request on every line."""
    tenant_id = ctx.tenant_id if isinstance(ctx, Ctx) else "-"
    return get_logger(name).bind(tenant_id=tenant_id, actor_id=ctx.actor_id, request_id=ctx.request_id)


def new_request_id() -> str:
    return new_id("req")


def report_bug(exception: BaseException, **facts: Any) -> str:
    """Logs a bug with its traceback and returns the id under which support finds it."""
    request_id = str(facts.pop("request_id", "")) or new_request_id()
    get_logger("bug").error("bug", exc_info=exception, request_id=request_id, **facts)
    return request_id
