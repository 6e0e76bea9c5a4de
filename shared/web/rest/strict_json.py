"""Read JSON bodies strictly: one meaning for every body, bounded in size and depth."""

import json
import re
from typing import Any, NoReturn

from starlette.requests import Request

from shared.core.errors import DomainError

MAX_FIELDS = 200  # of one object
MAX_DEPTH = 32
MAX_NUMBER_LENGTH = 40  # characters; Python reads a long one slowly
STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)


class BadBody(DomainError):
    status = 400
    default_reason = "bad_json"


class BodyTooLarge(DomainError):
    status = 413
    default_reason = "body_too_large"


class UnsupportedMediaType(DomainError):
    status = 415
    default_reason = "unsupported_media_type"


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Raises BodyTooLarge as soon as the limit is passed."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge(f"A body can have at most {max_bytes:,} bytes.", "Send less at once.")
        chunks.append(chunk)
    return b"".join(chunks)


def require_json_type(request: Request) -> None:
    """Raises UnsupportedMediaType."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(
            "This address reads JSON.", "Send the body with Content-Type: application/json."
        )


def parse(body: bytes, *, accepts_any_number: bool = False) -> Any:
    """Raises BadBody for what is no JSON (RFC 8259), for a key that appears twice, and for deep nesting.

    `accepts_any_number`: NaN, Infinity and numbers out of range are floats of that kind, for a caller that checks them.
    """
    try:
        text = body.decode("utf-8")
        _check_depth(text)
        value = json.loads(
            text,
            object_pairs_hook=_build_object,
            parse_constant=float if accepts_any_number else _refuse_constant,
            parse_int=_parse_any_int if accepts_any_number else _parse_int,
            parse_float=float if accepts_any_number else _parse_float,
        )
        json.dumps(value, ensure_ascii=False).encode()  # raises for half a surrogate pair
        return value
    except (UnicodeError, ValueError, RecursionError) as problem:
        detail = str(problem) if isinstance(problem, _Problem) else "The body is no valid JSON."
        raise BadBody(detail, "Correct the body and send it again.") from None


class _Problem(ValueError):
    """With a sentence for the client."""


def _check_depth(text: str) -> None:
    depth = 0
    for match in STRING_OR_BRACKET.finditer(text):
        bracket = match[0]
        if bracket in ("[", "{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise _Problem(f"The body is nested deeper than {MAX_DEPTH} levels.")
        elif bracket in ("]", "}"):
            depth -= 1


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_FIELDS:
        raise _Problem(f"An object has more than {MAX_FIELDS} fields.")
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Problem(f"The key {twice[:60]!r} appears twice.")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise _Problem(f"{name} is no JSON number.")


def _parse_int(text: str) -> int:
    if len(text) > MAX_NUMBER_LENGTH:
        raise _Problem("A number is too long.")
    return int(text)


def _parse_any_int(text: str) -> int | float:
    return int(text) if len(text) <= MAX_NUMBER_LENGTH else float("inf")


def _parse_float(text: str) -> float:
    number = float(text) if len(text) <= MAX_NUMBER_LENGTH else float("inf")
    if number in (float("inf"), float("-inf")):
        raise _Problem("A number is too large.")
    return number
