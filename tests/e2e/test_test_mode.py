"""Test mode from its switch to the end of its data: a key that reaches test data only, and a banner on every page."""

import re

import httpx
from playwright.sync_api import expect

from tests.e2e.conftest import TENANT, NewVisitor
from tests.e2e.looks import list_problems


def find_organisation(secret: str) -> str:
    headers = {"authorization": f"Bearer {secret}"}
    return str(httpx.get(f"{TENANT}/api/v1/me", headers=headers).json()["organisation"]["slug"])


def test_test_mode_is_turned_on_used_and_emptied(new_visitor: type[NewVisitor]) -> None:
    ann = new_visitor()
    ann.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=TENANT)
    ann.sign_in_as("ann@acme.test")
    page = ann.page
    page.goto(f"{TENANT}/t/acme/settings")
    page.get_by_role("button", name="Turn on test mode").click()
    expect(page.get_by_text("/t/acme-test")).to_be_visible()
    assert list_problems(ann, "settings-test-mode") == []

    page.goto(f"{TENANT}/t/acme/api-keys")
    page.get_by_test_id("create-key").click()
    form = page.get_by_test_id("create-form")
    form.get_by_label("Name").fill("Trial run")
    form.get_by_role("radio", name="Test").check()
    form.get_by_role("checkbox", name="View members").check()
    assert list_problems(ann, "api-key-mode") == []
    form.get_by_role("button", name="Create key").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Copy secret").click()
    dialog.get_by_role("button", name="Done").click()
    secret = str(page.evaluate("navigator.clipboard.readText()"))
    assert find_organisation(secret) == "acme-test"
    expect(page.get_by_text("Trial run")).to_have_count(0)

    page.get_by_role("link", name="Keys of test mode").click()
    expect(page.get_by_test_id("keys")).to_contain_text("Trial run")
    expect(page.get_by_text("Test data.")).to_be_visible()
    assert list_problems(ann, "api-keys-test-mode") == []
    page.goto(f"{TENANT}/t/acme-test/home")
    expect(page.get_by_text("Test data.")).to_be_visible()
    assert list_problems(ann, "home-test-mode") == []
    page.get_by_role("link", name="Leave test mode").click()
    page.wait_for_url(re.compile(f"{TENANT}/t/acme/"))  # a second navigation would be aborted by this one
    expect(page.get_by_text("Test data.")).to_have_count(0)

    page.goto(f"{TENANT}/t/acme/settings")
    page.get_by_test_id("delete-test-data").click()
    confirm = page.get_by_test_id("delete_test_data-form")
    confirm.get_by_label("confirm").fill("acme-test")
    confirm.get_by_role("button", name="Delete test data").click()
    expect(page.get_by_text("Deleted the test data.")).to_be_visible()
    assert find_organisation(secret) == "acme-test"
    ann.platform.secrets.add(secret)  # it may be in no log
