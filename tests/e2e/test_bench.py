"""The bench of the pages at its tiny size. It needs a Chromium, and the frontends that the platform is built with."""

import pytest

from tests.bench import tiny
from tests.e2e.conftest import Platform


def test_page_rows_can_be_measured(platform: Platform) -> None:
    assert tiny.unmeasured("pages") == []


@pytest.mark.long
def test_page_rows_can_be_measured_beside_the_peers(platform: Platform) -> None:
    assert tiny.unmeasured("pages", peers=True) == []
