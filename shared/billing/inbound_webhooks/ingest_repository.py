"""The one statement of the intake. Not through the ORM: it is about what a webhook costs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg

from shared.core.db import RawConnection

ROW_ERRORS = (psycopg.DataError, psycopg.IntegrityError)  # a row's own fault
CHANNEL = "bulkhead_inbox"  # says that there is work; when it is missed, a sweep finds it

# `%b`: binary, or each payload would be written as twice as much text. The notice goes out with the commit.
INSERT_WEBHOOKS = """
with stored as (
    insert into inbound_webhook (account_id, event_id, type, livemode, api_version, created_at, customer_id, payload,
        status, done_at)
    select account_id, event_id, type, livemode, api_version, created_at, customer_id, payload, status,
        case when status = 'ignored' then clock_timestamp() end
    from unnest(%b::text[], %b::text[], %b::text[], %b::bool[], %b::text[], %b::timestamptz[], %b::text[], %b::bytea[],
        %b::text[])
        as came (account_id, event_id, type, livemode, api_version, created_at, customer_id, payload, status)
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


def to_datetime(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def insert_webhooks(connection: RawConnection, rows: Sequence[ReceivedWebhook]) -> set[tuple[str, str]]:
    """Account and event of those that were new. Commits by itself, as one statement.

    In the order of their keys: two batches with the same events would wait for each other for ever otherwise.
    """
    columns = [list(column) for column in zip(*sorted(rows), strict=True)]
    cursor = await connection.execute(INSERT_WEBHOOKS, [*columns, CHANNEL], prepare=True)
    return {(row[0], row[1]) for row in await cursor.fetchall()}
