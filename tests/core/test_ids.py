"""Ids: prefixed, ordered by time, strictly validated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.ids import is_id, new_id


def test_ids_are_unique_and_ordered_by_time() -> None:
    made = [new_id("usr") for _ in range(5_000)]
    assert len(set(made)) == len(made)
    assert [id_[:12] for id_ in made] == sorted(id_[:12] for id_ in made)
    assert {len(id_) for id_ in made} == {30}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "usr",
        "usr_",
        "usr_A",
        "usr_a b",
        "usr_a\n",
        "ten_a",
        "usr_é",
        "usr_" + "a" * 41,
        "xusr_a",
        "usr-a",
    ],
)
def test_malformed_id_is_not_an_id(text: str) -> None:
    assert not is_id("usr", text)


@given(st.text())
def test_valid_id_is_alphanumeric_ascii(text: str) -> None:
    if is_id("usr", f"usr_{text}"):
        assert text.replace("_", "").isalnum()
        assert text.isascii()
