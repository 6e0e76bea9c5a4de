"""A lost second factor: asked for with the password, started by an operator, done after a waiting time or cancelled."""

import re
from datetime import timedelta
from typing import Any

import httpx
import pyotp
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from admin_app.pages.recovery import RecoveryState
from shared.audit import audit_log
from shared.backoffice import factor_resets as operator_service
from shared.backoffice import tenant_directory
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, Refused
from shared.dev.mailbox import Mailbox
from shared.identity import factor_reset_repository, factor_resets, mfa
from shared.identity.models import FactorReset
from shared.identity.realms import USER
from shared.tenancy import authentication
from tests.conftest import Cast, Operating, Person
from tests.support import factories, workers
from tests.support.http_visitor import alerts, browser
from tests.web.test_sign_in_records import list_account_events, run_jobs

REASON = "Spoke on the phone, ticket 4471"


@pytest.fixture(autouse=True)
def empty_queue(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)


async def turn_on(person: Person) -> tuple[str, list[str]]:
    seed = pyotp.random_base32()
    async with db.transaction() as session:
        return seed, list(await mfa.install_seed(session, USER, person.user_id, seed))


async def enter_password(person: Person) -> httpx.AsyncClient:
    client = browser()
    answer = await client.post("/auth/sign-in", data={"email": person.email, "password": factories.PASSWORD})
    assert answer.headers["location"] == "/mfa"
    return client


async def ask(person: Person) -> str:
    """As a person who has only the password. The id of the request."""
    client = await enter_password(person)
    assert (await client.post("/auth/mfa/lost")).headers["location"] == "/mfa/lost"
    return (await get_open(person)).id


async def find_open(person: Person) -> FactorReset | None:
    async with db.transaction() as session:
        return await factor_resets.get_open(session, person.user_id)


async def get_open(person: Person) -> FactorReset:
    reset = await find_open(person)
    assert reset is not None
    return reset


async def start(operator: Operating, reset_id: str) -> FactorReset:
    async with operator.octx() as octx:
        return await operator_service.start(octx, reset_id, state_reason(octx, REASON))


async def let_time_pass(reset_id: str) -> None:
    async with db.transaction() as session:
        reset = await session.get_one(FactorReset, reset_id)
        reset.due_at = now() - timedelta(seconds=1)
        session.add(reset)


async def complete(reset_id: str) -> bool:
    async with db.transaction() as session:
        return await factor_resets.complete(session, reset_id)


async def is_on(person: Person) -> bool:
    async with db.transaction() as session:
        return await mfa.is_enabled(session, USER, person.user_id)


def subjects(box: Mailbox) -> list[str]:
    return [mail.subject for mail in box.mails]


def token_in(box: Mailbox) -> str:
    match = re.search(r"/factor-reset\?token=(\S+)", box.mails[-1].text)
    assert match is not None
    return match[1]


async def list_actions(reader: Person, subject: Person) -> list[str]:
    return [
        event.action
        for event in await list_account_events(reader, subject)
        if event.action.startswith("factor.")
    ]


async def test_lost_factor_is_removed_after_the_waiting_time_and_every_step_is_mailed(
    cast: Cast, schema: str
) -> None:
    await factories.join_tenant(cast.gil.account, cast.gil.slug, cast.max.account, "member")
    workers.clear_queue(schema)
    await turn_on(cast.max)
    reset_id = await ask(cast.max)
    assert subjects(await run_jobs(schema)) == ["You asked to remove two-step sign-in"]
    reset = await start(cast.olga, reset_id)
    assert reset.started_at is not None
    assert reset.due_at == reset.started_at + timedelta(hours=24)
    assert subjects(await run_jobs(schema)) == ["Two-step sign-in will be removed"]
    assert not await complete(reset_id)  # too early
    assert await is_on(cast.max)

    await let_time_pass(reset_id)
    assert await complete(reset_id)
    assert not await is_on(cast.max)
    assert await authentication.authenticate(cast.max.cookie, cast.max.slug) is None  # signed out
    assert subjects(await run_jobs(schema)) == ["Two-step sign-in was removed"]
    assert not await complete(reset_id)  # once
    answer = await browser().post(
        "/auth/sign-in", data={"email": cast.max.email, "password": factories.PASSWORD}
    )
    assert answer.headers["location"] == "/"
    for reader in (cast.ann, cast.gil):  # in every organisation of the person
        assert await list_actions(reader, cast.max) == [
            "factor.reset_requested",
            "factor.reset_started",
            "factor.reset",
        ]


