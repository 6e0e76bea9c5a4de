"""SQL of the webhook inbox for operators. Only `get_payload` reads the payload.

Columns that name a tenant are read in a transaction with a reason, or inside that tenant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ARRAY, ColumnElement, Text, and_, cast, func, text
from sqlalchemy import select as columns
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing.models import BillingCustomer, BillingEvent, InboundWebhook
from shared.core import rows
from shared.core.context import Ctx
from shared.core.paging import after_cursor, encode_cursor
from shared.tenancy.models import Tenant

OPEN_CONDITION = "status in ('pending', 'working', 'parked')"
STATUS_COUNTS = text("select status, count(*) from inbound_webhook group by 1 order by 1")
# Without parked ones, which wait for their tenant.
OLDEST_WAIT = text("""
    select coalesce(extract(epoch from clock_timestamp() - min(received_at)), 0)
    from inbound_webhook where status in ('pending', 'working')
""")
P95_DURATION = text("""
    select percentile_cont(0.95) within group (order by extract(epoch from done_at - received_at)), count(*)
    from inbound_webhook where status = 'done' and received_at > clock_timestamp() - interval '1 hour'
""")
FAILING_TYPES = text("""
    select type, count(*) filter (where status = 'dead'), count(*) filter (where status <> 'dead')
    from inbound_webhook where status = 'dead' or (status in ('pending', 'working') and error <> '')
    group by 1 order by count(*) desc, 1 limit :most
""")
ACCOUNT_STATUSES = text(f"""
    select a.id, a.name, a.livemode, a.paused_at, a.pause_reason,
        count(b.event_id) filter (where b.status <> 'dead'), count(b.event_id) filter (where b.status = 'dead'),
        min(b.received_at) filter (where b.{OPEN_CONDITION} and starts_with(b.error, :down)),
        a.signature_failures, a.signature_failed_at
    from provider_account a
    left join inbound_webhook b on b.account_id = a.id and (b.{OPEN_CONDITION} or b.status = 'dead')
    group by a.id order by a.id <> 'platform', a.id
""")  # noqa: S608  our own words
# An account is either paused or silent. Anybody can send a wrong signature, so it is a problem only where no genuine webhook
# arrived in the hour before it, or later. Differences of prices that were replaced stop nobody from buying.
ACCOUNT_PROBLEMS = text(f"""
    with problem as (
        select id as account_id, 'paused' as kind, pause_reason as detail, paused_at as since
        from provider_account where paused_at is not null
        union all
        select b.account_id, 'silent', '', min(b.received_at) from inbound_webhook b
        join provider_account a on a.id = b.account_id and a.paused_at is null
        where b.{OPEN_CONDITION} and starts_with(b.error, :down) group by 1
        union all
        select d.account_id, 'prices', count(*)::text, min(d.checked_at) from provider_price d
        join price p on p.id = d.price_id
        join plan_version v on v.id = p.plan_version_id
        join plan l on l.id = v.plan_id and l.retired_at is null
        where d.drift <> '{{}}' and not exists (
            select from price newer
            where newer.plan_version_id = p.plan_version_id and newer.period = p.period and newer.kind = p.kind
                and newer.meter = p.meter and newer.effective_at > p.effective_at
                and newer.effective_at <= clock_timestamp())
        group by 1
        union all
        select a.id, 'signatures', '', a.signature_failed_at from provider_account a
        where a.signature_failed_at > clock_timestamp() - interval '1 day' and not exists (
            select from inbound_webhook b
            where b.account_id = a.id and b.received_at > a.signature_failed_at - interval '1 hour')
    )
    select a.name, problem.kind, problem.detail, problem.since
    from problem join provider_account a on a.id = problem.account_id
    order by a.id <> 'platform', a.id, problem.kind
""")  # noqa: S608
REPLAY_DEAD = text("""
    update inbound_webhook set status = 'pending', due_at = clock_timestamp(), attempts = 0, error = '', done_at = null
    where status = 'dead' and (:type = '' or type = :type)
    returning event_id
""")


@dataclass(frozen=True, slots=True)
class WebhookSummary:
    """One webhook without its payload. `tenant_id`: "" where it has no tenant or the tenant is unknown."""

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
    object_id: str  # whose customer has to be found out; "" where the event names the customer
    tenant_id: str
    tenant_name: str

    @property
    def can_be_replayed(self) -> bool:
        """Whether there is anything to do for it: it isn't queued, and has a customer or an object that may have one."""
        if self.status == "ignored":
            return self.customer_id != "" or self.object_id != ""
        return self.status not in ("pending", "working")


@dataclass(frozen=True, slots=True)
class AccountStatus:
    id: str
    name: str
    livemode: bool
    paused_at: datetime | None
    pause_reason: str
    waiting: int
    dead: int
    unreachable_since: datetime | None  # about when the provider stopped responding
    signature_failures: int
    signature_failed_at: datetime | None


@dataclass(frozen=True, slots=True)
class AccountProblem:
    account_name: str
    kind: Literal["paused", "silent", "prices", "signatures"]
    detail: str  # why it is paused; how many prices differ; "" otherwise
    since: datetime  # of a difference or a failed signature: when it was last seen


@dataclass(frozen=True, slots=True)
class WebhookFilter:
    """Empty fields do not filter."""

    status: str = ""
    type: str = ""  # exact, or a prefix that ends with a dot
    customer_id: str = ""
    event_id: str = ""


