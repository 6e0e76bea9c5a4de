"""Sign-in by password and code: equal answers for unknown accounts, no reused tokens."""

import statistics
import time
from collections.abc import Iterator

import pyotp
import pytest

from shared.core import db, rate_limits
from shared.core.config import settings
from shared.identity import mfa
from shared.identity.realms import OPERATOR, USER
from tests.conftest import Cast
from tests.support import factories
from tests.support.http_visitor import alerts, browser, session_of, shape

WRONG = "Incorrect email or password."


def sign_in_form(email: str, password: str = factories.PASSWORD, **more: str) -> dict[str, str]:
    return {"email": email, "password": password, **more}


async def test_sign_in_leads_to_the_requested_page(cast: Cast) -> None:
    client = browser()
    refused = await client.get(f"/t/{cast.ann.slug}/members?q=max")
    assert refused.headers["location"] == f"/sign-in?next=/t/{cast.ann.slug}/members%3Fq%3Dmax"
    page = await client.get(refused.headers["location"])
    assert f'value="/t/{cast.ann.slug}/members?q=max"' in page.text
    answer = await client.post("/auth/sign-in", data=sign_in_form(cast.ann.email.upper(), next="/account"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    cookie = answer.headers["set-cookie"]
    assert all(
        word in cookie for word in (USER.session_cookie, "HttpOnly", "Secure", "SameSite=lax", "Path=/")
    )
    assert (await client.get("/account")).status_code == 200


async def test_sign_in_answers_alike_for_known_and_unknown_addresses(cast: Cast) -> None:
    known_answer = await browser().post("/auth/sign-in", data=sign_in_form(cast.ann.email, "wrong"))
    unknown = await browser().post("/auth/sign-in", data=sign_in_form("nobody@acme.test", "wrong"))
    assert shape(known_answer) == shape(unknown)
    assert known_answer.status_code == 401
    assert alerts(known_answer) == WRONG
    assert known_answer.text.replace(cast.ann.email, "…") == unknown.text.replace("nobody@acme.test", "…")
    assert "wrong" not in known_answer.text.replace('id="wrong"', "")


async def test_sign_in_costs_the_same_for_known_and_unknown_addresses(cast: Cast) -> None:
    """Measured in processor time of all threads, because waiting time depends on the load of the machine."""
    times: dict[bool, list[float]] = {True: [], False: []}
    client = browser()
    for number in range(9):
        for is_known in (True, False):
            began = time.process_time()
            email = cast.ann.email if is_known else f"nobody{number}@acme.test"
            await client.post("/auth/sign-in", data=sign_in_form(email, "wrong"))
            times[is_known].append(time.process_time() - began)
    known_time, unknown_time = (statistics.median(times[key]) for key in (True, False))
    assert 0.6 < known_time / unknown_time < 1.7


@pytest.fixture
def behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TRUSTED_PROXY_HOPS", "1")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


async def test_guessing_stranger_does_not_lock_the_account(cast: Cast, behind_a_proxy: None) -> None:
    client = browser()

    async def try_sign_in(address: str, password: str) -> int:
        headers = {"x-forwarded-for": address}
        answer = await client.post(
            "/auth/sign-in", data=sign_in_form(cast.ann.email, password), headers=headers
        )
        return answer.status_code

    stranger = [await try_sign_in(f"2001:db8:0:1::{number:x}", "a wrong password") for number in range(11)]
    assert stranger == [401] * 10 + [429]  # one household, whatever number of addresses it has
    assert await try_sign_in("2001:db8:0:2::1", factories.PASSWORD) == 303


async def test_sign_in_replaces_a_planted_session(cast: Cast) -> None:
    """Session fixation: whoever planted a token before the sign-in holds nothing after it."""
    client = browser(cookie=f"{USER.session_cookie}=planted-by-somebody-else-000000000000000000")
    await client.post("/auth/sign-in", data=sign_in_form(cast.ann.email))
    client = browser(cookie=cast.ann.cookie)
    before = session_of(client)
    await client.post("/auth/sign-in", data=sign_in_form(cast.ann.email))
    assert session_of(client) not in ("", before)
    assert (await browser(cookie=cast.ann.cookie).get("/account")).status_code == 303


async def test_sign_out_twice_ends_the_session_once(cast: Cast) -> None:
    client = browser(cookie=cast.ann.cookie)
    for _ in range(2):
        answer = await client.post("/auth/sign-out")
        assert answer.headers["location"] == "/sign-in?notice=signed-out"
    assert (await browser(cookie=cast.ann.cookie).get("/account")).status_code == 303


@pytest.mark.parametrize(
    "target",
    [
        "//evil.test",
        "https://evil.test",
        "/\\evil.test",
        "\\\\evil",
        "javascript:alert(1)",
        "/auth/sign-out",
        "/a\nb",
        "",
    ],
)
async def test_sign_in_ignores_a_foreign_next_address(cast: Cast, target: str) -> None:
    answer = await browser().post("/auth/sign-in", data=sign_in_form(cast.ann.email, next=target))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (await browser(cookie=cast.ann.cookie).get("/sign-in", params={"next": target})).headers[
        "location"
    ] == "/"


async def test_sign_in_attempts_are_limited_per_address_known_or_not(cast: Cast) -> None:
    answers = []
    for email in (cast.ann.email, "nobody@acme.test"):
        client = browser()
        for _ in range(10):
            assert (await client.post("/auth/sign-in", data=sign_in_form(email, "wrong"))).status_code == 401
        answers.append(await client.post("/auth/sign-in", data=sign_in_form(email)))
    assert [answer.status_code for answer in answers] == [429, 429]
    assert shape(answers[0])[0] == shape(answers[1])[0]
    assert "Try again in" in alerts(answers[0])
    assert int(answers[0].headers["retry-after"]) > 0
    assert cast.ann.email in answers[0].text


async def enable_second_factor(user_id: str) -> str:
    seed = pyotp.random_base32()
    async with db.transaction() as session:
        await mfa.install_seed(session, USER, user_id, seed)
    return seed


async def test_sign_in_with_a_second_factor_requires_the_code(cast: Cast) -> None:
    seed, client = await enable_second_factor(cast.ann.user_id), browser()
    answer = await client.post("/auth/sign-in", data=sign_in_form(cast.ann.email, next="/account"))
    assert answer.headers["location"] == "/mfa?next=/account"
    assert session_of(client) == ""
    assert (await client.get("/account")).status_code == 303
    code = pyotp.TOTP(seed).now()
    finished = await client.post("/auth/mfa", data={"code": code, "next": "/account"})
    assert (finished.status_code, finished.headers["location"]) == (303, "/account")
    assert (await client.get("/account")).status_code == 200

    again = browser()
    await again.post("/auth/sign-in", data=sign_in_form(cast.ann.email))
    replayed = await again.post("/auth/mfa", data={"code": code})
    assert replayed.status_code == 401
    assert "already used" in alerts(replayed)


async def test_too_many_wrong_codes_lead_back_to_the_password(cast: Cast) -> None:
    seed, client = await enable_second_factor(cast.ann.user_id), browser()
    await client.post("/auth/sign-in", data=sign_in_form(cast.ann.email))
    for left in (
        "You have 4 tries left",
        "You have 3 tries left",
        "You have 2 tries left",
        "You have 1 try left",
    ):
        answer = await client.post("/auth/mfa", data={"code": "000000"})
        assert answer.status_code == 401
        assert left in alerts(answer)
    last = await client.post("/auth/mfa", data={"code": "000000"})
    assert (last.status_code, last.headers["location"]) == (303, "/sign-in?notice=again")
    assert "Start again with your password" in (await client.get(last.headers["location"])).text
    late = await client.post("/auth/mfa", data={"code": pyotp.TOTP(seed).now()})
    assert late.headers["location"] == "/sign-in?notice=again"
    assert session_of(client) == ""


async def test_new_operator_must_enrol_a_second_factor_first(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        from shared.backoffice import operators

        made = await operators.create(octx, f"new.{cast.acme}@bulkhead.test", "support", "New")
    client = browser(operators=True)
    answer = await client.post("/auth/sign-in", data=sign_in_form(made.operator.email, made.password))
    assert answer.headers["location"] == "/mfa"
    assert client.cookies.get(OPERATOR.session_cookie) is None
    for page in ("/account", "/tenants"):
        assert (await client.get(page)).status_code == 303
    assert "Set up two-step sign-in" in (await client.get("/mfa")).text
    async with db.transaction("operator") as session:
        seed = await mfa.read_seed(session, OPERATOR, made.operator.id)
    finished = await client.post("/auth/mfa", data={"code": pyotp.TOTP(seed).now()})
    assert "recovery codes" in finished.text
    assert (await client.get("/account")).status_code == 200


async def test_session_of_one_realm_is_refused_in_the_other(cast: Cast) -> None:
    user, operator = (cookie.partition("=")[2] for cookie in (cast.ann.cookie, cast.olga.cookie))
    for name in (USER.session_cookie, OPERATOR.session_cookie):
        assert (await browser(cookie=f"{name}={operator}").get("/account")).status_code == 303
        assert (await browser(operators=True, cookie=f"{name}={user}").get("/account")).status_code == 303
    assert (await browser(operators=True, cookie=cast.olga.cookie).get("/account")).status_code == 200
    answer = await browser(operators=True).post("/auth/sign-in", data=sign_in_form(cast.ann.email))
    assert answer.status_code == 401
    for path in ("/sign-up", "/forgot", "/metrics", "/organisations", "/onboarding"):
        assert (await browser(operators=True, cookie=cast.olga.cookie).get(path)).status_code == 404


async def test_sign_in_answers_a_program_with_a_problem(cast: Cast) -> None:
    client = browser()
    client.headers["accept"] = "application/json"
    answer = await client.post("/auth/sign-in", data=sign_in_form(cast.ann.email, "wrong"))
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["reason"], body["detail"]) == (401, "wrong_password", WRONG)
    assert body["request_id"] == answer.headers["x-request-id"]
    page = await client.get(f"/t/{cast.ann.slug}/home")
    assert (page.status_code, page.json()["reason"]) == (401, "not_signed_in")


async def test_right_passwords_are_never_too_many(cast: Cast) -> None:
    """Failures count, whatever succeeds between them."""
    client = browser()
    for _ in range(15):
        assert (await client.post("/auth/sign-in", data=sign_in_form(cast.ann.email))).status_code == 303
    answers = []
    for password in [*["wrong", factories.PASSWORD] * 9, "wrong", factories.PASSWORD]:
        answer = await browser().post("/auth/sign-in", data=sign_in_form(cast.ann.email, password))
        answers.append(answer.status_code)
    assert answers == [*[401, 303] * 9, 401, 429]  # ten failures


async def test_sign_in_without_the_store_of_limits_is_an_outage_and_no_accusation(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    settings.cache_clear()
    rate_limits.get_storage.cache_clear()
    try:
        answer = await browser().post("/auth/sign-in", data=sign_in_form(cast.ann.email))
    finally:
        monkeypatch.undo()
        settings.cache_clear()
        rate_limits.get_storage.cache_clear()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "Part of our service is down" in alerts(answer)
    assert "Try again in 30 seconds" in alerts(answer)
    assert "Too many" not in answer.text
