"""Reading forms: bounded, decoded strictly, with nothing in them that the database could not store."""

from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from shared.api import refusals
from shared.core.errors import DomainError, Invalid
from shared.tenancy import logos

LARGEST, MOST_FIELDS = 64 * 1024, 40
FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


class TooLarge(DomainError):
    status = 413
    default_reason = "too_large"


async def read(request: Request) -> dict[str, str]:
    """The fields, the last of each name, as typed. Raises Invalid, TooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM and (kind or request.headers.get("content-length", "0") != "0"):
        await refusals.drain(request.scope, request.receive)
        raise Invalid("This address takes an ordinary form.", "Send the form of the page again.")
    body = await _body(request, LARGEST, TooLarge("This form is too long.", "Shorten what you entered."))
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS
        )
    except ValueError as problem:
        raise Invalid("This form could not be read.", "Reload the page and try again.") from problem
    return check(dict(pairs))


def check(fields: dict[str, str]) -> dict[str, str]:
    """Raises Invalid for characters that cannot be stored or shown."""
    for name, value in fields.items():
        if "\x00" in value or "\x00" in name:
            raise Invalid(
                "What you entered contains a character that cannot be stored.",
                "Type it again instead of pasting it.",
                fields={name.replace("\x00", ""): "Contains a character that cannot be stored."},
            )
    return fields


async def read_logo(request: Request) -> tuple[dict[str, str], bytes]:
    """Fields and the file `logo`, b"" when none was chosen. Raises Invalid, TooLarge."""
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != MULTIPART:
        await refusals.drain(request.scope, request.receive)
        raise Invalid(
            "This address takes a file.", "Choose a file on the settings page.", fields={"logo": "Missing"}
        )
    too_large = TooLarge("This picture is larger than 2 MB.", "Choose a smaller PNG, JPEG or WebP picture.")
    body = await _body(request, logos.LARGEST + LARGEST, too_large)

    async def once() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, once).form(max_files=1, max_fields=MOST_FIELDS) as form:
            file, content = form.get("logo"), b""
            if file is not None and not isinstance(file, str):
                content = await file.read(logos.LARGEST + 1)
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
    except Exception as problem:
        raise Invalid(
            "This file could not be read.", "Choose it again.", fields={"logo": "Unreadable"}
        ) from problem
    if len(content) > logos.LARGEST:
        raise too_large
    return check(fields), content


async def _body(request: Request, most: int, too_large: DomainError) -> bytes:
    """Reads to the end what is too long, so that the answer arrives."""
    if int(request.headers.get("content-length", "0") or 0) > refusals.DRAIN_AT_MOST:
        raise too_large
    parts, size = list[bytes](), 0
    async for part in request.stream():
        size += len(part)
        if size <= most:
            parts.append(part)
        elif size > refusals.DRAIN_AT_MOST:
            break
    if size > most:
        raise too_large
    return b"".join(parts)
