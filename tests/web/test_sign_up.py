"""Sign-up, verification and password reset: equal answers for known and unknown addresses."""

import asyncio
import time
from typing import Any

import httpx
import pyotp
import pytest
from sqlalchemy import event, text

from shared.core import db
from shared.core.ids import new_id
from shared.identity import mfa, tasks, users
from shared.identity.realms import USER
from tests.conftest import Cast
from tests.support import factories
from tests.support.http_visitor import PASSWORD, alerts, browser, link_of, session_of, shape, sign_up_form

OWN, STRANGERS = "eleven marble staircases turn", "the one who lay in wait first"


def new_address() -> str:
    return f"zoe.{new_id('x')[-10:]}@harbour.test"


async def list_jobs(task: str) -> list[dict[str, str]]:
    async with db.transaction() as session:
        connection = await session.connection()
        rows = await connection.execute(
            text("select args from procrastinate_jobs where task_name = :task order by id"), {"task": task}
        )
        return list(rows.scalars().all())


async def test_verification_in_the_same_browser_signs_in() -> None:
    email, client = new_address(), browser()
    answer = await client.post("/auth/sign-up", data=sign_up_form(email))
    assert (answer.status_code, answer.headers["location"]) == (303, "/verify")
    assert session_of(client) == ""
    assert email in (await client.get("/verify")).text
    assert (await client.get("/t/harbour/home")).headers["location"] == "/verify"
    token = await link_of(email, "verify")
    assert (
        "Confirm email" in (await client.get("/verify", params={"token": token})).text
    )  # looking uses nothing up
    verified = await client.post("/auth/verify", data={"token": token})
    assert verified.headers["location"].startswith("/onboarding?t=harbour")
    assert session_of(client) != ""
    again = await client.post("/auth/verify", data={"token": token})
    assert again.headers["location"] == "/sign-in?notice=verified"


async def can_sign_in(email: str, password: str) -> bool:
    await factories.run_sign_ups()
    answer = await browser().post("/auth/sign-in", data={"email": email, "password": password})
    assert answer.status_code in (303, 401)
    return answer.status_code == 303


async def choose_password(client: httpx.AsyncClient, email: str, password: str) -> None:
    """Open the newest link in a browser that did not choose the password of the sign-up."""
    verified = await client.post("/auth/verify", data={"token": await link_of(email, "verify")})
    assert verified.headers["location"].startswith("/reset?token=")
    assert (await client.get("/account")).status_code == 303
    page = await client.get(verified.headers["location"])
    assert "choose your password here" in page.text
    token = page.url.params["token"]
    chosen = await client.post("/auth/reset", data={"token": token, "password": password})
    assert chosen.headers["location"] == "/sign-in?notice=reset"


async def test_verification_in_another_browser_requires_a_new_password() -> None:
    email, laptop, phone = new_address(), browser(), browser()
    await laptop.post("/auth/sign-up", data=sign_up_form(email))
    await factories.run_sign_ups()
    await laptop.post("/auth/sign-in", data={"email": email, "password": PASSWORD})
    await choose_password(phone, email, OWN)
    assert (await laptop.get("/account")).status_code == 303
    assert not await can_sign_in(email, PASSWORD)
    assert await can_sign_in(email, OWN)


@pytest.mark.parametrize("first", ["theirs", "mine"])
async def test_stranger_with_my_address_gets_no_access(first: str) -> None:
    """Neither a stranger who signed up before me nor one between my sign-up and my click."""
    email, mine, other_browser = new_address(), browser(), browser()
    forms = {"theirs": (other_browser, STRANGERS), "mine": (mine, PASSWORD)}
    for browser_name in ("theirs", "mine") if first == "theirs" else ("mine", "theirs"):
        client, password = forms[browser_name]
        await client.post("/auth/sign-up", data=sign_up_form(email, password=password))
        await factories.run_sign_ups()
        await client.post("/auth/sign-in", data={"email": email, "password": password})
    if first == "theirs":
        verified = await mine.post("/auth/verify", data={"token": await link_of(email, "verify")})
        assert verified.headers["location"].startswith("/onboarding?t=")
        assert await can_sign_in(email, PASSWORD)
    else:
        await choose_password(mine, email, OWN)
        assert await can_sign_in(email, OWN)
        assert not await can_sign_in(email, PASSWORD)
    assert not await can_sign_in(email, STRANGERS)
    assert (await other_browser.get("/account")).status_code == 303


async def test_password_of_a_strangers_sign_up_is_void_after_verification() -> None:
    email, other_browser, mine = new_address(), browser(), browser()
    await other_browser.post("/auth/sign-up", data=sign_up_form(email, password=STRANGERS))
    await choose_password(mine, email, OWN)
    assert not await can_sign_in(email, STRANGERS)


