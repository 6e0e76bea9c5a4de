"""Prepaid credits of a tenant: the ledger, its balance, and everything that changes it.

A grant is money that pays for usage before it is billed. Each change of what is left of it is an entry, and entries are
never changed. Callers that take from a grant hold its lock, and the statement that takes refuses more than is left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.billing.models import BillingUsage, PrepaidEntry, PrepaidGrant, Price
from shared.billing.prepaid import drawing
from shared.billing.prepaid import prepaid_repository as repository
from shared.billing.prepaid.drawing import UsageSplit
from shared.billing.prepaid.prepaid_repository import Reversal
from shared.core import live_events
from shared.core.context import Ctx
from shared.core.db import now
from shared.jobs import queue

EXPIRE_TASK = "billing.expire_prepaid"
OPERATOR, TOP_UP = "operator", "top_up"  # sources of grants
# Kinds of entries. "refund": the payment was refunded or disputed; "restore": that refund failed, or the dispute was won.
GRANT, DRAW, EXPIRE, VOID, REFUND, RESTORE = "grant", "draw", "expire", "void", "refund", "restore"
DEFAULT_PRIORITY, MAX_PRIORITY = 50, 100
# Usage is drawn when it is reported. What was used before a grant expired may still draw from it for so long.
EXPIRY_DELAY = timedelta(hours=1)
RECENT_ENTRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepaidOverview:
    """`usable`: grants that pay for usage now, in the order in which they are used. `entries`: the newest.

    `last_kinds`: the kind of the last entry of each grant with nothing left, by the grant's id. `used_reversals`: what was
    used of a grant before its payment was refunded or disputed, by the grant's id; for operators.
    """

    usable: Sequence[PrepaidGrant]
    grants: Sequence[PrepaidGrant]
    entries: Sequence[PrepaidEntry]
    last_kinds: Mapping[str, str]
    used_reversals: Mapping[str, int] = field(default_factory=dict)

    @property
    def balances(self) -> dict[str, int]:
        """By currency."""
        balances = dict[str, int]()
        for grant in self.usable:
            balances[grant.currency] = balances.get(grant.currency, 0) + grant.remaining
        return balances


async def get_overview(ctx: Ctx) -> PrepaidOverview:
    policy.require(ctx, actions.BILLING_READ)
    return await read_overview(ctx)


async def read_overview(ctx: Ctx) -> PrepaidOverview:
    """As `get_overview`. The caller checks the permission."""
    grants = await repository.list_grants(ctx)
    at = now()
    currencies = sorted({grant.currency for grant in grants})
    usable = [grant for currency in currencies for grant in drawing.order_grants(grants, currency, at)]
    entries = await repository.list_entries(ctx, RECENT_ENTRIES) if grants else ()
    has_empty_grants = any(not grant.remaining for grant in grants)
    last_kinds = await repository.list_last_kinds(ctx) if has_empty_grants else {}
    return PrepaidOverview(usable=usable, grants=grants, entries=entries, last_kinds=last_kinds)


async def read_operator_overview(ctx: Ctx) -> PrepaidOverview:
    """As `get_overview`, with what operators see besides. The caller checks the permission."""
    overview = await read_overview(ctx)
    if not any(grant.invoice_id for grant in overview.grants):
        return overview
    return PrepaidOverview(
        usable=overview.usable,
        grants=overview.grants,
        entries=overview.entries,
        last_kinds=overview.last_kinds,
        used_reversals=await _list_used_reversals(ctx, overview.grants),
    )


async def get_grant(ctx: Ctx, grant_id: str) -> PrepaidGrant | None:
    """The caller checks the permission."""
    return await repository.get_grant(ctx, grant_id)


async def lock_grant(ctx: Ctx, grant_id: str) -> PrepaidGrant | None:
    """The caller checks the permission."""
    return await repository.lock_grant(ctx, grant_id)


async def add_grant(ctx: Ctx, grant: PrepaidGrant) -> None:
    """Stores a new grant with its entry, and plans its end. The caller checks the permission and records the event."""
    ctx.session.add(grant)
    await ctx.session.flush()  # its entry refers to it
    ctx.session.add(
        PrepaidEntry(
            tenant_id=ctx.tenant_id,
            grant_id=grant.id,
            kind=GRANT,
            amount=grant.amount,
            reason=grant.reason,
            by_name=grant.by_name,
        )
    )
    if grant.expires_at is not None:
        await queue.put(ctx, EXPIRE_TASK, at=grant.expires_at + EXPIRY_DELAY)
    await notify_pages(ctx)


async def draw(
    session: AsyncSession,
    usage: BillingUsage,
    price: Price,
    *,
    position: int,
    grants: Sequence[PrepaidGrant],
) -> UsageSplit:
    """Pays for usage from `grants`, which the caller has locked, and returns what is left to be billed.

    `position`: units of the same period that are billed already.
    """
    split = drawing.split_usage(usage.quantity, price, position, grants, usage.at)
    grants_by_id = {grant.id: grant for grant in grants}
    for part in split.draws:
        grant = grants_by_id[part.grant_id]
        await repository.take(session, grant, part.amount)
        session.add(
            PrepaidEntry(
                tenant_id=usage.tenant_id,
                grant_id=grant.id,
                kind=DRAW,
                amount=-part.amount,
                units=part.units,
                meter=usage.meter,
                usage_id=usage.id,
            )
        )
    return split


async def take_all(ctx: Ctx, grant: PrepaidGrant, kind: str, *, reason: str = "", by_name: str = "") -> int:
    """Takes what is left of a grant that the caller has locked. Returns the amount."""
    return await _take(ctx, grant, grant.remaining, kind, reason=reason, by_name=by_name)


async def expire_grants(ctx: Ctx) -> None:
    """Ends what is left of expired grants. For jobs; repeated calls have one effect."""
    for grant in await repository.lock_expired_grants(ctx, now() - EXPIRY_DELAY):
        await take_all(ctx, grant, EXPIRE)


async def apply_reversals(ctx: Ctx) -> None:
    """Takes from paid grants what was refunded or disputed of their payment, as far as something is left.

    Gives it back where the refund failed or the dispute was won. For the sync.
    """
    grants_by_id = {grant.id: grant for grant in await repository.list_grants(ctx)}
    if not any(grant.invoice_id for grant in grants_by_id.values()):
        return
    reversals_by_id = {reversal.grant_id: reversal for reversal in await repository.list_reversals(ctx)}
    taken_by_id = await repository.list_entry_sums(ctx, (REFUND, RESTORE))
    ended_ids = (await repository.list_entry_sums(ctx, (EXPIRE, VOID))).keys()
    for grant_id in sorted(reversals_by_id.keys() | taken_by_id.keys()):
        grant = await repository.lock_grant(ctx, grant_id)
        if grant is None:
            continue
        missing_amount = get_reversed_credits(grant, reversals_by_id.get(grant_id)) + taken_by_id.get(
            grant_id, 0
        )
        if missing_amount > 0:
            await _take(ctx, grant, min(missing_amount, grant.remaining), REFUND)
        elif (
            missing_amount < 0 and grant_id not in ended_ids
        ):  # a voided or expired grant has no credits again
            await repository.give_back(ctx.session, grant, -missing_amount)
            await _add_entry(ctx, grant, -missing_amount, RESTORE)


async def _list_used_reversals(ctx: Ctx, grants: Sequence[PrepaidGrant]) -> dict[str, int]:
    reversals = {reversal.grant_id: reversal for reversal in await repository.list_reversals(ctx)}
    if not reversals:
        return {}
    taken_by_id = await repository.list_entry_sums(ctx, (REFUND, RESTORE, EXPIRE, VOID))
    used_amounts = {
        grant.id: get_reversed_credits(grant, reversals.get(grant.id)) + taken_by_id.get(grant.id, 0)
        for grant in grants
    }
    return {grant_id: amount for grant_id, amount in used_amounts.items() if amount > 0}


def get_reversed_credits(grant: PrepaidGrant, reversal: Reversal | None) -> int:
    """The credits that the reversed money had paid for: its share without the tax."""
    if reversal is None or not reversal.paid:
        return 0
    return min(grant.amount, round(Fraction(reversal.reversed * grant.amount, reversal.paid)))


async def notify_pages(ctx: Ctx) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "billing")


async def _take(
    ctx: Ctx, grant: PrepaidGrant, amount: int, kind: str, *, reason: str = "", by_name: str = ""
) -> int:
    if amount <= 0:
        return 0
    await repository.take(ctx.session, grant, amount)
    await _add_entry(ctx, grant, -amount, kind, reason=reason, by_name=by_name)
    return amount


async def _add_entry(
    ctx: Ctx, grant: PrepaidGrant, amount: int, kind: str, *, reason: str = "", by_name: str = ""
) -> None:
    ctx.session.add(
        PrepaidEntry(
            tenant_id=ctx.tenant_id,
            grant_id=grant.id,
            kind=kind,
            amount=amount,
            reason=reason,
            by_name=by_name,
        )
    )
    await notify_pages(ctx)


def is_expired(grant: PrepaidGrant, at: datetime) -> bool:
    return grant.expires_at is not None and grant.expires_at <= at
