"""Invalid input, uploads and double clicks: explained in a sentence, and nothing is half done."""

import io
import re
import time

import pytest
from PIL import Image
from playwright.sync_api import APIResponse, expect

from tests.e2e.conftest import PASSWORD, TENANT, NewVisitor


def sign_up(person: NewVisitor, **changed: str) -> APIResponse:
    """Sends the form past the browser's own checks."""
    fields = {
        "name": "Nora",
        "email": "nora@input.test",
        "organisation": "Input",
        "password": PASSWORD,
    } | changed
    headers = {"origin": TENANT, "accept": "text/html"}
    return person.context.request.post(f"{TENANT}/auth/sign-up", form=fields, headers=headers)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"email": "x" * 10_000 + "@input.test"}, "Email addresses can have at most"),
        ({"email": "nora\0@input.test"}, "unsupported character"),
        ({"name": "No\0ra"}, "unsupported character"),
        ({"organisation": "\x07"}, "The name contains unsupported characters: U+0007."),
        ({"organisation": ""}, "Enter the name of your organisation."),
        ({"organisation": "A" * 500}, "Names can have at most 80 characters; this one has 500."),
        ({"password": "short"}, "Use at least 15 characters; this one has 5."),
        ({"password": "passwordpassword"}, "Try a short sentence."),
    ],
)
def test_invalid_sign_up_form_shows_the_problem(
    new_visitor: type[NewVisitor], changed: dict[str, str], message: str
) -> None:
    nora = new_visitor()
    answer = sign_up(nora, **changed)
    assert answer.status == 422
    assert message in answer.text()


def test_tenant_name_may_be_an_emoji(new_visitor: type[NewVisitor]) -> None:
    ann = new_visitor()
    ann.sign_up("Ann 🚀", "ann@emoji.test", "🚀 Rockets 🪐")
    ann.page.goto(f"{ann.page.url}&step=people")
    ann.page.get_by_role("button", name="Skip for now").click()
    ann.page.wait_for_url("**/home**")
    ann.expect_text("🚀 Rockets 🪐")
    assert re.search(r"/t/[a-z0-9-]+/home", ann.page.url)
    ann.take_picture("emoji")


def test_refused_slug_stays_in_the_form_with_its_reason(
    new_visitor: type[NewVisitor],
) -> None:
    ann = new_visitor()
    home = ann.create_organisation("Ann Slug", "ann@slug.test", "Slug")
    ann.page.goto(f"{home}/settings")
    for wished, message in (
        ("acme", "The address “acme” is taken."),
        ("admin", "“admin” is reserved."),
        ("-x-", "Use 3 to 40"),
    ):
        if not ann.page.get_by_role("dialog").count():
            ann.page.get_by_test_id("change-address").click()
        dialog = ann.page.get_by_role("dialog")
        dialog.get_by_role("textbox").fill(wished)
        dialog.get_by_role("button", name="Change address").click()
        ann.expect_text(re.compile(re.escape(message)))
        expect(dialog.get_by_role("textbox")).to_have_value(wished)
    ann.take_picture("slug-refused")
    dialog.get_by_role("textbox").fill("slug-of-ann")
    dialog.get_by_role("button", name="Change address").click()
    ann.page.wait_for_url("**/t/slug-of-ann/settings**")


def make_picture(kind: str = "PNG", side: int = 64) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), "#7a3cff").save(out, kind)
    return out.getvalue()


def test_logo_is_stored_as_a_small_picture_or_refused(new_visitor: type[NewVisitor]) -> None:
    ann = new_visitor()
    home = ann.create_organisation("Ann Logo", "ann@logo.test", "Logo")
    for name, content, message in (
        ("huge.png", make_picture() + b"\0" * 2_200_000, "This image is larger than 2 MB."),
        ("note.png", b"this is no picture", "This file isn’t a PNG, JPEG or WebP image."),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "isn’t a PNG, JPEG"),
    ):
        ann.page.goto(f"{home}/settings")
        file = {"name": name, "mimeType": "image/png", "buffer": content}
        ann.page.get_by_label("File").set_input_files(files=[file])  # type: ignore[list-item]
        ann.page.get_by_role("button", name="Upload logo").click()
        ann.expect_text(re.compile(re.escape(message)))
        ann.page.get_by_role("link", name="Back").click()
        ann.page.wait_for_url("**/settings**")
    file = {"name": "logo.png", "mimeType": "image/png", "buffer": make_picture()}
    ann.page.get_by_label("File").set_input_files(files=[file])  # type: ignore[list-item]
    ann.page.get_by_role("button", name="Upload logo").click()
    expect(ann.page.get_by_role("button", name="Remove logo")).to_be_visible()
    ann.take_picture("logo")


