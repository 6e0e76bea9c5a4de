"""SQL of the verification of a tenant's audit log."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from shared.audit.models import AuditVerification, VerificationState
from shared.core.context import Ctx
from shared.core.db import now

FIRST_HASH = b"\x00"  # before the first event of a chain

# Events of format 1 are links themselves; seals continue their chain. A number that both have is a wrong place.
CHECK_CHAIN = text("""
    with links as (
        select * from (
            (select e.seq, e.prev, e.hash, true as has_event,
                    e.format = 1 and e.hash = case when e.format = 1 then audit_hash(e) end as is_event_right,
                    e.hash as right_hash
             from audit_event e where tenant_id = :tenant_id and seq > :after order by seq limit :limit)
            union all
            (select s.seq, s.previous_hash, s.hash, e.id is not null, e.hash = audit_event_hash(e),
                    sha256(s.previous_hash || e.hash)
             from (select * from audit_seal where tenant_id = :tenant_id and seq > :after order by seq limit :limit) s
             left join audit_event e on e.tenant_id = s.tenant_id and e.id = s.id)
        ) of_both_formats order by seq limit :limit
    ), places as (
        select *, cast(:after as bigint) + row_number() over (order by seq) as place,
               lag(hash, 1, cast(:previous_hash as bytea)) over (order by seq) as hash_before
        from links
    ), checked as (
        select *, case when not has_event then 'deleted'
                       when not is_event_right then 'changed'
                       when seq <> place or prev is distinct from hash_before or hash <> right_hash then 'chain'
                       else '' end as problem
        from places
    )
    select count(*), coalesce(max(place), :after), (array_agg(hash order by place desc))[1],
           min(place) filter (where problem <> ''),
           coalesce((array_agg(problem order by place) filter (where problem <> ''))[1], ''),
           coalesce((select seq from audit_head where tenant_id = :tenant_id), 0),
           (select hash from audit_head where tenant_id = :tenant_id)
    from checked
""")

# An event that the sealer has passed is in the chain. One that it has not come to yet is asked for again next time.
CHECK_EVENTS = text("""
    with events as (
        select e.id, case when e.format = 1 then e.seq is null
                          when exists (select from audit_seal s where s.tenant_id = e.tenant_id and s.id = e.id) then false
                          else coalesce(e.transaction_id, 0) < (select next_transaction from audit_sealer)
                     end as is_inserted,
               e.format <> 1 and not exists (
                   select from audit_seal s where s.tenant_id = e.tenant_id and s.id = e.id) as is_unsealed
        from audit_event e where tenant_id = :tenant_id and id > :after order by id limit :limit
    ), passed as (
        select id from events
        where not exists (select from events where is_unsealed) or id < (select min(id) from events where is_unsealed)
    )
    select (select min(id) from events where is_inserted), (select max(id) from passed),
           (select count(*) from passed), (select count(*) from events)
""")
GET_HEAD = text("""
    select h.seq, coalesce(
        (select e.at from audit_seal s join audit_event e on e.tenant_id = s.tenant_id and e.id = s.id
         where s.tenant_id = h.tenant_id and s.seq = h.seq),
        (select e.at from audit_event e where e.tenant_id = h.tenant_id and e.seq = h.seq))
    from audit_head h where tenant_id = :tenant_id
""")
ADD_CHECKPOINT = text("""
    insert into audit_verification (tenant_id, state, checked_seq, checked_hash, checked_id, checked_events, target_seq,
        started_at, changed_at)
    values (:tenant_id, :state, 0, :first_hash, '', 0, 0, :at, :at) on conflict do nothing
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedLinks:
    count: int
    last_seq: int
    last_hash: bytes
    broken_at: int | None
    problem: str
    head_seq: int
    head_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedEvents:
    """`count` and `last_id` are of the events before the first that waits for its seal."""

    count: int
    last_id: str  # "" for none
    inserted_id: str  # "" for none
    is_at_end: bool


async def check_chain(ctx: Ctx, *, after: int, previous_hash: bytes, limit: int) -> CheckedLinks:
    """Up to `limit` links behind number `after`, whose hash is `previous_hash`, and the head of the same moment."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "after": after, "previous_hash": previous_hash, "limit": limit}
    count, last_seq, last_hash, broken_at, problem, head_seq, head_hash = (
        await connection.execute(CHECK_CHAIN, values)
    ).one()
    return CheckedLinks(
        count=count,
        last_seq=last_seq,
        last_hash=previous_hash if last_hash is None else last_hash,
        broken_at=broken_at,
        problem=problem,
        head_seq=head_seq,
        head_hash=FIRST_HASH if head_hash is None else head_hash,
    )


async def check_events(ctx: Ctx, *, after: str, limit: int) -> CheckedEvents:
    """Up to `limit` events behind this id."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "after": after, "limit": limit}
    inserted_id, last_id, passed_count, count = (await connection.execute(CHECK_EVENTS, values)).one()
    return CheckedEvents(
        count=passed_count,
        last_id=last_id or "",
        inserted_id=inserted_id or "",
        is_at_end=count < limit or passed_count < count,
    )


async def get_status(ctx: Ctx) -> tuple[tuple[int, datetime | None], AuditVerification | None]:
    """Number and time of the last event in the chain; the checkpoint."""
    connection = await ctx.session.connection()
    head = (await connection.execute(GET_HEAD, {"tenant_id": ctx.tenant_id})).one_or_none()
    verification = await ctx.session.get(AuditVerification, (ctx.tenant_id, "verification"))
    return (head[0], head[1]) if head else (0, None), verification


async def lock(ctx: Ctx) -> AuditVerification:
    connection = await ctx.session.connection()
    values = {
        "tenant_id": ctx.tenant_id,
        "state": VerificationState.INTACT,
        "first_hash": FIRST_HASH,
        "at": now(),
    }
    await connection.execute(ADD_CHECKPOINT, values)
    return await ctx.session.get_one(
        AuditVerification,
        (ctx.tenant_id, "verification"),
        with_for_update={"key_share": True},
        populate_existing=True,
    )
