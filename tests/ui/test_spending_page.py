"""The spend limit on the billing page: set, shown, refused at its field, removed."""

from datetime import datetime
from typing import Any

from shared.ui.field_errors import FieldErrors
from tenant_app.pages.billing.state import BillingState
from tests.billing.test_spend_limits import EVENTS, INCLUDED, get_spent, subscribed, use
from tests.conftest import Cast
from tests.ui.test_billing_page import send_event

__all__ = ["subscribed"]  # a fixture


async def open_billing(cast: Cast) -> Any:
    page = cast.ann.opens(BillingState, path=f"/t/{cast.ann.slug}/billing")
    await send_event(page, "load")
    return page


async def test_spend_limit_is_set_shown_and_removed(cast: Cast, subscribed: datetime) -> None:
    await use(cast.acme, EVENTS, INCLUDED[EVENTS] + 20_000)
    page = await open_billing(cast)
    assert (page.shows_spending, page.has_spend_limit) == (True, False)
    assert page.spend_text == "$1.00 in this billing period, without a limit."
    await send_event(page, "save_spend_limit", {"amount": "4", "effect": "cap"})
    assert page.spend_text == "$1.00 of $4.00 in this billing period (25 %)."
    assert (page.spend_amount, page.spend_effect) == ("4.00", "cap")
    await send_event(page, "remove_spend_limit")
    assert not page.has_spend_limit
    assert await get_spent(cast.ann) == 100


async def test_wrong_amount_is_reported_at_its_field(cast: Cast, subscribed: datetime) -> None:
    page = await open_billing(cast)
    await send_event(page, "open_dialog", "spend_limit")
    await send_event(page, "save_spend_limit", {"amount": "a lot", "effect": "cap"})
    field_errors = await page.get_state(FieldErrors)
    assert (page.dialog, list(field_errors.errors)) == ("spend_limit", ["amount"])


async def test_organisation_without_metered_prices_sees_no_spend_limit(cast: Cast) -> None:
    page = await open_billing(cast)
    assert not page.shows_spending