async def test_second_factor_of_a_stranger_is_void_after_verification() -> None:
    for way in ("verify", "reset"):
        email, other_browser = new_address(), browser()
        await other_browser.post("/auth/sign-up", data=sign_up_form(email, password=STRANGERS))
        await factories.run_sign_ups()
        async with db.transaction() as session:
            user = await users.get_by_email(session, email)
            assert user is not None
            await mfa.install_seed(session, USER, user.id, pyotp.random_base32())
        if way == "verify":
            await choose_password(browser(), email, OWN)
        else:
            token = await link_of(email, "reset")
            await browser().post("/auth/reset", data={"token": token, "password": OWN})
        await factories.run_sign_ups()
        answer = await browser().post("/auth/sign-in", data={"email": email, "password": OWN})
        assert answer.headers["location"] == "/"


async def test_password_chosen_by_reset_is_not_asked_for_at_verification() -> None:
    """Reset first, then verified: both links came to the mailbox."""
    email = new_address()
    await browser().post("/auth/sign-up", data=sign_up_form(email, password=STRANGERS))
    token = await link_of(email, "reset")
    await browser().post("/auth/reset", data={"token": token, "password": OWN})
    verified = await browser().post("/auth/verify", data={"token": await link_of(email, "verify")})
    assert verified.headers["location"] == "/sign-in?notice=verified"
    assert await can_sign_in(email, OWN)


async def test_password_changed_before_verification_is_void() -> None:
    email, other_browser, other = new_address(), browser(), "copper kettles sing at midnight"
    await other_browser.post("/auth/sign-up", data=sign_up_form(email, password=STRANGERS))
    await factories.run_sign_ups()
    await other_browser.post("/auth/sign-in", data={"email": email, "password": STRANGERS})
    await other_browser.post("/account/password", data={"current": STRANGERS, "password": other})
    assert await can_sign_in(email, other)
    await choose_password(browser(), email, OWN)
    assert not await can_sign_in(email, other)


async def test_strangers_request_arriving_after_verification_is_void() -> None:
    """A request that was checked before the account changed hands must not act afterwards."""
    email, other_browser, again = new_address(), browser(), browser()
    await other_browser.post("/auth/sign-up", data=sign_up_form(email, password=STRANGERS))
    await factories.run_sign_ups()
    await other_browser.post("/auth/sign-in", data={"email": email, "password": STRANGERS})
    link, other = await link_of(email, "verify"), "copper kettles sing at midnight"
    async with db.transaction() as session:
        proof = await users.verify_email(session, link, "")
        changing = asyncio.create_task(
            other_browser.post("/account/password", data={"current": STRANGERS, "password": other})
        )
        entering = asyncio.create_task(
            again.post("/auth/sign-in", data={"email": email, "password": STRANGERS})
        )
        await asyncio.sleep(0.5)  # both have checked what they check, and wait
        assert not changing.done()
        assert not entering.done()
    changed, entered = await changing, await entering
    assert changed.headers["location"].startswith("/sign-in")
    assert (entered.status_code, session_of(again)) == (403, "")
    assert "Your password was just changed." in alerts(entered)
    assert proof.reset_token
    assert not await can_sign_in(email, other)
    assert (await other_browser.get("/account")).status_code == 303


async def test_second_sign_up_in_one_browser_replaces_the_password() -> None:
    email, client = new_address(), browser()
    for password in (PASSWORD, OWN):
        await client.post("/auth/sign-up", data=sign_up_form(email, password=password))
    verified = await client.post("/auth/verify", data={"token": await link_of(email, "verify")})
    assert verified.headers["location"].startswith("/onboarding?t=")
    assert (await can_sign_in(email, PASSWORD), await can_sign_in(email, OWN)) == (False, True)


async def test_resent_link_verifies_the_same_sign_up() -> None:
    email, client = new_address(), browser()
    await client.post("/auth/sign-up", data=sign_up_form(email))
    old = await link_of(email, "verify")
    assert (await client.post("/auth/resend")).headers["location"] == "/verify?notice=sent"
    async with db.transaction() as session:
        await tasks.request_verification(session, email=email)
    assert (await client.post("/auth/verify", data={"token": old})).status_code == 422
    verified = await client.post("/auth/verify", data={"token": await link_of(email, "verify")})
    assert verified.headers["location"].startswith("/onboarding?t=")
    assert await can_sign_in(email, PASSWORD)


