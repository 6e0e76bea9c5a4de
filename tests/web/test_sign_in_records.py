"""Sign-ins and changes of accounts in the audit logs of organisations and of operators, and the mails about them."""

from collections.abc import Awaitable, Callable
from typing import Any

import pyotp
import pytest

from shared.audit import audit_log
from shared.audit.event_types import ACCOUNT_ACTIONS
from shared.audit.models import AuditEvent, OperatorEvent
from shared.core import db
from shared.core.ids import new_id
from shared.dev.mailbox import Mailbox
from shared.identity import mfa, users
from shared.identity.realms import OPERATOR, USER
from shared.jobs import queue
from shared.tenancy import account_events, audit_reader, entry, members
from tenant_app.pages.audit import AuditState
from tenant_app.pages.home import RECENT_WORK
from tests.conftest import Cast, Person
from tests.support import factories, workers
from tests.support.http_visitor import browser, link_of
from tests.support.stand_in_mail import run_mailbox

DEVICE = "Chrome on macOS"


async def sign_in(email: str, password: str = factories.PASSWORD, *, operators: bool = False) -> Any:
    client = browser(operators=operators)
    await client.post("/auth/sign-in", data={"email": email, "password": password})
    return client


async def install_factor(person: Person) -> tuple[str, list[str]]:
    """The seed and the recovery codes."""
    seed = pyotp.random_base32()
    async with db.transaction() as session:
        return seed, list(await mfa.install_seed(session, USER, person.user_id, seed))


async def list_account_events(reader: Person, subject: Person) -> list[AuditEvent]:
    """Of the subject, in the organisation of the reader, oldest first."""
    async with reader.ctx() as ctx:
        events = (await audit_reader.list_events(ctx, audit_log.AuditFilter(actor=subject.user_id))).rows
    return [event for event in reversed(events) if event.action in ACCOUNT_ACTIONS]


async def run_jobs(schema: str) -> Mailbox:
    async with run_mailbox() as box:
        await workers.run_until_done(schema)
        return box


@pytest.fixture(autouse=True)
def empty_queue(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)


async def post_account_form(person: Person, path: str, **form: str) -> None:
    await browser(cookie=person.cookie).post(path, data={"current": factories.PASSWORD, **form})


async def turn_factor_on(person: Person) -> None:
    async with db.transaction() as session:
        seed = await mfa.enrol(session, USER, person.user_id)
    await post_account_form(person, "/account/factor", code=pyotp.TOTP(seed).now())


async def turn_factor_off(person: Person) -> None:
    await install_factor(person)
    await post_account_form(person, "/account/factor/off")


async def renew_codes(person: Person) -> None:
    await install_factor(person)
    await post_account_form(person, "/account/codes")


async def change_password(person: Person) -> None:
    await post_account_form(person, "/account/password", password="nine copper kettles in the rain")


async def reset_password(person: Person) -> None:
    token = await link_of(person.email, "reset")
    await browser().post("/auth/reset", data={"token": token, "password": "nine copper kettles in the rain"})


async def use_recovery_code(person: Person) -> None:
    _, codes = await install_factor(person)
    client = await sign_in(person.email)
    assert (await client.post("/auth/mfa", data={"code": codes[0]})).status_code == 303


async def type_wrong_password(person: Person) -> None:
    await sign_in(person.email, "a wrong password")


async def type_wrong_code(person: Person) -> None:
    await install_factor(person)
    client = await sign_in(person.email)
    assert (await client.post("/auth/mfa", data={"code": "000000"})).status_code == 401


async def sign_in_normally(person: Person) -> None:
    await sign_in(person.email)


