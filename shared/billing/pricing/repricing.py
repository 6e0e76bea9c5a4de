"""Move running subscriptions to a new price at their next renewal, without proration.

A period is billed with the price that was in force when it began. Prices that are paid in advance are replaced before
the renewal: as soon as the new price is in force, or shortly before where it will be by then. Metered prices are paid
afterwards, so they are replaced in the first period that began under the new price.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from shared.audit import audit_log
from shared.billing import provider_registry
from shared.billing.models import Price
from shared.billing.pricing import prices
from shared.billing.pricing import prices_repository as repository
from shared.billing.provider import KeyRefused, ProviderDown, ProviderRefused
from shared.billing.provider_values import OrderLine, Subscription, SubscriptionItem
from shared.billing.sync import access_schedule
from shared.core import db, log
from shared.core.db import now
from shared.tenancy import entry

LOOKAHEAD = timedelta(hours=3)
TASK = "billing.reprice"


async def reprice_subscriptions(at: datetime | None = None) -> int:
    """Reprices the subscriptions of all tenants.

    Returns how many changed. `at`: the provider's time where its clock differs.
    """
    at, changed_count = at or now(), 0
    async with db.transaction() as session:
        customers = await repository.list_all_customers(session)
        public_prices = [price for price, _, _ in await repository.list_prices(session)]
    for account_id, customer_id, tenant_id in customers:
        try:
            async with db.transaction(tenant_id=tenant_id) as session:
                price_ids = await repository.list_subscribed_price_ids(session, customer_id)
                tenant_prices = (
                    [price for price, _, _ in await repository.list_prices(session)] if price_ids else []
                )
            prices_by_id = {price.id: price for price in (*public_prices, *tenant_prices)}
            if any(_has_new_price(price_id, prices_by_id, at) for price_id in price_ids):
                changed_count += await _reprice_customer(account_id, customer_id, tenant_id, prices_by_id, at)
        except (ProviderDown, KeyRefused, ProviderRefused) as problem:
            log.get_logger(__name__).warning(
                "not_repriced", tenant_id=tenant_id, problem=type(problem).__name__
            )
        except Exception as problem:  # one failing customer must not block the others
            log.report_bug(problem, tenant_id=tenant_id, customer_id=customer_id)
    return changed_count


def _has_new_price(price_id: str, prices_by_id: Mapping[str, Price], at: datetime) -> bool:
    """Whether another price of the same part is in force, or will be soon."""
    current_price = prices_by_id.get(price_id)
    if current_price is None:
        return False
    return (
        prices.select_current_prices(prices_by_id.values(), at + LOOKAHEAD).get(
            prices.get_price_key(current_price)
        )
        is not current_price
    )


async def _reprice_customer(
    account_id: str, customer_id: str, tenant_id: str, prices_by_id: Mapping[str, Price], at: datetime
) -> int:
    """Reprices the provider's current subscriptions, because our records may be outdated.

    One with a scheduled change is repriced after it took effect: changing it now would drop that change.
    """
    provider, changed_count = await provider_registry.get(account_id), 0
    for subscription in (await provider.fetch_customer(customer_id)).subscriptions:
        new_prices = {
            line.id: new_price
            for line in subscription.lines
            if (new_price := find_new_price(line, prices_by_id, at)) is not None
        }
        if not _is_live(subscription) or not new_prices:
            continue
        if subscription.scheduled_change is not None:  # the customer was shown its price, which it gets
            continue
        async with db.transaction(tenant_id=tenant_id) as session:
            external_ids = await repository.list_external_ids(
                session, account_id, [price.id for price in new_prices.values()]
            )
        if any(price.id not in external_ids for price in new_prices.values()):
            log.get_logger(__name__).warning("not_repriced", tenant_id=tenant_id, problem="price not pushed")
            continue
        lines = [
            _to_order_line(line, new_prices.get(line.id), prices_by_id, external_ids)
            for line in subscription.lines
        ]
        await provider.change_subscription(
            subscription.id,
            lines,
            as_of=None,
            prorate=False,
            canceled_addons=subscription.kept,
            key=_idempotency_key(subscription, lines),
        )
        await _record_repricing(tenant_id, subscription, new_prices, prices_by_id)
        changed_count += 1
    return changed_count


def find_new_price(line: SubscriptionItem, prices_by_id: Mapping[str, Price], at: datetime) -> Price | None:
    """The price that this line should have instead of its own; None for the one it has."""
    current_price = prices_by_id.get(line.price_id)
    if current_price is None:
        return None
    price_time = at
    if current_price.kind == "metered":
        price_time = line.starts_at or at
    elif line.ends_at is not None and at < line.ends_at <= at + LOOKAHEAD:
        price_time = line.ends_at
    new_price = prices.select_current_prices(prices_by_id.values(), price_time).get(
        prices.get_price_key(current_price)
    )
    return new_price if new_price is not None and new_price.id != current_price.id else None


def _is_live(subscription: Subscription) -> bool:
    return (
        subscription.status not in access_schedule.ACCESS_TABLE
        or access_schedule.ACCESS_TABLE[subscription.status].status != "none"
    )


def _to_order_line(
    line: SubscriptionItem,
    new_price: Price | None,
    prices_by_id: Mapping[str, Price],
    external_ids: Mapping[str, str],
) -> OrderLine:
    current_price = prices_by_id.get(line.price_id)
    metered = current_price.kind == "metered" if current_price else not line.quantity
    number = None if metered else line.quantity
    if new_price is None:
        return OrderLine(line.price_id, line.external_price_id, number)
    return OrderLine(new_price.id, external_ids[new_price.id], number)


def _idempotency_key(subscription: Subscription, lines: Sequence[OrderLine]) -> str:
    """The same change in the same period has the same key, whichever worker makes it."""
    ends = max((line.ends_at.isoformat() for line in subscription.lines if line.ends_at), default="")
    digest = hashlib.sha256(repr((subscription.id, ends, lines)).encode()).hexdigest()
    return f"reprice-{subscription.id}-{digest[:24]}"


async def _record_repricing(
    tenant_id: str,
    subscription: Subscription,
    new_prices: Mapping[str, Price],
    prices_by_id: Mapping[str, Price],
) -> None:
    old_prices = {
        line.id: prices_by_id[line.price_id] for line in subscription.lines if line.id in new_prices
    }
    async with entry.enter_billing_sync(tenant_id, TASK) as ctx:
        audit_log.record(
            ctx,
            "subscription.repriced",
            subscription.id,
            before={prices.format_title(price): prices.format_price(price) for price in old_prices.values()},
            after={prices.format_title(price): prices.format_price(price) for price in new_prices.values()},
        )
