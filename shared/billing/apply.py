"""Write what a look at the provider found, and what follows from it for the tenant. In the caller's transaction.

Locks, in this order: the webhooks that asked (by the caller), the customer (by the guard), the tenant. Two customers of
one tenant pass different guards, so the tenant is locked before what is known of the other one is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from shared.billing import course as courses
from shared.billing import inbox_repository as inbox
from shared.billing import mirror, prices, repository
from shared.billing.course import Course, Status
from shared.billing.models import BillingDrift, BillingEvent, BillingStanding
from shared.billing.provider import CustomerState
from shared.core import money, notices
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.errors import NotFound
from shared.entitlements import subscribed
from shared.entitlements.subscribed import Bought, Stage
from shared.jobs import queue
from shared.tenancy import tenants

Cause = Literal["webhook", "reconcile", "return", "operator"]
DUN = "billing.dun"
# Nothing had changed at the provider, and yet the tenant could use something else than was paid for.
OURS_ALONE = mirror.Difference("what may be used", "something else", "what is paid for")


@dataclass(frozen=True, slots=True)
class Effect:
    """`won`: whether it was written; a look that began later may have been first."""

    won: bool
    recalculated: bool = False
    differences: Sequence[mirror.Difference] = ()


async def write(
    ctx: Ctx,
    account_id: str,
    customer_id: str,
    state: CustomerState,
    ticket: int,
    *,
    cause: Cause,
    event_ids: Sequence[str] = (),
    run_id: str = "",
) -> Effect:
    """Raises NotFound for a customer that is not this tenant's."""
    if not await inbox.pass_guard(ctx.session, account_id, customer_id, ticket):
        return Effect(won=False)
    own = await repository.get_customer(ctx, account_id)
    if own is None or own.id != customer_id:
        # A customer without anything bought would pass every reference, and leave its way to pay with somebody else.
        raise NotFound("There is no such customer.", "Look at the one that this organisation has.")
    await tenants.lock(ctx)
    differences = await mirror.write(ctx, account_id, customer_id, state, ticket)
    before = await repository.get_standing(ctx)
    news = [*differences, *_beside(before, state)]
    previous = before.course if before else {}
    at = now()
    known = [mirror.subscription(row) for row in await repository.list_subscriptions(ctx)]
    # Not as it was at entry: what was written while we waited for the tenant counts.
    last = cast(Status | None, await subscribed.last(ctx))  # the database checks its words
    found = courses.course(known, await prices.priced(ctx.session), at, last=last)
    after = found.as_json() if found else {}
    recalculated = False
    # Who asks without having been told sets right also what went wrong on our side alone.
    if found is not None and (after != previous or cause in ("reconcile", "operator")):
        recalculated = await _follow(ctx, found)
        if recalculated and after == previous:
            differences = [*differences, OURS_ALONE]
    await _stand(ctx, before, found, state, after, ticket, at)
    if news or event_ids or recalculated:
        ctx.session.add(
            BillingEvent(
                tenant_id=ctx.tenant_id,
                account_id=account_id,
                customer_id=customer_id,
                cause=cause,
                event_ids=list(event_ids),
                ticket=ticket,
                previous=_told(previous, news, "ours"),
                next=_told(after, news, "theirs"),
                recalculated=recalculated,
                request_id=ctx.request_id,
            )
        )
    if differences and cause == "reconcile":
        ctx.session.add(
            BillingDrift(
                tenant_id=ctx.tenant_id,
                account_id=account_id,
                customer_id=customer_id,
                run_id=run_id,
                differences=[one._asdict() for one in differences],
                repaired=True,
            )
        )
    if news or differences:
        await notices.page(ctx.session, ctx.tenant_id, "billing")
        await notices.page(ctx.session, "*", "billing")
    if differences:
        await queue.put(ctx, DUN, in_turn=False)
    return Effect(True, recalculated, differences)


def _beside(before: BillingStanding | None, state: CustomerState) -> tuple[mirror.Difference, ...]:
    """What is known of a customer beside subscriptions and invoices: a credit or another card is news as well."""
    method, balance, currency = (before.method, before.balance, before.currency) if before else ("", 0, "")
    sides = (
        ("method", method, state.method),
        ("balance", _sum(balance, currency), _sum(state.balance, state.currency)),
    )
    return tuple(mirror.Difference(*one) for one in sides if one[1] != one[2])


def _sum(balance: int, currency: str) -> str:
    return money.said(balance, currency) if balance and currency else ""


async def _follow(ctx: Ctx, found: Course) -> bool:
    first, *later = found.stages
    return await subscribed.follow(
        ctx,
        [Stage(first.status, first.why), *(Stage(one.status, one.why, one.since) for one in later)],
        version_id=found.version_id,
        seats=found.seats,
        trial_ends_at=found.trial_ends_at,
        ended_at=found.ended_at,
        addons=[Bought(one.version_id, one.quantity, one.until) for one in found.addons],
    )


async def _stand(
    ctx: Ctx,
    row: BillingStanding | None,
    found: Course | None,
    state: CustomerState,
    after: dict[str, Any],
    ticket: int,
    at: datetime,
) -> None:
    row = row or BillingStanding(tenant_id=ctx.tenant_id, course={}, status="", ticket=ticket)
    if row.course != after:
        row.changed_at = at
    row.course, row.status = after, found.word if found else ""
    row.alert = "; ".join(found.alerts) if found else ""
    row.method, row.balance, row.currency, row.ticket = state.method, state.balance, state.currency, ticket
    ctx.session.add(row)
    await ctx.session.flush()


def _told(course: dict[str, Any], differences: Sequence[mirror.Difference], side: str) -> dict[str, Any]:
    return {
        "status": course.get("status", ""),
        "word": course.get("word", ""),
        **{one.what: getattr(one, side) for one in differences},
    }
