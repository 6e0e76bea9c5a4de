"""SQL of the inbox as operators see it. The payload leaves by `get_payload` alone.

What names a tenant is read in a transaction that has stated its reason, or inside of that tenant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Text, and_, cast, func, or_, text, tuple_
from sqlalchemy import select as columns
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing.models import BillingCustomer, BillingEvent, InboxRow
from shared.core.ctx import Ctx
from shared.core.errors import Invalid
from shared.tenancy.models import Tenant

OPEN = "status in ('pending', 'working', 'parked')"
COUNTS = text("select status, count(*) from billing_inbox group by 1 order by 1")
# Parked ones wait for somebody else and are no delay of ours.
OLDEST = text("""
    select coalesce(extract(epoch from clock_timestamp() - min(received_at)), 0)
    from billing_inbox where status in ('pending', 'working')
""")
SLOW = text("""
    select percentile_cont(0.95) within group (order by extract(epoch from done_at - received_at)), count(*)
    from billing_inbox where status = 'done' and received_at > clock_timestamp() - interval '1 hour'
""")
TROUBLED = text("""
    select type, count(*) filter (where status = 'dead'), count(*) filter (where status <> 'dead')
    from billing_inbox where status = 'dead' or (status in ('pending', 'working') and error <> '')
    group by 1 order by count(*) desc, 1 limit :most
""")
ACCOUNTS = text(f"""
    select a.id, a.name, a.livemode, a.paused_at, a.pause_reason,
        count(b.event_id) filter (where b.status <> 'dead'), count(b.event_id) filter (where b.status = 'dead'),
        min(b.received_at) filter (where b.{OPEN} and starts_with(b.error, :down))
    from provider_account a
    left join billing_inbox b on b.account_id = a.id and (b.{OPEN} or b.status = 'dead')
    group by a.id order by a.id <> 'platform', a.id
""")  # noqa: S608  our own words
TROUBLE = text(f"""
    select a.name, a.paused_at is not null, a.pause_reason, coalesce(a.paused_at, (
        select min(b.received_at) from billing_inbox b
        where b.account_id = a.id and b.{OPEN} and starts_with(b.error, :down)))
    from provider_account a
    where a.paused_at is not null or exists (
        select 1 from billing_inbox b where b.account_id = a.id and b.{OPEN} and starts_with(b.error, :down))
    order by a.id <> 'platform', a.id
""")  # noqa: S608
REPLAY_DEAD = text("""
    update billing_inbox set status = 'pending', due_at = clock_timestamp(), attempts = 0, error = '', done_at = null
    where status = 'dead' and customer_id <> '' and (:type = '' or type = :type)
    returning event_id
""")


@dataclass(frozen=True, slots=True)
class Seen:
    """One webhook without what it carried. `tenant_id` "": nobody's, or not known yet."""

    account_id: str
    event_id: str
    type: str
    status: str
    livemode: bool
    api_version: str
    customer_id: str
    created_at: datetime  # at the provider
    received_at: datetime
    due_at: datetime
    done_at: datetime | None
    attempts: int
    error: str
    tenant_id: str
    tenant: str


@dataclass(frozen=True, slots=True)
class AccountPulse:
    id: str
    name: str
    livemode: bool
    paused_at: datetime | None
    pause_reason: str
    waiting: int
    dead: int
    silent_since: datetime | None  # the provider does not answer; since about when


@dataclass(frozen=True, slots=True)
class Trouble:
    account: str
    paused: bool
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """Empty fields do not filter."""

    status: str = ""
    type: str = ""  # exact, or with a dot at its end for all that begin so
    customer: str = ""
    event: str = ""


_SEEN = (
    *(InboxRow.account_id, InboxRow.event_id, InboxRow.type, InboxRow.status, InboxRow.livemode),
    *(InboxRow.api_version, InboxRow.customer_id, InboxRow.created_at, InboxRow.received_at, InboxRow.due_at),
    *(InboxRow.done_at, InboxRow.attempts, InboxRow.error),
)
_KEY = (col(InboxRow.received_at).desc(), col(InboxRow.account_id), col(InboxRow.event_id))


async def list_rows(session: AsyncSession, wanted: Wanted, *, after: str, limit: int) -> Sequence[Seen]:
    """Newest first."""
    conditions = _conditions(wanted)
    if after:
        conditions.append(_after(after))
    return await _read(session, conditions, limit)


async def get_row(session: AsyncSession, account_id: str, event_id: str) -> Seen | None:
    conditions = [col(InboxRow.account_id) == account_id, col(InboxRow.event_id) == event_id]
    return next(iter(await _read(session, conditions, 1)), None)


