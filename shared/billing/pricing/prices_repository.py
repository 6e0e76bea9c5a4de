"""SQL of prices and of their copies at the provider. Inside a tenant, its own prices are included."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing.models import BillingSubscription, Price, ProviderAccount, ProviderPrice
from shared.entitlements.models import Plan, PlanVersion

OLDEST_FIRST = (col(Price.effective_at), col(Price.id))


async def list_prices(session: AsyncSession) -> Sequence[tuple[Price, PlanVersion, Plan]]:
    """Every price, including those of retired plans; the oldest first."""
    statement = (
        select(Price, PlanVersion, Plan)
        .join(PlanVersion, col(PlanVersion.id) == col(Price.plan_version_id))
        .join(Plan, col(Plan.id) == col(PlanVersion.plan_id))
        .order_by(*OLDEST_FIRST)
    )
    return (await session.exec(statement)).all()


async def list_version_prices(session: AsyncSession, version_ids: Iterable[str]) -> Sequence[Price]:
    statement = select(Price).where(col(Price.plan_version_id).in_(list(version_ids)))
    return (await session.exec(statement.order_by(*OLDEST_FIRST))).all()


async def get_meters_by_price_id(session: AsyncSession) -> dict[str, str]:
    """Of all metered prices."""
    statement = select(Price.id, Price.meter).where(Price.kind == "metered")
    return dict((await session.exec(statement)).all())


async def get_prices_by_id(session: AsyncSession, price_ids: Iterable[str]) -> dict[str, Price]:
    statement = select(Price).where(col(Price.id).in_(list(price_ids)))
    return {price.id: price for price in (await session.exec(statement)).all()}


async def lock_version(session: AsyncSession, version_id: str) -> tuple[PlanVersion, Plan] | None:
    """Locks the prices of a version."""
    version = await session.get(
        PlanVersion, version_id, with_for_update={"key_share": True}, populate_existing=True
    )
    plan = await session.get(Plan, version.plan_id) if version else None
    return (version, plan) if version is not None and plan is not None else None


async def list_published_versions(session: AsyncSession) -> Sequence[tuple[Plan, PlanVersion]]:
    """Published versions, from the smallest plan to the largest, the newest version of each first."""
    statement = (
        select(Plan, PlanVersion)
        .join(PlanVersion, col(PlanVersion.plan_id) == col(Plan.id))
        .where(PlanVersion.status == "published")
        .order_by(col(Plan.kind).desc(), col(Plan.position), col(Plan.id), col(PlanVersion.number).desc())
    )
    return (await session.exec(statement)).all()


async def add_price(session: AsyncSession, price: Price) -> bool:
    """False where another price of the same part starts at that time. The transaction stays usable."""
    try:
        async with session.begin_nested():
            session.add(price)
            await session.flush()
    except IntegrityError:
        return False
    return True


async def list_external_ids(
    session: AsyncSession, account_id: str, price_ids: Iterable[str]
) -> dict[str, str]:
    statement = (
        select(ProviderPrice.price_id, ProviderPrice.external_id)
        .where(
            ProviderPrice.account_id == account_id,
            col(ProviderPrice.price_id).in_(list(price_ids)),
            ProviderPrice.external_id != "",
        )
        .order_by(ProviderPrice.price_id)
    )
    return dict((await session.exec(statement)).all())


async def list_provider_prices(session: AsyncSession) -> Sequence[ProviderPrice]:
    order = (col(ProviderPrice.price_id), col(ProviderPrice.account_id))
    return (await session.exec(select(ProviderPrice).order_by(*order))).all()


async def get_provider_prices_by_id(session: AsyncSession, account_id: str) -> dict[str, ProviderPrice]:
    statement = select(ProviderPrice).where(ProviderPrice.account_id == account_id)
    statement = statement.order_by(ProviderPrice.price_id)
    return {row.price_id: row for row in await session.exec(statement)}


async def save_pushed_price(
    session: AsyncSession, account_id: str, price_id: str, external_id: str, at: datetime
) -> None:
    """Records that the price was pushed and has no differences."""
    await _upsert(session, account_id, price_id, {"external_id": external_id, "pushed_at": at, "drift": {}})


async def save_comparison(
    session: AsyncSession, account_id: str, price_id: str, drift: dict[str, list[str]], at: datetime
) -> None:
    await _upsert(session, account_id, price_id, {"drift": drift, "checked_at": at})


async def _upsert(session: AsyncSession, account_id: str, price_id: str, values: dict[str, Any]) -> None:
    statement = insert(ProviderPrice).values(account_id=account_id, price_id=price_id, **values)
    connection = await session.connection()
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["account_id", "price_id"], set_=values)
    )


async def list_all_customers(session: AsyncSession) -> Sequence[tuple[str, str, str]]:
    """Account, customer and tenant ids of all customers."""
    statement = sa.text("select account, customer, tenant from list_unsynced_customers('infinity', null)")
    connection = await session.connection()
    return [(row[0], row[1], row[2]) for row in await connection.execute(statement)]


async def list_active_account_ids(session: AsyncSession) -> Sequence[str]:
    """Ids of accounts that are not paused."""
    statement = select(ProviderAccount.id).where(col(ProviderAccount.paused_at).is_(None))
    return (await session.exec(statement.order_by(col(ProviderAccount.id)))).all()


async def list_subscribed_price_ids(session: AsyncSession, customer_id: str) -> set[str]:
    """Ids of the prices in a customer's subscriptions, as of the last sync. In a transaction of its tenant."""
    statement = select(BillingSubscription.state).where(
        BillingSubscription.customer_id == customer_id, col(BillingSubscription.absent_at).is_(None)
    )
    return {line["price_id"] for state in await session.exec(statement) for line in state["lines"]}