async def test_worker_completes_the_reset_at_its_time(cast: Cast, schema: str) -> None:
    await turn_on(cast.max)
    reset_id = await ask(cast.max)
    await start(cast.olga, reset_id)
    due_jobs = workers.list_jobs(schema)
    assert [task for task, _ in due_jobs].count(factor_resets.COMPLETE_TASK) == 1
    await run_jobs(schema)
    assert await is_on(cast.max)
    await let_time_pass(reset_id)
    async with db.transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "update procrastinate_jobs set scheduled_at = now() where task_name = 'platform.complete_factor_reset'"
        )
    await run_jobs(schema)
    assert not await is_on(cast.max)


async def test_request_needs_the_password_first(cast: Cast) -> None:
    await turn_on(cast.max)
    for client in (browser(), browser(cookie=cast.ann.cookie)):
        for answer in (await client.get("/mfa/lost"), await client.post("/auth/mfa/lost")):
            assert answer.headers["location"] == "/sign-in?notice=again"
    assert await find_open(cast.max) is None


async def test_page_names_recovery_codes_first_and_then_the_state(cast: Cast) -> None:
    await turn_on(cast.max)
    client = await enter_password(cast.max)
    page = (await client.get("/mfa/lost")).text
    assert page.index("Enter a recovery code") < page.index("Ask support to remove it")
    await client.post("/auth/mfa/lost")
    assert "We asked support" in (await client.get("/mfa/lost")).text
    await client.post("/auth/mfa/lost")  # asking again changes nothing
    reset = await get_open(cast.max)
    await start(cast.olga, reset.id)
    assert "Support approved your request." in (await client.get("/mfa/lost")).text


