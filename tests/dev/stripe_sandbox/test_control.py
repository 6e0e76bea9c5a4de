"""The control page: by JSON for tests and by form for people."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import stripe

from shared.dev.stripe_sandbox.controls import CONTROLS, DAY, DEMO_KEY
from tests.dev.stripe_sandbox.sandbox_server import RunningSandbox, run_receiver, run_sandbox, wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def shared_server() -> AsyncIterator[RunningSandbox]:
    async with run_sandbox() as server:
        yield server


@pytest.fixture
def sandbox_server(shared_server: RunningSandbox) -> RunningSandbox:
    return shared_server.with_new_key()


async def submit_form(sandbox_server: RunningSandbox, control: str, **fields: str) -> httpx.Response:
    """As a browser does, along to the page it ends on."""
    return await sandbox_server.http.post(
        f"{sandbox_server.url}/_control/{control}",
        data={"account": sandbox_server.key} | fields,
        follow_redirects=True,
    )


async def fetch_status(sandbox_server: RunningSandbox, key: str = "") -> Any:
    return (
        await sandbox_server.http.get(
            f"{sandbox_server.url}/_control.json", params={"account": key or sandbox_server.key}
        )
    ).json()


async def fetch_page(sandbox_server: RunningSandbox, **query: str) -> httpx.Response:
    return await sandbox_server.http.get(
        f"{sandbox_server.url}/_control", params={"account": sandbox_server.key} | query
    )


async def test_control_page_shows_the_demo_account_by_default(shared_server: RunningSandbox) -> None:
    endpoint = shared_server.add_endpoint("http://127.0.0.1:9/hook")
    page = await shared_server.http.get(f"{shared_server.url}/_control")
    assert page.status_code == 200
    assert DEMO_KEY in page.text
    assert endpoint["url"] in page.text
    assert endpoint["_secret"] in page.text, "whoever runs the app by hand needs it for a setting"
    for control in CONTROLS:
        assert f"/_control/{control}" in page.text or control in (  # of a customer
            "dispute",
            "end-dispute",
            "fail-renewal",
            "hold-refunds",
            "own-clock",
            "release",
            "renew",
            "replace-card",
            "resend",
            "settle-debit",
            "settle-refund",
            "warn-of-fraud",
        )


async def test_reading_the_status_creates_no_account(sandbox_server: RunningSandbox) -> None:
    await fetch_status(sandbox_server, "sk_test_nobody")
    assert "sk_test_nobody" not in sandbox_server.sandbox.accounts


async def test_advance_moves_one_account_forward_only(sandbox_server: RunningSandbox) -> None:
    before = (await fetch_status(sandbox_server))["now"]
    new_status = await sandbox_server.apply_control("advance", days=30, seconds=5)
    assert new_status["now"] - before == pytest.approx(30 * DAY + 5, abs=3)
    other = sandbox_server.with_new_key()
    assert other.account.now() == pytest.approx(before, abs=3)
    response = await sandbox_server.http.post(f"{sandbox_server.url}/_control/advance", json={"to": before})
    assert response.status_code == 400
    assert "forward" in response.json()["error"]
    other_status = await other.apply_control("advance", to=before + 400 * DAY)
    assert other_status["now"] == pytest.approx(before + 400 * DAY, abs=3)


async def test_control_form_has_the_same_effect_and_returns_to_its_account(
    sandbox_server: RunningSandbox,
) -> None:
    page = await submit_form(sandbox_server, "advance", days="2", seconds="", clock="")
    assert page.status_code == 200
    assert page.history[0].status_code == 303
    assert "The clock was advanced." in page.text
    assert sandbox_server.account.settings["offset"] == 2 * DAY
    assert sandbox_server.sandbox.get_account(DEMO_KEY).settings["offset"] == 0


async def test_chaos_form_sets_given_values_and_resets_others(sandbox_server: RunningSandbox) -> None:
    await submit_form(sandbox_server, "chaos", hold="true", duplicate="0.5", seed="9", drop_next="2")
    assert (await fetch_status(sandbox_server))["chaos"] == {
        **dict.fromkeys(("delay_s", "shuffle_s", "drop"), 0),
        **{"seed": 9, "hold": True, "duplicate": 0.5, "duplicate_next": 0, "drop_next": 2},
    }
    await submit_form(sandbox_server, "chaos", seed="0")
    assert not any((await fetch_status(sandbox_server))["chaos"].values())


@pytest.mark.parametrize(
    ("lever", "fields"),
    [
        ("advance", {"days": "-1"}),
        ("advance", {"days": "soon"}),
        ("advance", {"weeks": "1"}),
        ("advance", {"account": "sk_live_x", "days": "1"}),
        ("advance", {"account": "../../etc", "days": "1"}),
        ("chaos", {"drop": "1.5"}),
        ("fail", {"kind": "418"}),
        ("network", {"gaps": "1 two"}),
        ("release", {"order": "sideways"}),
        ("renew", {}),
    ],
)
async def test_invalid_control_form_is_refused_and_changes_nothing(
    sandbox_server: RunningSandbox, lever: str, fields: dict[str, str]
) -> None:
    before, accounts = await fetch_status(sandbox_server), list(sandbox_server.sandbox.accounts)
    page = await submit_form(sandbox_server, lever, **fields)
    assert page.status_code == 422
    assert 'role="alert"' in page.text
    as_json = await sandbox_server.http.post(
        f"{sandbox_server.url}/_control/{lever}", json={"account": sandbox_server.key} | fields
    )
    assert as_json.status_code == 422
    assert as_json.json()["error"]
    assert (await fetch_status(sandbox_server)) | {"now": 0} == before | {"now": 0}
    assert list(sandbox_server.sandbox.accounts) == accounts


@pytest.mark.parametrize(
    ("lever", "fields"),
    [
        ("advance", {"clock": "clock_unknown", "days": 1}),
        ("renew", {"customer": "cus_unknown"}),
        ("replace-card", {"customer": "cus_unknown"}),
        ("fail-renewal", {"customer": "cus_unknown"}),
        ("dispute", {"customer": "cus_unknown"}),
        ("end-dispute", {"dispute": "du_unknown"}),
        ("hold-refunds", {"customer": "cus_unknown"}),
        ("settle-debit", {"invoice": "in_unknown"}),
        ("settle-refund", {"refund": "re_unknown"}),
        ("warn-of-fraud", {"customer": "cus_unknown"}),
        ("resend", {"event": "evt_unknown", "endpoint": "we_unknown"}),
        ("roll", {"endpoint": "we_unknown"}),
    ],
)
async def test_unknown_object_is_reported(
    sandbox_server: RunningSandbox, lever: str, fields: dict[str, Any]
) -> None:
    response = await sandbox_server.http.post(f"{sandbox_server.url}/_control/{lever}", json=fields)
    assert response.status_code in (400, 404)
    assert "unknown" in response.json()["error"]


async def test_unknown_control_and_malformed_body_are_refused(sandbox_server: RunningSandbox) -> None:
    assert (
        await sandbox_server.http.post(f"{sandbox_server.url}/_control/explode", json={})
    ).status_code == 404
    response = await sandbox_server.http.post(
        f"{sandbox_server.url}/_control/advance", content=b"{", headers={"content-type": "application/json"}
    )
    assert response.status_code == 400
    list_response = await sandbox_server.http.post(f"{sandbox_server.url}/_control/advance", json=[1])
    assert list_response.status_code == 422


async def test_control_page_escapes_typed_markup(sandbox_server: RunningSandbox) -> None:
    bad = '"><script>alert(1)</script>'
    for page in (
        await submit_form(sandbox_server, "fail", kind=bad),
        await submit_form(sandbox_server, "resend", event=bad, endpoint=bad),
        await submit_form(sandbox_server, "fail", kind="500", path=bad),
        await fetch_page(sandbox_server, account=bad, done=bad),
    ):
        assert "<script" not in page.text
        assert "script-src" not in page.headers["content-security-policy"]
        assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_planted_faults_fail_the_given_number_of_requests(sandbox_server: RunningSandbox) -> None:
    client = sandbox_server.build_client()
    await sandbox_server.apply_control("fail", kind="429", times=2)
    for _ in range(2):
        with pytest.raises(stripe.RateLimitError):
            await sandbox_server.call_sdk(client.v1.customers.list)
    await sandbox_server.call_sdk(client.v1.customers.list)
    await sandbox_server.apply_control("fail", kind="401")
    with pytest.raises(stripe.AuthenticationError):
        await sandbox_server.call_sdk(client.v1.customers.list)
    await sandbox_server.apply_control("fail", kind="500", path="/products")
    await sandbox_server.call_sdk(client.v1.customers.list)
    with pytest.raises(stripe.APIError):
        await sandbox_server.call_sdk(client.v1.products.list)
    await sandbox_server.call_sdk(client.v1.products.list)


async def test_request_with_a_lost_answer_was_executed(sandbox_server: RunningSandbox) -> None:
    client = sandbox_server.build_client()
    await sandbox_server.apply_control("fail", kind="lost")
    with pytest.raises(stripe.APIError):
        await sandbox_server.call_sdk(client.v1.customers.create, {"name": "Ann"})
    assert [customer.name for customer in (await sandbox_server.call_sdk(client.v1.customers.list)).data] == [
        "Ann"
    ]
    await sandbox_server.apply_control("fail", kind="timeout", seconds=0.01)
    with pytest.raises(stripe.APIError):
        await sandbox_server.call_sdk(client.v1.customers.create, {"name": "Adam"})
    assert len((await sandbox_server.call_sdk(client.v1.customers.list)).data) == 1


async def test_stopped_account_refuses_requests_until_its_end_or_repair(
    sandbox_server: RunningSandbox,
) -> None:
    client, other = sandbox_server.build_client(), sandbox_server.with_new_key().build_client()
    await sandbox_server.apply_control("stop", seconds=600)
    with pytest.raises(stripe.APIError):
        await sandbox_server.call_sdk(client.v1.customers.list)
    await sandbox_server.call_sdk(other.v1.customers.list)
    assert "Stopped" in (await fetch_page(sandbox_server)).text
    await sandbox_server.apply_control("stop", seconds=0.1)

    async def is_answering() -> bool:
        try:
            await sandbox_server.call_sdk(client.v1.customers.list)
        except stripe.APIError:
            return False
        return True

    while not await is_answering():
        pass
    await sandbox_server.apply_control("stop", seconds=600)
    await sandbox_server.apply_control("fail", kind="500", times=50)
    assert not await is_answering()
    await sandbox_server.apply_control("mend")
    assert await is_answering()


async def test_repair_sends_the_waiting_deliveries(sandbox_server: RunningSandbox) -> None:
    async with run_receiver() as receiver:
        sandbox_server.add_endpoint(receiver.url)
        await sandbox_server.apply_control("stop", seconds=600)
        sandbox_server.emit_event()
        await submit_form(sandbox_server, "mend")
        await receiver.wait_for(1)


async def test_control_page_lists_and_resends_deliveries(sandbox_server: RunningSandbox) -> None:
    async with run_receiver() as receiver:
        endpoint = sandbox_server.add_endpoint(receiver.url)
        event = sandbox_server.emit_event()
        await receiver.wait_for(1)
        await wait_until(
            lambda: (
                sandbox_server.deliveries.list_deliveries(sandbox_server.account)[0]["state"] == "delivered"
            )
        )
        page = await submit_form(sandbox_server, "resend", event=event["id"], endpoint=endpoint["id"])
        assert event["id"] in page.text
        assert "customer.updated" in page.text
        await receiver.wait_for(2)
        assert len((await fetch_status(sandbox_server))["deliveries"]) == 2


async def test_retry_gaps_are_set_by_form(sandbox_server: RunningSandbox) -> None:
    page = await submit_form(sandbox_server, "network", gaps="0.5, 2 8")
    assert 'value="0.5, 2.0, 8.0"' in page.text
    assert sandbox_server.account.settings["delivery_gaps"] == [0.5, 2, 8]


async def test_own_clock_governs_what_was_planned_before(sandbox_server: RunningSandbox) -> None:
    """Reading a subscription plans its steps; a customer that gets a clock after that lives by it alone."""
    client = sandbox_server.build_client()

    def subscribe() -> stripe.Subscription:
        customer = client.v1.customers.create({"email": "ann@acme.test"})
        price = client.v1.prices.create(
            {
                "currency": "usd",
                "unit_amount": 1000,
                "recurring": {"interval": "month"},
                "product_data": {"name": "Seats"},
            }
        )
        return client.v1.subscriptions.create(
            {"customer": customer.id, "items": [{"price": price.id}], "trial_period_days": 14}
        )

    subscription = await sandbox_server.call_sdk(subscribe)
    await sandbox_server.call_sdk(client.v1.subscriptions.retrieve, subscription.id)
    answer = await sandbox_server.apply_control("own-clock", customer=subscription.customer)
    await sandbox_server.apply_control("advance", days=20)
    same = await sandbox_server.call_sdk(client.v1.subscriptions.retrieve, subscription.id)
    assert same.status == "trialing", "the account's time is another one"
    await sandbox_server.apply_control("advance", clock=answer["clock"], days=20)
    later = await sandbox_server.call_sdk(client.v1.subscriptions.retrieve, subscription.id)
    assert later.status != "trialing"
