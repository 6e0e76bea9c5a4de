"""A handler that changes something shows the result, and the commit does not load the same tab again."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from admin_app import addresses
from admin_app.pages.prices.state import PricesState
from admin_app.pages.tenant.state import TenantPageState
from admin_app.pages.tenant_billing.state import TenantBillingState
from admin_app.pages.tenant_rights.state import TenantRightsState
from admin_app.pages.webhook.state import WebhookState
from shared.billing import customers
from shared.billing.inbound_webhooks import processing
from shared.billing.models import PLATFORM
from tenant_app.pages.billing.state import BillingState
from tenant_app.pages.members.state import MembersState
from tenant_app.shell import Shell
from tests.conftest import Cast
from tests.support.billing import events, shared_provider, sold_plans
from tests.support.billing.memory_provider import MemoryProvider
from tests.support.billing.priced_provider import install_recording_provider
from tests.support.notices import list_pages_that_load, recorded_notices

REASON = "Ticket 4471, as agreed"
PRO, BUSINESS = "plv_pro_1", "plv_business_1"

pytestmark = pytest.mark.usefixtures("tidy")


async def call(page: Any, name: str, *arguments: Any) -> Any:
    return await type(page).event_handlers[name].fn(page, *arguments)


async def list_second_loads(page: Any, name: str, *arguments: Any) -> list[str]:
    """The notices of this handler's commits that make the tab itself load again."""
    async with recorded_notices() as notices:
        await call(page, name, *arguments)
    return list_pages_that_load(notices, page)


async def open_tenant_page(cast: Cast) -> Any:
    page = cast.olga.opens(TenantPageState, path=f"/tenants/{cast.acme}")
    await call(page, "load")
    return page


async def open_tab(page: Any, tab_state: Any, *arguments: Any) -> Any:
    tab = await page.get_state(tab_state)
    await call(tab, "load", *arguments)
    return tab


async def test_invitation_loads_the_members_page_once(cast: Cast) -> None:
    page: Any = cast.ann.opens(MembersState)
    await call(page, "load")
    assert await list_second_loads(page, "invite_member", {"email": "zoe@x.test", "role": "member"}) == []
    assert [invitation.email for invitation in page.pending] == ["zoe@x.test"]


async def test_suspension_loads_the_tenants_page_once(cast: Cast) -> None:
    page = await open_tenant_page(cast)
    form = {"reason": REASON, "confirm": "Acme"}
    suspension_form = {**form, "message": "Payments are disputed."}
    assert await list_second_loads(page, "suspend_tenant", suspension_form) == []
    assert (page.header.state, page.header.reason) == ("Suspended", REASON)
    assert await list_second_loads(page, "restore_tenant", form) == []
    assert page.header.state == "Active"


async def test_plan_change_by_an_operator_shows_tab_and_header_and_loads_them_once(cast: Cast) -> None:
    page = await open_tenant_page(cast)
    tab = await open_tab(page, TenantRightsState)
    assert page.header.plan == "Business"
    form = {"version": PRO, "trial_days": "0", "reason": REASON, "confirm": "Acme"}
    assert await list_second_loads(tab, "change_plan", form) == []
    assert (tab.summary.plan, page.header.plan) == ("Pro version 1", "Pro")


async def test_adjustment_loads_the_billing_tab_once(cast: Cast) -> None:
    await customers.ensure(cast.acme)
    page = await open_tenant_page(cast)
    await call(page, "start_visit", {"reason": REASON})
    tab = await open_tab(page, TenantBillingState)
    await call(tab, "open_dialog", "adjust")
    form = {
        **{"kind": "credit", "amount": "5", "currency": "usd", "code": "goodwill", "invoice": ""},
        **{"reason": REASON, "confirm": "Acme"},
    }
    assert await list_second_loads(tab, "adjust_balance", form) == []
    assert [adjustment.state for adjustment in tab.adjustments] == ["In progress"]


async def test_replay_loads_the_page_of_a_webhook_once(cast: Cast) -> None:
    (event_id,) = await events.store_webhooks(await customers.ensure(cast.acme))
    await processing.drain()
    page: Any = cast.olga.opens(WebhookState, path=addresses.webhook_url(PLATFORM, event_id))
    await call(page, "load")
    assert await list_second_loads(page, "replay_webhook", {"reason": REASON}) == []
    assert page.detail.status == "Waiting"


async def test_pushing_prices_loads_the_price_page_once(cast: Cast) -> None:
    async with install_recording_provider():
        await sold_plans.publish_with_prices(cast)
        page: Any = cast.olga.opens(PricesState, path="/prices")
        await call(page, "load")
        assert await list_second_loads(page, "push_prices") == []


# ── the tenant's billing page, whose changes are committed by the sync with the provider ──────────────────────────


@pytest.fixture
async def seller() -> AsyncIterator[MemoryProvider]:
    yield await shared_provider.install_provider()
    shared_provider.remove_provider()


async def open_subscribed_page(cast: Cast, seller: MemoryProvider) -> Any:
    page: Any = cast.gil.opens(BillingState, path="billing")
    await call(page, "load")
    await call(page, "choose_plan", PRO)
    await call(page, "start_checkout", {"seats": "3"})
    seller.pay(list(seller.carts)[-1])
    seller.advance(timedelta(seconds=1))
    return page


async def test_return_from_checkout_shows_page_and_frame_and_loads_them_once(
    cast: Cast, seller: MemoryProvider
) -> None:
    page = await open_subscribed_page(cast, seller)
    frame = await page.get_state(Shell)
    assert frame.plan == "Business"
    assert await list_second_loads(page, "check_payment") == []
    assert (page.plan, frame.plan) == ("Pro", "Pro")


async def test_plan_change_shows_page_and_frame_and_loads_them_once(
    cast: Cast, seller: MemoryProvider
) -> None:
    page = await open_subscribed_page(cast, seller)
    await call(page, "check_payment")
    await call(page, "choose_plan", BUSINESS)
    assert await list_second_loads(page, "confirm_change", {"seats": "3"}) == []
    assert (page.plan, (await page.get_state(Shell)).plan) == ("Business", "Business")


async def test_cancelling_and_resuming_load_the_billing_page_once(cast: Cast, seller: MemoryProvider) -> None:
    page = await open_subscribed_page(cast, seller)
    await call(page, "check_payment")
    assert await list_second_loads(page, "cancel_subscription", {"why": "other", "comment": ""}) == []
    assert page.ends_at
    assert await list_second_loads(page, "resume_subscription") == []
    assert page.ends_at == ""
