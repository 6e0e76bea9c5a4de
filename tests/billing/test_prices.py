"""The price list: validity in time, refused prices, immutability, order lines."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from shared.audit import audit_log
from shared.backoffice import catalog_drafts, price_admin
from shared.backoffice.price_admin import PriceRequest
from shared.backoffice.reasons import state_reason
from shared.billing.pricing import prices
from shared.billing.pricing import prices_repository as repository
from shared.billing.pricing.prices import Tier
from shared.billing.provider_values import OrderLine
from shared.billing.sync.access_schedule import CatalogPrice
from shared.core import db
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from tests.backoffice.test_catalog_drafts import create_draft, publish_new_plan, save_draft
from tests.conftest import Cast
from tests.support.billing import sold_plans

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
FREE = (Tier(100, 0), Tier(None, 10))


async def load_plan_prices(at: datetime) -> dict[tuple[str, str], prices.PlanPrices]:
    async with db.transaction() as session:
        return await prices.get_plan_prices(session, at)


# ── the first list ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_first_price_list_is_the_published_one(cast: Cast) -> None:
    sold_by_period = await load_plan_prices(now())
    price_texts = {
        (version.removeprefix("plv_").removesuffix("_1"), period): listed
        for (version, period), parts in sold_by_period.items()
        if (
            listed := [
                prices.format_price(price) for price in parts.all_prices if price.created_by == "Bulkhead"
            ]
        )
    }
    assert price_texts == {
        ("starter", "month"): ["$29.00"],
        ("starter", "year"): ["$290.00"],
        ("pro", "month"): ["$20.00 per seat", "First 100,000 calls free, then $0.10 per 1,000 calls"],
        ("pro", "year"): ["$200.00 per seat", "First 1,200,000 calls free, then $0.10 per 1,000 calls"],
        ("business", "month"): [
            "$199.00",
            "$15.00 per seat",
            "First 5,000,000 events free, then $0.05 per 1,000 events",
        ],
        ("business", "year"): [
            "$1,990.00",
            "$150.00 per seat",
            "First 60,000,000 events free, then $0.05 per 1,000 events",
        ],
        ("extra_seats", "month"): ["$90.00"],
        ("extra_seats", "year"): ["$900.00"],
        ("support", "month"): ["$149.00"],
        ("support", "year"): ["$1,490.00"],
    }
    assert await load_plan_prices(FIRST - timedelta(seconds=1)) == {}


async def test_catalog_price_names_its_version_and_kind(cast: Cast) -> None:
    async with db.transaction() as session:
        catalog_prices = await prices.get_catalog_prices(session)
    assert catalog_prices["prc_pro_seat_month"] == CatalogPrice(
        "plv_pro_1", is_addon=False, is_per_seat=True, position=2, is_metered=False
    )
    assert catalog_prices["prc_extra_seats_flat_year"][:3] == ("plv_extra_seats_1", True, False)


# ── effective dates ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_scheduled_price_applies_from_its_date_and_history_shows_both(cast: Cast) -> None:
    version, later = await sold_plans.publish_with_prices(cast), now() + timedelta(days=30)
    made = await sold_plans.set_price(
        cast, version.id, amount=3_900, effective_at=later, reason="Costs have risen"
    )
    key = (version.id, "month")
    assert [price.amount for price in (await load_plan_prices(now()))[key].all_prices] == [2_900]
    assert [
        price.amount for price in (await load_plan_prices(later - timedelta(microseconds=1)))[key].all_prices
    ] == [2_900]
    assert [price.id for price in (await load_plan_prices(later))[key].all_prices] == [made.id]
    async with cast.sam.octx() as octx:
        listed = await price_admin.list_price_history(octx)
        mine = next(
            version_history for version_history in listed.versions if version_history.version.id == version.id
        )
        assert [(price.amount, price.reason) for price in mine.prices] == [
            (2_900, "As agreed"),
            (3_900, "Costs have risen"),
        ]
    async with cast.olga.octx() as octx:
        (event,) = await audit_log.list_operator_events(octx, limit=1)
    assert (event.action, event.reason, event.details["name"]) == ("price.set", "Costs have risen", "Startup")
    assert event.details["before"] == {"Base, monthly": "$29.00"}
    assert event.details["after"] == {"Base, monthly": "$39.00"}


async def test_immediate_price_applies_from_now_on(cast: Cast) -> None:
    version = await sold_plans.publish_with_prices(
        cast, {"amount": 2_900}, {"amount": 29_000, "period": "year"}
    )
    before = now()
    made = await sold_plans.set_price(cast, version.id, amount=3_100)
    assert before <= made.effective_at <= now()
    sold_by_period = await load_plan_prices(now())
    assert [sold_by_period[version.id, period].all_prices[0].amount for period in prices.PERIODS] == [
        3_100,
        29_000,
    ]
    assert (await load_plan_prices(before))[version.id, "month"].all_prices[0].amount == 2_900


async def test_price_of_a_new_part_is_added_to_the_others(cast: Cast) -> None:
    version = await sold_plans.publish_with_prices(cast)
    await sold_plans.set_price(cast, version.id, kind="metered", meter="api_calls", tiers=FREE)
    assert [price.kind for price in (await load_plan_prices(now()))[version.id, "month"].all_prices] == [
        "flat",
        "metered",
    ]


@pytest.mark.parametrize("role", ["app", "operator"])
@pytest.mark.parametrize("change", ["update price set amount = 1", "delete from price"])
async def test_stored_price_cannot_be_changed(cast: Cast, role: db.DatabaseRole, change: str) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="permission denied"):
        async with db.transaction(role) as session:
            await (await session.connection()).exec_driver_sql(change)
    with pytest.raises(sa.exc.DBAPIError, match="is append-only"):  # its owner neither
        await _execute_as_owner(change)


# ── what cannot be meant ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"period": "week"}, "monthly or yearly"),
        ({"kind": "free"}, "flat, per seat or metered"),
        ({"currency": "xyz"}, "isn’t a currency"),
        ({"amount": -1}, "The amount must be from"),
        ({"amount": 100_000_000}, "The amount must be from"),
        ({"meter": "api_calls"}, "Metered prices, and only those"),
        ({"kind": "metered"}, "one of these meters"),
        ({"kind": "metered", "meter": "steps"}, "one of these meters"),
        ({"tiers": FREE}, "Only metered prices"),
        ({"kind": "metered", "meter": "api_calls", "tiers": FREE, "amount": 5}, "no amount besides"),
        ({"kind": "metered", "meter": "api_calls", "tiers": FREE[:1]}, "last tier"),
        ({"kind": "metered", "meter": "api_calls", "tiers": FREE[::-1]}, "last tier"),
        ({"kind": "metered", "meter": "api_calls", "tiers": (Tier(None, 1), Tier(None, 2))}, "last tier"),
        ({"kind": "metered", "meter": "api_calls", "tiers": (Tier(9, 1), Tier(9, 1), FREE[1])}, "above the"),
        ({"kind": "metered", "meter": "api_calls", "tiers": (Tier(0, 1), FREE[1])}, "above the previous"),
        ({"kind": "metered", "meter": "api_calls", "tiers": (Tier(None, -1),)}, "be negative"),
        ({"kind": "metered", "meter": "api_calls", "tiers": (Tier(None, 1, -1),)}, "be negative"),
        ({"effective_at": FIRST}, "start in the past"),
        ({"effective_at": datetime(2099, 1, 1)}, "start in the past"),  # noqa: DTZ001  without a zone, on purpose
        ({"reason": " "}, "reason is required"),
        ({"reason": "x" * 301}, "at most 300"),
    ],
)
async def test_invalid_price_is_refused(cast: Cast, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        await sold_plans.set_price(
            cast, "plv_starter_1", **({"amount": 100} | wrong if "tiers" not in wrong else wrong)
        )
    assert len(await _list_price_ids("plv_starter_1")) == 2


async def test_price_of_a_version_that_is_not_sold_is_refused(cast: Cast) -> None:
    draft = await save_draft(cast.olga, await create_draft(cast.olga))
    gone = await sold_plans.publish_with_prices(cast)
    async with cast.olga.octx() as octx:
        await catalog_drafts.retire_plan(octx, gone.plan_id, state_reason(octx, "Nobody wants it"))
    for version_id, problem, message in (
        (draft.id, Conflict, "is a draft"),
        (gone.id, Conflict, "is retired"),
        ("plv_unknown", NotFound, "version doesn’t exist"),
    ):
        with pytest.raises(problem, match=message):
            await sold_plans.set_price(cast, version_id, amount=100)
    for kind, meter in (("seat", ""), ("metered", "api_calls")):
        with pytest.raises(Invalid, match="only have a flat price"):
            await sold_plans.set_price(cast, "plv_support_1", kind=kind, amount=1, meter=meter)


async def test_price_in_yen_has_no_decimal_places(cast: Cast) -> None:
    yen = await publish_new_plan(cast.olga)
    assert (
        prices.format_price(await sold_plans.set_price(cast, yen.id, amount=5_000, currency="jpy"))
        == "¥5,000"
    )


async def test_unchanged_price_is_refused(cast: Cast) -> None:
    with pytest.raises(Conflict, match="already has this price"):
        await sold_plans.set_price(cast, "plv_starter_1", amount=2_900)


async def test_concurrent_prices_for_the_same_time_succeed_once(cast: Cast) -> None:
    version, later = await sold_plans.publish_with_prices(cast), now() + timedelta(days=10)
    outcomes = await asyncio.gather(
        *(
            sold_plans.set_price(cast, version.id, amount=amount, effective_at=later)
            for amount in (3_000, 3_100, 3_200)
        ),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "Conflict", "Price"]


async def test_price_change_is_refused_without_permission(cast: Cast) -> None:
    request = PriceRequest(version_id="plv_starter_1", period="month", kind="flat", amount=1)
    async with cast.sam.octx() as octx:
        reason = state_reason(octx, "Cheap, ticket 4471")
        with pytest.raises(Refused, match="set prices"):
            await price_admin.set_price(octx, request, reason)
    assert len(await _list_price_ids("plv_starter_1")) == 2


async def test_price_for_one_tenant_is_invisible_to_others(cast: Cast) -> None:
    tenant_version = await publish_new_plan(cast.olga, for_tenant=cast.acme)
    price = await sold_plans.set_price(cast, tenant_version.id, amount=12_345)
    assert price.for_tenant == cast.acme
    for tenant_id, seen in ((cast.acme, True), (cast.globex, False), ("", False)):
        async with db.transaction(tenant_id=tenant_id) as session:
            price_ids = {price.id for price, _, _ in await repository.list_prices(session)}
            assert (price.id in price_ids) is seen


# ── an order ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_order_uses_the_prices_in_force(cast: Cast) -> None:
    seat, metered = {"kind": "seat", "amount": 1_500}, {"kind": "metered", "meter": "api_calls", "amount": 2}
    version, later = (
        await sold_plans.publish_with_prices(cast, {"amount": 19_900}, seat, metered),
        now() + timedelta(days=5),
    )
    new = await sold_plans.set_price(cast, version.id, kind="seat", amount=1_700, effective_at=later)
    shop = await sold_plans.add_account(cast)
    await sold_plans.mark_pushed(shop, version.id, "plv_extra_seats_1")
    async with db.transaction() as session:
        lines = await prices.build_order_lines(
            session, shop, version.id, "month", seats=12, addons={"plv_extra_seats_1": 2}
        )
        ahead = await prices.build_order_lines(session, shop, version.id, "month", seats=12, at=later)
    price_texts = await _costs(lines)
    assert [(*price_texts[line.price_id], line.quantity) for line in lines] == [
        ("Base, monthly", "$199.00", 1),
        ("Per seat, monthly", "$15.00 per seat", 12),
        ("API calls, monthly", "$0.02 per 1,000 calls", None),
        ("Base, monthly", "$90.00", 2),
    ]
    assert {line.external_price_id for line in lines} == {f"there_{line.price_id}" for line in lines}
    assert ahead[1].price_id == new.id


async def test_order_is_refused_for_what_is_not_sold(cast: Cast) -> None:
    shop, version = await sold_plans.add_account(cast), await sold_plans.publish_with_prices(cast)
    async with db.transaction() as session:
        with pytest.raises(Conflict, match="isn’t available"):  # nothing has been pushed
            await prices.build_order_lines(session, shop, version.id, "month")
    euro = await sold_plans.publish_with_prices(cast, {"amount": 100, "currency": "eur"})
    await sold_plans.mark_pushed(shop, version.id, euro.id, "plv_support_1")
    for version_id, period, addons, seats, message in (
        ("plv_free_1", "month", {}, 1, "no price"),
        ("plv_enterprise_1", "month", {}, 1, "no price"),
        (version.id, "year", {}, 1, "no price"),
        (version.id, "month", {"plv_free_1": 1}, 1, "no price"),
        (version.id, "month", {}, 0, "at least 1"),
        (version.id, "month", {"plv_support_1": 0}, 1, "at least 1"),
        (euro.id, "month", {"plv_support_1": 1}, 1, "isn’t sold in EUR"),
    ):
        with pytest.raises((Conflict, Invalid), match=message):
            async with db.transaction() as session:
                await prices.build_order_lines(session, shop, version_id, period, seats=seats, addons=addons)


async def _list_price_ids(version_id: str) -> list[str]:
    async with db.transaction() as session:
        return [price.id for price in await repository.list_version_prices(session, [version_id])]


async def _costs(lines: Sequence[OrderLine]) -> dict[str, tuple[str, str]]:
    async with db.transaction() as session:
        listed = {price.id: price for price, _, _ in await repository.list_prices(session)}
    return {
        line.price_id: (
            prices.format_title(listed[line.price_id]),
            prices.format_price(listed[line.price_id]),
        )
        for line in lines
    }


async def _execute_as_owner(statement: str) -> None:
    """Only the owner of the table bypasses row security."""
    async with db.transaction("owner") as session:
        connection = await session.connection()
        await connection.exec_driver_sql("alter table price no force row level security")
        await connection.exec_driver_sql(statement)
