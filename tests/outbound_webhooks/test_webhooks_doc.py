"""The documentation page of webhooks is written from the manifests."""

from shared.outbound_webhooks import webhooks_doc
from tests.support import source

PAGE = source.ROOT / "docs/webhooks.md"


def test_published_webhooks_page_matches_the_manifests() -> None:
    assert PAGE.read_text() == webhooks_doc.render_page(), (
        "write it again: .venv/bin/bulkhead docs webhooks > docs/webhooks.md"
    )
