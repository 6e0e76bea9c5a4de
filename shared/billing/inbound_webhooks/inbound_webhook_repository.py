"""SQL of the inbox: claim, settle, park, bury, wake."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg import sql
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import db
from shared.core.db import now

# Due, or taken by somebody who was never heard of again. Accounts that are paused wait.
DUE_CONDITION = """(
    (i.status in ('pending', 'parked') and i.due_at <= clock_timestamp())
    or (i.status = 'working' and i.leased_until < clock_timestamp())
)"""
# Accounts take turns, and one that keeps us waiting has had its turns. In an account the oldest customer is first,
# however much came for one of them: a flood for one is one piece of work, and is not begun twice at once.
CLAIM_WEBHOOKS = text(f"""
    with waiting as (
        select i.account_id, i.customer_id, min(i.received_at) as first from inbound_webhook i
        join provider_account a on a.id = i.account_id and a.paused_at is null
        where {DUE_CONDITION} and (i.account_id, i.customer_id) not in (
            select * from unnest(cast(:busy_accounts as text[]), cast(:busy_customers as text[]))
        )
        group by 1, 2
    ), busy as (
        select account_id, count(distinct customer_id) as number from inbound_webhook
        where status = 'working' and leased_until >= clock_timestamp() group by 1
    ), due as (
        select account_id, customer_id from waiting left join busy using (account_id)
        order by coalesce(number, 0) + row_number() over (partition by account_id order by first, customer_id), first
        limit :most
    ), taken as (
        select i.account_id, i.event_id from inbound_webhook i join due using (account_id, customer_id)
        where {DUE_CONDITION} for update of i skip locked
    )
    update inbound_webhook b set status = 'working', claim = :claim, attempts = b.attempts + 1,
        leased_until = clock_timestamp() + cast(:lease as interval)
    from taken t where b.account_id = t.account_id and b.event_id = t.event_id
    returning b.account_id, b.customer_id, b.event_id, b.attempts,
        extract(epoch from clock_timestamp() - b.received_at)
""")  # noqa: S608  our own words
CLAIM_CONDITION = (
    "claim = :claim and account_id = :account_id and customer_id = :customer_id and status = 'working'"
)
MARK_PROCESSED = text(f"""
    update inbound_webhook set status = 'done', done_at = clock_timestamp(), leased_until = null, error = '' where {CLAIM_CONDITION}
    returning event_id
""")  # noqa: S608
MARK_IGNORED = text(f"""
    update inbound_webhook set status = 'ignored', done_at = clock_timestamp(), leased_until = null, error = :why where {CLAIM_CONDITION}
""")  # noqa: S608
# `counts`: whether the try was one. Who is down, or asked too often, is not the fault of what came.
RELEASE_WEBHOOKS = text(f"""
    update inbound_webhook set
        status = case when :counts and attempts >= :most then 'dead' else :back end,
        attempts = case when :counts then attempts else attempts - 1 end,
        due_at = clock_timestamp() + cast(:wait as interval), leased_until = null, error = left(:error, 500)
    where {CLAIM_CONDITION}
""")  # noqa: S608
CUSTOMER_TENANT = text("select find_customer_tenant(:account_id, :customer_id)")
NEXT_TICKET = text("select nextval('billing_ticket')")
REPLAY_WEBHOOK = text("""
    update inbound_webhook set status = 'pending', due_at = clock_timestamp(), attempts = 0, error = '', done_at = null
    where account_id = :account_id and event_id = :event_id and status in ('dead', 'parked', 'done', 'ignored')
    returning customer_id
""")
LOCK_CUSTOMER = text("""
    insert into customer_sync as s (account_id, customer_id, ticket, synced_at)
    values (:account_id, :customer_id, :ticket, :at)
    on conflict (account_id, customer_id) do update set ticket = excluded.ticket, synced_at = excluded.synced_at
    where s.ticket < excluded.ticket returning 1
""")
DELETE_OLD_WEBHOOKS = text("""
    delete from inbound_webhook where status in ('done', 'ignored') and received_at < clock_timestamp() - interval '60 days'
