"""The levers, by JSON as tests pull them and by form as people do."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import stripe

from shared.dev.stripe_sandbox.levers import DAY, DEMO_KEY, LEVERS
from tests.dev.stripe_sandbox.standing import Standing, receiving, standing, until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def all_stand() -> AsyncIterator[Standing]:
    async with standing() as made:
        yield made


@pytest.fixture
def stand(all_stand: Standing) -> Standing:
    return all_stand.another()


async def submit(stand: Standing, lever: str, **fields: str) -> httpx.Response:
    """As a browser does, along to the page it ends on."""
    return await stand.http.post(
        f"{stand.url}/_control/{lever}", data={"account": stand.key} | fields, follow_redirects=True
    )


async def facts(stand: Standing, key: str = "") -> Any:
    return (await stand.http.get(f"{stand.url}/_control.json", params={"account": key or stand.key})).json()


async def look(stand: Standing, **query: str) -> httpx.Response:
    return await stand.http.get(f"{stand.url}/_control", params={"account": stand.key} | query)


async def test_the_page_shows_the_demos_account_unless_told(all_stand: Standing) -> None:
    endpoint = all_stand.endpoint("http://127.0.0.1:9/hook")
    page = await all_stand.http.get(f"{all_stand.url}/_control")
    assert page.status_code == 200
    assert DEMO_KEY in page.text
    assert endpoint["url"] in page.text
    assert endpoint["_secret"] in page.text, "whoever runs the app by hand needs it for a setting"
    for lever in LEVERS:
        assert f"/_control/{lever}" in page.text or lever in (
            "fail-renewal",
            "own-clock",
            "release",
            "renew",
            "replace-card",
            "resend",
        )


async def test_a_look_makes_no_account(stand: Standing) -> None:
    await facts(stand, "sk_test_nobody")
    assert "sk_test_nobody" not in stand.sandbox.accounts


async def test_time_moves_for_one_account_alone_and_only_forward(stand: Standing) -> None:
    before = (await facts(stand))["now"]
    moved = await stand.pull("advance", days=30, seconds=5)
    assert moved["now"] - before == pytest.approx(30 * DAY + 5, abs=3)
    other = stand.another()
    assert other.account.now() == pytest.approx(before, abs=3)
    back = await stand.http.post(f"{stand.url}/_control/advance", json={"to": before})
    assert back.status_code == 400
    assert "forward" in back.json()["error"]
    to = await other.pull("advance", to=before + 400 * DAY)
    assert to["now"] == pytest.approx(before + 400 * DAY, abs=3)


async def test_a_form_does_the_same_and_comes_back_to_its_account(stand: Standing) -> None:
    page = await submit(stand, "advance", days="2", seconds="", clock="")
    assert page.status_code == 200
    assert page.history[0].status_code == 303
    assert "The clock is advanced." in page.text
    assert stand.account.settings["offset"] == 2 * DAY
    assert stand.sandbox.account(DEMO_KEY).settings["offset"] == 0


async def test_chaos_by_form_is_set_and_what_is_left_out_is_off(stand: Standing) -> None:
    await submit(stand, "chaos", hold="true", duplicate="0.5", seed="9", drop_next="2")
    assert (await facts(stand))["chaos"] == {
        **dict.fromkeys(("delay_s", "shuffle_s", "drop"), 0),
        **{"seed": 9, "hold": True, "duplicate": 0.5, "duplicate_next": 0, "drop_next": 2},
    }
    await submit(stand, "chaos", seed="0")
    assert not any((await facts(stand))["chaos"].values())


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
async def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    stand: Standing, lever: str, fields: dict[str, str]
) -> None:
    before, accounts = await facts(stand), list(stand.sandbox.accounts)
    page = await submit(stand, lever, **fields)
    assert page.status_code == 422
    assert 'role="alert"' in page.text
    as_json = await stand.http.post(f"{stand.url}/_control/{lever}", json={"account": stand.key} | fields)
    assert as_json.status_code == 422
    assert as_json.json()["error"]
    assert (await facts(stand)) | {"now": 0} == before | {"now": 0}
    assert list(stand.sandbox.accounts) == accounts


@pytest.mark.parametrize(
    ("lever", "fields"),
    [
        ("advance", {"clock": "clock_unknown", "days": 1}),
        ("renew", {"customer": "cus_unknown"}),
        ("replace-card", {"customer": "cus_unknown"}),
        ("fail-renewal", {"customer": "cus_unknown"}),
        ("resend", {"event": "evt_unknown", "endpoint": "we_unknown"}),
        ("roll", {"endpoint": "we_unknown"}),
    ],
)
async def test_what_is_not_there_is_said(stand: Standing, lever: str, fields: dict[str, Any]) -> None:
    answer = await stand.http.post(f"{stand.url}/_control/{lever}", json=fields)
    assert answer.status_code in (400, 404)
    assert "unknown" in answer.json()["error"]


async def test_an_unknown_lever_and_a_broken_body(stand: Standing) -> None:
    assert (await stand.http.post(f"{stand.url}/_control/explode", json={})).status_code == 404
    broken = await stand.http.post(
        f"{stand.url}/_control/advance", content=b"{", headers={"content-type": "application/json"}
    )
    assert broken.status_code == 400
    listed = await stand.http.post(f"{stand.url}/_control/advance", json=[1])
    assert listed.status_code == 422


async def test_nothing_that_is_typed_comes_back_as_markup(stand: Standing) -> None:
    bad = '"><script>alert(1)</script>'
    for page in (
        await submit(stand, "fail", kind=bad),
        await submit(stand, "resend", event=bad, endpoint=bad),
        await submit(stand, "fail", kind="500", path=bad),
        await look(stand, account=bad, done=bad),
    ):
        assert "<script" not in page.text
        assert "script-src" not in page.headers["content-security-policy"]
        assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_the_next_requests_fail_as_told_and_then_no_more(stand: Standing) -> None:
    client = stand.stripe()
    await stand.pull("fail", kind="429", times=2)
    for _ in range(2):
        with pytest.raises(stripe.RateLimitError):
            await stand.ask(client.v1.customers.list)
    await stand.ask(client.v1.customers.list)
    await stand.pull("fail", kind="401")
    with pytest.raises(stripe.AuthenticationError):
        await stand.ask(client.v1.customers.list)
    await stand.pull("fail", kind="500", path="/products")
    await stand.ask(client.v1.customers.list)
    with pytest.raises(stripe.APIError):
        await stand.ask(client.v1.products.list)
    await stand.ask(client.v1.products.list)


async def test_lost_answers_were_done(stand: Standing) -> None:
    client = stand.stripe()
    await stand.pull("fail", kind="lost")
    with pytest.raises(stripe.APIError):
        await stand.ask(client.v1.customers.create, {"name": "Ann"})
    assert [one.name for one in (await stand.ask(client.v1.customers.list)).data] == ["Ann"]
    await stand.pull("fail", kind="timeout", seconds=0.01)
    with pytest.raises(stripe.APIError):
        await stand.ask(client.v1.customers.create, {"name": "Adam"})
    assert len((await stand.ask(client.v1.customers.list)).data) == 1


async def test_a_stopped_stripe_refuses_one_account_until_it_is_over_or_mended(stand: Standing) -> None:
    client, other = stand.stripe(), stand.another().stripe()
    await stand.pull("stop", seconds=600)
    with pytest.raises(stripe.APIError):
        await stand.ask(client.v1.customers.list)
    await stand.ask(other.v1.customers.list)
    assert "Stopped" in (await look(stand)).text
    await stand.pull("stop", seconds=0.1)

    async def answers() -> bool:
        try:
            await stand.ask(client.v1.customers.list)
        except stripe.APIError:
            return False
        return True

    while not await answers():
        pass
    await stand.pull("stop", seconds=600)
    await stand.pull("fail", kind="500", times=50)
    assert not await answers()
    await stand.pull("mend")
    assert await answers()


async def test_mending_sends_what_waited_for_it(stand: Standing) -> None:
    async with receiving() as ours:
        stand.endpoint(ours.url)
        await stand.pull("stop", seconds=600)
        stand.happens()
        await submit(stand, "mend")
        await ours.has(1)


async def test_the_page_lists_deliveries_and_sends_one_again(stand: Standing) -> None:
    async with receiving() as ours:
        endpoint = stand.endpoint(ours.url)
        event = stand.happens()
        await ours.has(1)
        await until(lambda: stand.deliveries.log(stand.account)[0]["state"] == "delivered")
        page = await submit(stand, "resend", event=event["id"], endpoint=endpoint["id"])
        assert event["id"] in page.text
        assert "customer.updated" in page.text
        await ours.has(2)
        assert len((await facts(stand))["deliveries"]) == 2


async def test_retries_by_form(stand: Standing) -> None:
    page = await submit(stand, "network", gaps="0.5, 2 8")
    assert 'value="0.5, 2.0, 8.0"' in page.text
    assert stand.account.settings["delivery_gaps"] == [0.5, 2, 8]
