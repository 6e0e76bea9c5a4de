"""Running subscriptions follow a price that has come into force, at their next renewal and without proration.

A period is billed by the price that was in force when it began. What is paid in advance is exchanged before the
renewal: as soon as the new price is in force, or a little ahead where it will be by then. What is metered is paid
afterwards, so it is exchanged in the first period that began under the new price.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from shared.audit import trail
from shared.billing import course, prices, providers
from shared.billing import prices_repository as repository
from shared.billing.models import Price
from shared.billing.provider import KeyRefused, Line, OrderLine, ProviderDown, ProviderRefused, Subscription
from shared.core import db, log
from shared.core.db import now
from shared.tenancy import entry

AHEAD = timedelta(hours=3)
TASK = "billing.reprice"


async def reprice(at: datetime | None = None) -> int:
    """Of everybody. How many subscriptions changed. `at`: where the provider's clock is not ours."""
    at, changed = at or now(), 0
    async with db.transaction() as session:
        customers = await repository.list_customers(session)
        offered = [price for price, _, _ in await repository.list_prices(session)]
    for account_id, customer_id, tenant_id in customers:
        try:
            async with db.transaction(tenant_id=tenant_id) as session:
                held = await repository.list_held(session, customer_id)
                own = [price for price, _, _ in await repository.list_prices(session)] if held else []
            known = {one.id: one for one in (*offered, *own)}
            if any(_may_change(price_id, known, at) for price_id in held):
                changed += await _reprice(account_id, customer_id, tenant_id, known, at)
        except (ProviderDown, KeyRefused, ProviderRefused) as problem:
            log.get(__name__).warning("not_repriced", tenant_id=tenant_id, problem=type(problem).__name__)
        except (
            Exception
        ) as problem:  # whatever is wrong with one customer, the others have their renewals too
            log.report(problem, tenant_id=tenant_id, customer_id=customer_id)
    return changed


def _may_change(price_id: str, known: Mapping[str, Price], at: datetime) -> bool:
    """Another price of its part is in force, or will be soon."""
    mine = known.get(price_id)
    if mine is None:
        return False
    return prices.current(known.values(), at + AHEAD).get(prices.part(mine)) is not mine


async def _reprice(
    account_id: str, customer_id: str, tenant_id: str, known: Mapping[str, Price], at: datetime
) -> int:
    """What we have of the subscription may be old; what is exchanged is what the provider says now."""
    provider, changed = await providers.get(account_id), 0
    for one in (await provider.fetch(customer_id)).subscriptions:
        turns = {line.id: found for line in one.lines if (found := successor(line, known, at)) is not None}
        if not _is_live(one) or not turns:
            continue
        async with db.transaction(tenant_id=tenant_id) as session:
            there = await repository.list_external(
                session, account_id, [price.id for price in turns.values()]
            )
        if any(price.id not in there for price in turns.values()):
            log.get(__name__).warning("not_repriced", tenant_id=tenant_id, problem="price not pushed")
            continue
        lines = [_line(line, turns.get(line.id), known, there) for line in one.lines]
        await provider.change(one.id, lines, as_of=None, prorate=False, kept=one.kept, key=_key(one, lines))
        await _record(tenant_id, one, turns, known)
        changed += 1
    return changed


def successor(line: Line, known: Mapping[str, Price], at: datetime) -> Price | None:
    """The price that this line should have instead of its own; None for the one it has."""
    mine = known.get(line.price_id)
    if mine is None:
        return None
    looks_at = at
    if mine.kind == "metered":
        looks_at = line.starts_at or at
    elif line.ends_at is not None and at < line.ends_at <= at + AHEAD:
        looks_at = line.ends_at
    found = prices.current(known.values(), looks_at).get(prices.part(mine))
    return found if found is not None and found.id != mine.id else None


def _is_live(one: Subscription) -> bool:
    return one.status not in course.TABLE or course.TABLE[one.status].status != "none"


def _line(line: Line, turn: Price | None, known: Mapping[str, Price], there: Mapping[str, str]) -> OrderLine:
    mine = known.get(line.price_id)
    metered = mine.kind == "metered" if mine else not line.quantity
    number = None if metered else line.quantity
    if turn is None:
        return OrderLine(line.price_id, line.external_price_id, number)
    return OrderLine(turn.id, there[turn.id], number)


def _key(one: Subscription, lines: Sequence[OrderLine]) -> str:
    """The same exchange of the same period is the same call, whoever makes it."""
    ends = max((line.ends_at.isoformat() for line in one.lines if line.ends_at), default="")
    told = hashlib.sha256(repr((one.id, ends, lines)).encode()).hexdigest()
    return f"reprice-{one.id}-{told[:24]}"


async def _record(
    tenant_id: str, one: Subscription, turns: Mapping[str, Price], known: Mapping[str, Price]
) -> None:
    was = {line.id: known[line.price_id] for line in one.lines if line.id in turns}
    async with entry.enter_books(tenant_id, TASK) as ctx:
        trail.record(
            ctx,
            "subscription.repriced",
            one.id,
            before={prices.title(price): prices.cost(price) for price in was.values()},
            after={prices.title(price): prices.cost(price) for price in turns.values()},
        )
