"""Keyset paging: a page of rows and the cursor of the next page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.core.errors import Invalid

MAX_PAGE_SIZE = 100  # rows
MAX_NUMBER_CURSOR_LENGTH = 18  # digits; every such number is a bigint
MAX_SEARCH_LENGTH = 200  # characters
Row = TypeVar("Row")
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Row]):
    rows: Sequence[Row]
    next_cursor: str = ""  # "" on the last page


def clamp_limit(limit: int, maximum: int = MAX_PAGE_SIZE) -> int:
    """From 1 to `maximum` rows."""
    return min(max(limit, 1), maximum)


def build_page(rows: Sequence[Row], *, limit: int, cursor_of: Callable[[Row], str]) -> Page[Row]:
    """`rows`: up to `limit + 1`; the extra row only shows that there is a next page."""
    page_rows = rows[:limit]
    return Page(rows=page_rows, next_cursor=cursor_of(page_rows[-1]) if len(rows) > limit else "")


def map_page(page: Page[Row], convert: Callable[[Row], Item]) -> Page[Item]:
    """The same page with each row converted."""
    return Page(rows=[convert(row) for row in page.rows], next_cursor=page.next_cursor)


def parse_number_cursor(cursor: str) -> int | None:
    """The number in the cursor of a list that is ordered by one; None for the first page. Raises Invalid."""
    if not cursor:
        return None
    if not (cursor.isascii() and cursor.isdigit()) or len(cursor) > MAX_NUMBER_CURSOR_LENGTH:
        raise Invalid("This page does not exist.", "Start again at the newest entries.")
    return int(cursor)


def clean_search_text(text: Any, max_length: int = MAX_SEARCH_LENGTH) -> str:
    """The text without outer spaces. Raises Invalid for another type, a null character or too many characters."""
    if not isinstance(text, str) or len(text) > max_length or "\0" in text:
        raise Invalid(f"Search texts have at most {max_length} characters.", "Shorten the text.")
    return text.strip()
