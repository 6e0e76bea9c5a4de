"""The dispatcher: events become deliveries, which are sent, signed, retried and recorded."""

import pytest

from shared.core.context import Ctx
from shared.outbound_webhooks import deliveries, endpoints
from shared.outbound_webhooks.models import DeliveryStatus
from shared.tenancy import tenants
from tests.conftest import Cast, Person
from tests.support.webhook_receiver import Receiver, open_dispatcher, run_receiver

RENAMED = "organisation.renamed"


async def add_endpoint(
    person: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, *event_types: str
) -> endpoints.IssuedSecret:
    allow(receiver, monkeypatch)
    async with person.ctx() as ctx:
        return await endpoints.create(ctx, receiver.url, "", event_types or (RENAMED,))


def allow(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.core.outbound.list_allowed_targets", lambda: frozenset({receiver.target}))


async def rename(person: Person, name: str) -> None:
    async with person.ctx() as ctx:
        await tenants.rename(ctx, name, version=None)


async def list_statuses(ctx: Ctx, endpoint_id: str) -> list[DeliveryStatus]:
    page = await deliveries.list_deliveries(ctx, endpoint_id)
    return [delivery.status for delivery in page.rows]


async def test_event_is_delivered_signed_and_recorded(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_receiver() as receiver, open_dispatcher([receiver.target]) as dispatcher:
        issued = await add_endpoint(cast.ann, receiver, monkeypatch)
        await rename(cast.ann, "Acme Two")
        await dispatcher.drain()
    (request,) = receiver.requests
    event = request.verify(issued.secret)
    assert (event["type"], event["tenant_id"]) == (RENAMED, cast.acme)
    assert event["data"] == {"name": "Acme Two", "previous_name": "Acme"}
    assert event["id"] == request.event_id
    async with cast.ann.ctx() as ctx:
        page = await deliveries.list_deliveries(ctx, issued.endpoint.id)
        detail = await deliveries.get_delivery(ctx, page.rows[0].id)
    assert [delivery.status for delivery in page.rows] == [DeliveryStatus.DELIVERED]
    assert detail.body == request.body
    assert [(attempt.response_status, attempt.response_body) for attempt in detail.attempts] == [(200, "ok")]
