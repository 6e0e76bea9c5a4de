"""A page works on the object that it shows, and only while its address names that one."""

from typing import Any

import pytest
from reflex.event import Event
from reflex_base.registry import RegistrationContext

from admin_app import addresses
from admin_app.pages.flag.state import FlagPageState
from admin_app.pages.tenant.lists import TenantEventsState, TenantMembersState
from admin_app.pages.tenant.state import TenantPageState
from admin_app.pages.tenant_billing.state import TenantBillingState
from admin_app.pages.tenant_rights.state import TenantRightsState
from admin_app.pages.webhook.state import WebhookState
from admin_app.visit_state import TenantVisitState
from shared.billing import customers
from shared.billing.models import PLATFORM
from shared.core.errors import Invalid
from shared.tenancy.models import TenantState
from shared.ui.authorize import AuthorizeMiddleware, authenticate_operator
from shared.ui.live_updates import LiveUpdates
from tests.conftest import Cast, opens
from tests.support.app_pages import AppPages
from tests.support.billing import events
from tests.support.entitlements import flag_fixtures

REASON = "Ticket 4471: Acme cannot pay"
SUSPENSION = {"reason": REASON, "confirm": "Acme", "message": "Payments are disputed."}
PARTS_OF_TENANT = (
    TenantPageState,
    TenantRightsState,
    TenantBillingState,
    TenantMembersState,
    TenantEventsState,
)
OTHER_OBJECT = "This page no longer matches its address."


async def send_event(page: Any, name: str, *payload: Any) -> Any:
    return await type(page).event_handlers[name].fn(page, *payload)


def go_to(cast: Cast, page: Any, path: str) -> None:
    page._get_root_state().router = opens(type(page), cast.olga.cookie, path).router


def list_handlers(page_class: Any, *, loads: bool) -> list[str]:
    """Full names of the handlers of this state that are loads, or of all others."""
    handlers = RegistrationContext.get().event_handlers
    names = [name for name, handler in handlers.items() if page_class in handler.states]
    return [name for name in names if getattr(handlers[name].handler.fn, "__loads__", None) is loads]


async def find_refusal(page: Any, name: str) -> str:
    """What the operator is told before the handler runs; "" where it would run."""
    middleware = AuthorizeMiddleware(authenticate_operator, LiveUpdates("operator"))
    update = await middleware.preprocess(app=AppPages(), state=page._get_root_state(), event=Event(name=name))
    return str(update.events) if update else ""


async def make_two_paths(cast: Cast, page_class: Any) -> tuple[str, str]:
    """Addresses of two objects of this page."""
    if page_class is FlagPageState:
        first_key, second_key = [await flag_fixtures.create_flag(cast) for _ in range(2)]
        return f"/flags/{first_key}", f"/flags/{second_key}"
    if page_class is WebhookState:
        first, second = await events.store_webhooks(await customers.ensure(cast.acme), 2)
        return addresses.webhook_url(PLATFORM, first), addresses.webhook_url(PLATFORM, second)
    return f"/tenants/{cast.acme}", f"/tenants/{cast.globex}"


@pytest.mark.parametrize("page_class", [*PARTS_OF_TENANT, FlagPageState, WebhookState])
async def test_handlers_are_refused_while_the_address_names_another_object(
    cast: Cast, page_class: Any
) -> None:
    shown, other = await make_two_paths(cast, page_class)
    page = opens(page_class, cast.olga.cookie, shown)
    names = list_handlers(page_class, loads=False)
    assert names
    for name in names:  # nothing is shown yet
        assert OTHER_OBJECT in await find_refusal(page, name)
    await send_event(page, "load")
    for name in names:
        assert await find_refusal(page, name) == ""
    go_to(cast, page, other)
    for name in names:
        assert OTHER_OBJECT in await find_refusal(page, name)
    for name in list_handlers(page_class, loads=True):
        assert await find_refusal(page, name) == ""
    await send_event(page, "load")
    for name in names:
        assert await find_refusal(page, name) == ""


async def test_handler_works_on_the_tenant_that_is_shown(cast: Cast) -> None:
    """Also where nothing has refused it before."""
    page: Any = cast.olga.opens(TenantPageState, path=f"/tenants/{cast.acme}")
    await send_event(page, "load")
    go_to(cast, page, f"/tenants/{cast.globex}")
    await send_event(page, "suspend_tenant", SUSPENSION)
    async with cast.gil.ctx() as ctx:
        assert ctx.tenant_state == TenantState.ACTIVE
    assert (page.header.id, page.header.state) == (cast.acme, "Suspended")


async def test_loading_another_tenant_forgets_reason_and_confirmation(cast: Cast) -> None:
    page: Any = cast.olga.opens(TenantPageState, path=f"/tenants/{cast.acme}")
    await send_event(page, "load")
    await send_event(page, "start_visit", {"reason": REASON})
    await send_event(page, "open_dialog", "suspend")
    visit, closed_dialogs = await page.get_state(TenantVisitState), page.closed_dialogs
    go_to(cast, page, f"/tenants/{cast.globex}")
    await send_event(page, "load")
    assert (page.header.name, page.dialog, visit.reason, visit.is_visit_open) == ("Globex", "", "", False)
    assert page.closed_dialogs > closed_dialogs  # or one that only the browser has opened would stay
    with pytest.raises(Invalid):
        await send_event(page, "suspend_tenant", SUSPENSION)


async def test_load_that_failed_shows_nothing_to_work_on(cast: Cast) -> None:
    page: Any = cast.olga.opens(TenantPageState, path=f"/tenants/{cast.acme}")
    await send_event(page, "load")
    go_to(cast, page, "/tenants/ten_00000000000000000000000000")
    await send_event(page, "load")  # says so on the page itself
    assert page.header.id == ""
    for name in list_handlers(TenantPageState, loads=False):
        assert OTHER_OBJECT in await find_refusal(page, name)
