"""What a browser sends, read strictly: nothing unknown, nothing of another type, nothing endless."""

import re
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.core.errors import Invalid
from shared.core.ids import is_id

MAX_LENGTH = 1_000  # characters, unless the field says less; more than any honest line of text
ERROR_TEXTS = {
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
            form = cls.model_validate({name: _check_text(name, value) for name, value in payload.items()})
        except ValidationError as error:
            raise _invalid_fields(
                {str(error["loc"][0]): _error_text(error) for error in error.errors()}
            ) from None
        return form


def _check_text(name: object, value: object) -> object:
    if isinstance(value, str) and "\0" in value:
        raise _invalid_fields({str(name): "contains a character that is not text."})
    if isinstance(value, str) and len(value) > MAX_LENGTH:
        raise _invalid_fields({str(name): "is far too long."})
    return value


def _error_text(error: Any) -> str:
    template = ERROR_TEXTS.get(error["type"], "cannot be meant.")
    return template.format(**error.get("ctx", {}))


def _invalid_fields(fields: dict[str, str]) -> Invalid:
    message = " ".join(f"{field_label(name)} {sentence}" for name, sentence in fields.items())
    return Invalid(message, "Nothing was changed. Correct it and try again.", fields=fields)


def field_label(name: str) -> str:
    return name[:40].replace("_", " ").capitalize()


def parse_id(prefix: str, value: object) -> str:
    """An argument of a handler is a claim, whatever its annotation says. Raises Invalid."""
    if not isinstance(value, str) or not is_id(prefix, value):
        raise Invalid("This is not one of the rows of the page.", "Reload the page and try again.")
    return value


def parse_choice(value: object, allowed: Any) -> str:
    """The same for a choice from a closed list."""
    if not isinstance(value, str) or value not in allowed:
        raise Invalid("This is not one of the choices.", "Reload the page and try again.")
    return value


def parse_line(value: object, max_length: int = 200) -> str:
    """The same for a line of text, such as a search."""
    if not isinstance(value, str) or len(value) > max_length or "\0" in value:
        raise Invalid(f"A text of at most {max_length} characters can be searched for.", "Shorten it.")
    return value.strip()


def parse_datetime(name: str, value: str) -> datetime | None:
    """A field with a date and time, as `form.moment` sends it: in UTC, "" for none."""
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _invalid_fields({name: "is not a date with a time."})
    return moment


def parse_whole_number(name: str, value: str, minimum: int, maximum: int) -> int:
    """A field with a whole number."""
    if re.fullmatch(r"[0-9]{1,12}", value) is None or not minimum <= int(value) <= maximum:
        raise _invalid_fields({name: f"is a whole number from {minimum:,} to {maximum:,}."})
    return int(value)
