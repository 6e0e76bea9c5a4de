"""What comes in by webhook is kept as it came, once, before anybody is told that it arrived.

Many requests share one statement: while one is under way, those that come wait for the next one and are answered
after *its* commit. So an answer is a promise, and costs a share of a commit.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.billing import intake_repository as repository
from shared.billing.envelope import Envelope
from shared.billing.intake_repository import CHANNEL as CHANNEL
from shared.billing.intake_repository import Received
from shared.core import db, log
from shared.core.db import Bare

FLUSHERS = 2  # one statement fills while the other commits
MOST, MOST_BYTES = 200, 8 << 20  # of one statement
MOST_WAITING = 64 << 20  # bytes
WITHIN = 8.0  # seconds for a statement; who sends webhooks gives up soon after
# What may change what we keep of a customer. Anything else is kept too, and needs no work.
CONCERNS = (
    *("charge.refund", "checkout.session.", "credit_note.", "customer.", "invoice.", "payment_method."),
    *("refund.", "subscription_schedule."),
)


class NotStored(Exception):
    """Nothing is promised: whoever sent it has to send it again."""


@dataclass(slots=True)
class Waiting:
    row: Received
    answer: "asyncio.Future[bool]"  # whether it was new


@dataclass(slots=True)
class Intake:
    """Nothing runs here while nothing comes."""

    waiting: list[Waiting] = field(default_factory=list)
    size: int = 0  # bytes that wait
    flushing: int = 0
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)  # nobody else holds them

    async def store(self, row: Received) -> bool:
        """Whether it was new, after the commit. Raises NotStored."""
        if self.size > MOST_WAITING:
            raise NotStored("too much is waiting")
        one = Waiting(row, asyncio.get_running_loop().create_future())
        self.waiting.append(one)
        self.size += len(row.payload)
        if self.flushing < FLUSHERS:
            self.flushing += 1
            task = asyncio.create_task(self._flush())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        return await one.answer

    async def _flush(self) -> None:
        """Until nothing waits."""
        try:
            while batch := self._next():
                try:
                    async with db.bare() as connection:
                        while batch:
                            async with asyncio.timeout(WITHIN):
                                await _store(connection, batch)
                            batch = self._next()
                except Exception as problem:
                    _refuse(batch, problem)
        except BaseException as problem:  # the process is ending
            _refuse([*batch, *self.waiting], problem)
            raise
        finally:
            self.flushing -= 1  # before anybody else runs: who comes now has to start another one

    def _next(self) -> list[Waiting]:
        size = count = 0
        for one in self.waiting[:MOST]:
            if count and size + len(one.row.payload) > MOST_BYTES:
                break
            count += 1
            size += len(one.row.payload)
        batch, self.waiting = self.waiting[:count], self.waiting[count:]
        self.size -= size
        return batch


_intake = Intake()


async def store(account_id: str, event: Envelope, body: bytes) -> bool:
    """Whether it was new, once it is safe. Raises NotStored."""
    concerns = event.customer_id and event.type.startswith(CONCERNS)
    return await _intake.store(
        Received(
            account_id,
            event.id,
            event.type,
            event.livemode,
            event.api_version or "",
            repository.moment(event.created),
            event.customer_id,
            body,
            "pending" if concerns else "ignored",
        )
    )


async def _store(connection: Bare, batch: Sequence[Waiting]) -> None:
    try:
        _answer(batch, await repository.store(connection, [one.row for one in batch]))
    except repository.NOT_TAKEN as problem:
        if len(batch) == 1:
            _refuse(batch, problem)
            return
        for one in batch:  # what the database does not take takes nothing else with it
            await _store(connection, [one])


def _answer(batch: Sequence[Waiting], new: set[tuple[str, str]]) -> None:
    for one in batch:
        key = one.row.account_id, one.row.event_id
        if not one.answer.done():  # or who asked has gone
            one.answer.set_result(key in new)
        new.discard(key)  # the same event twice in one batch is new once


def _refuse(batch: Sequence[Waiting], problem: BaseException) -> None:
    log.get(__name__).error("webhooks_not_stored", count=len(batch), problem=type(problem).__name__)
    for one in batch:
        if not one.answer.done():
            one.answer.set_exception(NotStored(type(problem).__name__))
