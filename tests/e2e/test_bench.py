"""The bench of the pages at its tiny size. It needs a Chromium, and the frontends that the platform is built with.

It does not wait for the platform: whoever comes first builds the frontends.
"""

import pytest

from tests.bench import tiny


def test_page_rows_can_be_measured() -> None:
    assert tiny.unmeasured("pages") == []


@pytest.mark.long
def test_page_rows_can_be_measured_beside_the_peers() -> None:
    assert tiny.unmeasured("pages", peers=True) == []
