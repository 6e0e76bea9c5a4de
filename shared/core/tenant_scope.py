"""The tenant of the transaction in progress in this task, which every log record inside it has to name."""

from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("tenant_scope", default="")


def change(tenant_id: str) -> str:
    """`tenant_id`: "" for none. Returns the one before, which the caller sets again at the end."""
    before = _current.get()
    _current.set(tenant_id)
    return before


def current() -> str:
    return _current.get()
