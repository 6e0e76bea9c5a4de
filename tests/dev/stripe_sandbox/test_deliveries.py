"""Events reach their endpoints over real HTTP: signed, tried again, kept over a restart; the SDK is the judge."""

import json
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
import stripe

from shared.dev.stripe_sandbox import deliveries as module
from tests.dev.stripe_sandbox.standing import Endpoint, Standing, receiving, standing, until

pytestmark = pytest.mark.anyio
QUICK = [0.02, 0.05, 0.05]


@pytest.fixture(scope="module")
async def all_stand() -> AsyncIterator[Standing]:
    async with standing() as made:
        yield made


@pytest.fixture
async def stand(all_stand: Standing) -> Standing:
    made = all_stand.another()
    await made.pull("network", gaps=QUICK, timeout_s=0.3)
    return made


@pytest.fixture
async def ours() -> AsyncIterator[Endpoint]:
    async with receiving() as made:
        yield made


async def settled(stand: Standing, state: str, count: int = 1) -> list[dict]:
    await until(lambda: sum(one["state"] == state for one in stand.deliveries.log(stand.account)) >= count)
    return [one for one in stand.deliveries.log(stand.account) if one["state"] == state]


async def test_an_event_arrives_as_stripe_sends_it(stand: Standing, ours: Endpoint) -> None:
    endpoint = stand.endpoint(ours.url)
    event = stand.happens(name="Ann")
    await ours.has(1)
    [arrived] = ours.verified(endpoint["_secret"])
    assert (arrived.id, arrived.type, arrived.data.object["name"]) == (event["id"], "customer.updated", "Ann")
    assert arrived.livemode is False
    assert ours.got[0].body.startswith(b'{\n  "'), "indented, as Stripe's are"
    [one] = await settled(stand, "delivered")
    assert [(each["status"], each["answer"]) for each in one["attempts"]] == [(200, "taken")]
    assert stand.account.get("event", event["id"])["pending_webhooks"] == 0


async def test_the_secret_of_another_endpoint_does_not_open_it(stand: Standing, ours: Endpoint) -> None:
    stand.endpoint(ours.url)
    stand.happens()
    await ours.has(1)
    with pytest.raises(stripe.SignatureVerificationError):
        ours.verified("whsec_of_somebody_else")


async def test_only_what_was_asked_for_and_only_while_it_is_enabled(stand: Standing, ours: Endpoint) -> None:
    stand.endpoint(ours.url, "invoice.paid", "customer.deleted")
    off = stand.endpoint(ours.url, "*")
    off["status"] = "disabled"
    for kind in ("customer.updated", "customer.deleted", "customer.created"):
        stand.happens(kind)
    await settled(stand, "delivered")
    assert ours.types() == ["customer.deleted"]
    assert len(stand.deliveries.log(stand.account)) == 1


async def test_the_version_is_the_endpoints(stand: Standing, ours: Endpoint) -> None:
    stand.endpoint(ours.url)["api_version"] = "2020-08-27"
    stand.happens()
    await ours.has(1)
    assert json.loads(ours.got[0].body)["api_version"] == "2020-08-27"


async def test_two_endpoints_and_two_accounts_do_not_mix(stand: Standing, ours: Endpoint) -> None:
    async with receiving() as theirs:
        stand.endpoint(ours.url)
        other = stand.another().account
        stand.endpoint(theirs.url, account=other)
        stand.happens("customer.created")
        stand.happens("customer.deleted", account=other)
        await ours.has(1)
        await theirs.has(1)
        assert (ours.types(), theirs.types()) == (["customer.created"], ["customer.deleted"])


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500, 503])
async def test_what_is_not_taken_is_sent_again_the_same(stand: Standing, ours: Endpoint, status: int) -> None:
    endpoint = stand.endpoint(ours.url)
    ours.answers = [status, status]
    stand.happens()
    await ours.has(3)
    [one] = await settled(stand, "delivered")
    assert [each["status"] for each in one["attempts"]] == [status, status, 200]
    assert one["attempts"][0]["answer"] == "not now"
    assert len({each.body for each in ours.got}) == 1
    assert len(ours.verified(endpoint["_secret"])) == 3, "each with a signature of its own time"


async def test_the_gaps_grow_and_then_it_gives_up(stand: Standing, ours: Endpoint) -> None:
    stand.endpoint(ours.url)
    ours.answers = [500] * 9
    stand.happens()
    [one] = await settled(stand, "failed")
    at = [each["at"] for each in one["attempts"]]
    assert len(at) == 1 + len(QUICK)
    waited = [after - before for before, after in pairwise(at)]
    assert all(wait >= gap for wait, gap in zip(waited, QUICK, strict=True))
    assert sorted(module.GAPS) == list(module.GAPS)


async def test_an_endpoint_that_is_silent_or_not_there(stand: Standing, ours: Endpoint) -> None:
    stand.endpoint(ours.url)
    stand.endpoint("http://127.0.0.1:9/hook")
    stand.endpoint("not an address")
    ours.silences = 1
    stand.happens()
    failed = await settled(stand, "failed", 2)
    assert all(each["status"] == 0 and each["problem"] for one in failed for each in one["attempts"])
    [one] = await settled(stand, "delivered")
    assert one["attempts"][0]["problem"].startswith("ReadTimeout")


