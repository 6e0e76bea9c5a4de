"""Webhooks as if they had come in: stored as intake stores them."""

import asyncio

from sqlalchemy import text

from shared.billing.models import PLATFORM, InboundWebhook
from shared.core import db
from shared.core.db import now
from shared.core.ids import new_id


async def store_webhooks(customer: str, count: int = 1, *, account: str = PLATFORM) -> list[str]:
    ids = [new_id("evt") for _ in range(count)]
    async with db.transaction() as session:
        connection = await session.connection()
        for event_id in ids:
            row = InboundWebhook(
                account_id=account,
                event_id=event_id,
                type="customer.subscription.updated",
                livemode=False,
                created_at=now(),
                customer_id=customer,
                payload=b"{}",
            )
            await connection.execute(InboundWebhook.__table__.insert().values(row.model_dump()))  # type: ignore[attr-defined]
    return ids


async def count_by_status(customer: str) -> dict[str, int]:
    async with db.transaction() as session:
        connection = await session.connection()
        result = await connection.execute(
            text("select status, count(*) from inbound_webhook where customer_id = :customer group by 1"),
            {"customer": customer},
        )
        return {row[0]: row[1] for row in result.all()}


async def make_webhooks_due(customer: str, *, parked_only: bool = False) -> None:
    """What waits is due now."""
    waiting = ["parked"] if parked_only else ["parked", "pending"]
    async with db.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text(
                "update inbound_webhook set due_at = clock_timestamp()"
                " where customer_id = :customer and status = any(:waiting)"
            ),
            {"customer": customer, "waiting": waiting},
        )


async def wait_until_processed(customer: str, patience: float = 10) -> None:
    """Until nothing that came for this customer waits any more."""
    for _ in range(int(patience / 0.02)):
        if not {"pending", "working", "parked"} & (await count_by_status(customer)).keys():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(await count_by_status(customer))
