"""Names that people type: one spelling each, nothing invisible, and nothing that looks like another name."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.displayed_text import clean_line, find_unsupported_character, skeleton_of
from shared.core.errors import Invalid


def clean(text: str) -> str:
    return clean_line(text, noun="name", missing="Enter a name.", max_length=80, fields=("name",))


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("  Ann \n Lee ", "Ann Lee"),
        ("Zoe\u0308", "Zoë"),  # two spellings of one name
        ("山田 太郎", "山田 太郎"),
        ("علی\u200cرضا", "علی\u200cرضا"),  # Persian, with a joiner between letters
        ("क्\u200dष", "क्\u200dष"),
        ("👩\u200d💻 Studio ❤\ufe0f", "👩\u200d💻 Studio ❤\ufe0f"),
        ("O'Neill & Söhne (EU)", "O'Neill & Söhne (EU)"),
    ],
    ids=["spaces", "decomposed", "Japanese", "Persian", "Devanagari", "emoji", "punctuation"],
)
def test_name_of_any_script_is_stored_in_one_spelling(typed: str, stored: str) -> None:
    assert clean(typed) == stored


@pytest.mark.parametrize(
    "text",
    ["\u200b", "\u3164", "\u2800", "\ufeff", "\u0301", ""],
    ids=["zero width space", "hangul filler", "blank braille", "byte order mark", "mark alone", "empty"],
)
def test_name_without_a_visible_character_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as error:
        clean(text)
    assert set(error.value.fields) == {"name"}


@pytest.mark.parametrize(
    ("text", "character"),
    [
        ("Acme\u202egpj.", "U+202E"),
        ("Admin\u00ad", "U+00AD"),
        ("Owner\u200b", "U+200B"),
        ("Ow\u2060ner", "U+2060"),
        ("Acme\u200d", "U+200D"),  # nothing behind it to join
        ("Acme\ufe0e", "U+FE0E"),
        ("Acme\U000e0041", "U+E0041"),
        ("Acme\x00", "U+0000"),
        ("Ac\u115fme", "U+115F"),
    ],
    ids=[
        "reversed",
        "soft hyphen",
        "zero width",
        "word joiner",
        "joiner",
        "selector",
        "tag",
        "null",
        "filler",
    ],
)
def test_hidden_character_is_refused_and_named(text: str, character: str) -> None:
    with pytest.raises(Invalid) as error:
        clean(text)
    assert character in error.value.fields["name"]


def test_too_long_name_says_how_long_it_is() -> None:
    with pytest.raises(Invalid, match="at most 80 characters; this one has 81"):
        clean("x" * 81)


@given(st.text(max_size=60))
def test_cleaned_name_is_normal_visible_and_stays_as_it_is(text: str) -> None:
    try:
        name = clean(text)
    except Invalid:
        return
    assert name == clean(name) == unicodedata.normalize("NFC", name)
    assert not find_unsupported_character(name)


@pytest.mark.parametrize("name", ["OWNER", "Оwner", "0wner", "Öwner", "Ｏｗｎｅｒ", "o w n e r", "ownеr"])
def test_names_that_look_alike_have_one_skeleton(name: str) -> None:
    assert skeleton_of(name) == skeleton_of("Owner")


@pytest.mark.parametrize("name", ["Owners", "Developer", "Account owner"])
def test_other_names_have_another_skeleton(name: str) -> None:
    assert skeleton_of(name) != skeleton_of("Owner")
