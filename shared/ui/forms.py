"""Forms and arguments from the browser, read strictly: no unknown fields, no other types, no endless texts."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from shared.core.db import now
from shared.core.errors import Invalid
from shared.core.ids import is_id
from shared.core.paging import MAX_SEARCH_LENGTH, clean_search_text

MAX_LENGTH = 1_000  # characters, unless the field says less; more than any honest line of text
FIELD_ERROR = "field"  # type of an error of a validator below: its message is shown as it is
UNKNOWN_FIELD = "extra_forbidden"  # as pydantic calls it
NO_TITLES: Mapping[str, str] = {}
ERROR_TEXTS = {
    UNKNOWN_FIELD: "isn’t a field of this form.",
    "literal_error": "isn’t one of the choices.",
    "missing": "is missing.",
    "string_too_short": "is missing.",
    "string_too_long": "is too long: {max_length} characters at most.",
    "string_type": "isn’t text.",
}


class UnknownFields(Invalid):
    """The form has fields that its page does not show: of another version of the page, or forged."""


class Form(BaseModel):
    """Fields are the inputs. Errors call them by their `title`, or by their name where they have none.

    A form never carries a permission or a tenant.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, strict=True)

    @classmethod
    def read(cls, payload: object) -> Self:
        """Raises Invalid with a sentence for each wrong field."""
        if not isinstance(payload, dict):
            raise Invalid("We couldn’t read this form.", "Reload and submit again.")
        try:
            form = cls.model_validate({name: _check_text(name, value) for name, value in payload.items()})
        except ValidationError as error:
            raise cls._refuse(error.errors()) from None
        return form

    @classmethod
    def _refuse(cls, errors: Sequence[Any]) -> Invalid:
        predicates = {str(error["loc"][0]): _error_text(error) for error in errors}
        kind = UnknownFields if UNKNOWN_FIELD in {error["type"] for error in errors} else Invalid
        titles = {name: info.title for name, info in cls.model_fields.items() if info.title}
        return _invalid_fields(predicates, titles, kind=kind)


def _check_text(name: object, value: object) -> object:
    if isinstance(value, str) and "\0" in value:
        raise _invalid_fields({str(name): "contains an unsupported character."})
    if isinstance(value, str) and len(value) > MAX_LENGTH:
        raise _invalid_fields({str(name): "is too long."})
    return value


def _error_text(error: Any) -> str:
    if error["type"] == FIELD_ERROR:
        return str(error["msg"])
    template = ERROR_TEXTS.get(error["type"], "isn’t valid.")
    return template.format(**error.get("ctx", {}))


def _invalid_fields(
    predicates: Mapping[str, str], titles: Mapping[str, str] = NO_TITLES, *, kind: type[Invalid] = Invalid
) -> Invalid:
    """`predicates`: what is wrong, without its subject, as in "is missing."."""
    sentences = {
        name: f"{titles.get(name) or field_label(name)} {predicate}" for name, predicate in predicates.items()
    }
    return kind(
        " ".join(sentences.values()), "Nothing was changed. Correct this and try again.", fields=sentences
    )


def field_label(name: str) -> str:
    return name[:40].replace("_", " ").capitalize()


def whole(minimum: int, maximum: int, *, required: bool = True) -> BeforeValidator:
    """`Annotated[int, whole(1, 10_000)]`: a whole number. Not required: "" is None."""

    def read(value: object) -> int | None:
        if value == "" and not required:
            return None
        if (
            not isinstance(value, str)
            or not re.fullmatch(r"[0-9]{1,12}", value.strip())
            or not minimum <= int(value) <= maximum
        ):
            raise _field_error(f"must be a whole number from {minimum:,} to {maximum:,}.")
        return int(value)

    return BeforeValidator(read)


def id_of(prefix: str) -> BeforeValidator:
    """`Annotated[str, id_of("plv")]`: an id with this prefix."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not is_id(prefix, value):
            raise _field_error("isn’t one of the choices.")
        return value

    return BeforeValidator(read)


def choice_of(allowed: Collection[str]) -> BeforeValidator:
    """`Annotated[str, choice_of(FEATURES)]`: one of these keys."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise _field_error("isn’t one of the choices.")
        return value

    return BeforeValidator(read)


def _read_moment(value: object) -> datetime | None:
    if value == "":
        return None
    moment = _to_moment(value)
    if moment is None:
        raise _field_error("isn’t a date with a time.")
    return moment


def _read_future_moment(value: object) -> datetime | None:
    moment = _read_moment(value)
    if moment is not None and moment <= now():
        raise _field_error("must be in the future.")
    return moment


def _require_future_moment(value: object) -> datetime:
    moment = _read_future_moment(value)
    if moment is None:
        raise _field_error("is missing.")
    return moment


def _to_moment(value: object) -> datetime | None:
    """None for anything but a date and time with a zone, as `controls.datetime_input` sends it."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _field_error(message: str) -> PydanticCustomError:
    return PydanticCustomError(FIELD_ERROR, "{message}", {"message": message})


class VersionedForm(Form):
    """Edits an object that has a version: the one that the form shows."""

    row_version: Annotated[int, whole(1, 1_000_000_000)]


Moment = Annotated[datetime | None, BeforeValidator(_read_moment)]  # None where it was left empty
FutureMoment = Annotated[datetime, BeforeValidator(_require_future_moment)]
OptionalFutureMoment = Annotated[datetime | None, BeforeValidator(_read_future_moment)]


def parse_id(prefix: str, value: object) -> str:
    """The id in a handler's argument, which may be anything. Raises Invalid."""
    if not isinstance(value, str) or not is_id(prefix, value):
        raise Invalid("The page has changed.", "Reload and try again.")
    return value


def parse_choice(value: object, allowed: Any) -> str:
    """The choice in a handler's argument. Raises Invalid for one that is not in the list."""
    if not isinstance(value, str) or value not in allowed:
        raise Invalid("This isn’t one of the choices.", "Reload and try again.")
    return value


def parse_flag(value: object) -> bool:
    """The yes or no in a handler's argument. Raises Invalid for anything else, which must not count as no."""
    if not isinstance(value, bool):
        raise Invalid("This isn’t one of the choices.", "Reload and try again.")
    return value


def parse_line(value: object, max_length: int = MAX_SEARCH_LENGTH) -> str:
    """The search text in a handler's argument. Raises Invalid."""
    return clean_search_text(value, max_length)


def parse_datetime(name: str, value: str) -> datetime | None:
    """For forms that have no `Moment` yet. Raises Invalid."""
    if not value:
        return None
    moment = _to_moment(value)
    if moment is None:
        raise _invalid_fields({name: "isn’t a date with a time."})
    return moment


def parse_whole_number(name: str, value: str, minimum: int, maximum: int) -> int:
    """For forms that have no `whole` yet. Raises Invalid."""
    if re.fullmatch(r"[0-9]{1,12}", value) is None or not minimum <= int(value) <= maximum:
        raise _invalid_fields({name: f"must be a whole number from {minimum:,} to {maximum:,}."})
    return int(value)
