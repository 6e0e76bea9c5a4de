"""Run something once more when the database ended its transaction because of another one.

Of two transactions that wait for each other the database ends one (40P01), and of two that can't be put into an order as
well (40001). The ended one has changed nothing. What ran is repeated once, unless a second run could do something twice:
an earlier transaction of it that wrote was committed, or the payment provider or the mail server was called.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from shared.core import log

T = TypeVar("T")
# https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html
CONFLICTS = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


@dataclass(eq=False, slots=True)
class _Run:
    has_effect: bool = False  # that stays, whatever happens next


_current_run: ContextVar[_Run | None] = ContextVar("current_run", default=None)


def is_conflict(error: BaseException) -> bool:
    """True when the database ended the transaction because of another one."""
    return isinstance(getattr(error, "orig", None) or error, CONFLICTS)


async def repeat_on_conflict(work: Callable[[], Awaitable[T]]) -> T:
    """The result of `work`, which opens its transactions itself. Raises as `work` does, in the second run at the latest."""
    outer_run, run = _current_run.get(), _Run()
    token = _current_run.set(run)
    try:
        return await work()
    except Exception as problem:
        if run.has_effect or not is_conflict(problem):
            raise
        log.get_tenant_logger(__name__).warning("transaction_repeated", problem=type(problem).__name__)
        return await work()
    finally:
        _current_run.reset(token)
        if outer_run is not None and run.has_effect:
            outer_run.has_effect = True


def note_effect() -> None:
    """A transaction that wrote was committed, or an outside service is called."""
    if (run := _current_run.get()) is not None:
        run.has_effect = True


@contextmanager
def outside_of_runs() -> Iterator[None]:
    """What is done inside may be done again, such as counting."""
    token = _current_run.set(None)
    try:
        yield
    finally:
        _current_run.reset(token)
