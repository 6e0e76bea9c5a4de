"""What a hostile browser would put into a form or an argument."""

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import StringConstraints

from shared.core.errors import Invalid
from shared.ui.forms import MAX_LENGTH, Form, parse_choice, parse_id, parse_line


class Sample(Form):
    email: Annotated[str, StringConstraints(min_length=3, max_length=20)]
    note: str = ""


def test_a_form_is_read_and_trimmed() -> None:
    assert Sample.read({"email": "  ann@acme.test "}) == Sample(email="ann@acme.test")


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "email"),
        ({"email": "a"}, "email"),
        ({"email": "x" * 21}, "email"),
        ({"email": "x" * 10_000}, "email"),
        ({"email": "ann\0@acme.test"}, "email"),
        ({"email": {"$ne": ""}}, "email"),
        ({"email": 12345}, "email"),
        ({"email": None}, "email"),
        ({"email": "ann@acme.test", "role": "owner"}, "role"),
        ({"email": "ann@acme.test", "tenant_id": "ten_globex"}, "tenant_id"),
        ({"email": "ann@acme.test", "note": "x" * (MAX_LENGTH + 1)}, "note"),
    ],
)
def test_a_form_is_refused_with_the_field(payload: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        Sample.read(payload)
    assert list(refusal.value.fields) == [field]
    assert refusal.value.next_step


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_anything_else_is_refused_and_never_a_bug(payload: object) -> None:
    with pytest.raises(Invalid):
        Sample.read(payload)
    with pytest.raises(Invalid):
        parse_id("mem", payload)
    with pytest.raises(Invalid):
        parse_choice(payload, ("name", "role"))


def test_arguments_that_can_be_meant() -> None:
    assert parse_id("mem", "mem_acme_max") == "mem_acme_max"
    assert parse_choice("role", ("name", "role")) == "role"
    assert parse_line("  ann ") == "ann"


@pytest.mark.parametrize("query", ["x" * 201, "a\0b", 3, None, ["a"]])
def test_a_search_is_one_line_of_text(query: object) -> None:
    with pytest.raises(Invalid):
        parse_line(query)
