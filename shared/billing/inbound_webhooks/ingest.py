"""Stores each webhook unchanged and once, before the request is answered.

Requests share one statement: those that arrive while one is running wait for the next and are answered after *its*
commit. So an answer guarantees storage, and costs only a share of a commit.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.billing.inbound_webhooks import ingest_repository as repository
from shared.billing.inbound_webhooks.ingest_repository import CHANNEL as CHANNEL
from shared.billing.inbound_webhooks.ingest_repository import ReceivedWebhook
from shared.billing.inbound_webhooks.signature import ThinEvent, WebhookEvent
from shared.core import db, log
from shared.core.db import RawConnection

MAX_FLUSHES = 2  # one statement fills while the other commits
MAX_BATCH_ROWS, MAX_BATCH_BYTES = 200, 8 << 20  # of one statement
MAX_PENDING_BYTES = 64 << 20  # bytes
STORE_TIMEOUT_S = 8.0  # Stripe gives up soon after
THIN_PREFIX = "v1."  # thin events have the types of snapshots with it
# Types that can change our records of a customer. Others are stored and need no work.
CUSTOMER_EVENT_PREFIXES = (
    *(
        "charge.dispute.",
        "charge.refund",
        "checkout.session.",
        "credit_note.",
        "customer.",
        "invoice.",
        "invoiceitem.",
        "payment_method.",
    ),
    *("radar.early_fraud_warning.", "refund.", "subscription_schedule."),
)

# Somebody may have changed or archived a price or its product, so that nobody can buy it.
PRICE_EVENTS = ("price.deleted", "price.updated", "product.deleted", "product.updated")


class WebhookNotStored(Exception):
    """The webhook is not stored; the sender has to send it again."""


@dataclass(slots=True)
class PendingWebhook:
    row: ReceivedWebhook
    is_new: "asyncio.Future[bool]"  # whether it was new


@dataclass(slots=True)
class WebhookBatcher:
    """Stores concurrent webhooks in batches. No task runs while none arrives."""

    pending: list[PendingWebhook] = field(default_factory=list)
    pending_bytes: int = 0  # bytes that wait
    flush_count: int = 0
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)  # the only references

    async def add(self, row: ReceivedWebhook) -> bool:
        """Whether it was new, after the commit. Raises WebhookNotStored."""
        if self.pending_bytes > MAX_PENDING_BYTES:
            raise WebhookNotStored("too much is waiting")
        pending = PendingWebhook(row, asyncio.get_running_loop().create_future())
        self.pending.append(pending)
        self.pending_bytes += len(row.payload)
        if self.flush_count < MAX_FLUSHES:
            self.flush_count += 1
            task = asyncio.create_task(self._flush())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        return await pending.is_new

    async def _flush(self) -> None:
        """Stores batches until none waits."""
        try:
            while batch := self._next_batch():
                try:
                    async with db.raw_connection() as connection:
                        while batch:
                            async with asyncio.timeout(STORE_TIMEOUT_S):
                                await _store_batch(connection, batch)
                            batch = self._next_batch()
                except Exception as problem:
                    _reject_batch(batch, problem)
        except BaseException as problem:  # the process is ending
            _reject_batch([*batch, *self.pending], problem)
            raise
        finally:
            self.flush_count -= 1  # before other tasks run, because a new webhook has to start another flush

    def _next_batch(self) -> list[PendingWebhook]:
        size = count = 0
        for pending in self.pending[:MAX_BATCH_ROWS]:
            if count and size + len(pending.row.payload) > MAX_BATCH_BYTES:
                break
            count += 1
            size += len(pending.row.payload)
        batch, self.pending = self.pending[:count], self.pending[count:]
        self.pending_bytes -= size
        return batch


_batcher = WebhookBatcher()


async def store_webhook(account_id: str, event: WebhookEvent | ThinEvent, body: bytes) -> bool:
    """Stores a webhook. Returns whether it was new. Raises WebhookNotStored."""
    kind = event.type.removeprefix(THIN_PREFIX)
    is_about_customer = kind.startswith(CUSTOMER_EVENT_PREFIXES)
    concerns = kind in PRICE_EVENTS or (is_about_customer and (event.customer_id or event.object_id))
    return await _batcher.add(
        ReceivedWebhook(
            account_id,
            event.id,
            event.type,
            event.livemode,
            event.api_version or "",
            event.created_at,
            event.customer_id,
            body,
            "pending" if concerns else "ignored",
            event.object_id if is_about_customer else "",
        )
    )


async def _store_batch(connection: RawConnection, batch: Sequence[PendingWebhook]) -> None:
    try:
        _resolve_batch(
            batch, await repository.insert_webhooks(connection, [pending.row for pending in batch])
        )
    except repository.ROW_ERRORS as problem:
        if len(batch) == 1:
            _reject_batch(batch, problem)
            return
        for pending in batch:  # one by one, so that a rejected row doesn't affect the others
            await _store_batch(connection, [pending])


def _resolve_batch(batch: Sequence[PendingWebhook], new: set[tuple[str, str]]) -> None:
    for pending in batch:
        key = pending.row.account_id, pending.row.event_id
        if not pending.is_new.done():  # otherwise the request was cancelled
            pending.is_new.set_result(key in new)
        new.discard(key)  # the same event twice in one batch is new once


def _reject_batch(batch: Sequence[PendingWebhook], problem: BaseException) -> None:
    log.get_logger(__name__).error("webhooks_not_stored", count=len(batch), problem=type(problem).__name__)
    for pending in batch:
        if not pending.is_new.done():
            pending.is_new.set_exception(WebhookNotStored(type(problem).__name__))
