"""CSV whose cells no spreadsheet takes for a formula."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.files.csv_cells import FORMULA_PREFIXES, escape_cell, to_csv


@pytest.mark.parametrize(
    "text",
    [
        "Eve;=cmd|'/C calc'!A1",
        "Eve; =1+1",
        "Eve\t@SUM(A1)",
        "Eve\n-2+3",
        "\u200b=1+1",
        "\ufeff=1+1",
        "\u202e\xad +1",
        "\x00=1",
        ';"=1+1"',
        "a;b;＝1",
    ],
)
def test_cell_holds_no_formula_for_any_separator_of_spreadsheets(text: str) -> None:
    line = to_csv([["first", text]])
    assert line.startswith('"first","')
    for separator in ",;\t":
        for row in csv.reader(io.StringIO(line, newline=""), delimiter=separator):
            for cell in row:
                shown = "".join(part for part in cell if part.isprintable() and part not in '" ')
                assert not shown.startswith(("=", "+", "-", "@", "＝")), (separator, cell)


@given(st.text())
def test_escaped_cell_keeps_its_text_and_is_no_formula(text: str) -> None:
    lines = escape_cell(text)
    assert lines.replace("'", "") == text.replace("'", "")
    assert not lines.startswith(FORMULA_PREFIXES)
    assert not lines.lstrip(" \n").startswith(FORMULA_PREFIXES)
    (row,) = csv.reader(io.StringIO(to_csv([[text, "next"]]), newline=""))
    assert row == [lines, "next"]