_SUMMARY_COLUMNS = (
    *(
        InboundWebhook.account_id,
        InboundWebhook.event_id,
        InboundWebhook.type,
        InboundWebhook.status,
        InboundWebhook.livemode,
    ),
    *(
        InboundWebhook.api_version,
        InboundWebhook.customer_id,
        InboundWebhook.created_at,
        InboundWebhook.received_at,
        InboundWebhook.due_at,
    ),
    *(InboundWebhook.done_at, InboundWebhook.attempts, InboundWebhook.error, InboundWebhook.object_id),
)
_SORT_KEY = (col(InboundWebhook.received_at), col(InboundWebhook.account_id), col(InboundWebhook.event_id))


async def list_webhooks(
    session: AsyncSession, webhook_filter: WebhookFilter, *, after: str, limit: int
) -> Sequence[WebhookSummary]:
    """Newest first."""
    conditions = _filter_conditions(webhook_filter)
    conditions += after_cursor(_SORT_KEY, after, descending=True)
    return await _list_summaries(session, conditions, limit)


async def get_webhook(session: AsyncSession, account_id: str, event_id: str) -> WebhookSummary | None:
    conditions = [col(InboundWebhook.account_id) == account_id, col(InboundWebhook.event_id) == event_id]
    return next(iter(await _list_summaries(session, conditions, 1)), None)


def get_cursor(row: WebhookSummary) -> str:
    return encode_cursor(row.received_at, row.account_id, row.event_id)


async def _list_summaries(
    session: AsyncSession, conditions: list[ColumnElement[bool]], limit: int
) -> Sequence[WebhookSummary]:
    owner = and_(
        col(BillingCustomer.id) == col(InboundWebhook.customer_id),
        col(BillingCustomer.account_id) == col(InboundWebhook.account_id),
    )
    statement = (
        columns(
            *[col(column) for column in _SUMMARY_COLUMNS],
            func.coalesce(col(Tenant.id), ""),
            func.coalesce(col(Tenant.name), ""),
        )
        .select_from(InboundWebhook)
        .join(BillingCustomer, owner, isouter=True)
        .join(Tenant, col(Tenant.id) == col(BillingCustomer.tenant_id), isouter=True)
        .where(and_(True, *conditions))
        .order_by(*(column.desc() for column in _SORT_KEY))
        .limit(limit)
    )
    connection = await session.connection()
    records: Sequence[Any] = (await connection.execute(statement)).all()
    return [WebhookSummary(*row) for row in records]


def _filter_conditions(webhook_filter: WebhookFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if webhook_filter.status:
        conditions.append(col(InboundWebhook.status) == webhook_filter.status)
    if webhook_filter.type.endswith("."):
        conditions.append(col(InboundWebhook.type).startswith(webhook_filter.type, autoescape=True))
    elif webhook_filter.type:
        conditions.append(col(InboundWebhook.type) == webhook_filter.type)
    if webhook_filter.customer_id:
        conditions.append(col(InboundWebhook.customer_id) == webhook_filter.customer_id)
    if webhook_filter.event_id:
        conditions.append(col(InboundWebhook.event_id) == webhook_filter.event_id)
    return conditions


async def get_payload(session: AsyncSession, account_id: str, event_id: str) -> bytes:
    """The payload of an existing webhook."""
    statement = (
        select(InboundWebhook.payload)
        .where(InboundWebhook.account_id == account_id)
        .where(InboundWebhook.event_id == event_id)
    )
    return (await session.exec(statement)).one()


async def list_billing_events(ctx: Ctx, account_id: str, event_id: str) -> Sequence[BillingEvent]:
    """Changes of the syncs that this webhook triggered, oldest first."""
    statement = (
        select(BillingEvent)
        .where(BillingEvent.tenant_id == ctx.tenant_id)
        .where(BillingEvent.account_id == account_id)
        .where(col(BillingEvent.event_ids).bool_op("@>")(cast([event_id], ARRAY(Text))))
        .order_by(col(BillingEvent.at), BillingEvent.id)
    )
    return await rows.all(ctx, statement)


async def count_by_status(session: AsyncSession) -> Mapping[str, int]:
    return {row[0]: row[1] for row in await _fetch_all(session, STATUS_COUNTS)}


async def get_oldest_wait_s(session: AsyncSession) -> float:
    """Seconds that the oldest due webhook has waited; 0 without one."""
    return float((await _fetch_all(session, OLDEST_WAIT))[0][0])


async def get_p95_s(session: AsyncSession) -> float | None:
    """95th percentile of seconds from arrival to done, over the last hour; None without webhooks."""
    slow, count = (await _fetch_all(session, P95_DURATION))[0]
    return float(slow) if count else None


async def list_failing_types(session: AsyncSession, limit: int) -> Sequence[tuple[str, int, int]]:
    """(type, dead, to be retried), most frequent first."""
    return [(row[0], row[1], row[2]) for row in await _fetch_all(session, FAILING_TYPES, most=limit)]


async def list_account_statuses(session: AsyncSession, down_error: str) -> Sequence[AccountStatus]:
    """`down_error`: how the stored error starts where the provider didn't respond."""
    return [AccountStatus(*row) for row in await _fetch_all(session, ACCOUNT_STATUSES, down=down_error)]


async def list_account_problems(session: AsyncSession, down_error: str) -> Sequence[AccountProblem]:
    return [AccountProblem(*row) for row in await _fetch_all(session, ACCOUNT_PROBLEMS, down=down_error)]


async def replay_dead_webhooks(session: AsyncSession, kind: str) -> int:
    """Returns how many. `kind`: one type, "" for all."""
    return len(await _fetch_all(session, REPLAY_DEAD, type=kind))


async def _fetch_all(session: AsyncSession, statement: Any, **values: Any) -> Sequence[Any]:
    connection = await session.connection()
    return (await connection.execute(statement, values)).all()
