"""The webhooks page: adding, the secret that is shown once, deliveries, and what a member isn't shown."""

from typing import Any

import pytest

from shared.core.errors import Invalid, Refused
from shared.outbound_webhooks import endpoints
from shared.tenancy import roles
from tenant_app.pages.webhooks.state import WebhooksState
from tests.conftest import Cast, Person
from tests.support import factories

URL = "https://hooks.example.com/acme"
FORM = {"url": URL, "description": "Ours", "event_member_removed": "on"}


@pytest.fixture(autouse=True)
def known_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every host has this public address: tests have no name server."""
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("93.184.216.34", 443))])


def open_page(person: Person) -> Any:
    return person.opens(WebhooksState, path="webhooks")


async def submit(page: Any, handler: str, payload: dict[str, str]) -> Any:
    return await WebhooksState.event_handlers[handler].fn(page, payload)


async def test_new_endpoint_is_listed_and_its_secret_is_shown_until_the_dialog_closes(cast: Cast) -> None:
    page = open_page(cast.ann)
    await submit(page, "create_endpoint", FORM)
    assert [(row.url, row.events_text, row.status) for row in page.rows] == [(URL, "1 event", "Active")]
    assert (page.dialog, page.secret[:6]) == ("secret", "whsec_")
    await submit(page, "forget_secret", {})
    assert (page.dialog, page.secret) == ("", "")


async def test_address_of_a_private_host_is_refused_before_anything_is_stored(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 443))])
    monkeypatch.setattr("shared.core.outbound.REFUSAL_TIME_S", 0.05)
    page = open_page(cast.ann)
    with pytest.raises(Invalid) as refusal:
        await submit(page, "create_endpoint", FORM)
    assert set(refusal.value.fields) == {"url"}
    async with cast.ann.ctx() as ctx:
        assert await endpoints.list_endpoints(ctx) == []


async def test_test_event_is_listed_with_its_body(cast: Cast) -> None:
    page = open_page(cast.ann)
    await submit(page, "create_endpoint", FORM)
    await WebhooksState.event_handlers["send_test"].fn(page, page.rows[0].id)
    (delivery,) = page.deliveries
    assert (delivery.event_type, delivery.status, page.shown_url) == ("webhook.test", "Pending", URL)
    await page._fill_dialog("delivery", delivery.id)
    assert '"sent_by": "Ann"' in page.detail.body


async def test_deliveries_of_an_endpoint_of_another_tenant_are_not_shown(cast: Cast) -> None:
    other = open_page(cast.gil)
    await submit(other, "create_endpoint", FORM)
    page = open_page(cast.ann)
    with pytest.raises(Exception, match="doesn’t exist"):
        await WebhooksState.event_handlers["show_deliveries"].fn(page, other.rows[0].id)
    assert (page.shown_id, page.deliveries) == ("", [])


async def test_endpoint_of_events_without_permission_has_an_obstacle(cast: Cast) -> None:
    page = open_page(cast.ann)
    await submit(page, "create_endpoint", {**FORM, "event_billing_status_changed": "on"})
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Integrator", "", ["webhook:read", "webhook:write", "member:read"])
    await factories.join_tenant(cast.ann.account, cast.ann.slug, cast.carl.account, role.key)
    carls_page = open_page(cast.carl)
    await WebhooksState.event_handlers["load"].fn(carls_page)
    (row,) = carls_page.rows
    assert "permission" in row.obstacle
    refusals = {event.name for event in carls_page.events if not event.is_readable}
    assert "billing.status_changed" in refusals
    carls_page.subject = row
    with pytest.raises(Refused):
        await submit(carls_page, "rotate_secret", {"overlap": "24"})
    assert carls_page.secret == ""
