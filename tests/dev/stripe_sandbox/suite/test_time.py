"""The clock of an account, test clocks, and a stand-in that was stopped for a while."""

from pathlib import Path

import pytest
import stripe

from shared.dev.stripe_sandbox import subscriptions, timeline
from shared.dev.stripe_sandbox.customers import create_customer
from shared.dev.stripe_sandbox.prices import add_price
from shared.dev.stripe_sandbox.store import Account, Sandbox
from tests.dev.stripe_sandbox.suite.stand import DAY, SdkMerchant, to_timestamp


def start_trial(account: Account) -> str:
    customer = create_customer(account, {"email": "ann@acme.test"})
    seat = {
        "currency": "usd",
        "unit_amount": 900,
        "product_data": {"name": "Seat"},
        "recurring": {"interval": "month"},
    }
    price = add_price(account, seat)
    params = {"customer": customer["id"], "items": [{"price": price["id"]}], "trial_period_days": 14}
    return str(subscriptions.start_subscription(account, params)["id"])


def test_restarted_sandbox_catches_up(tmp_path: Path) -> None:
    now = to_timestamp("2025-01-01")
    sandbox = Sandbox(tmp_path / "stripe.db", clock=lambda: now)
    id_ = start_trial(sandbox.get_account("sk_test_1"))
    before = sandbox.get_account("sk_test_1").objects
    sandbox.close()

    now = to_timestamp("2025-01-20")
    reopened = Sandbox(tmp_path / "stripe.db", clock=lambda: now)
    account = reopened.get_account("sk_test_1")
    assert account.objects == before
    event_texts: list[str] = []
    reopened.add_event_listener(lambda _, event: event_texts.append(f"{event['type']} {event['created']}"))
    timeline.run_due_steps(account)
    subscription = account.objects["subscription"][id_]
    assert subscription["status"] == "past_due"
    assert (
        event_texts[0] == f"customer.subscription.trial_will_end {to_timestamp('2025-01-12')}"
    )  # at the time it was due
    assert f"invoice.payment_failed {to_timestamp('2025-01-15 01:00')}" in event_texts
    assert f"invoice.payment_failed {to_timestamp('2025-01-18 01:00')}" in event_texts
    reopened.close()
    reloaded = Sandbox(tmp_path / "stripe.db", clock=lambda: now).find_object("subscription", id_)
    assert reloaded is not None
    assert reloaded[1] == subscription


def test_account_clock_moves_every_subscription(merchant: SdkMerchant, account: Account) -> None:
    subscription = merchant.subscribe(merchant.create_customer(), merchant.create_price())
    other_subscription = merchant.subscribe(
        merchant.create_customer(merchant.create_clock("2025-01-01")), merchant.create_price()
    )
    timeline.advance_account(account, 32 * DAY)
    assert merchant.reload_subscription(subscription).latest_invoice.billing_reason == "subscription_cycle"
    assert (
        merchant.reload_subscription(other_subscription).latest_invoice.billing_reason
        == "subscription_create"
    )
    with pytest.raises(Exception, match="forward"):
        timeline.advance_account(account, -1)


def test_object_changed_just_now_is_due_as_well(merchant: SdkMerchant, account: Account) -> None:
    """No request comes between the change and the call that moves time."""
    clock = merchant.create_clock("2025-01-01")
    subscription = merchant.subscribe(merchant.create_customer(clock), merchant.create_price())
    timeline.advance_clock(account, clock.id, to_timestamp("2025-02-01 02:00"))
    item = account.objects["subscription"][subscription.id]["items"]["data"][0]
    assert item["current_period_start"] == to_timestamp("2025-02-01")


def test_event_caused_by_time_has_no_request(merchant: SdkMerchant, account: Account) -> None:
    subscription = merchant.subscribe(merchant.create_customer(), merchant.create_price(interval="week"))
    account.settings["offset"] += 8 * DAY
    account.put(account.settings)
    merchant.v1.customers.list()
    updated = merchant.v1.events.list({"type": "customer.subscription.updated", "limit": 1}).data[0]
    assert updated.data.object.id == subscription.id
    assert updated.request.id is None
    created = merchant.v1.events.list({"type": "customer.subscription.created", "limit": 1}).data[0]
    assert created.request.id.startswith("req_")