""")
STALE_CUSTOMERS = text("select account, customer, tenant from list_unsynced_customers(:since, :most)")


@dataclass(frozen=True, slots=True)
class WebhookClaim:
    """What came for one customer, taken by us."""

    claim_id: str
    account_id: str
    customer_id: str
    event_ids: tuple[str, ...]
    attempts: int  # the most of any of them, this one included
    waited_s: float  # seconds, of the oldest


async def claim_webhooks(
    session: AsyncSession,
    claim_id: str,
    limit: int,
    lease: timedelta,
    busy: Collection[tuple[str, str]] = (),
) -> list[WebhookClaim]:
    """`most` customers. `name` is this claim's alone. `busy`: (account, customer) that are being looked at."""
    connection = await session.connection()
    values = {"claim": claim_id, "most": limit, "lease": lease}
    values |= {
        "busy_accounts": [customer_key[0] for customer_key in busy],
        "busy_customers": [customer_key[1] for customer_key in busy],
    }
    rows = await connection.execute(CLAIM_WEBHOOKS, values)
    events_by_customer: dict[tuple[str, str], dict[str, tuple[int, float]]] = {}
    for account_id, customer_id, event_id, attempts, waited in rows.all():
        events_by_customer.setdefault((account_id, customer_id), {})[event_id] = (attempts, float(waited))
    return [
        WebhookClaim(
            *(claim_id, *key, tuple(sorted(events))),
            max(attempts for attempts, _ in events.values()),
            max(waited for _, waited in events.values()),
        )
        for key, events in sorted(events_by_customer.items())
    ]


def _claim_values(claim: WebhookClaim) -> dict[str, object]:
    return {"claim": claim.claim_id, "account_id": claim.account_id, "customer_id": claim.customer_id}


async def mark_processed(session: AsyncSession, claim: WebhookClaim) -> tuple[str, ...]:
    """In the transaction that did it. Only what was claimed with it: what came since has yet to be looked at.

    Their ids; without those that somebody else has taken since, because we took too long.
    """
    connection = await session.connection()
    result = await connection.execute(MARK_PROCESSED, _claim_values(claim))
    return tuple(sorted(result.scalars()))


async def mark_ignored(session: AsyncSession, claim: WebhookClaim, reason: str) -> None:
    connection = await session.connection()
    await connection.execute(MARK_IGNORED, _claim_values(claim) | {"why": reason})


async def release_webhooks(
    session: AsyncSession,
    claim: WebhookClaim,
    delay: timedelta,
    error: str,
    *,
    max_attempts: int,
    counts_as_attempt: bool = True,
    is_parked: bool = False,
) -> None:
    """For another try. The try of number `most` that counts was the last one."""
    connection = await session.connection()
    values = {"wait": delay, "error": error, "most": max_attempts, "counts": counts_as_attempt}
    await connection.execute(
        RELEASE_WEBHOOKS, _claim_values(claim) | values | {"back": "parked" if is_parked else "pending"}
    )


async def get_customer_tenant_id(session: AsyncSession, account_id: str, customer_id: str) -> str:
    """Id of the tenant whose customer this is; "" when nobody knows it (yet)."""
    connection = await session.connection()
    result = await connection.execute(CUSTOMER_TENANT, {"account_id": account_id, "customer_id": customer_id})
    return str(result.scalar_one())


async def take_ticket(session: AsyncSession) -> int:
    connection = await session.connection()
    return int((await connection.execute(NEXT_TICKET)).scalar_one())


async def lock_customer_if_newest(
    session: AsyncSession, account_id: str, customer_id: str, ticket: int
) -> bool:
    """Whether no look that began later has been written. Locks the customer until commit."""
    connection = await session.connection()
    values = {"account_id": account_id, "customer_id": customer_id, "ticket": ticket, "at": now()}
    return (await connection.execute(LOCK_CUSTOMER, values)).first() is not None


async def replay_webhook(session: AsyncSession, account_id: str, event_id: str) -> bool:
    connection = await session.connection()
    result = await connection.execute(REPLAY_WEBHOOK, {"account_id": account_id, "event_id": event_id})
    return result.first() is not None


async def list_stale_customers(
    session: AsyncSession, since: datetime, limit: int
) -> Sequence[tuple[str, str, str]]:
    """(account, customer, tenant) not looked at since then, the longest first. Of every tenant: ids only."""
    connection = await session.connection()
    rows = await connection.execute(STALE_CUSTOMERS, {"since": since, "most": limit})
    return [(row[0], row[1], row[2]) for row in rows.all()]


async def delete_old_webhooks(session: AsyncSession) -> None:
    """What was settled long ago."""
    connection = await session.connection()
    await connection.execute(DELETE_OLD_WEBHOOKS)


async def listen_for_webhooks(channel: str, wake_event: asyncio.Event, retry_delay_s: float) -> None:
    """Sets `told` whenever something is said there. Until cancelled; a connection that breaks is opened again."""
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                db.login_url("app"), autocommit=True
            ) as connection:
                await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
                async for _ in connection.notifies():
                    wake_event.set()
        except (OSError, psycopg.Error):
            await asyncio.sleep(retry_delay_s)
