"""Pages of rows, search texts, stated reasons and plurals."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from shared.core.errors import Invalid
from shared.core.paging import (
    after_cursor,
    build_page,
    clamp_limit,
    clean_search_text,
    encode_cursor,
    map_page,
)
from shared.core.plurals import plural


def test_page_with_one_row_more_has_the_cursor_of_its_last_row() -> None:
    page = build_page([1, 2, 3], limit=2, cursor_of=str)
    assert (page.rows, page.next_cursor) == ([1, 2], "2")
    assert map_page(page, lambda row: row * 10).rows == [10, 20]


@pytest.mark.parametrize("rows", [[], [1], [1, 2]])
def test_page_without_one_row_more_is_the_last(rows: list[int]) -> None:
    page = build_page(rows, limit=2, cursor_of=str)
    assert (page.rows, page.next_cursor) == (rows, "")


@pytest.mark.parametrize(("limit", "clamped"), [(-1, 1), (0, 1), (50, 50), (1_000, 100)])
def test_limit_outside_the_range_is_clamped(limit: int, clamped: int) -> None:
    assert clamp_limit(limit) == clamped


TIME = datetime(2026, 11, 29, 12, 30, 15, 123456, tzinfo=UTC)
KEY = (sa.column("at", sa.DateTime(timezone=True)), sa.column("number", sa.Integer), sa.column("id", sa.Text))


def test_cursor_holds_the_values_of_the_sort_key() -> None:
    (condition,) = after_cursor(KEY, encode_cursor(TIME, 7, "Zoë"), descending=True)
    assert set(condition.compile().params.values()) == {TIME, 7, "Zoë"}
    assert "(at, number, id) <" in str(condition)


def test_first_page_has_no_condition() -> None:
    assert after_cursor(KEY, "") == []


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "null",
        "{}",
        '["2026-11-29T00:00:00+00:00",7]',
        '["2026-11-29T00:00:00",7,"a"]',
        '["yesterday",7,"a"]',
        '["2026-11-29T00:00:00+00:00",true,"a"]',
        '["2026-11-29T00:00:00+00:00",99999999999999999999,"a"]',
        '["2026-11-29T00:00:00+00:00",7,1]',
        '["2026-11-29T00:00:00+00:00",7,"\\u0000"]',
        '["2026-11-29T00:00:00+00:00",7,"\\ud800"]',
        "[" * 900,
        "x" * 2_000,
    ],
)
def test_cursor_of_another_form_is_invalid(cursor: str) -> None:
    with pytest.raises(Invalid, match="does not exist"):
        after_cursor(KEY, cursor)


def test_search_text_is_stripped() -> None:
    assert clean_search_text("  ann ") == "ann"


@pytest.mark.parametrize("text", [7, None, "a\0b", "x" * 201])
def test_search_text_that_cannot_be_searched_is_invalid(text: object) -> None:
    with pytest.raises(Invalid, match="200 characters"):
        clean_search_text(text)


def test_plural_adds_an_s_unless_a_form_is_given() -> None:
    assert [plural(count, "event") for count in (0, 1, 2_000)] == ["0 events", "1 event", "2,000 events"]
    assert plural(2, "person", "people") == "2 people"
