"""Deliveries of events over real HTTP: signed, retried, kept over a restart, verified by the SDK."""

import json
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
import stripe

from shared.dev.stripe_sandbox import deliveries
from tests.dev.stripe_sandbox.sandbox_server import (
    RunningSandbox,
    WebhookReceiver,
    run_receiver,
    run_sandbox,
    wait_until,
)

pytestmark = pytest.mark.anyio
QUICK_GAPS = [0.02, 0.05, 0.05]


@pytest.fixture(scope="module")
async def shared_server() -> AsyncIterator[RunningSandbox]:
    async with run_sandbox() as server:
        yield server


@pytest.fixture
async def sandbox_server(shared_server: RunningSandbox) -> RunningSandbox:
    server = shared_server.with_new_key()
    await server.apply_control("network", gaps=QUICK_GAPS, timeout_s=0.3)
    return server


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with run_receiver() as webhook_receiver:
        yield webhook_receiver


async def wait_for_state(sandbox_server: RunningSandbox, state: str, count: int = 1) -> list[dict]:
    await wait_until(
        lambda: (
            sum(
                delivery["state"] == state
                for delivery in sandbox_server.deliveries.list_deliveries(sandbox_server.account)
            )
            >= count
        )
    )
    return [
        delivery
        for delivery in sandbox_server.deliveries.list_deliveries(sandbox_server.account)
        if delivery["state"] == state
    ]


async def test_delivered_event_verifies_with_the_sdk(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver
) -> None:
    endpoint = sandbox_server.add_endpoint(receiver.url)
    event = sandbox_server.emit_event(name="Ann")
    await receiver.wait_for(1)
    [received_event] = receiver.verify_events(endpoint["_secret"])
    assert (received_event.id, received_event.type, received_event.data.object["name"]) == (
        event["id"],
        "customer.updated",
        "Ann",
    )
    assert received_event.livemode is False
    assert receiver.received[0].body.startswith(b'{\n  "'), "indented, as Stripe's are"
    [delivery] = await wait_for_state(sandbox_server, "delivered")
    assert [(attempt["status"], attempt["answer"]) for attempt in delivery["attempts"]] == [(200, "taken")]
    assert sandbox_server.account.get("event", event["id"])["pending_webhooks"] == 0


async def test_delivered_event_is_refused_with_another_endpoints_secret(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver
) -> None:
    sandbox_server.add_endpoint(receiver.url)
    sandbox_server.emit_event()
    await receiver.wait_for(1)
    with pytest.raises(stripe.SignatureVerificationError):
        receiver.verify_events("whsec_of_somebody_else")


async def test_event_is_delivered_to_enabled_endpoints_of_its_type(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver
) -> None:
    sandbox_server.add_endpoint(receiver.url, "invoice.paid", "customer.deleted")
    disabled_endpoint = sandbox_server.add_endpoint(receiver.url, "*")
    disabled_endpoint["status"] = "disabled"
    for kind in ("customer.updated", "customer.deleted", "customer.created"):
        sandbox_server.emit_event(kind)
    await wait_for_state(sandbox_server, "delivered")
    assert receiver.list_types() == ["customer.deleted"]
    assert len(sandbox_server.deliveries.list_deliveries(sandbox_server.account)) == 1


async def test_event_has_the_api_version_of_its_endpoint(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver
) -> None:
    sandbox_server.add_endpoint(receiver.url)["api_version"] = "2020-08-27"
    sandbox_server.emit_event()
    await receiver.wait_for(1)
    assert json.loads(receiver.received[0].body)["api_version"] == "2020-08-27"


async def test_events_of_two_endpoints_and_accounts_stay_apart(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver
) -> None:
    async with run_receiver() as other_receiver:
        sandbox_server.add_endpoint(receiver.url)
        other = sandbox_server.with_new_key().account
        sandbox_server.add_endpoint(other_receiver.url, account=other)
        sandbox_server.emit_event("customer.created")
        sandbox_server.emit_event("customer.deleted", account=other)
        await receiver.wait_for(1)
        await other_receiver.wait_for(1)
        assert (receiver.list_types(), other_receiver.list_types()) == (
            ["customer.created"],
            ["customer.deleted"],
        )


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500, 503])
async def test_refused_delivery_is_repeated_unchanged(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver, status: int
) -> None:
    endpoint = sandbox_server.add_endpoint(receiver.url)
    receiver.statuses = [status, status]
    sandbox_server.emit_event()
    await receiver.wait_for(3)
    [delivery] = await wait_for_state(sandbox_server, "delivered")
    assert [attempt["status"] for attempt in delivery["attempts"]] == [status, status, 200]
    assert delivery["attempts"][0]["answer"] == "not now"
    assert len({webhook.body for webhook in receiver.received}) == 1
    assert len(receiver.verify_events(endpoint["_secret"])) == 3, "each with a signature of its own time"