async def test_sign_up_answers_alike_for_known_and_unknown_addresses_with_different_mails(cast: Cast) -> None:
    client_known, client_new, new = browser(), browser(), new_address()
    before = len(await list_jobs("platform.send_account_exists"))
    known_answer = await client_known.post("/auth/sign-up", data=sign_up_form(cast.ann.email))
    unknown = await client_new.post("/auth/sign-up", data=sign_up_form(new))
    assert shape(known_answer) == shape(unknown)
    pages = [await client.get("/verify") for client in (client_known, client_new)]
    assert pages[0].text.replace(cast.ann.email, "…") == pages[1].text.replace(new, "…")
    await factories.run_sign_ups()
    assert [job["user_id"] for job in (await list_jobs("platform.send_account_exists"))[before:]] == [
        cast.ann.user_id
    ]
    await factories.run_sign_ups()
    signed_in = await browser().post(
        "/auth/sign-in", data={"email": cast.ann.email, "password": factories.PASSWORD}
    )
    assert signed_in.status_code == 303  # the password given with the second sign-up changed nothing


async def test_sign_up_executes_the_same_statements_for_known_and_unknown_addresses(cast: Cast) -> None:
    """Under load, one more statement could be measured."""
    results: list[list[str]] = []

    def record_statement(_: Any, __: Any, statement: str, *___: Any) -> None:
        results[-1].append(statement)

    event.listen(db.engine("app").sync_engine, "before_cursor_execute", record_statement)
    try:
        for email in (cast.ann.email, new_address()):
            results.append([])
            answer = await browser().post("/auth/sign-up", data=sign_up_form(email))
            assert answer.status_code == 303
    finally:
        event.remove(db.engine("app").sync_engine, "before_cursor_execute", record_statement)
    assert results[0] == results[1]
    assert results[0]


async def test_sign_up_costs_the_same_for_known_and_unknown_addresses(cast: Cast) -> None:
    """Measured in processor time, which a busy machine does not change; the minimum is the least disturbed."""
    costs: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(4):  # more of them for one address would be refused
        for is_known in (True, False):
            began = time.process_time()
            await browser().post(
                "/auth/sign-up", data=sign_up_form(cast.ann.email if is_known else new_address())
            )
            costs[is_known].append(time.process_time() - began)
    assert 0.7 < min(costs[True]) / min(costs[False]) < 1.4


async def test_later_sign_up_takes_over_an_unverified_account() -> None:
    """Nobody can lie in wait under an address that is not theirs."""
    email = new_address()
    await browser().post("/auth/sign-up", data=sign_up_form(email, password="the one who lay in wait first"))
    early = browser()
    await factories.run_sign_ups()
    await early.post("/auth/sign-in", data={"email": email, "password": "the one who lay in wait first"})
    assert session_of(early) != ""
    await browser().post("/auth/sign-up", data=sign_up_form(email))
    await factories.run_sign_ups()
    assert (await early.get("/account")).status_code == 303
    await factories.run_sign_ups()
    answer = await browser().post(
        "/auth/sign-in", data={"email": email, "password": "the one who lay in wait first"}
    )
    assert answer.status_code == 401


async def test_unverified_person_opens_no_page_of_the_tenant() -> None:
    email, client = new_address(), browser()
    await client.post("/auth/sign-up", data=sign_up_form(email))
    await factories.run_sign_ups()
    await client.post("/auth/sign-in", data={"email": email, "password": PASSWORD})
    home = (await client.get("/")).headers["location"]
    assert home.startswith("/t/harbour")
    assert (await client.get(home)).headers["location"] == "/verify"
    client.headers["accept"] = "application/json"
    refused = await client.get(home)
    assert (refused.status_code, refused.json()["reason"]) == (403, "tenant_unverified")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"email": "a" * 10_000 + "@x.test"}, "at most 254 characters"),
        ({"email": "not an address"}, "Enter a valid email address"),
        ({"email": "a\x00b@x.test"}, "unsupported character"),
        ({"name": "a\x00b"}, "unsupported character"),
        ({"name": "   "}, "Enter your name"),
        ({"name": "n" * 300}, "at most 80 characters"),
        ({"organisation": ""}, "Enter the name of your organisation"),
        ({"organisation": "o" * 300}, "at most 80 characters"),
        ({"password": "short"}, "at least 15 characters"),
        ({"password": "p" * 2_000}, "at most 1,000 characters"),
        ({"password": "my harbour is my castle 77"}, "Remove “harbour”"),
        ({"password": PASSWORD + "\x00"}, "unsupported character"),
    ],
)
async def test_invalid_sign_up_is_refused_and_keeps_the_typed_values(
    changed: dict[str, str], message: str
) -> None:
    answer = await browser().post("/auth/sign-up", data=sign_up_form(new_address()) | changed)
    assert answer.status_code == 422
    assert message in alerts(answer)
    assert (
        'value="Harbour"' in answer.text or "organisation" in changed or "\x00" in "".join(changed.values())
    )
    assert PASSWORD not in answer.text


