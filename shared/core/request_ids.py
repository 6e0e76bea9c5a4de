"""The id of the request in progress: one for all that an HTTP request, a socket event or a job does.

It is made at these three edges and never taken from the client. It travels on `Ctx`; what has no context, such as a log
record or a refusal before one, finds it here.
"""

from contextvars import ContextVar

from shared.core.ids import new_id

MAX_LENGTH = 40  # characters of an id that a job carries

_current: ContextVar[str] = ContextVar("request_id", default="")
_attempt: ContextVar[int] = ContextVar("attempt", default=0)


def begin(request_id: str = "", *, attempt: int = 0) -> str:
    """Begin a request in this task, with the id of an earlier one that it continues. Returns its id.

    `attempt`: of a job, from 1 on, which its log records name.
    """
    request_id = request_id[:MAX_LENGTH] or new_id("req")
    _current.set(request_id)
    _attempt.set(attempt)
    return request_id


def end() -> None:
    """What this task does from now on belongs to no request."""
    _current.set("")
    _attempt.set(0)


def current() -> str:
    """The id of the request in progress. Outside of any, as in a command, a new one each time."""
    return _current.get() or new_id("req")


def log_fields() -> dict[str, str | int]:
    """What a log record says of the request in progress; nothing outside of any."""
    fields: dict[str, str | int] = {"request_id": _current.get(), "attempt": _attempt.get()}
    return {name: value for name, value in fields.items() if value}
