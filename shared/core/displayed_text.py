"""Text that people type and other people read: names, reasons, descriptions.

It is stored in Unicode's normal form NFC, so that one name has one spelling. Invisible characters and those that reverse
what follows them are refused (https://www.unicode.org/reports/tr36/).
"""

import re
import unicodedata
from collections.abc import Sequence

from shared.core.errors import Invalid

# Unicode categories: control, surrogate, private use, unassigned, format (reversing and invisible characters).
UNSUPPORTED_CATEGORIES = {"Cc", "Cs", "Co", "Cn", "Cf"}
VISIBLE_CATEGORIES = ("L", "N", "P", "S")  # first letters: letters, numbers, punctuation, symbols
# Invisible although of other categories: the rest of Default_Ignorable_Code_Point, and the blank Braille pattern.
INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\U000e0100-\U000e01ef]")
JOINERS = {"\u200c", "\u200d"}  # written in Persian and Indian names, and in emoji
EMOJI_SELECTOR = "\ufe0f"
# Letters of other scripts that look like these, from https://www.unicode.org/Public/security/latest/confusables.txt
LOOK_ALIKES = {
    "a": "аαɑ", "b": "ьЬ", "c": "сϲ", "d": "ԁ", "e": "еҽ", "g": "ɡց", "h": "һհ", "i": "іιıɩӏ1|!", "j": "јϳ", "k": "кκ",
    "l": "ⅼ", "m": "мⅿ", "n": "пոη", "o": "оοσօ0", "p": "рρ", "q": "ԛզ", "r": "гᴦ", "s": "ѕꜱ", "t": "тτ", "u": "υսц",
    "v": "ѵν", "w": "ѡωա", "x": "хχ", "y": "уγү", "z": "ᴢ",
}  # fmt: skip
_SKELETON_LETTERS = {ord(twin): letter for letter, twins in LOOK_ALIKES.items() for twin in twins}
_SKELETON_LETTERS[ord("l")] = "i"  # "l" and a capital "I" look the same


def clean_line(text: str, *, noun: str, missing: str, max_length: int, fields: Sequence[str]) -> str:
    """The text in NFC on one line, with single spaces.

    `noun`: "name" or "description". `missing`: the sentence for an empty text; "" where it may be empty.
    Raises Invalid with the problem in each of `fields`.
    """
    line = to_line(text)
    if problem := find_problem(line, noun=noun, missing=missing, max_length=max_length):
        raise Invalid(problem, "Correct it and try again.", fields=dict.fromkeys(fields, problem))
    return line


def to_line(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def find_problem(line: str, *, noun: str, missing: str, max_length: int) -> str:
    """The sentence that says what is wrong with the text, as in `clean_line`; "" when nothing is."""
    if character := find_unsupported_character(line):
        return f"The {noun} contains unsupported characters: {_describe(character)}."
    if not has_visible_character(line):
        return missing or (f"The {noun} has no visible character." if line else "")
    if len(line) > max_length:
        return f"{noun.capitalize()}s can have at most {max_length} characters; this one has {len(line):,}."
    return ""


def has_visible_character(text: str) -> bool:
    return any(
        unicodedata.category(character).startswith(VISIBLE_CATEGORIES) and not INVISIBLE.match(character)
        for character in text
    )


def find_unsupported_character(text: str) -> str:
    """The first character that people can't read or that hides others; "" without one."""
    for index, character in enumerate(text):
        before, after = text[index - 1 : index], text[index + 1 : index + 2]
        if character in JOINERS:
            is_supported = _is_joined(before) and _is_joined(after)
        elif character == EMOJI_SELECTOR:
            is_supported = unicodedata.category(before or " ").startswith(("S", "N", "P"))
        else:
            is_supported = unicodedata.category(character) not in UNSUPPORTED_CATEGORIES and not (
                INVISIBLE.match(character) or "\ufe00" <= character <= "\ufe0e"
            )
        if not is_supported:
            return character
    return ""


def _is_joined(neighbour: str) -> bool:
    """Letters, their marks and emoji may be joined."""
    return bool(neighbour) and (
        unicodedata.category(neighbour).startswith(("L", "M", "S")) or neighbour == EMOJI_SELECTOR
    )


def skeleton_of(name: str) -> str:
    """Equal for names that look alike: "Оwner" with a Cyrillic letter and "OWNER" are one."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    letters = (character for character in plain if not unicodedata.combining(character))
    return "".join("".join(letters).translate(_SKELETON_LETTERS).split())


def _describe(character: str) -> str:
    name = unicodedata.name(character, "").lower()
    return f"{name} (U+{ord(character):04X})" if name else f"U+{ord(character):04X}"
