"""Mails of an organisation: they have its look, and nothing that people typed changes what else they hold."""

from datetime import timedelta
from email import message_from_bytes, policy

import pytest

from shared.backoffice import tenant_access
from shared.backoffice.reasons import state_reason
from shared.core.db import now
from shared.core.notification_kinds import MailChoice
from shared.jobs import mail
from shared.jobs.mail import Email
from shared.jobs.mail_frames import MailFrame
from shared.tenancy import (
    invitations,
    logos,
    mail_branding,
    mail_preferences,
    member_repository,
    members,
    tenants,
)
from tests.conftest import Cast, Operating
from tests.support.mail_jobs import send_mails
from tests.tenancy.test_logos import draw_picture

HOSTILE_NAMES = {
    "script": "<script>alert(1)</script>",
    "lines": "Acme\r\nBcc: eve@evil.test\r\n\r\nHello",
    "emoji": "🏢" * 200,
}


async def brand(cast: Cast, colour: str = "#b00020") -> bytes:
    png = await logos.redraw_image(draw_picture())
    async with cast.ann.ctx() as ctx:
        await logos.save(ctx, png, version=None)
    async with cast.ann.ctx() as ctx:
        await tenants.set_colour(ctx, colour, version=None)
    return png.png


async def test_invitation_has_the_look_of_its_organisation(cast: Cast) -> None:
    await brand(cast)
    async with cast.ann.ctx() as ctx:
        await invitations.invite(ctx, "zoe@elsewhere.test", "member")
    (email,) = [email for email in await send_mails(cast.ann) if email.to == "zoe@elsewhere.test"]
    assert "#b00020" in email.html
    assert 'src="data:image/png;base64,' in email.html
    assert "Bulkhead sent this email for Acme." in email.html
    assert "Bulkhead sent this email for Acme." in email.text
    assert "List-Unsubscribe" not in email.headers  # the person has no account that could choose
    async with cast.gil.ctx() as ctx:
        frame = await mail_branding.build_frame(ctx, "invitations")
    assert (frame.colour, frame.logo, frame.sender) == ("", b"", "Globex")


async def test_owner_who_wants_mails_about_members_gets_one_when_a_member_leaves(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        await mail_preferences.choose(ctx, "members", in_app=True, mail=MailChoice.NOW)
    async with cast.max.ctx() as ctx:
        membership = await member_repository.get_membership_of_user(ctx, cast.max.user_id)
        assert membership is not None
        await members.leave(ctx, membership.id)
    subjects = {email.to: email.subject for email in await send_mails(cast.ann)}
    assert subjects[cast.ann.email] == f"{cast.max.name} left Acme – Acme"


async def test_white_label_leaves_the_product_out(cast: Cast, operators: tuple[Operating, Operating]) -> None:
    async with operators[0].octx() as octx:
        await tenant_access.override_feature(
            octx,
            cast.acme,
            mail_branding.WHITE_LABEL,
            True,
            state_reason(octx, "Bought white label", tenant_id=cast.acme),
            ends_at=now() + timedelta(days=7),
        )
    async with cast.ann.ctx() as ctx:
        frame = await mail_branding.build_frame(ctx, "reminders", cast.ann.user_id)
    assert not frame.names_product
    message = mail.build_message(build_email(frame))
    assert "sent this email for" not in message.as_string()


def build_email(frame: MailFrame, tenant: str = "Acme") -> Email:
    return Email(
        to="ann@acme.test",
        template="notice",
        message_id="m-1",
        link="https://bulkhead.test/t/x/home",
        values={"name": "Ann", "tenant": tenant, "title": "9 of 10 projects", "body": "Remove one."},
        frame=frame,
    )


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_name_of_an_organisation_changes_nothing_else(name: str) -> None:
    link = "https://bulkhead.test/unsubscribe/" + "x" * 200
    frame = MailFrame(kind="reminders", unsubscribe_link=link, settings_link=link, sender=name)
    raw = mail.build_message(build_email(frame, tenant=name)).as_bytes()
    message = message_from_bytes(raw, policy=policy.default)
    assert set(message.keys()) == {
        *("List-Unsubscribe", "List-Unsubscribe-Post", "Subject", "From", "To", "Message-ID"),
        *("MIME-Version", "Content-Type"),
    }
    assert b"List-Unsubscribe: <" + link.encode() + b">\n" in raw  # on one line, as mail programs read it
    html = message.get_body(("html",))
    assert html is not None
    assert "<script>" not in html.get_content()


@pytest.mark.parametrize(
    ("colour", "ink"),
    [("", "#ffffff"), ("#ffee00", "#000000"), ("#000000", "#ffffff"), ("#808080", "#000000")],
)
def test_label_of_the_button_can_be_read_on_every_colour(colour: str, ink: str) -> None:
    assert MailFrame(colour=colour).button_ink == ink
