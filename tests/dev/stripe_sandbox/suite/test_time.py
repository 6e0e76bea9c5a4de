"""Time of the account, of test clocks, and of a stand-in that was off for a while."""

from pathlib import Path

import pytest
import stripe

from shared.dev.stripe_sandbox import subscriptions, timeline
from shared.dev.stripe_sandbox.customers import create_one
from shared.dev.stripe_sandbox.prices import add
from shared.dev.stripe_sandbox.store import Account, Sandbox
from tests.dev.stripe_sandbox.suite.stand import DAY, Shop, at


def begin(account: Account) -> str:
    customer = create_one(account, {"email": "ann@acme.test"})
    seat = {
        "currency": "usd",
        "unit_amount": 900,
        "product_data": {"name": "Seat"},
        "recurring": {"interval": "month"},
    }
    price = add(account, seat)
    sent = {"customer": customer["id"], "items": [{"price": price["id"]}], "trial_period_days": 14}
    return str(subscriptions.begin(account, sent)["id"])


def test_a_restart_loses_nothing_and_catches_up(tmp_path: Path) -> None:
    now = at("2025-01-01")
    sandbox = Sandbox(tmp_path / "stripe.db", clock=lambda: now)
    id_ = begin(sandbox.account("sk_test_1"))
    before = sandbox.account("sk_test_1").objects
    sandbox.close()

    now = at("2025-01-20")
    again = Sandbox(tmp_path / "stripe.db", clock=lambda: now)
    account = again.account("sk_test_1")
    assert account.objects == before
    told: list[str] = []
    again.listen(lambda _, event: told.append(f"{event['type']} {event['created']}"))
    timeline.tick(account)
    subscription = account.objects["subscription"][id_]
    assert subscription["status"] == "past_due"
    assert told[0] == f"customer.subscription.trial_will_end {at('2025-01-12')}"  # at the time it was due
    assert f"invoice.payment_failed {at('2025-01-15 01:00')}" in told
    assert f"invoice.payment_failed {at('2025-01-18 01:00')}" in told
    again.close()
    third = Sandbox(tmp_path / "stripe.db", clock=lambda: now).find("subscription", id_)
    assert third is not None
    assert third[1] == subscription


def test_the_whole_account_can_be_moved(shop: Shop, account: Account) -> None:
    subscription = shop.subscribe(shop.customer(), shop.price())
    still = shop.subscribe(shop.customer(shop.clock("2025-01-01")), shop.price())
    timeline.advance(account, 32 * DAY)
    assert shop.again(subscription).latest_invoice.billing_reason == "subscription_cycle"
    assert shop.again(still).latest_invoice.billing_reason == "subscription_create"
    with pytest.raises(Exception, match="forward"):
        timeline.advance(account, -1)


def test_what_was_just_changed_is_due_as_well(shop: Shop, account: Account) -> None:
    """No request comes between the change and the levers that move time."""
    clock = shop.clock("2025-01-01")
    subscription = shop.subscribe(shop.customer(clock), shop.price())
    timeline.advance_clock(account, clock.id, at("2025-02-01 02:00"))
    item = account.objects["subscription"][subscription.id]["items"]["data"][0]
    assert item["current_period_start"] == at("2025-02-01")


def test_what_time_does_was_asked_by_nobody(shop: Shop, account: Account) -> None:
    subscription = shop.subscribe(shop.customer(), shop.price(interval="week"))
    account.settings["offset"] += 8 * DAY
    account.put(account.settings)
    shop.v1.customers.list()
    updated = shop.v1.events.list({"type": "customer.subscription.updated", "limit": 1}).data[0]
    assert updated.data.object.id == subscription.id
    assert updated.request.id is None
    created = shop.v1.events.list({"type": "customer.subscription.created", "limit": 1}).data[0]
    assert created.request.id.startswith("req_")


def test_clocks_go_forward_and_not_too_far(shop: Shop) -> None:
    clock = shop.clock("2025-01-01")
    shop.subscribe(shop.customer(clock), shop.price())
    for wrong in ("2025-01-01", "2024-12-31", "2025-03-02"):
        with pytest.raises(stripe.InvalidRequestError):
            shop.v1.test_helpers.test_clocks.advance(clock.id, {"frozen_time": at(wrong)})
    answer = shop.v1.test_helpers.test_clocks.advance(clock.id, {"frozen_time": at("2025-03-01")})
    assert answer.status == "advancing"
    assert answer.status_details.advancing.target_frozen_time == at("2025-03-01")


def test_a_clock_takes_its_customers_with_it(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    assert shop.v1.test_helpers.test_clocks.delete(clock.id).deleted
    assert shop.v1.customers.retrieve(customer.id).deleted
    assert clock.id not in [one.id for one in shop.v1.test_helpers.test_clocks.list().data]


def test_events_are_listed_for_thirty_days(shop: Shop, account: Account) -> None:
    product = shop.v1.products.create({"name": "Seats"})
    (event,) = shop.v1.events.list({"type": "product.*"}).data
    assert shop.v1.events.retrieve(event.id).data.object.id == product.id
    timeline.advance(account, 31 * DAY)
    assert shop.v1.events.list({"types": ["product.created"]}).data == []
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.events.retrieve(event.id)


def test_an_event_keeps_the_object_as_it_was(shop: Shop) -> None:
    product = shop.v1.products.create({"name": "Seats"})
    shop.v1.products.update(product.id, {"name": "Places", "active": False})
    updated, created = shop.v1.events.list({"type": "product.*", "limit": 2}).data
    assert (created.data.object.name, updated.data.object.name) == ("Seats", "Places")
    assert updated.data.to_dict()["previous_attributes"]["name"] == "Seats"


def test_webhook_endpoints(shop: Shop) -> None:
    made = shop.v1.webhook_endpoints.create(
        {
            "url": "https://acme.test/hook",
            "enabled_events": ["invoice.paid"],
            "api_version": stripe.api_version,
        }
    )
    assert made.secret.startswith("whsec_")
    assert made.api_version == stripe.api_version
    shown = shop.v1.webhook_endpoints.retrieve(made.id)
    assert "secret" not in shown
    changed = shop.v1.webhook_endpoints.update(made.id, {"disabled": True, "enabled_events": ["*"]})
    assert (changed.status, changed.enabled_events) == ("disabled", ["*"])
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.webhook_endpoints.create({"url": "acme.test", "enabled_events": ["*"]})
    assert shop.v1.webhook_endpoints.delete(made.id).deleted
    assert made.id not in [one.id for one in shop.v1.webhook_endpoints.list().data]


def test_prices_of_a_catalogue(shop: Shop) -> None:
    key = f"seat_{shop.v1.products.create({'name': 'x'}).id}"
    first = shop.price(lookup_key=key, nickname="v1")
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        shop.price(lookup_key=key)
    second = shop.price(2500, lookup_key=key, transfer_lookup_key=True)
    assert shop.v1.prices.retrieve(first.id).lookup_key is None
    assert [one.id for one in shop.v1.prices.list({"lookup_keys": [key]}).data] == [second.id]
    subscription = shop.subscribe(shop.customer(), second)
    shop.v1.prices.update(second.id, {"active": False, "metadata": {"plan": "old"}})
    assert not shop.again(subscription)["items"].data[0].price.active
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        shop.subscribe(shop.customer(), second)
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.products.delete(first.product)