def cursor(row: Seen) -> str:
    return f"{row.received_at.isoformat()} {row.account_id} {row.event_id}"


async def _read(session: AsyncSession, conditions: list[ColumnElement[bool]], limit: int) -> Sequence[Seen]:
    owner = and_(
        col(BillingCustomer.id) == col(InboxRow.customer_id),
        col(BillingCustomer.account_id) == col(InboxRow.account_id),
    )
    statement = (
        columns(
            *[col(one) for one in _SEEN],
            func.coalesce(col(Tenant.id), ""),
            func.coalesce(col(Tenant.name), ""),
        )
        .select_from(InboxRow)
        .join(BillingCustomer, owner, isouter=True)
        .join(Tenant, col(Tenant.id) == col(BillingCustomer.tenant_id), isouter=True)
        .where(and_(True, *conditions))
        .order_by(*_KEY)
        .limit(limit)
    )
    connection = await session.connection()
    found: Sequence[Any] = (await connection.execute(statement)).all()
    return [Seen(*row) for row in found]


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.status:
        found.append(col(InboxRow.status) == wanted.status)
    if wanted.type.endswith("."):
        found.append(col(InboxRow.type).startswith(wanted.type, autoescape=True))
    elif wanted.type:
        found.append(col(InboxRow.type) == wanted.type)
    if wanted.customer:
        found.append(col(InboxRow.customer_id) == wanted.customer)
    if wanted.event:
        found.append(col(InboxRow.event_id) == wanted.event)
    return found


def _after(after: str) -> ColumnElement[bool]:
    try:
        at, account_id, event_id = after.split(" ", 2)
        moment = datetime.fromisoformat(at)
    except ValueError as problem:
        raise Invalid("This page does not exist.", "Start again at the newest entries.") from problem
    behind = tuple_(col(InboxRow.account_id), col(InboxRow.event_id)) > tuple_(account_id, event_id)
    older, same = col(InboxRow.received_at) < moment, col(InboxRow.received_at) == moment
    return or_(older, and_(same, behind))


async def get_payload(session: AsyncSession, account_id: str, event_id: str) -> bytes:
    """Of a row that is there."""
    statement = (
        select(InboxRow.payload).where(InboxRow.account_id == account_id).where(InboxRow.event_id == event_id)
    )
    return (await session.exec(statement)).one()


async def list_effects(ctx: Ctx, account_id: str, event_id: str) -> Sequence[BillingEvent]:
    """What looks that this webhook asked for have changed, the first one first."""
    statement = (
        select(BillingEvent)
        .where(BillingEvent.tenant_id == ctx.tenant_id)
        .where(BillingEvent.account_id == account_id)
        .where(col(BillingEvent.event_ids).bool_op("@>")(cast([event_id], ARRAY(Text))))
        .order_by(col(BillingEvent.at), BillingEvent.id)
    )
    return (await ctx.session.exec(statement)).all()


async def count_by_status(session: AsyncSession) -> Mapping[str, int]:
    return {row[0]: row[1] for row in await _ask(session, COUNTS)}


async def get_oldest_s(session: AsyncSession) -> float:
    """Seconds for which the oldest one that is due has waited; 0 where none does."""
    return float((await _ask(session, OLDEST))[0][0])


async def get_p95_s(session: AsyncSession) -> float | None:
    """From coming in to done, of what came in the last hour; None where nothing did."""
    slow, count = (await _ask(session, SLOW))[0]
    return float(slow) if count else None


async def list_troubled(session: AsyncSession, most: int) -> Sequence[tuple[str, int, int]]:
    """(type, dead, failed so far), the most first."""
    return [(row[0], row[1], row[2]) for row in await _ask(session, TROUBLED, most=most)]


async def list_accounts(session: AsyncSession, down: str) -> Sequence[AccountPulse]:
    """`down`: how an error begins that says that nobody answers."""
    return [AccountPulse(*row) for row in await _ask(session, ACCOUNTS, down=down)]


async def list_troubles(session: AsyncSession, down: str) -> Sequence[Trouble]:
    return [Trouble(*row) for row in await _ask(session, TROUBLE, down=down)]


async def replay_dead(session: AsyncSession, kind: str) -> int:
    """How many. `kind`: of one type only, "" for all."""
    return len(await _ask(session, REPLAY_DEAD, type=kind))


async def _ask(session: AsyncSession, statement: Any, **values: Any) -> Sequence[Any]:
    connection = await session.connection()
    return (await connection.execute(statement, values)).all()