def test_invitation_link_works_once_for_one_person(new_visitor: type[NewVisitor]) -> None:
    ann, zoe, carl = new_visitor(), new_visitor(), new_visitor()
    home = ann.create_organisation("Ann Once", "ann@once.test", "Once")
    link = ann.invite(home, "zoe@once.test")

    carl.sign_in_as("carl@nowhere.test")
    carl.page.goto(link)
    carl.expect_text("This invitation is for z…@once.test. You’re signed in as carl@nowhere.test.")
    carl.take_picture("wrong-person")

    zoe.accept_invitation(link, "Zoe Once")
    again = new_visitor()
    again.page.goto(link)
    again.expect_text("This invitation has already been accepted.")

    ann.page.goto(f"{home}/members")
    expect(ann.page.get_by_role("row", name=re.compile("Zoe Once"))).to_have_count(1)


def test_double_click_invites_once(new_visitor: type[NewVisitor]) -> None:
    ann = new_visitor()
    home = ann.create_organisation("Ann Double", "ann@double.test", "Double")
    ann.page.goto(f"{home}/members")
    ann.page.get_by_test_id("invite").click()
    dialog = ann.page.get_by_role("dialog")
    dialog.get_by_label("Email").fill("yves@double.test")
    dialog.get_by_role("button", name="Send invitation").dblclick()
    expect(ann.page.get_by_test_id("invitations").get_by_role("row")).to_have_count(
        2
    )  # its head, and the one
    ann.platform.wait_for_link("yves@double.test", "/invitations/accept")
    first_mail_at = time.monotonic()

    ann.page.goto(f"{TENANT}/organisations")
    ann.page.fill("input[name=organisation]", "Twice")
    ann.page.get_by_role("button", name="Create organisation").dblclick()
    ann.page.wait_for_url("**/onboarding**")
    ann.page.goto(f"{TENANT}/organisations")
    expect(ann.page.get_by_role("link", name="Twice", exact=True)).to_have_count(1)
    time.sleep(max(0.0, first_mail_at + 1.5 - time.monotonic()))  # a second mail would have come by now
    assert len(ann.platform.list_mails("yves@double.test")) == 1


def test_outdated_tab_is_told_that_the_member_is_gone(new_visitor: type[NewVisitor]) -> None:
    """Two tabs of Ann: what one removed, the other cannot change."""
    ann, zoe = new_visitor(), new_visitor()
    home = ann.create_organisation("Ann Stale", "ann@stale.test", "Stale", invited="zoe@stale.test")
    zoe.accept_invitation(ann.platform.wait_for_link("zoe@stale.test", "/invitations/accept"), "Zoe Stale")
    ann.page.goto(f"{home}/members")
    ann.page.get_by_role("button", name="Actions for Zoe Stale").click()
    ann.page.get_by_role("menuitem", name="Change role").click()
    expect(ann.page.get_by_role("dialog")).to_be_visible()
    other = ann.open_tab()
    other.goto(f"{home}/members")
    other.get_by_role("button", name="Actions for Zoe Stale").click()
    other.get_by_role("menuitem", name="Remove").click()
    dialog = other.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("Zoe Stale")
    dialog.get_by_role("button", name="Remove").click()
    expect(other.get_by_role("row", name=re.compile("Zoe Stale"))).to_have_count(0)
    stale = ann.page.get_by_role("dialog")
    stale.get_by_role("radio", name="Admin").check()
    stale.get_by_role("button", name="Change role").click()
    ann.expect_text("This person is no longer a member.")
