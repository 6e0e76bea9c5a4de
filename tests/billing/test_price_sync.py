"""Prices at the provider: there once, and whoever changes them there is seen."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from shared.audit import trail
from shared.billing import price_sync, prices
from shared.billing import prices_repository as repository
from shared.billing.models import PLATFORM, ProviderPrice
from shared.core import db
from shared.core.db import now
from shared.core.errors import Refused
from tests.billing import selling
from tests.billing.shelf import Shelf, put_up
from tests.conftest import Cast


@pytest.fixture
async def shelf(cast: Cast) -> AsyncIterator[Shelf]:
    async with put_up() as shelf:
        yield shelf


async def there(price_id: str) -> ProviderPrice | None:
    async with db.transaction() as session:
        return await session.get(ProviderPrice, (PLATFORM, price_id))


async def drift(price_id: str) -> dict[str, Any]:
    row = await there(price_id)
    assert row is not None
    assert row.checked_at is not None
    return row.drift


async def test_what_is_sold_or_will_be_is_pushed_once(cast: Cast, shelf: Shelf) -> None:
    version = await selling.sold(cast)
    coming = await selling.price(cast, version.id, amount=3_900, effective_at=now() + timedelta(days=3))
    past, now_ = (
        await selling.price(cast, version.id, amount=2_950),
        await selling.price(cast, version.id, amount=3_000),
    )
    first = await price_sync.push()
    assert first.failed == ()
    assert {coming.id, now_.id, "prc_pro_metered_year"} <= shelf.prices.keys()
    assert past.id not in shelf.prices  # nobody can buy it any more
    row = await there(coming.id)
    assert row is not None
    assert (row.external_id, row.pushed_at is not None) == (shelf.prices[coming.id].external_id, True)
    tag = shelf.prices["prc_pro_metered_month"].tag
    assert tag is not None
    assert (tag.product_id, tag.product_name, tag.period, tag.kind, tag.meter) == (
        *("plv_pro_1", "Pro", "month", "metered", "api_calls"),
    )
    assert (tag.tiers, tag.tiers_mode) == (((100, 0, 0), (None, 10, 0)), "graduated")
    calls, again = shelf.calls, await price_sync.push()
    assert (again.done, shelf.calls) == (0, calls)


async def test_an_account_that_does_not_answer_is_asked_again_later(cast: Cast, shelf: Shelf) -> None:
    shelf.down = True
    silent = await price_sync.push()
    assert (shelf.calls, silent.failed) == (1, ("The payment provider does not answer now.",))
    shelf.down = False
    shelf.refuses.add("prc_starter_flat_month")
    some = await price_sync.push()
    assert some.failed == ("Starter, Base, monthly: That is not possible.",)
    assert "prc_support_flat_year" in shelf.prices  # one that is refused holds up no other
    shelf.refuses.clear()
    assert (await price_sync.push()).done == 1


@pytest.mark.parametrize(
    ("painted", "shown"),
    [
        ({"amount": 1_900}, {"Amount": ["$29.00", "$19.00"]}),
        ({"active": False}, {"Sold": ["yes", "archived"]}),
        ({"currency": "eur"}, {"Amount": ["$29.00", "€29.00"]}),
        ({"period": "year"}, {"Period": ["month", "year"]}),
        ({"kind": "seat"}, {"Kind": ["flat", "seat"]}),
        ({"product_id": "plv_pro_1"}, {"Product": ["plv_starter_1", "plv_pro_1"]}),
        ({"product_name": "Beginner"}, {"Name": ["Starter", "Beginner"]}),
        ({"meter": "steps"}, {"Meter": ["none", "steps"]}),
        (
            {"tiers": ((10, 0, 0), (None, 5, 100)), "tiers_mode": "volume"},
            {"Amount": ["$29.00", "volume: to 10 $0.00, rest $0.05 and $1.00"]},
        ),
    ],
)
async def test_what_somebody_changes_there_is_shown(
    cast: Cast, shelf: Shelf, painted: dict[str, Any], shown: dict[str, list[str]]
) -> None:
    await price_sync.push()
    assert (await price_sync.compare()).drifted == 0
    assert await drift("prc_starter_flat_month") == {}
    shelf.repaint("prc_starter_flat_month", **painted)
    assert (await price_sync.compare()).drifted == 1
    assert await drift("prc_starter_flat_month") == shown
    shelf.repaint("prc_starter_flat_month", **{name: _was[name] for name in painted})
    assert (await price_sync.compare()).drifted == 0
    assert await drift("prc_starter_flat_month") == {}


_was: dict[str, Any] = {
    **{"amount": 2_900, "active": True, "currency": "usd", "period": "month", "kind": "flat", "meter": ""},
    **{"product_id": "plv_starter_1", "product_name": "Starter", "tiers": (), "tiers_mode": ""},
}


async def test_what_is_gone_there_or_is_another_one_is_shown(cast: Cast, shelf: Shelf) -> None:
    await price_sync.push()
    one, other = shelf.prices["prc_starter_flat_month"], shelf.prices["prc_starter_flat_year"]
    del shelf.prices["prc_starter_flat_month"]
    await price_sync.compare()
    assert await drift("prc_starter_flat_month") == {"Price": [one.external_id, "gone"]}
    shelf.prices["prc_starter_flat_month"] = other
    await price_sync.compare()
    assert (await drift("prc_starter_flat_month"))["Price"] == [one.external_id, other.external_id]


async def test_only_a_person_puts_right_what_differs(cast: Cast, shelf: Shelf) -> None:
    await price_sync.push()
    shelf.repaint("prc_starter_flat_month", amount=1_900)
    await price_sync.compare()
    assert (await price_sync.push()).done == 0
    assert await drift("prc_starter_flat_month") != {}
    assert (await price_sync.push("operator", mends=True)).failed == ()
    assert await drift("prc_starter_flat_month") == {}
    row, there_now = await there("prc_starter_flat_month"), shelf.prices["prc_starter_flat_month"]
    assert row is not None
    assert row.external_id == there_now.external_id
    assert there_now.tag is not None
    assert there_now.tag.amount == 2_900
    assert (await price_sync.compare()).drifted == 0


async def test_what_one_tenant_is_offered_is_pushed_by_operators(cast: Cast, shelf: Shelf) -> None:
    version = await selling.sold(cast, for_tenant=cast.acme)
    await price_sync.push()
    async with db.transaction("operator") as session:
        (price,) = await repository.list_prices_of(session, [version.id])
    assert price.id not in shelf.prices  # the worker does not see it
    async with cast.olga.octx() as octx:
        await price_sync.ask_push(octx)
    await price_sync.push("operator")
    assert price.id in shelf.prices
    async with cast.olga.octx() as octx:
        (event,) = await trail.list_operator_events(octx, limit=1)
        assert event.action == "prices.pushed"
        assert [one.external_id for one in (await prices.history(octx)).there[price.id]] == [
            shelf.prices[price.id].external_id
        ]


async def test_who_may_not_change_the_catalogue_pushes_and_compares_nothing(cast: Cast) -> None:
    async with cast.sam.octx() as octx:
        for ask in (price_sync.ask_push, price_sync.ask_compare):
            with pytest.raises(Refused, match="change plans"):
                await ask(octx)


async def test_a_round_that_fails_ends_no_other() -> None:
    async def breaks() -> None:
        raise ValueError("a bug")

    assert not await price_sync._went_well("push", breaks)
    assert await price_sync._went_well("push", _nothing)


async def _nothing() -> None:
    pass
