"""The statement that stores webhooks. It bypasses the ORM to keep the cost of a webhook low."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import psycopg

from shared.core.db import RawConnection

ROW_ERRORS = (psycopg.DataError, psycopg.IntegrityError)  # caused by a row
CHANNEL = "bulkhead_inbox"  # notifies of new webhooks; polling finds missed ones

# `%b`: binary, because text doubles the payload. The notification is sent with the commit.
INSERT_WEBHOOKS = """
with stored as (
    insert into inbound_webhook (account_id, event_id, type, livemode, api_version, created_at, customer_id, payload,
        status, object_id, done_at)
    select account_id, event_id, type, livemode, api_version, created_at, customer_id, payload, status, object_id,
        case when status = 'ignored' then clock_timestamp() end
    from unnest(%b::text[], %b::text[], %b::text[], %b::bool[], %b::text[], %b::timestamptz[], %b::text[], %b::bytea[],
        %b::text[], %b::text[])
        as came (account_id, event_id, type, livemode, api_version, created_at, customer_id, payload, status, object_id)
    on conflict (account_id, event_id) do nothing
    returning account_id, event_id, status
)
select account_id, event_id, case when status = 'pending' then pg_notify(%s, '')::text end from stored
"""


class ReceivedWebhook(NamedTuple):
    """One row, in the order of the statement."""

    account_id: str
    event_id: str
    type: str
    livemode: bool
    api_version: str
    created_at: datetime
    customer_id: str
    payload: bytes
    status: str  # "pending" or "ignored"
    object_id: str = ""  # where its customer has to be found out


async def insert_webhooks(connection: RawConnection, rows: Sequence[ReceivedWebhook]) -> set[tuple[str, str]]:
    """Stores webhooks. Returns account and event ids of the new ones. Commits, as a single statement.

    Rows are sorted by key, because two batches with the same events would deadlock otherwise.
    """
    columns = [list(column) for column in zip(*sorted(rows), strict=True)]
    cursor = await connection.execute(INSERT_WEBHOOKS, [*columns, CHANNEL], prepare=True)
    return {(row[0], row[1]) for row in await cursor.fetchall()}
