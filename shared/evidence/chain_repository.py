"""SQL that reads the chains: links with the canonical text of their events, heads and hashes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from shared.core.context import Ctx

OVERLAP = timedelta(hours=1)  # that transactions are open: numbers are not in the order of times
LAST_NUMBER = 2**63 - 1

# Both formats are one chain; `record` is what the hash of an event is made of.
LIST_LINKS = text("""
    select seq, previous_hash, event_hash, chain_hash, format, record, id, at, actor_type, actor_id, actor_name, action,
        object_id, reason, before, after, details, request_id
    from (
        (select e.seq, e.prev as previous_hash, e.hash as event_hash, e.hash as chain_hash, e.format,
            audit_event_text(e) as record, e.id, e.at, e.actor_type, e.actor_id, e.actor_name, e.action, e.object_id,
            e.reason, e.before, e.after, e.details, e.request_id
         from audit_event e where tenant_id = :tenant_id and seq > :after and seq <= :last
         order by e.seq limit :limit)
        union all
        (select s.seq, s.previous_hash, coalesce(e.hash, '\\x'), s.hash, e.format,
            case when e.id is null then '' else audit_event_text(e) end, e.id, e.at, e.actor_type, e.actor_id,
            e.actor_name, e.action, e.object_id, e.reason, e.before, e.after, e.details, e.request_id
         from (select * from audit_seal where tenant_id = :tenant_id and seq > :after and seq <= :last
               order by seq limit :limit) s
         left join audit_event e on e.tenant_id = s.tenant_id and e.id = s.id)
    ) links order by seq limit :limit
""")
# Of the events near one end of a time: their first or last number.
FIND_FIRST = text("""
    with later as (
        select id, seq, at, tenant_id from audit_event
        where tenant_id = :tenant_id and at >= cast(:since as timestamptz)
    )
    select min(coalesce(l.seq, s.seq)) from later l
    left join audit_seal s on s.tenant_id = l.tenant_id and s.id = l.id
    where l.at < (select min(at) from later) + cast(:overlap as interval)
    group by l.tenant_id
""")
FIND_LAST = text("""
    with earlier as (
        select id, seq, at, tenant_id from audit_event
        where tenant_id = :tenant_id and at < cast(:until as timestamptz)
    )
    select max(coalesce(f.seq, s.seq)) from earlier f
    left join audit_seal s on s.tenant_id = f.tenant_id and s.id = f.id
    where f.at >= (select max(at) from earlier) - cast(:overlap as interval)
    group by f.tenant_id
""")
GET_HEAD = text("select seq, hash from audit_head where tenant_id = :tenant_id")
FIND_HASH = text("""
    select hash from audit_seal where tenant_id = :tenant_id and seq = :seq
    union all
    select hash from audit_event where tenant_id = :tenant_id and seq = :seq
""")
COUNT_LINKS = text("""
    select (select count(*) from audit_event where tenant_id = :tenant_id and seq > :after and seq <= :last)
        + (select count(*) from audit_seal where tenant_id = :tenant_id and seq > :after and seq <= :last)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLink:
    """An event at its place in the chain. `record`: "" for one that is missing."""

    number: int
    previous_hash: bytes
    event_hash: bytes
    chain_hash: bytes
    format: int | None
    record: str
    id: str | None
    at: datetime | None
    actor_type: str | None
    actor_id: str | None
    actor_name: str | None
    action: str | None
    object_id: str | None
    reason: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    details: dict[str, Any] | None
    request_id: str | None


async def list_links(ctx: Ctx, *, after: int, last: int = LAST_NUMBER, limit: int) -> Sequence[ChainLink]:
    """In the order of their numbers, behind `after` and up to `last`."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "after": after, "last": last, "limit": limit}
    return [
        ChainLink(
            number=row.seq,
            previous_hash=row.previous_hash,
            event_hash=row.event_hash,
            chain_hash=row.chain_hash,
            format=row.format,
            record=row.record,
            id=row.id,
            at=row.at,
            actor_type=row.actor_type,
            actor_id=row.actor_id,
            actor_name=row.actor_name,
            action=row.action,
            object_id=row.object_id,
            reason=row.reason,
            before=row.before,
            after=row.after,
            details=row.details,
            request_id=row.request_id,
        )
        for row in (await connection.execute(LIST_LINKS, values)).all()
    ]


async def find_first_number(ctx: Ctx, since: datetime) -> int | None:
    """Of the events at that time or later; None without one that is sealed."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "since": since, "overlap": OVERLAP}
    number: int | None = (await connection.execute(FIND_FIRST, values)).scalar_one_or_none()
    return number


async def find_last_number(ctx: Ctx, until: datetime) -> int | None:
    """Of the events before that time; None without one that is sealed."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "until": until, "overlap": OVERLAP}
    number: int | None = (await connection.execute(FIND_LAST, values)).scalar_one_or_none()
    return number


async def get_head(ctx: Ctx) -> tuple[int, bytes]:
    """Number and hash of the last link; 0 for an empty chain."""
    connection = await ctx.session.connection()
    row = (await connection.execute(GET_HEAD, {"tenant_id": ctx.tenant_id})).one_or_none()
    return (row.seq, row.hash) if row is not None else (0, b"\x00")


async def find_hash(ctx: Ctx, number: int) -> bytes | None:
    """Of the link with this number."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "seq": number}
    chain_hash: bytes | None = (await connection.execute(FIND_HASH, values)).scalars().first()
    return chain_hash


async def count_links(ctx: Ctx, *, after: int, last: int) -> int:
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "after": after, "last": last}
    return int((await connection.execute(COUNT_LINKS, values)).scalar_one())