def test_advance_of_a_test_clock_is_forward_and_limited(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    merchant.subscribe(merchant.create_customer(clock), merchant.create_price())
    for bad_time in ("2025-01-01", "2024-12-31", "2025-03-02"):
        with pytest.raises(stripe.InvalidRequestError):
            merchant.v1.test_helpers.test_clocks.advance(clock.id, {"frozen_time": to_timestamp(bad_time)})
    answer = merchant.v1.test_helpers.test_clocks.advance(
        clock.id, {"frozen_time": to_timestamp("2025-03-01")}
    )
    assert answer.status == "advancing"
    assert answer.status_details.advancing.target_frozen_time == to_timestamp("2025-03-01")


def test_deleted_test_clock_deletes_its_customers(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock()
    customer = merchant.create_customer(clock)
    assert merchant.v1.test_helpers.test_clocks.delete(clock.id).deleted
    assert merchant.v1.customers.retrieve(customer.id).deleted
    assert clock.id not in [
        listed_clock.id for listed_clock in merchant.v1.test_helpers.test_clocks.list().data
    ]


def test_events_are_listed_for_thirty_days(merchant: SdkMerchant, account: Account) -> None:
    product = merchant.v1.products.create({"name": "Seats"})
    (event,) = merchant.v1.events.list({"type": "product.*"}).data
    assert merchant.v1.events.retrieve(event.id).data.object.id == product.id
    timeline.advance_account(account, 31 * DAY)
    assert merchant.v1.events.list({"types": ["product.created"]}).data == []
    with pytest.raises(stripe.InvalidRequestError):
        merchant.v1.events.retrieve(event.id)


def test_event_keeps_the_object_as_it_was(merchant: SdkMerchant) -> None:
    product = merchant.v1.products.create({"name": "Seats"})
    merchant.v1.products.update(product.id, {"name": "Places", "active": False})
    updated, created = merchant.v1.events.list({"type": "product.*", "limit": 2}).data
    assert (created.data.object.name, updated.data.object.name) == ("Seats", "Places")
    assert updated.data.to_dict()["previous_attributes"]["name"] == "Seats"


def test_webhook_endpoint_is_created_updated_and_deleted(merchant: SdkMerchant) -> None:
    endpoint = merchant.v1.webhook_endpoints.create(
        {
            "url": "https://acme.test/hook",
            "enabled_events": ["invoice.paid"],
            "api_version": stripe.api_version,
        }
    )
    assert endpoint.secret.startswith("whsec_")
    assert endpoint.api_version == stripe.api_version
    reloaded = merchant.v1.webhook_endpoints.retrieve(endpoint.id)
    assert "secret" not in reloaded
    changed = merchant.v1.webhook_endpoints.update(endpoint.id, {"disabled": True, "enabled_events": ["*"]})
    assert (changed.status, changed.enabled_events) == ("disabled", ["*"])
    with pytest.raises(stripe.InvalidRequestError):
        merchant.v1.webhook_endpoints.create({"url": "acme.test", "enabled_events": ["*"]})
    assert merchant.v1.webhook_endpoints.delete(endpoint.id).deleted
    assert endpoint.id not in [
        listed_endpoint.id for listed_endpoint in merchant.v1.webhook_endpoints.list().data
    ]


def test_lookup_key_moves_only_when_transferred(merchant: SdkMerchant) -> None:
    key = f"seat_{merchant.v1.products.create({'name': 'x'}).id}"
    first = merchant.create_price(lookup_key=key, nickname="v1")
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        merchant.create_price(lookup_key=key)
    second = merchant.create_price(2500, lookup_key=key, transfer_lookup_key=True)
    assert merchant.v1.prices.retrieve(first.id).lookup_key is None
    assert [price.id for price in merchant.v1.prices.list({"lookup_keys": [key]}).data] == [second.id]
    subscription = merchant.subscribe(merchant.create_customer(), second)
    merchant.v1.prices.update(second.id, {"active": False, "metadata": {"plan": "old"}})
    assert not merchant.reload_subscription(subscription)["items"].data[0].price.active
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        merchant.subscribe(merchant.create_customer(), second)
    with pytest.raises(stripe.InvalidRequestError):
        merchant.v1.products.delete(first.product)