async def test_one_slow_endpoint_does_not_hold_up_another(stand: Standing, ours: Endpoint) -> None:
    await stand.pull("network", gaps=QUICK, timeout_s=60)
    async with receiving() as slow:
        slow.open.clear()
        stand.endpoint(slow.url)
        stand.endpoint(ours.url)
        for _ in range(20):
            stand.happens()
        await ours.has(20)
        await slow.has(module.AT_ONCE)
        assert len(slow.got) == module.AT_ONCE, "several at once, but not a flood"
        slow.open.set()
        await slow.has(20)


async def test_both_secrets_sign_while_one_is_rolled(stand: Standing, ours: Endpoint) -> None:
    endpoint = stand.endpoint(ours.url)
    old = endpoint["_secret"]
    new = (await stand.pull("roll", endpoint=endpoint["id"], overlap_s=60))["secret"]
    stand.happens()
    await ours.has(1)
    assert ours.got[0].signature.count("v1=") == 2
    assert len(ours.verified(old)) == len(ours.verified(new)) == 1
    endpoint["_old_secret_until"] = time.time() - 1
    ours.got.clear()
    stand.happens()
    await ours.has(1)
    assert len(ours.verified(new)) == 1
    with pytest.raises(stripe.SignatureVerificationError):
        ours.verified(old)


async def test_resend_once_more_at_once_past_all_chaos(stand: Standing, ours: Endpoint) -> None:
    endpoint = stand.endpoint(ours.url)
    await stand.pull("chaos", drop=1)
    event = stand.happens()
    assert [one["state"] for one in stand.deliveries.log(stand.account)] == ["dropped"]
    await stand.pull("resend", event=event["id"], endpoint=endpoint["id"])
    await ours.has(1)
    assert ours.verified(endpoint["_secret"])[0].id == event["id"]


async def test_held_then_released_reversed(stand: Standing, ours: Endpoint) -> None:
    stand.endpoint(ours.url)
    await stand.pull("chaos", hold=True)
    kinds = [f"customer.{word}" for word in ("created", "updated", "deleted")]
    for kind in kinds:
        stand.happens(kind)
    await settled(stand, "held", 3)
    assert ours.got == []
    assert (await stand.pull("release", order="kept", count=1))["released"] == 1
    assert (await stand.pull("release", order="reversed"))["released"] == 2
    assert ours.types() == [kinds[0], kinds[2], kinds[1]]


async def test_one_accounts_release_leaves_anothers_held(stand: Standing, ours: Endpoint) -> None:
    other = stand.another()
    for one in (stand, other):
        one.endpoint(ours.url)
        await one.pull("chaos", hold=True)
        one.happens()
    assert (await stand.pull("release"))["released"] == 1
    assert len(ours.got) == 1
    await settled(other, "held")


async def test_released_but_refused_is_tried_again(stand: Standing, ours: Endpoint) -> None:
    stand.endpoint(ours.url)
    await stand.pull("chaos", hold=True)
    stand.happens()
    ours.answers = [500]
    await stand.pull("release")
    [one] = await settled(stand, "delivered")
    assert len(one["attempts"]) == 2


async def test_twice_late_and_out_of_order(stand: Standing, ours: Endpoint) -> None:
    stand.endpoint(ours.url)
    await stand.pull("chaos", seed=5, duplicate_next=2, shuffle_s=0.2)
    sent = [stand.happens()["id"] for _ in range(12)]
    await ours.has(14)
    got = [json.loads(one.body)["id"] for one in ours.got]
    assert sorted(got) == sorted([*sent, *sent[:2]])
    assert got != sorted(got, key=sent.index)


async def test_a_restart_loses_nothing(ours: Endpoint, tmp_path: Path) -> None:
    """What was pending, what was waiting for its next try, and what was held."""
    store = tmp_path / "stripe.sqlite"
    async with standing(store) as first:
        await first.pull("network", gaps=[60])
        first.endpoint(ours.url)
        ours.answers = [500]
        refused = first.happens("customer.created")
        await ours.has(1)
        await until(lambda: first.deliveries.log(first.account)[0]["attempts"] != [])
        await first.pull("chaos", hold=True)
        held = first.happens("customer.deleted")
        first.deliveries.log(first.account)[1]["due"] = time.time() + 0.2
        first.account.put(first.deliveries.log(first.account)[1])
    assert len(ours.got) == 1
    async with standing(store) as second:
        await ours.has(3)
        got = [json.loads(one.body)["id"] for one in ours.got]
        assert got[0] == refused["id"]
        assert sorted(got[1:]) == sorted([held["id"], refused["id"]])
        await settled(second, "delivered", 2)


async def test_a_stopped_stripe_sends_nothing_and_then_everything(stand: Standing, ours: Endpoint) -> None:
    stand.endpoint(ours.url)
    await stand.pull("stop", seconds=600)
    stand.happens()
    with pytest.raises(TimeoutError):
        await ours.has(1, seconds=0.15)
    await stand.pull("stop", seconds=0.1)
    await ours.has(1)


async def test_the_log_forgets_only_what_is_finished(
    stand: Standing, ours: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 5)
    stand.endpoint(ours.url)
    await stand.pull("chaos", hold=True)
    stand.happens()
    await stand.pull("chaos")
    for _ in range(9):
        stand.happens()
    await ours.has(9)
    await until(lambda: len(stand.deliveries.log(stand.account)) == 6)
    assert stand.deliveries.log(stand.account)[-1]["state"] == "held"
