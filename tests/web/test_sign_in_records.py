"""Sign-ins and changes of accounts in the audit logs of organisations and of operators, and the mails about them."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pyotp
import pytest

from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.audit.event_types import ACCOUNT_ACTIONS
from shared.audit.models import AuditEvent, OperatorEvent
from shared.backoffice import operators
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.ids import new_id
from shared.core.rate_limits import RateLimit
from shared.dev.mailbox import Mailbox
from shared.identity import devices, mfa, users
from shared.identity.account_events import publish_new_device
from shared.identity.models import User
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
        events = (await audit_reader.list_events(ctx, AuditFilter(actor=subject.user_id))).rows
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


async def sign_out(person: Person) -> None:
    await browser(cookie=person.cookie).post("/auth/sign-out")


async def sign_out_other_devices(person: Person) -> None:
    await factories.sign_in(person.account.user)
    await browser(cookie=person.cookie).post("/account/sessions/end-others")


async def sign_out_one_device(person: Person) -> None:
    await factories.sign_in(person.account.user)
    page = (await browser(cookie=person.cookie).get("/account")).text
    device = re.findall(r'name="session" value="(ses_\w+)"', page)[-1]
    await browser(cookie=person.cookie).post("/account/sessions/end", data={"session": device})


async def sign_in_on_two_devices(person: Person) -> None:
    await sign_in(person.email)
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
    "signing out": (sign_out, ["session.ended"], ""),
    "signing out another device": (sign_out_other_devices, ["session.ended"], ""),
    "signing out one device": (sign_out_one_device, ["session.ended"], ""),
    "a new device": (
        sign_in_on_two_devices,
        ["session.started", "session.started"],
        "New sign-in to your account",
    ),
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
    # The queue has mails of other tests as well.
    subjects = [mail.subject for mail in box.mails if mail.to == cast.max.email]
    assert subjects == ([subject] if subject else [])


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


# ── known devices ────────────────────────────────────────────────────────────────────────────────────────────────


async def sign_in_again(client: Any, email: str) -> None:
    """In the same browser."""
    await client.post("/auth/sign-out")
    await client.post("/auth/sign-in", data={"email": email, "password": factories.PASSWORD})


async def test_known_device_is_mailed_never_and_a_new_one_once(cast: Cast, schema: str) -> None:
    first = await sign_in(cast.max.email)
    await sign_in_again(first, cast.max.email)
    assert (await run_jobs(schema)).mails == []
    second = await sign_in(cast.max.email)
    await sign_in_again(second, cast.max.email)
    await sign_in_again(first, cast.max.email)
    (mail,) = (await run_jobs(schema)).mails
    assert mail.to == cast.max.email
    assert f"{DEVICE}, from 127" in mail.text
    causes = [event.details.get("cause", "") for event in await list_account_events(cast.adam, cast.max)]
    assert causes.count("New device") == 1


async def test_device_that_is_known_for_one_person_is_new_for_another(cast: Cast, schema: str) -> None:
    await sign_in(cast.max.email)
    client = await sign_in(cast.ann.email)
    await sign_in_again(client, cast.max.email)
    assert [mail.to for mail in (await run_jobs(schema)).mails] == [cast.max.email]


async def test_made_up_device_token_is_a_new_device(cast: Cast, schema: str) -> None:
    await sign_in(cast.max.email)
    client = browser()
    client.cookies.set(USER.device_cookie, "x" * 43, domain="bulkhead.test")
    await client.post("/auth/sign-in", data={"email": cast.max.email, "password": factories.PASSWORD})
    assert len((await run_jobs(schema)).mails) == 1


async def test_address_that_nobody_has_proved_gets_no_mail_about_devices(cast: Cast, schema: str) -> None:
    """It may be a stranger's."""
    await sign_in(cast.max.email)
    async with db.transaction() as session:
        user = await session.get_one(User, cast.max.user_id)
        user.email_verified_at = None
        session.add(user)
    await sign_in(cast.max.email)
    assert [mail for mail in (await run_jobs(schema)).mails if mail.to == cast.max.email] == []


async def test_mails_about_new_devices_are_limited(cast: Cast, schema: str) -> None:
    async with db.transaction() as session:
        for _ in range(RateLimit.NEW_DEVICE_ACCOUNT.parsed.amount + 3):
            await publish_new_device(session, cast.max.user_id, address="", device=DEVICE)
    mails = [mail for mail in (await run_jobs(schema)).mails if mail.to == cast.max.email]
    assert len(mails) == RateLimit.NEW_DEVICE_ACCOUNT.parsed.amount


async def test_wrong_password_makes_no_device_known(cast: Cast) -> None:
    client = await sign_in(cast.max.email, "a wrong password")
    assert not client.cookies.get(USER.device_cookie, domain="bulkhead.test")


async def test_devices_of_a_person_are_limited(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "MAX_DEVICES", 2)
    async with db.transaction() as session:
        tokens = [(await devices.recognise(session, USER, cast.max.user_id, "")).token for _ in range(3)]
        known = [
            not (await devices.recognise(session, USER, cast.max.user_id, token)).is_new
            for token in reversed(tokens)
        ]
    assert known == [True, True, False]


# ── mails to operators ───────────────────────────────────────────────────────────────────────────────────────────


async def test_operator_is_mailed_when_a_colleague_resets_their_access(cast: Cast, schema: str) -> None:
    await factories.create_operator("Nora")
    async with cast.olga.octx() as octx:
        operator = next(row for row in await operators.list_operators(octx) if row.name == "Nora")
        await operators.reset_access(octx, operator.id, reason=state_reason(octx, "Lost phone, ticket 4471"))
        colleague = octx.actor.name
    (mail,) = (await run_jobs(schema)).mails
    assert (mail.to, mail.subject) == (operator.email, "Your operator access was reset")
    assert f"{colleague} reset your access" in mail.text
    assert "ticket 4471" not in mail.text


async def test_operator_is_mailed_about_a_sign_in_on_a_new_device(cast: Cast, schema: str) -> None:
    cookie = await factories.create_operator("Nils")
    async with entry.enter_operator(cookie) as octx:
        operator_id, seed = octx.actor_id, pyotp.random_base32()
        codes = await mfa.install_seed(octx.session, OPERATOR, operator_id, seed)
        email = next(row.email for row in await operators.list_operators(octx) if row.id == operator_id)
    subjects = []
    for code in codes[:2]:
        client = await sign_in(email, operators=True)
        await client.post("/auth/mfa", data={"code": code})
        subjects.append(sorted(mail.subject for mail in (await run_jobs(schema)).mails))
    assert subjects == [
        ["A recovery code was used"],
        ["A recovery code was used", "New sign-in to the admin app"],
    ]
