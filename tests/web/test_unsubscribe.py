"""The link that stops one kind of mail: without a session, by POST alone, as often as one likes. Source: RFC 8058."""

import re

import httpx
import pytest

from shared.core import crypto
from shared.core.notification_kinds import NOTIFICATION_KINDS, MailChoice
from shared.tenancy import mail_branding, mail_preferences, notifications, unsubscribe_links
from shared.tenancy.unsubscribe_links import UnsubscribeLink
from shared.web import tenant_http
from tests.conftest import Cast, Person
from tests.support import database
from tests.support.http_visitor import browser
from tests.support.mail_jobs import send_mails

KIND, EVENT = "usage_limits", "usage.limit_warning"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def mail_provider() -> httpx.AsyncClient:
    """No cookie, no origin."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(tenant_http.app), base_url="https://bulkhead.test")


def build_path(cast: Cast, person: Person, kind: str = KIND) -> str:
    link = UnsubscribeLink(tenant_id=cast.acme, user_id=person.user_id, kind=kind)
    return "/unsubscribe/" + unsubscribe_links.build_url(link).rpartition("/")[2]


async def read_choice(person: Person, kind: str = KIND) -> MailChoice:
    async with person.ctx() as ctx:
        declared = NOTIFICATION_KINDS[kind]
        return (await mail_preferences.get_preference(ctx, person.user_id, declared)).mail


async def test_mail_that_can_be_declined_has_both_headers_and_a_link_that_works(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        await notifications.add(ctx, cast.ann.user_id, EVENT, "9 of 10", "Body", dedupe="one")
    (email,) = await send_mails(cast.ann)
    assert email.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    url = email.headers["List-Unsubscribe"].removeprefix("<").removesuffix(">")
    assert url in email.text
    assert url in email.html
    async with mail_provider() as provider:
        answer = await provider.post("/unsubscribe/" + url.rpartition("/")[2], data=ONE_CLICK)
    assert answer.status_code == 200
    assert await read_choice(cast.ann) is MailChoice.OFF


async def test_get_changes_nothing(cast: Cast) -> None:
    async with mail_provider() as scanner:
        for method in ("GET", "HEAD", "OPTIONS"):
            await scanner.request(method, build_path(cast, cast.ann))
    assert await read_choice(cast.ann) is MailChoice.NOW


@pytest.mark.parametrize("body", ["form", "multipart", "nothing"])
async def test_post_stops_the_mails_each_time_and_for_one_person_and_kind(cast: Cast, body: str) -> None:
    async with mail_provider() as provider:
        for _ in range(2):
            files = {"List-Unsubscribe": (None, "One-Click")} if body == "multipart" else None
            data = ONE_CLICK if body == "form" else None
            answer = await provider.post(build_path(cast, cast.ann), data=data, files=files)
            assert answer.status_code == 200
    assert await read_choice(cast.ann) is MailChoice.OFF
    assert await read_choice(cast.ann, "reminders") is MailChoice.NOW
    assert await read_choice(cast.adam) is MailChoice.NOW


async def test_page_says_what_is_stopped_and_offers_undo(cast: Cast) -> None:
    path = build_path(cast, cast.ann)
    async with mail_provider() as person:
        asked = await person.get(path)
        stopped = await person.post(path)
        assert await read_choice(cast.ann) is MailChoice.OFF
        undone = await person.post(path, data={"undo": "1"})
    assert "Stop these emails?" in asked.text
    assert "any more" in stopped.text
    assert re.search(r'name="undo"', stopped.text)
    assert "again" in undone.text
    assert await read_choice(cast.ann) is MailChoice.NOW


async def test_undo_restores_the_digest(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        await mail_preferences.choose(ctx, KIND, in_app=False, mail=MailChoice.DIGEST)
    path = build_path(cast, cast.ann, "digest")
    async with mail_provider() as person:
        await person.post(path)
        assert await read_choice(cast.ann) is MailChoice.OFF
        await person.post(path, data={"undo": "1"})
    assert await read_choice(cast.ann) is MailChoice.DIGEST


async def test_link_shows_nothing_of_the_person_or_the_organisation(cast: Cast) -> None:
    async with mail_provider() as stranger:
        page = await stranger.get(build_path(cast, cast.ann))
    assert "Usage limits" in page.text
    for secret in (cast.ann.email, cast.ann.name, "Acme"):
        assert secret not in page.text
    assert page.headers["cache-control"] == "no-store"
    assert "set-cookie" not in page.headers


async def test_link_opens_nothing_else(cast: Cast) -> None:
    token = build_path(cast, cast.ann).removeprefix("/unsubscribe/")
    async with browser() as stranger:
        answers = [
            await stranger.get(f"/files/{token}"),
            await stranger.get(f"/invitations/accept?token={token}"),
            await stranger.get(f"/verify?token={token}"),
        ]
    assert answers[0].status_code == 403
    assert all(answer.status_code >= 400 for answer in answers)


async def test_changed_link_and_link_of_another_purpose_are_refused(cast: Cast) -> None:
    token = build_path(cast, cast.ann).removeprefix("/unsubscribe/")
    other_purpose = crypto.sign("file", cast.acme, cast.ann.user_id, KIND)
    wrong_tokens = [
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        token.replace(cast.ann.user_id, cast.adam.user_id),
        token.replace(KIND, "reminders"),
        other_purpose,
        "x" * 500,
        "a.b.c.d",
    ]
    async with mail_provider() as stranger:
        answers = [await stranger.post(f"/unsubscribe/{wrong}", data=ONE_CLICK) for wrong in wrong_tokens]
    assert {answer.status_code for answer in answers} == {403}
    assert await read_choice(cast.adam) is MailChoice.NOW


@pytest.mark.parametrize("kind", ["security", "access", "gone"])
async def test_essential_mails_are_not_stopped(cast: Cast, kind: str) -> None:
    async with mail_provider() as person:
        answer = await person.post(build_path(cast, cast.ann, kind))
    assert answer.status_code == 200
    assert "always send them" in answer.text
    statement = "select count(*) from mail_preference where user_id = %s"
    assert database.connect().execute(statement, [cast.ann.user_id]).fetchone() == (0,)
    async with cast.ann.ctx() as ctx:
        assert (await mail_preferences.list_my_preferences(ctx))["security"].enabled


async def test_mails_to_owners_about_payments_have_no_link(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        frame = await mail_branding.build_frame(ctx, "payments", cast.ann.user_id)
        assert frame.unsubscribe_link == ""
        assert (await mail_branding.build_frame(ctx, "payments", cast.adam.user_id)).unsubscribe_link
        assert (await mail_branding.build_frame(ctx, "access", cast.max.user_id)).unsubscribe_link == ""
