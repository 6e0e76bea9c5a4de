"""The published access table equals the one in the code; `test_access` compares schedules with an oracle."""

import re
from pathlib import Path

from shared.billing.provider_values import STATUSES
from shared.billing.sync.access_schedule import ACCESS_TABLE

DOCS = Path(__file__).parents[2] / "docs" / "billing.md"


def test_published_access_table_matches_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", DOCS.read_text(), re.MULTILINE)
    assert rows == [(status, row.description, row.access) for status, row in ACCESS_TABLE.items()]


def test_access_table_covers_every_provider_status() -> None:
    assert set(ACCESS_TABLE) == set(STATUSES)