Act = Callable[[Person], Awaitable[None]]
EVENTS: dict[str, tuple[Act, list[str], str]] = {  # what is recorded, and the subject of the mail
    "signing in": (sign_in_normally, ["session.started"], ""),
    "a wrong password": (type_wrong_password, ["session.failed"], ""),
    "a wrong code": (type_wrong_code, ["session.failed"], ""),
    "a recovery code": (
        use_recovery_code,
        ["factor.recovery_code_used", "session.started"],
        "A recovery code was used",
    ),
    "turning the factor on": (turn_factor_on, ["factor.enrolled"], "Two-step sign-in is on"),
    "turning the factor off": (turn_factor_off, ["factor.disabled"], "Two-step sign-in is off"),
    "new recovery codes": (renew_codes, ["factor.codes_renewed"], "Your recovery codes were replaced"),
    "another password": (change_password, ["password.changed"], "Your password was changed"),
    "a reset password": (reset_password, ["password.changed"], "Your password was changed"),
}


@pytest.mark.parametrize("case", EVENTS)
async def test_account_event_is_recorded_in_the_organisation_and_mailed(
    cast: Cast, schema: str, case: str
) -> None:
    act, actions, subject = EVENTS[case]
    await act(cast.max)
    box = await run_jobs(schema)
    events = await list_account_events(cast.adam, cast.max)
    assert [event.action for event in events] == actions
    assert {(event.actor_type, event.actor_name, event.object_id) for event in events} == {
        ("user", cast.max.name, cast.max.user_id)
    }
    assert [(mail.to, mail.subject) for mail in box.mails] == ([(cast.max.email, subject)] if subject else [])


async def test_sign_in_is_recorded_with_address_and_device(cast: Cast, schema: str) -> None:
    await sign_in(cast.max.email)
    await run_jobs(schema)
    (event,) = await list_account_events(cast.adam, cast.max)
    assert event.details == {"address": "127.0.0.1", "device": DEVICE}


async def test_sign_in_is_recorded_in_every_organisation_of_the_person_and_in_no_other(
    cast: Cast, schema: str
) -> None:
    await factories.join_tenant(cast.gil.account, cast.gil.slug, cast.max.account, "member")
    workers.clear_queue(schema)
    await sign_in(cast.max.email)
    await sign_in(cast.adam.email)
    await run_jobs(schema)
    for reader in (cast.ann, cast.gil):
        assert [event.action for event in await list_account_events(reader, cast.max)] == ["session.started"]
    assert await list_account_events(cast.gil, cast.adam) == []


async def test_former_members_are_not_recorded(cast: Cast, schema: str) -> None:
    async with cast.ann.ctx() as ctx:
        (row,) = (await members.list_members(ctx, query=cast.max.email)).rows
        await members.deactivate(ctx, row.id)
    workers.clear_queue(schema)
    await sign_in(cast.max.email)
    await run_jobs(schema)
    assert await list_account_events(cast.ann, cast.max) == []


async def test_flood_of_wrong_passwords_is_a_few_events(cast: Cast, schema: str) -> None:
    for _ in range(8):
        await type_wrong_password(cast.max)
    await run_jobs(schema)
    events = await list_account_events(cast.adam, cast.max)
    assert len(events) == account_events.MAX_FAILURES
    assert [event.details.get("note", "") for event in events] == [
        "",
        "",
        "",
        "",
        account_events.LAST_FAILURE_NOTE,
    ]
    assert events[0].details["cause"] == "Wrong password"


async def test_job_that_runs_twice_records_the_event_once(cast: Cast, schema: str) -> None:
    event_id = new_id("aud")
    for _ in range(2):
        async with db.transaction() as session:
            await account_events.fan_out(
                session, user_id=cast.max.user_id, event_id=event_id, account_action="session.started"
            )
    await run_jobs(schema)
    assert len(await list_account_events(cast.adam, cast.max)) == 1


async def test_job_refuses_actions_that_are_not_of_accounts(cast: Cast) -> None:
    async with entry.enter_job(cast.acme, account_events.RECORD_TASK, "req_test") as ctx:
        with pytest.raises(ValueError, match="no action of accounts"):
            await account_events.record(
                ctx, user_id=cast.max.user_id, event_id=new_id("aud"), account_action="membership.removed"
            )


