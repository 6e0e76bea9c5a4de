"""A key from its creation to its end: copied once, used by a program, rotated, revoked."""

import re

import httpx
import psycopg
from playwright.sync_api import Page, expect

from shared.dev.postgres import EmbeddedPostgres
from tests.e2e.conftest import DATA, TENANT, NewVisitor
from tests.e2e.looks import list_problems

PAGE = f"{TENANT}/t/acme/api-keys"
CLIPBOARD = ["clipboard-read", "clipboard-write"]


def ask(secret: str, method: str = "GET", path: str = "/me", **body: object) -> httpx.Response:
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.request(method, f"{TENANT}/api/v1{path}", headers=headers, json=body or None)


def copy_secret(page: Page) -> str:
    """With the dialog's button; closes the dialog."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Copy secret").click()
    expect(dialog.get_by_text("Copied")).to_be_visible()
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_have_count(0)
    return str(page.evaluate("navigator.clipboard.readText()"))


def choose(page: Page, name: str, item: str) -> None:
    page.get_by_role("button", name=f"Actions for {name}").click()
    page.get_by_role("menuitem", name=item).click()


def end_overlap(name: str) -> None:
    """As if its hours had passed."""
    with psycopg.connect(EmbeddedPostgres(DATA / "postgres").url(database="bulkhead")) as superuser:
        superuser.execute("update api_key set previous_ends_at = now() where name = %s", [name])


def test_key_is_copied_used_audited_rotated_and_revoked(new_visitor: type[NewVisitor]) -> None:
    ann = new_visitor()
    ann.context.grant_permissions(CLIPBOARD, origin=TENANT)
    frames: list[str] = []
    ann.page.on(
        "websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame)))
    )
    ann.sign_in_as("ann@acme.test")
    page = ann.page
    page.goto(PAGE)
    page.get_by_test_id("create-key").click()
    form = page.get_by_test_id("create-form")
    form.get_by_label("Name").fill("Deployments")
    for label in ("Create API keys", "View API keys"):
        form.get_by_role("checkbox", name=re.compile(label)).check()
    form.get_by_role("button", name="Create key").click()
    expect(page.get_by_test_id("secret").get_by_role("button")).to_be_visible()
    assert list_problems(ann, "api-key-secret") == []
    first = copy_secret(page)
    line = page.get_by_test_id("keys").get_by_role("row", name=re.compile("Deployments"))
    expect(line).to_contain_text(first[-4:])

    creation = {"name": "From a program", "scopes": ["api_key:read"]}
    assert ask(first, "POST", "/api-keys", **creation).status_code == 201
    page.goto(f"{TENANT}/t/acme/audit")
    event = page.get_by_test_id("events").get_by_text("From a program").first
    expect(event).to_be_visible()
    expect(page.get_by_test_id("events")).to_contain_text("Deployments created the API key From a program")

    sent_before = len(frames)
    page.goto(PAGE)
    expect(line).to_contain_text("127.0.0.1")  # of the last use
    assert first not in "".join(frames[sent_before:]), "a reload sends it again"
    choose(page, "Deployments", "Rotate")
    page.get_by_role("dialog").get_by_role("radio", name="1 hour").check()
    page.get_by_role("dialog").get_by_role("button", name="Rotate key").click()
    second = copy_secret(page)
    expect(line).to_contain_text(f"{first[-4:]} until")
    assert [ask(secret).status_code for secret in (first, second)] == [200, 200]
    end_overlap("Deployments")
    assert [ask(secret).status_code for secret in (first, second)] == [401, 200]

    choose(page, "Deployments", "Revoke")
    confirm = page.get_by_test_id("revoke-form")
    confirm.get_by_label("confirm").fill("Deployments")
    confirm.get_by_role("button", name="Revoke key").click()
    expect(line).to_contain_text("Revoked")
    assert ask(second).status_code == 401
    ann.platform.secrets |= {first, second}  # none of them may be in a log
    assert list_problems(ann, "api-keys") == []


def test_token_issuer_is_added_with_the_steps_that_test_a_token(new_visitor: type[NewVisitor]) -> None:
    ann = new_visitor()
    ann.sign_in_as("ann@acme.test")
    page = ann.page
    page.goto(PAGE)
    page.get_by_test_id("create-issuer").click()
    form = page.get_by_test_id("create_issuer-form")
    values = {
        "Name": "Company sign-in",
        "Issuer": "https://id.acme.example/",
        "Audience": "https://api.acme.example",
        "Address of its keys": "https://id.acme.example/jwks.json",
        "Organisation claim": "organisation",
    }
    for label, value in values.items():
        form.get_by_label(label, exact=True).fill(value)
    assert list_problems(ann, "token-issuer-form") == []
    form.get_by_role("button", name="Add token issuer").click()
    line = page.get_by_test_id("issuers").get_by_role("row", name=re.compile("Company sign-in"))
    expect(line).to_contain_text("Active")
    page.get_by_text("How to test a token").click()
    expect(page.get_by_label("Token example").first).to_be_visible()
    assert list_problems(ann, "token-issuers") == []
    choose(page, "Company sign-in", "Remove")
    confirm = page.get_by_test_id("delete_issuer-form")
    confirm.get_by_label("confirm").fill("Company sign-in")
    confirm.get_by_role("button", name="Remove token issuer").click()
    expect(line).to_have_count(0)
