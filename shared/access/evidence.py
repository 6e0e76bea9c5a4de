"""What was decided, counted: every refusal by person, what was allowed by tenant, and errors of ours beside them.

Counted in memory and written by hour, each line at most once in ten seconds: a flood of refused attempts is one row
whose number grows. What a killed process had not written yet is lost; a count is a lower bound. Whoever writes takes
out what is older than `KEPT`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from sqlalchemy.exc import SQLAlchemyError

from shared.access import repository
from shared.access.actions import Action
from shared.access.models import DecisionTally
from shared.access.reasons import ALLOWING
from shared.core import db, log
from shared.core.ctx import Ctx, Rights
from shared.core.db import now
from shared.core.errors import DomainError, Refused

EVERY = 10.0  # seconds between two writes of one line
KEPT = timedelta(days=90)  # the reports look twelve weeks back
ERROR = "error"  # the reason of a bug
EVERYBODY = ""  # actor of what was allowed: nobody counts what a person did right


class Asked(Protocol):
    """Whose refusal it is: a `Ctx`, or whoever was refused before there was one."""

    @property
    def tenant_id(self) -> str: ...
    @property
    def actor_id(self) -> str: ...
    @property
    def rights(self) -> Rights: ...


class Line(NamedTuple):
    hour: datetime
    actor_id: str
    action: str
    reason: str
    plan: str


@dataclass(slots=True)
class Count:
    count: int = 0
    at: datetime | None = None
    request_id: str = ""
    written: float = 0.0


_counts: dict[str, dict[Line, Count]] = {}  # by tenant


def note_allowed(ctx: Ctx, action: Action, reason: str) -> None:
    """Of what a plan, a limit or a flag could have refused, and of what changes something.

    Once for a transaction, however often it asks: with the last reason, and not at all if it is refused in the end.
    """
    if action.writes or action.feature or action.flag or action.limit:
        ctx.decided[action.name] = reason


def note_refused(asked: Asked, action: str, reason: str, request_id: str) -> None:
    _note(asked.tenant_id, asked.actor_id, action, reason, asked.rights.plan, request_id)


def note_error(ctx: Ctx) -> None:
    _note(ctx.tenant_id, EVERYBODY, "", ERROR, ctx.rights.plan, ctx.request_id)


def _note(tenant_id: str, actor_id: str, action: str, reason: str, plan: str, request_id: str) -> None:
    at = now()
    line = Line(_hour(at), actor_id, action, str(reason), plan)
    count = _counts.setdefault(tenant_id, {}).setdefault(line, Count())
    count.count, count.at, count.request_id = count.count + 1, at, request_id


@dataclass(slots=True)
class Decided:
    """Whose decisions they are, once that is known."""

    ctx: Ctx | None = None

    def by(self, ctx: Ctx) -> None:
        self.ctx = ctx


@asynccontextmanager
async def written() -> AsyncIterator[Decided]:
    """Around a transaction: counts how it ended and, when it has ended, writes what is due of its tenant."""
    decided = Decided()
    try:
        yield decided
    except Refused as refused:
        if decided.ctx is not None and refused.action:
            decided.ctx.decided.pop(refused.action, None)
            note_refused(decided.ctx, refused.action, refused.reason, decided.ctx.request_id)
        raise
    except DomainError:
        raise
    except Exception:
        if decided.ctx is not None:
            note_error(decided.ctx)
        raise
    finally:
        if (ctx := decided.ctx) is not None:
            for action, reason in ctx.decided.items():
                _note(ctx.tenant_id, EVERYBODY, action, reason, ctx.rights.plan, ctx.request_id)
            await write(ctx.tenant_id)


async def write(tenant_id: str, *, all: bool = False) -> None:
    """What is due of one tenant, in a transaction of its own: the one that was refused is gone."""
    lines, clock = _counts.get(tenant_id, {}), time.monotonic()
    due: dict[tuple[datetime, str, str, str, str], tuple[int, datetime, str]] = {}
    for line, count in list(lines.items()):
        if count.count and (all or clock - count.written >= EVERY):
            due[line] = (count.count, count.at or now(), count.request_id)
            count.count, count.written = 0, clock
        elif not count.count and line.hour < _hour(now()):
            del lines[line]
    if not lines:
        _counts.pop(tenant_id, None)
    if not due:
        return
    try:
        async with db.transaction(tenant_id=tenant_id) as session:
            await repository.forget_counts(session, tenant_id, now() - KEPT)
            await repository.add_counts(session, tenant_id, due)
    except SQLAlchemyError:  # counting must not break what was counted
        log.get(__name__).exception("decisions_not_counted", tenant_id=tenant_id)
        lines = _counts.setdefault(tenant_id, {})  # another one by now, if nothing was left to count
        for again, (lost, at, request_id) in due.items():
            lines.setdefault(Line(*again), Count(at=at, request_id=request_id)).count += lost


async def list_refused(
    ctx: Ctx, *, action: str = "", request_id: str = "", limit: int = 50
) -> Sequence[DecisionTally]:
    """What was refused to this tenant, newest first; errors of ours too. For services that were asked for their right."""
    return await repository.list_refused(
        ctx, sorted(ALLOWING), action=action, request_id=request_id, limit=limit
    )


async def flush() -> None:
    for tenant_id in list(_counts):
        await write(tenant_id, all=True)


async def run() -> None:
    """A lifespan task: writes what nobody's next request would write, and what is left at the end."""
    try:
        while True:
            await asyncio.sleep(EVERY)
            for tenant_id in list(_counts):
                await write(tenant_id)
    finally:
        await flush()


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