async def test_delivery_fails_after_growing_gaps(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver
) -> None:
    sandbox_server.add_endpoint(receiver.url)
    receiver.statuses = [500] * 9
    sandbox_server.emit_event()
    [delivery] = await wait_for_state(sandbox_server, "failed")
    attempt_times = [attempt["at"] for attempt in delivery["attempts"]]
    assert len(attempt_times) == 1 + len(QUICK_GAPS)
    gaps = [after - before for before, after in pairwise(attempt_times)]
    assert all(wait >= gap for wait, gap in zip(gaps, QUICK_GAPS, strict=True))
    assert sorted(deliveries.RETRY_GAPS_S) == list(deliveries.RETRY_GAPS_S)
    assert 2.8 * 86_400 < sum(deliveries.RETRY_GAPS_S) <= 3 * 86_400, "as long as Stripe"


async def test_delivery_to_a_silent_or_missing_endpoint_fails(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver
) -> None:
    sandbox_server.add_endpoint(receiver.url)
    sandbox_server.add_endpoint("http://127.0.0.1:9/hook")
    sandbox_server.add_endpoint("not an address")
    receiver.slow_answers = 1
    sandbox_server.emit_event()
    failed = await wait_for_state(sandbox_server, "failed", 2)
    assert all(
        attempt["status"] == 0 and attempt["problem"]
        for delivery in failed
        for attempt in delivery["attempts"]
    )
    [delivery] = await wait_for_state(sandbox_server, "delivered")
    assert delivery["attempts"][0]["problem"].startswith("ReadTimeout")


async def test_slow_endpoint_does_not_delay_another(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver
) -> None:
    await sandbox_server.apply_control("network", gaps=QUICK_GAPS, timeout_s=60)
    async with run_receiver() as slow_receiver:
        slow_receiver.answering.clear()
        sandbox_server.add_endpoint(slow_receiver.url)
        sandbox_server.add_endpoint(receiver.url)
        for _ in range(20):
            sandbox_server.emit_event()
        await receiver.wait_for(20)
        await slow_receiver.wait_for(deliveries.MAX_CONCURRENT)
        assert len(slow_receiver.received) == deliveries.MAX_CONCURRENT, "several at once, but not a flood"
        slow_receiver.answering.set()
        await slow_receiver.wait_for(20)


async def test_both_secrets_sign_while_one_is_rolled(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver
) -> None:
    endpoint = sandbox_server.add_endpoint(receiver.url)
    old = endpoint["_secret"]
    new = (await sandbox_server.apply_control("roll", endpoint=endpoint["id"], overlap_s=60))["secret"]
    sandbox_server.emit_event()
    await receiver.wait_for(1)
    assert receiver.received[0].signature.count("v1=") == 2
    assert len(receiver.verify_events(old)) == len(receiver.verify_events(new)) == 1
    endpoint["_old_secret_until"] = time.time() - 1
    receiver.received.clear()
    sandbox_server.emit_event()
    await receiver.wait_for(1)
    assert len(receiver.verify_events(new)) == 1
    with pytest.raises(stripe.SignatureVerificationError):
        receiver.verify_events(old)


async def test_resent_event_ignores_chaos(sandbox_server: RunningSandbox, receiver: WebhookReceiver) -> None:
    endpoint = sandbox_server.add_endpoint(receiver.url)
    await sandbox_server.apply_control("chaos", drop=1)
    event = sandbox_server.emit_event()
    assert [
        delivery["state"] for delivery in sandbox_server.deliveries.list_deliveries(sandbox_server.account)
    ] == ["dropped"]
    await sandbox_server.apply_control("resend", event=event["id"], endpoint=endpoint["id"])
    await receiver.wait_for(1)
    assert receiver.verify_events(endpoint["_secret"])[0].id == event["id"]


