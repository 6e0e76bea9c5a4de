"""How a person exports a list and downloads the file."""

from playwright.sync_api import Download, expect

from tests.e2e.conftest import NewVisitor


def start_export(person: NewVisitor, label: str) -> None:
    """Of the list that the page shows. Waits until it is ready."""
    person.page.get_by_role("button", name="Export", exact=True).click()
    person.page.get_by_role("menuitem", name=label).click()
    expect(person.page.get_by_test_id("exports").get_by_text("Ready").first).to_be_visible(timeout=30_000)


def download_export(person: NewVisitor) -> Download:
    with person.page.expect_download() as caught:
        person.page.get_by_test_id("download").first.click()
    return caught.value
