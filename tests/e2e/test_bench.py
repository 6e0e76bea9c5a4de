"""The bench of the pages at its tiny size. It needs a Chromium, and the frontend that the house is built with."""

import pytest

from tests.bench import tiny
from tests.e2e.conftest import House


def test_page_rows_can_be_measured(house: House) -> None:
    assert tiny.unmeasured("pages") == []


@pytest.mark.long
def test_page_rows_can_be_measured_beside_the_peers(house: House) -> None:
    assert tiny.unmeasured("pages", peers=True) == []
