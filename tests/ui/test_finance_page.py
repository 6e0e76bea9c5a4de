"""The page *Finance* shows the report by currency, and exports it."""

from typing import Any

import pytest

from admin_app.pages.finance import FinanceState, finance_page
from shared.core.errors import Refused
from tests.backoffice.test_finance import JANUARY, record
from tests.conftest import Cast
from tests.support.billing import sold_plans


async def send_event(state: Any, name: str) -> Any:
    handler: Any = type(state).event_handlers[name].fn
    return await handler(state)


async def test_page_shows_amounts_in_their_currency_and_exports_them(cast: Cast) -> None:
    version = await sold_plans.publish_with_prices(cast)
    price = await sold_plans.set_price(cast, version.id, amount=2_600, currency="nok")
    await record(cast, JANUARY, (price.id, 1))
    page = cast.olga.opens(FinanceState, path="/finance")
    await send_event(page, "load")
    kroner = next(each for each in page.currencies if each.currency == "NOK")
    assert "26.00" in kroner.recurring
    assert len(kroner.movements) == 13
    assert [row[1] for row in kroner.plans] == ["1"]
    assert "finance.csv" in str(await send_event(page, "download_report"))


async def test_support_neither_sees_nor_exports_it(cast: Cast) -> None:
    page = cast.sam.opens(FinanceState, path="/finance")
    with pytest.raises(Refused):
        await send_event(page, "download_report")


def test_page_can_be_drawn() -> None:
    assert "movements" in str(finance_page().render())
