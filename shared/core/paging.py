"""Keyset paging: a page of rows and the cursor of the next page."""

import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import ColumnElement, SQLColumnExpression, func, literal, tuple_

from shared.core.errors import Invalid

MAX_PAGE_SIZE = 100  # rows
MAX_NUMBER_CURSOR_LENGTH = 18  # digits; every such number is a bigint
MAX_SEARCH_LENGTH = 200  # characters
MAX_CURSOR_LENGTH = 1_000  # characters
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


def contains_text(column: Any, text: str) -> ColumnElement[bool]:
    """Whether the column contains the text, in upper or lower case and in either spelling of an accented letter.

    The database folds both sides: Python's rules differ. It writes a lower-case "İ" in one character, Python in two.
    """
    return contains_folded(_fold(column), text)


def contains_folded(column: Any, text: str) -> ColumnElement[bool]:
    """As `contains_text`, for a column that holds the folded text."""
    return func.strpos(column, _fold(literal(text.replace("i\u0307", "i")))) > 0


def _fold(text: Any) -> ColumnElement[str]:
    return func.normalize(func.lower(text))


def after_cursor(
    key: Sequence[SQLColumnExpression[Any]], cursor: str, *, descending: bool = False
) -> list[ColumnElement[bool]]:
    """The condition for the rows behind `cursor` in a list that is ordered by `key`; [] for the first page.

    Raises Invalid for a text that `encode_cursor` did not make for such a key.
    """
    if not cursor:
        return []
    # A mapped column has a type as well, which its static type does not say.
    types = [cast("ColumnElement[Any]", column).type.python_type for column in key]
    # SQLModel's text columns and functions of them call their type `object`.
    kinds = [str if kind is object else kind for kind in types]
    bounds = tuple_(*(literal(value) for value in decode_cursor(cursor, kinds)))
    return [tuple_(*key) < bounds if descending else tuple_(*key) > bounds]


def encode_cursor(*values: str | int | datetime) -> str:
    """The values of a row's sort key. They place the next page, even when the row itself moves or is gone."""
    return json.dumps(
        [value.isoformat() if isinstance(value, datetime) else value for value in values],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def decode_cursor(cursor: str, kinds: Sequence[type]) -> list[Any]:
    """The values of a cursor, of these types. Raises Invalid for a text that `encode_cursor` did not make of such."""
    try:
        if len(cursor) > MAX_CURSOR_LENGTH or "\\u0000" in cursor:
            raise ValueError
        values = json.loads(cursor)
        if not isinstance(values, list) or len(values) != len(kinds):
            raise ValueError
        return [_decode_value(value, kind) for value, kind in zip(values, kinds, strict=True)]
    except (ValueError, RecursionError) as problem:
        raise Invalid("This page does not exist.", "Start again at the first page.") from problem


def _decode_value(value: Any, kind: type) -> Any:
    """Raises ValueError."""
    if kind is datetime and isinstance(value, str):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return moment
    if type(value) is not kind:
        raise ValueError
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError
    if isinstance(value, str):
        value.encode()  # raises for half a surrogate pair, which can't be compared
    return value


def parse_number_cursor(cursor: str) -> int | None:
    """The number in the cursor of a list that is ordered by one; None for the first page. Raises Invalid."""
    if not cursor:
        return None
    if not (cursor.isascii() and cursor.isdigit()) or len(cursor) > MAX_NUMBER_CURSOR_LENGTH:
        raise Invalid("This page does not exist.", "Start again at the newest entries.")
    return int(cursor)


def clean_search_text(text: Any, max_length: int = MAX_SEARCH_LENGTH) -> str:
    """The text without outer spaces, in the spelling of stored names. Raises Invalid for another type, a null character or too many characters."""
    if not isinstance(text, str) or len(text) > max_length or "\0" in text:
        raise Invalid(f"Search texts have at most {max_length} characters.", "Shorten the text.")
    return unicodedata.normalize("NFC", text).strip()
