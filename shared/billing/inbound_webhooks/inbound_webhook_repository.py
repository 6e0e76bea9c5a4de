"""SQL of the webhook inbox: claim, finish, park, give up, replay."""

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

# Due, or claimed with an expired lease. Paused accounts are excluded where this is used.
DUE_CONDITION = """(
    (i.status in ('pending', 'parked') and i.due_at <= clock_timestamp())
    or (i.status = 'working' and i.leased_until < clock_timestamp())
)"""
# Accounts take turns; customers in progress count as turns of their account. In an account the customer with the oldest
# webhook is first. Many webhooks of one customer are one piece of work, which isn't started twice, and so are those of
# one object whose customer has to be found out.
CLAIM_WEBHOOKS = text(f"""
    with waiting as (
        select i.account_id, i.customer_id, i.object_id, min(i.received_at) as first from inbound_webhook i
        join provider_account a on a.id = i.account_id and a.paused_at is null
        where {DUE_CONDITION} and (i.account_id, i.customer_id, i.object_id) not in (
            select * from unnest(
                cast(:busy_accounts as text[]), cast(:busy_customers as text[]), cast(:busy_objects as text[]))
        )
        group by 1, 2, 3
    ), busy as (
        select account_id, count(distinct (customer_id, object_id)) as number from inbound_webhook
        where status = 'working' and leased_until >= clock_timestamp() group by 1
    ), due as (
        select account_id, customer_id, object_id from waiting left join busy using (account_id)
        order by coalesce(number, 0)
            + row_number() over (partition by account_id order by first, customer_id, object_id), first
        limit :most
    ), taken as (
        select i.account_id, i.event_id from inbound_webhook i join due using (account_id, customer_id, object_id)
        where {DUE_CONDITION} for update of i skip locked
    )
    update inbound_webhook b set status = 'working', claim = :claim, attempts = b.attempts + 1,
        leased_until = clock_timestamp() + cast(:lease as interval)
    from taken t where b.account_id = t.account_id and b.event_id = t.event_id
    returning b.account_id, b.customer_id, b.object_id, b.event_id, b.attempts,
        extract(epoch from clock_timestamp() - b.received_at)
""")  # noqa: S608  our own words
CLAIM_CONDITION = (
    "claim = :claim and account_id = :account_id and customer_id = :customer_id and object_id = :object_id"
    " and status = 'working'"
)
MARK_PROCESSED = text(f"""
    update inbound_webhook set status = 'done', done_at = clock_timestamp(), leased_until = null, error = '' where {CLAIM_CONDITION}
    returning event_id
""")  # noqa: S608
# For customers of another product in the same account.
MARK_IGNORED = text(f"""
    update inbound_webhook set status = 'ignored', done_at = clock_timestamp(), leased_until = null, error = ''
    where {CLAIM_CONDITION}
""")  # noqa: S608
# A customer that was once synced without having a tenant. The caller has looked for its tenant.
RECORD_FOREIGN = text("""
    insert into customer_sync as s (account_id, customer_id, synced_at) values (:account_id, :customer_id, clock_timestamp())
    on conflict (account_id, customer_id) do update set synced_at = excluded.synced_at
""")
IS_FOREIGN = text("""
    select exists (select from customer_sync where account_id = :account_id and customer_id = :customer_id
        and synced_at > clock_timestamp() - cast(:age as interval))
""")
# `counts`: whether it was an attempt. Outages and rate limits of the provider don't count.
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


ClaimKey = tuple[str, str, str]  # account, customer and object


@dataclass(frozen=True, slots=True)
class WebhookClaim:
    """The webhooks of one customer, claimed by this worker.

    Without a customer: of one object, or those of prices.
    """

    claim_id: str
    account_id: str
    customer_id: str
    object_id: str  # "" with a customer
    event_ids: tuple[str, ...]
    attempts: int  # the maximum of its webhooks, this one included
    waited_s: float  # seconds, of the oldest

    @property
    def key(self) -> ClaimKey:
        return self.account_id, self.customer_id, self.object_id