async def test_held_deliveries_are_released_in_reverse(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver
) -> None:
    sandbox_server.add_endpoint(receiver.url)
    await sandbox_server.apply_control("chaos", hold=True)
    kinds = [f"customer.{word}" for word in ("created", "updated", "deleted")]
    for kind in kinds:
        sandbox_server.emit_event(kind)
    await wait_for_state(sandbox_server, "held", 3)
    assert receiver.received == []
    assert (await sandbox_server.apply_control("release", order="kept", count=1))["released"] == 1
    assert (await sandbox_server.apply_control("release", order="reversed"))["released"] == 2
    assert receiver.list_types() == [kinds[0], kinds[2], kinds[1]]


async def test_release_of_one_account_leaves_another_held(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver
) -> None:
    other = sandbox_server.with_new_key()
    for server in (sandbox_server, other):
        server.add_endpoint(receiver.url)
        await server.apply_control("chaos", hold=True)
        server.emit_event()
    assert (await sandbox_server.apply_control("release"))["released"] == 1
    await receiver.wait_for(1)  # a delivery that a busy machine cuts off is tried again
    await wait_for_state(other, "held")
    assert len({webhook.body for webhook in receiver.received}) == 1


async def test_released_delivery_that_is_refused_is_retried(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver
) -> None:
    sandbox_server.add_endpoint(receiver.url)
    await sandbox_server.apply_control("chaos", hold=True)
    sandbox_server.emit_event()
    receiver.statuses = [500]
    await sandbox_server.apply_control("release")
    [delivery] = await wait_for_state(sandbox_server, "delivered")
    assert len(delivery["attempts"]) == 2


async def test_chaotic_deliveries_arrive_duplicated_late_and_out_of_order(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver
) -> None:
    sandbox_server.add_endpoint(receiver.url)
    await sandbox_server.apply_control("chaos", seed=5, duplicate_next=2, shuffle_s=0.2)
    params = [sandbox_server.emit_event()["id"] for _ in range(12)]
    await receiver.wait_for(14)
    received_ids = [json.loads(webhook.body)["id"] for webhook in receiver.received]
    assert sorted(received_ids) == sorted([*params, *params[:2]])
    assert received_ids != sorted(received_ids, key=params.index)


async def test_restart_keeps_pending_retried_and_held_deliveries(
    receiver: WebhookReceiver, tmp_path: Path
) -> None:
    """One is pending, one waits for its next attempt, and one is held."""
    store = tmp_path / "stripe.sqlite"
    async with run_sandbox(store) as first:
        await first.apply_control("network", gaps=[60])
        first.add_endpoint(receiver.url)
        receiver.statuses = [500]
        refused_event = first.emit_event("customer.created")
        await receiver.wait_for(1)
        await wait_until(lambda: first.deliveries.list_deliveries(first.account)[0]["attempts"] != [])
        await first.apply_control("chaos", hold=True)
        held_event = first.emit_event("customer.deleted")
        first.deliveries.list_deliveries(first.account)[1]["due"] = time.time() + 0.2
        first.account.put(first.deliveries.list_deliveries(first.account)[1])
    assert len(receiver.received) == 1
    async with run_sandbox(store) as second:
        await receiver.wait_for(3)
        received_ids = [json.loads(webhook.body)["id"] for webhook in receiver.received]
        assert received_ids[0] == refused_event["id"]
        assert sorted(received_ids[1:]) == sorted([held_event["id"], refused_event["id"]])
        await wait_for_state(second, "delivered", 2)


async def test_stopped_account_delivers_everything_after_its_end(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver
) -> None:
    sandbox_server.add_endpoint(receiver.url)
    await sandbox_server.apply_control("stop", seconds=600)
    sandbox_server.emit_event()
    with pytest.raises(TimeoutError):
        await receiver.wait_for(1, seconds=0.15)
    await sandbox_server.apply_control("stop", seconds=0.1)
    await receiver.wait_for(1)


async def test_delivery_log_drops_only_finished_deliveries(
    sandbox_server: RunningSandbox, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "MAX_FINISHED", 5)
    sandbox_server.add_endpoint(receiver.url)
    await sandbox_server.apply_control("chaos", hold=True)
    sandbox_server.emit_event()
    await sandbox_server.apply_control("chaos")
    for _ in range(9):
        sandbox_server.emit_event()
    await receiver.wait_for(9)
    await wait_until(lambda: len(sandbox_server.deliveries.list_deliveries(sandbox_server.account)) == 6)
    assert sandbox_server.deliveries.list_deliveries(sandbox_server.account)[-1]["state"] == "held"