async def test_sign_up_accepts_emoji_as_tenant_name() -> None:
    email, client = new_address(), browser()
    answer = await client.post("/auth/sign-up", data=sign_up_form(email, organisation="🚢", name="Zoë 🌊"))
    assert answer.status_code == 303
    await client.post("/auth/verify", data={"token": await link_of(email, "verify")})
    assert "🚢" in (await client.get("/organisations")).text


async def test_sign_up_form_escapes_typed_markup() -> None:
    evil = '"><script>alert(1)</script>'
    answer = await browser().post("/auth/sign-up", data=sign_up_form(evil, name=evil, organisation=evil))
    assert "<script" not in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_newer_reset_link_replaces_the_older(cast: Cast) -> None:
    first = await link_of(cast.ann.email, "reset")
    second = await link_of(cast.ann.email, "reset")
    assert (await browser().get("/reset", params={"token": first})).status_code == 422
    assert (await browser().get("/reset", params={"token": second})).status_code == 200


async def test_reset_link_is_valid_for_its_purpose_only(cast: Cast) -> None:
    token = await link_of(cast.ann.email, "reset")
    assert (await browser().post("/auth/verify", data={"token": token})).status_code != 200
    for bad in ("", "x", token + "x", token[:-1], "." * 50, "é", token.replace("tok_", "tok_0")):
        answer = await browser().post("/auth/reset", data={"token": bad, "password": PASSWORD})
        assert answer.status_code == 422


async def test_forgot_password_answers_alike_and_enqueues_a_job(cast: Cast) -> None:
    before = len(await list_jobs("platform.request_reset"))
    known_answer = await browser().post("/auth/forgot", data={"email": cast.ann.email})
    unknown = await browser().post("/auth/forgot", data={"email": "nobody@acme.test"})
    assert shape(known_answer) == shape(unknown)
    assert known_answer.headers["location"] == "/forgot/sent"
    assert len(await list_jobs("platform.request_reset")) == before + 2


async def test_reset_changes_the_password_once_and_ends_all_sessions(cast: Cast) -> None:
    token, new = await link_of(cast.ann.email, "reset"), "eleven marble staircases turn"
    weak = await browser().post("/auth/reset", data={"token": token, "password": "short"})
    assert weak.status_code == 422
    assert "at least 15" in alerts(weak)
    verified = await browser().post("/auth/reset", data={"token": token, "password": new})
    assert verified.headers["location"] == "/sign-in?notice=reset"
    again = await browser().post(
        "/auth/reset", data={"token": token, "password": "another marble staircase turns"}
    )
    assert again.status_code == 422
    assert "no longer works" in again.text
    assert (await browser(cookie=cast.ann.cookie).get("/account")).status_code == 303
    for password, status in ((factories.PASSWORD, 401), (new, 303)):
        await factories.run_sign_ups()
        answer = await browser().post("/auth/sign-in", data={"email": cast.ann.email, "password": password})
        assert answer.status_code == status


async def test_expired_reset_link_is_refused(cast: Cast) -> None:
    token = await link_of(cast.ann.email, "reset")
    async with db.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text("update user_token set expires_at = now() - interval '1 second' where user_id = :id"),
            {"id": cast.ann.user_id},
        )
    answer = await browser().post("/auth/reset", data={"token": token, "password": PASSWORD})
    assert answer.status_code == 422
    assert (await browser(cookie=cast.ann.cookie).get("/account")).status_code == 200


async def test_resend_is_limited_and_for_the_waiting_address_only() -> None:
    email, client = new_address(), browser()
    assert (await browser().post("/auth/resend", data={"email": email})).headers["location"] == "/sign-in"
    await client.post("/auth/sign-up", data=sign_up_form(email))
    before = len(await list_jobs("platform.request_verification"))
    answers = [await client.post("/auth/resend", data={"email": "victim@acme.test"}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [303] * 5 + [429]
    asked = (await list_jobs("platform.request_verification"))[before:]
    assert {job["email"] for job in asked} == {email}


async def test_sign_ups_are_limited_per_address(cast: Cast) -> None:
    shapes = []
    for email in (cast.ann.email, new_address()):
        wrong = await browser().post("/auth/sign-up", data=sign_up_form(email, password="short"))
        assert wrong.status_code == 422  # no mail, so not counted
        answers = [await browser().post("/auth/sign-up", data=sign_up_form(email)) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [303] * 5 + [429]
        assert "Too many sign-ups with this address." in alerts(answers[-1])
        shapes.append([shape(answer) for answer in answers[:5]])
    assert shapes[0] == shapes[1]


async def test_concurrent_sign_ups_create_one_account() -> None:
    email = new_address()
    answers = await asyncio.gather(
        *(browser().post("/auth/sign-up", data=sign_up_form(email)) for _ in range(3))
    )
    assert [answer.status_code for answer in answers] == [303] * 3
    await factories.run_sign_ups()
    async with db.transaction() as session:
        assert await users.get_by_email(session, email) is not None
