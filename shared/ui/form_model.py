"""What a browser sends, read strictly: nothing unknown, nothing of another type, nothing endless."""

import re
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.core.errors import Invalid
from shared.core.ids import is_id

LONGEST = 1_000  # characters, unless the field says less; more than any honest line of text
SENTENCES = {
    "extra_forbidden": "is not a field of this form.",
    "literal_error": "is not one of the choices.",
    "missing": "is missing.",
    "string_too_short": "is missing.",
    "string_too_long": "is too long: {max_length} characters at most.",
    "string_type": "is not a text.",
}


class Form(BaseModel):
    """Fields are the inputs, their names are the labels. Who may, and where, is never read from a form."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, strict=True)

    @classmethod
    def read(cls, payload: object) -> Self:
        """Raises Invalid with a sentence for each field."""
        if not isinstance(payload, dict):
            raise Invalid("This form could not be read.", "Reload the page and try again.")
        try:
            form = cls.model_validate({name: _plain(name, value) for name, value in payload.items()})
        except ValidationError as problem:
            raise _invalid({str(error["loc"][0]): _sentence(error) for error in problem.errors()}) from None
        return form


def _plain(name: object, value: object) -> object:
    if isinstance(value, str) and "\0" in value:
        raise _invalid({str(name): "contains a character that is not text."})
    if isinstance(value, str) and len(value) > LONGEST:
        raise _invalid({str(name): "is far too long."})
    return value


def _sentence(error: Any) -> str:
    known = SENTENCES.get(error["type"], "cannot be meant.")
    return known.format(**error.get("ctx", {}))


def _invalid(fields: dict[str, str]) -> Invalid:
    said = " ".join(f"{label(name)} {sentence}" for name, sentence in fields.items())
    return Invalid(said, "Nothing was changed. Correct it and try again.", fields=fields)


def label(name: str) -> str:
    return name[:40].replace("_", " ").capitalize()


def an_id(prefix: str, value: object) -> str:
    """An argument of a handler is a claim, whatever its annotation says. Raises Invalid."""
    if not isinstance(value, str) or not is_id(prefix, value):
        raise Invalid("This is not one of the rows of the page.", "Reload the page and try again.")
    return value


def a_word(value: object, allowed: Any) -> str:
    """The same for a choice from a closed list."""
    if not isinstance(value, str) or value not in allowed:
        raise Invalid("This is not one of the choices.", "Reload the page and try again.")
    return value


def a_line(value: object, longest: int = 200) -> str:
    """The same for a line of text, such as a search."""
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise Invalid(f"A text of at most {longest} characters can be searched for.", "Shorten it.")
    return value.strip()


def a_moment(name: str, value: str) -> datetime | None:
    """A field with a date and time, as `form.moment` sends it: in UTC, "" for none."""
    if not value:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise _invalid({name: "is not a date with a time."})
    return at


def a_number(name: str, value: str, least: int, most: int) -> int:
    """A field with a whole number."""
    if re.fullmatch(r"[0-9]{1,12}", value) is None or not least <= int(value) <= most:
        raise _invalid({name: f"is a whole number from {least:,} to {most:,}."})
    return int(value)
