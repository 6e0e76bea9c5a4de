"""The price page of operators: shown prices and submitted forms."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from admin_app.pages.prices import forms
from admin_app.pages.prices.state import PricesState
from shared.billing.pricing.prices import Tier
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, Refused
from shared.ui.edit_conflict import EditConflict
from shared.ui.field_errors import FieldErrors
from tests.conftest import Cast
from tests.support.billing import sold_plans
from tests.support.billing.priced_provider import RecordingProvider, install_recording_provider

FORM = {
    **{"part": "flat", "period": "month", "currency": "usd", "price": "39.00", "included": ""},
    **{"effective_at": "", "reason": "Costs have risen", "row_version": "1"},
}

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
async def provider(cast: Cast) -> AsyncIterator[RecordingProvider]:
    async with install_recording_provider() as provider:
        yield provider


async def send_event(page: Any, name: str, *args: Any) -> Any:
    handler: Any = type(page).event_handlers[name].fn
    return await handler(page, *args)


async def open_prices_page(operator: Any) -> Any:
    page = operator.opens(PricesState, path="/prices")
    await send_event(page, "load")
    return page


def find_version(page: Any, version_id: str) -> Any:
    return next(version for version in page.versions if version.id == version_id)


async def test_price_is_set_and_shown_with_its_predecessor(cast: Cast, provider: RecordingProvider) -> None:
    version, later = await sold_plans.publish_with_prices(cast), now() + timedelta(days=20)
    page = await open_prices_page(cast.olga)
    await send_event(page, "open_dialog", "price", version.id)
    assert (page.dialog, page.selected_version.name) == ("price", "Startup")
    row_version = str(page.selected_version.row_version)
    await send_event(
        page, "set_price", {**FORM, "effective_at": later.isoformat(), "row_version": row_version}
    )
    assert page.dialog == ""
    rows = find_version(page, version.id).prices
    assert [(row.cost, row.state, row.provider_status) for row in rows] == [
        ("$29.00", "", "Not pushed"),
        ("$39.00", "Scheduled", "Not pushed"),
    ]
    assert rows[1].origin == "Olga: Costs have risen"
    row_version = str(find_version(page, version.id).row_version)
    await send_event(page, "set_price", {**FORM, "price": "31", "row_version": row_version})
    shown_version = find_version(page, version.id)
    assert [row.cost for row in shown_version.prices] == ["$31.00", "$39.00"]
    assert ([row.cost for row in shown_version.past_prices], shown_version.past_title) == (
        ["$29.00"],
        "1 earlier price",
    )


async def test_price_status_at_the_provider_is_shown(cast: Cast, provider: RecordingProvider) -> None:
    version = await sold_plans.publish_with_prices(cast)
    page = await open_prices_page(cast.olga)
    assert "Pushed" in str(await send_event(page, "push_prices"))
    (row,) = find_version(page, version.id).prices
    assert (row.provider_status, row.differences) == ("Pushed", [])
    provider.edit_price(row.id, amount=1_900)
    assert "1 differs" in str(await send_event(page, "compare_prices"))
    (row,) = find_version(page, version.id).prices
    assert row.provider_status == "Differs"
    assert [(difference.name, difference.before, difference.after) for difference in row.differences] == [
        ("Amount", "$29.00", "$19.00")
    ]
    assert page.summary.differing == "1"
    assert page.summary.compared_at != ""
    await send_event(page, "push_prices")
    assert page.summary.differing == "0"
    provider.is_down = True
    assert "responding" in str(await send_event(page, "compare_prices"))


async def test_free_and_enterprise_plans_have_no_price(cast: Cast, provider: RecordingProvider) -> None:
    page = await open_prices_page(cast.olga)
    for key in ("free", "enterprise"):
        assert find_version(page, f"plv_{key}_1").prices == []


def test_price_form_is_parsed() -> None:
    def parse_form(**typed: str) -> dict[str, Any]:
        return forms.parse_price_form(forms.PriceForm.read({**FORM, **typed}))

    assert parse_form()["amount"] == 3_900
    metered = parse_form(part="metered_api_calls", price="0.10", included="1,000")
    assert (metered["kind"], metered["meter"], metered["amount"]) == ("metered", "api_calls", 0)
    assert metered["tiers"] == (Tier(1_000, 0), Tier(None, 10))
    plain = parse_form(part="metered_usage_events", price="0.10")
    assert (plain["meter"], plain["amount"], plain["tiers"]) == ("usage_events", 10, ())
    assert parse_form(currency="jpy", price="500")["amount"] == 500


async def refuse_price(cast: Cast, wrong: dict[str, str]) -> dict[str, str]:
    """What is shown below the fields of the open dialog. Raises AssertionError where a price was set."""
    version = await sold_plans.publish_with_prices(cast)
    page = await open_prices_page(cast.olga)
    await send_event(page, "open_dialog", "price", version.id)
    try:
        await send_event(page, "set_price", {**FORM, **wrong})
    finally:
        shown_prices = [price.cost for price in find_version(page, version.id).prices]
        assert (page.dialog, shown_prices) == ("price", ["$29.00"]), "what was typed stays"
    return dict((await page.get_state(FieldErrors)).errors)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"period": "week"}, "period"),
        ({"currency": "xyz"}, "currency"),
        ({"price": "cheap"}, "price"),
        ({"price": "1.005"}, "price"),
        ({"included": "5"}, "included"),
        ({"part": "metered_api_calls", "included": "many"}, "included"),
        ({"effective_at": "soon"}, "effective_at"),
        ({"effective_at": "2020-01-01T00:00:00+00:00"}, "effective_at"),
        ({"reason": ""}, "reason"),
    ],
)
async def test_wrong_field_of_a_price_is_shown_below_it(
    cast: Cast, provider: RecordingProvider, wrong: dict[str, str], field: str
) -> None:
    assert list(await refuse_price(cast, wrong)) == [field]


async def test_wrong_fields_of_a_price_are_shown_together(cast: Cast, provider: RecordingProvider) -> None:
    errors = await refuse_price(cast, {"effective_at": "soon", "reason": ""})
    assert errors == {
        "effective_at": "In force from isn’t a date with a time.",
        "reason": "Reason is missing.",
    }


@pytest.mark.parametrize(
    "wrong", [{"part": "nothing"}, {"part": "metered_steps"}, {"version_id": "plv_pro_1"}]
)
async def test_forged_price_form_sets_no_price(
    cast: Cast, provider: RecordingProvider, wrong: dict[str, str]
) -> None:
    with pytest.raises(Invalid):
        await refuse_price(cast, wrong)


async def test_price_of_an_unknown_version_is_refused(cast: Cast, provider: RecordingProvider) -> None:
    page = await open_prices_page(cast.olga)
    for wrong in ("", "prc_x", "ten_x", None, 7, "plv_unknown"):
        with pytest.raises(Invalid):
            await send_event(page, "open_dialog", "price", wrong)
    assert page.dialog == ""
    with pytest.raises((Invalid, Conflict)):
        await send_event(page, "set_price", FORM)


async def test_prices_page_is_read_only_for_support(cast: Cast, provider: RecordingProvider) -> None:
    version = await sold_plans.publish_with_prices(cast)
    page = await open_prices_page(cast.sam)
    page.selected_version = find_version(page, version.id)
    for name, args in (("set_price", (FORM,)), ("push_prices", ()), ("compare_prices", ())):
        with pytest.raises(Refused, match=r"set prices|change plans"):
            await send_event(page, name, *args)
    assert provider.call_count == 0


async def test_price_that_another_operator_has_just_set_is_shown_beside_the_own_one(
    cast: Cast, provider: RecordingProvider
) -> None:
    version = await sold_plans.publish_with_prices(cast)
    pages = [await open_prices_page(cast.olga) for _ in range(2)]
    for page in pages:
        await send_event(page, "open_dialog", "price", version.id)
    row_version = str(pages[0].selected_version.row_version)
    await send_event(pages[0], "set_price", {**FORM, "price": "35", "row_version": row_version})
    await send_event(pages[1], "set_price", {**FORM, "row_version": row_version})
    conflict = await pages[1].get_state(EditConflict)
    assert [(row.current, row.submitted) for row in conflict.differences] == [("$35.00", "$39.00")]
    assert conflict.text.startswith("Olga changed this price")
    await send_event(pages[1], "set_price", {**FORM, "row_version": str(conflict.version)})
    assert find_version(pages[1], version.id).prices[0].cost == "$39.00"