async def test_failed_sign_in_of_an_unknown_address_is_recorded_nowhere(cast: Cast, schema: str) -> None:
    await sign_in("nobody@acme.test", "a wrong password")
    assert [task for task, _ in workers.list_jobs(schema)] == ["platform.record_failed_sign_in"]
    await run_jobs(schema)
    assert workers.list_jobs(schema) == []


async def test_sign_in_works_while_its_failures_cannot_be_recorded(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def raise_error(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("no queue")

    monkeypatch.setattr(queue, "put_platform_job", raise_error)
    client = browser()
    answer = await client.post("/auth/sign-in", data={"email": cast.max.email, "password": "wrong"})
    assert answer.status_code == 401


async def test_audit_page_shows_sign_ins_and_home_does_not(cast: Cast, schema: str) -> None:
    await sign_in(cast.max.email)
    await run_jobs(schema)
    page = cast.ann.opens(AuditState, path="audit")
    await AuditState.load.fn(page)
    assert (page.rows[0].actor, page.rows[0].action_text) == (cast.max.name, "signed in")
    assert DEVICE in page.rows[0].context
    async with cast.ann.ctx() as ctx:
        recent = (await audit_reader.list_events(ctx, RECENT_WORK)).rows
    assert recent
    assert not any(event.action in ACCOUNT_ACTIONS for event in recent)


# ── operators ────────────────────────────────────────────────────────────────────────────────────────────────────


async def create_operator() -> tuple[str, str, str]:
    """Id, address and seed of a new operator."""
    cookie, seed = await factories.create_operator("Otto"), pyotp.random_base32()
    async with entry.enter_operator(cookie) as octx:
        await mfa.install_seed(octx.session, OPERATOR, octx.actor_id, seed)
        operator = await entry.repository.get_operator(octx.session, octx.actor_id)
        assert operator is not None
        return operator.id, operator.email, seed


async def list_operator_events(operator_id: str) -> list[OperatorEvent]:
    async with entry.enter_platform("tests") as octx:
        events = await audit_log.list_operator_events(octx, limit=100)
    return [event for event in reversed(events) if event.actor_id == operator_id]


async def test_wrong_passwords_of_an_operator_are_recorded_a_few_times(cast: Cast) -> None:
    operator_id, email, _ = await create_operator()
    for _ in range(7):
        await sign_in(email, "a wrong password", operators=True)
    events = await list_operator_events(operator_id)
    assert [(event.action, event.reason) for event in events] == [("session.failed", "Wrong password")] * 5
    assert events[0].details == {"address": "127.0.0.1", "device": DEVICE}
    assert "note" in events[4].details


async def test_wrong_code_of_an_operator_is_recorded(cast: Cast) -> None:
    operator_id, email, _ = await create_operator()
    client = await sign_in(email, operators=True)
    assert (await client.post("/auth/mfa", data={"code": "000000"})).status_code == 401
    events = await list_operator_events(operator_id)
    assert [(event.action, event.reason) for event in events] == [("session.failed", "Wrong code")]


async def test_recovery_code_of_an_operator_is_recorded(cast: Cast) -> None:
    operator_id, email, seed = await create_operator()
    async with db.transaction("operator") as session:
        codes = await mfa.install_seed(session, OPERATOR, operator_id, seed)
    client = await sign_in(email, operators=True)
    assert (await client.post("/auth/mfa", data={"code": codes[0]})).status_code == 303
    actions = [event.action for event in await list_operator_events(operator_id)]
    assert actions == ["factor.recovery_code_used", "session.started"]


async def test_wrong_password_of_a_disabled_user_is_still_refused(cast: Cast) -> None:
    async with db.transaction() as session:
        await users.end_access(session, cast.max.user_id)
    client = browser()
    answer = await client.post("/auth/sign-in", data={"email": cast.max.email, "password": "wrong"})
    assert answer.status_code == 401