async def claim_webhooks(
    session: AsyncSession,
    claim_id: str,
    limit: int,
    lease: timedelta,
    busy: Collection[ClaimKey] = (),
) -> list[WebhookClaim]:
    """Claims the due webhooks of up to `limit` customers.

    `claim_id`: unique. `busy`: in progress, skipped.
    """
    connection = await session.connection()
    values = {"claim": claim_id, "most": limit, "lease": lease}
    values |= {
        "busy_accounts": [claim_key[0] for claim_key in busy],
        "busy_customers": [claim_key[1] for claim_key in busy],
        "busy_objects": [claim_key[2] for claim_key in busy],
    }
    rows = await connection.execute(CLAIM_WEBHOOKS, values)
    events_by_key: dict[ClaimKey, dict[str, tuple[int, float]]] = {}
    for account_id, customer_id, object_id, event_id, attempts, waited in rows.all():
        claim_key = account_id, customer_id, object_id
        events_by_key.setdefault(claim_key, {})[event_id] = (attempts, float(waited))
    return [
        WebhookClaim(
            *(claim_id, *key, tuple(sorted(events))),
            max(attempts for attempts, _ in events.values()),
            max(waited for _, waited in events.values()),
        )
        for key, events in sorted(events_by_key.items())
    ]


def _claim_values(claim: WebhookClaim) -> dict[str, object]:
    return {
        "claim": claim.claim_id,
        "account_id": claim.account_id,
        "customer_id": claim.customer_id,
        "object_id": claim.object_id,
    }


async def mark_processed(session: AsyncSession, claim: WebhookClaim) -> tuple[str, ...]:
    """Marks the claim's webhooks done, in the transaction that synced the customer. Later webhooks stay due.

    Returns their ids, without those that another worker claimed after our lease ended.
    """
    connection = await session.connection()
    result = await connection.execute(MARK_PROCESSED, _claim_values(claim))
    return tuple(sorted(result.scalars()))


async def is_known_as_foreign(
    session: AsyncSession, account_id: str, customer_id: str, max_age: timedelta
) -> bool:
    """Whether the provider said lately that this customer, which has no tenant, is none of ours."""
    connection = await session.connection()
    values = {"account_id": account_id, "customer_id": customer_id, "age": max_age}
    return bool((await connection.execute(IS_FOREIGN, values)).scalar_one())


async def record_foreign_customer(session: AsyncSession, account_id: str, customer_id: str) -> None:
    connection = await session.connection()
    await connection.execute(RECORD_FOREIGN, {"account_id": account_id, "customer_id": customer_id})


async def ignore_webhooks(session: AsyncSession, claim: WebhookClaim) -> None:
    """Marks the claim's webhooks as none of ours."""
    connection = await session.connection()
    await connection.execute(MARK_IGNORED, _claim_values(claim))


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
    """Schedules a retry. After `max_attempts` counted attempts the webhooks become dead letters."""
    connection = await session.connection()
    values = {"wait": delay, "error": error, "most": max_attempts, "counts": counts_as_attempt}
    await connection.execute(
        RELEASE_WEBHOOKS, _claim_values(claim) | values | {"back": "parked" if is_parked else "pending"}
    )


async def get_customer_tenant_id(session: AsyncSession, account_id: str, customer_id: str) -> str:
    """Id of the tenant that has this customer; "" while it is unknown."""
    connection = await session.connection()
    result = await connection.execute(CUSTOMER_TENANT, {"account_id": account_id, "customer_id": customer_id})
    return str(result.scalar_one())


async def take_ticket(session: AsyncSession) -> int:
    connection = await session.connection()
    return int((await connection.execute(NEXT_TICKET)).scalar_one())


async def lock_customer_if_newest(
    session: AsyncSession, account_id: str, customer_id: str, ticket: int
) -> bool:
    """Whether no sync with a later ticket was written. Locks the customer until commit."""
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
    """(account, customer, tenant) ids not synced since then, of all tenants, longest first."""
    connection = await session.connection()
    rows = await connection.execute(STALE_CUSTOMERS, {"since": since, "most": limit})
    return [(row[0], row[1], row[2]) for row in rows.all()]


async def delete_old_webhooks(session: AsyncSession) -> None:
    """Deletes webhooks that were finished long ago."""
    connection = await session.connection()
    await connection.execute(DELETE_OLD_WEBHOOKS)


async def listen_for_webhooks(channel: str, wake_event: asyncio.Event, retry_delay_s: float) -> None:
    """Sets `wake_event` for every notification on `channel`.

    Runs until cancelled and reconnects when the connection breaks.
    """
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                db.login_url("app", direct=True), autocommit=True
            ) as connection:
                await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
                async for _ in connection.notifies():
                    wake_event.set()
        except (OSError, psycopg.Error):
            await asyncio.sleep(retry_delay_s)
