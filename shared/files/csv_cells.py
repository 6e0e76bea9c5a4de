"""CSV that is safe to open in a spreadsheet."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence

BYTE_ORDER_MARK = "\ufeff"  # without it Excel does not read UTF-8
FORMULA_PREFIXES = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "＝",
    "＋",
    "－",
    "＠",
)  # first characters of a spreadsheet formula
HAS_SEPARATOR = re.compile(r"[;\t\r\n]")
CELL_SEPARATORS = re.compile(r"(?<=[;\t\r\n])")  # of other locales than the one of the comma, and lines


def to_csv(rows: Iterable[Sequence[str]]) -> str:
    """Every cell is quoted, whatever a spreadsheet takes for a separator."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerows([escape_cell(text) for text in row] for row in rows)
    return out.getvalue()


def escape_cell(text: str) -> str:
    """Prefix formulas with an apostrophe, so that a spreadsheet shows them as text (CSV injection).

    Also behind a separator inside the cell: where the list separator is a semicolon, the quotes of the second and later
    cells of a line protect nothing.
    """
    parts = CELL_SEPARATORS.split(text) if HAS_SEPARATOR.search(text) else (text,)
    return "".join(f"'{part}" if _is_formula(part) else part for part in parts)


def _is_formula(text: str) -> bool:
    """Also behind quotes, blanks and invisible characters, which spreadsheets skip."""
    for character in text:
        if character in FORMULA_PREFIXES:
            return True
        if not (character in '"' or character.isspace() or unicodedata.category(character) in ("Cf", "Cc")):
            return False
    return False