async def test_requests_are_limited(cast: Cast) -> None:
    await turn_on(cast.max)
    client = await enter_password(cast.max)
    answers = [await client.post("/auth/mfa/lost") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [303, 303, 303, 429]
    assert "requests to remove the second factor" in alerts(answers[-1])


async def test_link_of_the_mail_cancels_the_reset_once(cast: Cast, schema: str) -> None:
    await turn_on(cast.max)
    reset_id = await ask(cast.max)
    await run_jobs(schema)
    await start(cast.olga, reset_id)
    token = token_in(await run_jobs(schema))
    page = await browser().get("/factor-reset", params={"token": token})
    assert "Keep two-step sign-in" in page.text
    assert (await find_open(cast.max)) is not None  # looking cancels nothing
    answer = await browser().post("/auth/factor-reset", data={"token": token})
    assert answer.headers["location"] == "/sign-in?notice=factor-kept"
    await let_time_pass(reset_id)
    assert not await complete(reset_id)
    assert await is_on(cast.max)
    assert subjects(await run_jobs(schema)) == ["The removal of your second factor was cancelled"]
    for link in (token, f"{token}x", "", "x" * 500):
        again = await browser().post("/auth/factor-reset", data={"token": link})
        assert again.status_code == 422
    assert (await browser().get("/factor-reset", params={"token": token})).status_code == 422


async def test_session_of_the_person_shows_and_cancels_the_reset(cast: Cast) -> None:
    await turn_on(cast.max)
    await ask(cast.max)
    client = browser(cookie=cast.max.cookie)
    assert "Request to remove two-step sign-in" in (await client.get("/account")).text
    assert (
        "Request to remove two-step sign-in"
        not in (await browser(cookie=cast.ann.cookie).get("/account")).text
    )
    await browser(cookie=cast.ann.cookie).post("/account/factor/keep")
    assert await find_open(cast.max) is not None  # another person's
    answer = await client.post("/account/factor/keep")
    assert answer.headers["location"] == "/account?done=factor-kept"
    assert await find_open(cast.max) is None


async def test_reset_ends_when_the_factor_is_turned_off(cast: Cast, schema: str) -> None:
    """Or it would remove the factor that is set up next."""
    workers.clear_queue(schema)
    await turn_on(cast.max)
    reset_id = await ask(cast.max)
    await start(cast.olga, reset_id)
    client = browser(cookie=cast.max.cookie)
    answer = await client.post("/account/factor/off", data={"current": factories.PASSWORD})
    assert answer.status_code == 303
    await turn_on(cast.max)
    await let_time_pass(reset_id)
    assert not await complete(reset_id)
    assert await is_on(cast.max)
    mail = next(mail for mail in (await run_jobs(schema)).mails if "cancelled" in mail.subject)
    assert "stays" not in mail.text  # the factor that it was about is off


async def test_declined_request_is_recorded_as_the_act_of_support(cast: Cast, schema: str) -> None:
    await turn_on(cast.max)
    reset_id = await ask(cast.max)
    async with cast.olga.octx() as octx:
        await operator_service.decline(octx, reset_id, state_reason(octx, "It was not them"))
    mails = [mail for mail in (await run_jobs(schema)).mails if mail.to == cast.max.email]
    assert mails[-1].subject == "Two-step sign-in stays on"
    assert "Support declined" in mails[-1].text
    actions = await list_actions(cast.adam, cast.max)
    assert "factor.reset_declined" in actions
    assert "factor.reset_cancelled" not in actions


@pytest.mark.parametrize("kind", ["code", "recovery code"])
async def test_sign_in_with_the_factor_cancels_the_reset(cast: Cast, kind: str) -> None:
    seed, codes = await turn_on(cast.max)
    reset_id = await ask(cast.max)
    await start(cast.olga, reset_id)
    client = await enter_password(cast.max)
    code = pyotp.TOTP(seed).now() if kind == "code" else codes[0]
    assert (await client.post("/auth/mfa", data={"code": code})).headers["location"] == "/"
    await let_time_pass(reset_id)
    assert not await complete(reset_id)


async def test_reset_is_started_once_with_a_reason_by_those_who_may(cast: Cast) -> None:
    await turn_on(cast.max)
    reset_id = await ask(cast.max)
    with pytest.raises(Refused):
        await start(cast.sam, reset_id)  # support
    async with cast.olga.octx() as octx:
        with pytest.raises(Invalid):
            await operator_service.start(octx, reset_id, state_reason(octx, "x"))
    await start(cast.olga, reset_id)
    with pytest.raises(Conflict):
        await start(cast.olga, reset_id)
    with pytest.raises(Conflict):
        await start(cast.olga, "frs_00000000000000000000000000")


async def test_overview_counts_requests_that_wait_for_an_answer(cast: Cast) -> None:
    async def count() -> int:
        async with cast.olga.octx() as octx:
            return (await tenant_directory.get_overview(octx)).waiting_resets

    before = await count()
    await turn_on(cast.max)
    reset_id = await ask(cast.max)
    assert await count() == before + 1
    await start(cast.olga, reset_id)
    assert await count() == before


async def test_operators_reason_is_in_their_audit_log(cast: Cast) -> None:
    await turn_on(cast.max)
    reset_id = await ask(cast.max)
    await start(cast.olga, reset_id)
    async with cast.olga.octx() as octx:
        await operator_service.decline(octx, reset_id, state_reason(octx, "It was not them"))
        events = await audit_log.list_operator_events(octx, limit=5)
    assert [(event.action, event.reason) for event in events if event.object_id == cast.max.user_id] == [
        ("user.factor_reset_declined", "It was not them"),
        ("user.factor_reset_started", REASON),
    ]
    assert await find_open(cast.max) is None


async def test_operators_can_not_complete_a_reset_in_the_database(cast: Cast) -> None:
    """Whoever has their rights only can start it: the time can't be skipped."""
    await turn_on(cast.max)
    reset_id = await ask(cast.max)
    statement = text("update factor_reset set completed_at = now() where id = :id")
    async with db.transaction("operator") as session:
        connection = await session.connection()
        with pytest.raises(ProgrammingError, match="permission denied"):
            await connection.execute(statement, {"id": reset_id})
        await session.rollback()


async def test_recovery_page_lists_starts_and_declines_requests(cast: Cast) -> None:
    await turn_on(cast.max)
    await ask(cast.max)
    page: Any = cast.olga.opens(RecoveryState, path="/recovery")
    await RecoveryState.load.fn(page)
    row = next(row for row in page.rows if row.email == cast.max.email)
    assert row.status == "Requested"
    await RecoveryState.open_dialog.fn(page, "start", row.id)
    await RecoveryState.start_reset.fn(page, {"reason": REASON})
    row = next(row for row in page.rows if row.email == cast.max.email)
    assert row.status == "Waiting time"
    await RecoveryState.open_dialog.fn(page, "decline", row.id)
    await RecoveryState.decline_reset.fn(page, {"reason": REASON})
    assert cast.max.email not in [row.email for row in page.rows]


async def test_recovery_page_says_how_many_requests_it_hides(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    for person in (cast.max, cast.adam):
        await turn_on(person)
        await ask(person)
    page: Any = cast.olga.opens(RecoveryState, path="/recovery")
    await RecoveryState.load.fn(page)
    count = len(page.rows)
    assert (count >= 2, page.hidden_text) == (True, "")
    monkeypatch.setattr(factor_reset_repository, "MAX_LISTED", count - 1)
    await RecoveryState.load.fn(page)
    assert len(page.rows) == count - 1
    assert page.hidden_text.startswith("1 newer request ")
