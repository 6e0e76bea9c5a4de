"""Bounces and complaints: taken once, for one address; the person is told, and can prove the address again."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from shared.backoffice import mail_suppressions
from shared.backoffice.reasons import state_reason
from shared.core.errors import Invalid, NotFound
from shared.identity import tasks, users
from shared.jobs import mail
from shared.jobs.mail import Email
from shared.jobs.mail_frames import MailFrame
from shared.jobs.worker import ExternalJob
from shared.tenancy import notifications
from shared.web import mail_webhooks, tenant_http
from tests.conftest import Cast, Operating, Person
from tests.jobs.test_mailgun_events import KEY, build_body, sign
from tests.support import database
from tests.support.http_visitor import browser
from tests.support.stand_in_mail import run_mailbox

SetVariable = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def signing_key(environment: SetVariable) -> None:
    environment("BULKHEAD_MAIL_WEBHOOK_KEYS", KEY)


async def report(address: str, **data: Any) -> int:
    signature = sign(str(int(time.time())), new_token())
    return await post(build_body(signature, recipient=address, **data))


def new_token() -> str:
    return f"{time.monotonic_ns():040d}"


async def post(body: bytes) -> int:
    transport = httpx.ASGITransport(tenant_http.app)
    async with httpx.AsyncClient(transport=transport, base_url="https://bulkhead.test") as provider:
        return (await provider.post(mail_webhooks.PATH, content=body)).status_code


async def send(person: Person, kind: str, message_id: str) -> str:
    values = {"name": person.name, "title": "Title", "body": "Body", "tenant": "Acme"}
    email = Email(
        to=person.email,
        template="notice",
        message_id=message_id,
        link="https://bulkhead.test/x",
        values=values,
        frame=MailFrame(kind=kind),
    )
    return await mail.send(email)


def list_unsent(address: str) -> list[tuple[str, str, str]]:
    statement = "select id, template, cause from unsent_mail where address = %s order by id"
    return database.connect().execute(statement, [address]).fetchall()


@pytest.mark.parametrize(
    ("event", "essential", "other"),
    [("failed", "hard_bounce", "hard_bounce"), ("complained", "", "complaint")],
)
async def test_address_gets_no_more_mail_but_what_is_essential_after_a_complaint(
    cast: Cast, event: str, essential: str, other: str
) -> None:
    assert await report(cast.ann.email.upper(), event=event) == 200
    async with run_mailbox() as box:
        answers = [
            await send(cast.ann, kind, f"{cast.ann.user_id}-{kind}") for kind in ("security", "reminders")
        ]
        assert await send(cast.max, "reminders", f"{cast.max.user_id}-x") == ""
    assert answers == [essential, other]
    assert len(box.mails) == [essential, other].count("") + 1
    unsent_kinds = [kind for kind, cause in (("reminders", other), ("security", essential)) if cause]
    assert list_unsent(cast.ann.email) == [
        (f"{cast.ann.user_id}-{kind}", "notice", other) for kind in unsent_kinds
    ]


async def test_hard_bounce_is_not_weakened_by_a_later_complaint(cast: Cast) -> None:
    await report(cast.ann.email)
    await report(cast.ann.email, event="complained")
    assert await send(cast.ann, "security", cast.ann.user_id) == "hard_bounce"


async def test_copied_signature_suppresses_no_other_address(cast: Cast) -> None:
    signature = sign(str(int(time.time())), new_token())
    assert await post(build_body(signature, recipient=cast.ann.email)) == 200
    assert await post(build_body(signature, recipient=cast.ann.email)) == 200
    assert (
        await post(build_body(signature, recipient=cast.max.email)) == 200
    )  # the same answer, and nothing else
    async with run_mailbox():
        assert await send(cast.max, "security", cast.max.user_id) == ""
    assert await send(cast.ann, "security", cast.ann.user_id) == "hard_bounce"


async def test_forged_and_endless_events_are_refused(cast: Cast, environment: SetVariable) -> None:
    assert await post(build_body(sign(str(int(time.time())), key="x" * 20), recipient=cast.ann.email)) == 400
    assert await post(b"x" * (mail_webhooks.MAX_BODY_BYTES + 1)) == 413
    environment("BULKHEAD_MAIL_WEBHOOK_KEYS", "")
    assert await report(cast.ann.email) == 503
    async with run_mailbox():
        assert await send(cast.ann, "security", cast.ann.user_id) == ""


async def test_person_is_told_and_gets_mail_again_after_proving_the_address(cast: Cast) -> None:
    await report(cast.ann.email)
    async with cast.ann.ctx() as ctx:
        assert (await notifications.get_inbox_status(ctx)).mail_problem == "hard_bounce"
    async with cast.max.ctx() as ctx:
        assert (await notifications.get_inbox_status(ctx)).mail_problem == ""
    async with browser(cookie=cast.ann.cookie) as person:
        assert "We can’t email you" in (await person.get("/account")).text.replace("&#39;", "'")
        assert (await person.post("/account/mail/prove")).headers["location"] == "/account?done=mail"
        token = await send_proof(cast.ann)
        await person.post("/auth/verify", data={"token": token})
        assert "email you" not in (await person.get("/account")).text
    async with run_mailbox():
        assert await send(cast.ann, "reminders", cast.ann.user_id) == ""


async def send_proof(person: Person) -> str:
    """Runs the job that the request enqueued, and gives the signed part of the link that was mailed."""
    statement = """
        delete from procrastinate_jobs where task_name = %s and args ->> 'ignores_suppression' = 'yes' returning args
    """
    rows = database.connect().execute(statement, [users.SEND_VERIFICATION_TASK]).fetchall()
    async with run_mailbox() as box:
        for (arguments,) in rows:
            await tasks.send_verification(
                ExternalJob("", ""), token_id=arguments["token_id"], ignores_suppression="yes"
            )
    (email,) = [email for email in box.mails if email.to == person.email]
    return email.text.partition("token=")[2].split()[0]


async def test_request_for_a_link_sends_nothing_to_an_address_that_works(cast: Cast) -> None:
    async with browser(cookie=cast.ann.cookie) as person:
        await person.post("/account/mail/prove")
    statement = "select count(*) from procrastinate_jobs where args ->> 'ignores_suppression' = 'yes'"
    assert database.connect().execute(statement).fetchone() == (0,)


async def test_operators_read_why_and_lift_it_with_a_reason(
    cast: Cast, operators: tuple[Operating, Operating]
) -> None:
    operating = operators[1]
    await report(cast.ann.email, **{"delivery-status": {"message": "550 no such user"}})
    await send(cast.ann, "security", cast.ann.user_id)
    async with operating.octx() as octx:
        (suppressed,) = (await mail_suppressions.list_suppressed(octx, address=cast.ann.email.upper())).rows
        assert suppressed.detail == "bounce 550 no such user"
        assert (suppressed.unsent_count, suppressed.last_unsent_template) == (1, "notice")
        with pytest.raises(Invalid):
            await mail_suppressions.lift(octx, cast.ann.email, state_reason(octx, "why"))
        await mail_suppressions.lift(octx, cast.ann.email, state_reason(octx, "The mailbox exists again"))
    async with operating.octx() as octx:
        with pytest.raises(NotFound):
            await mail_suppressions.lift(octx, cast.ann.email, state_reason(octx, "The mailbox exists again"))
    statement = "select reason, details ->> 'cause' from operator_event where action = 'mail.suppression_lifted' and object_id = %s"
    assert database.connect().execute(statement, [cast.ann.email]).fetchall() == [
        ("The mailbox exists again", "hard_bounce")
    ]
    async with run_mailbox():
        assert await send(cast.ann, "security", cast.ann.user_id) == ""
