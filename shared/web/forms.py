"""Reading forms: bounded, decoded strictly, with nothing in them that the database could not store."""

from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from shared.core.errors import DomainError, Invalid
from shared.tenancy import logos
from shared.web import problem_responses

MAX_FORM_BYTES, MAX_FIELDS = 64 * 1024, 40
FORM_TYPE, MULTIPART_TYPE = "application/x-www-form-urlencoded", "multipart/form-data"


class FormTooLarge(DomainError):
    status = 413
    default_reason = "too_large"


async def read(request: Request) -> dict[str, str]:
    """The fields, the last of each name, as typed. Raises Invalid, TooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM_TYPE and (kind or request.headers.get("content-length", "0") != "0"):
        await problem_responses.drain_body(request.scope, request.receive)
        raise Invalid("This address takes an ordinary form.", "Send the form of the page again.")
    body = await _read_body(
        request, MAX_FORM_BYTES, FormTooLarge("This form is too long.", "Shorten what you entered.")
    )
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError as problem:
        raise Invalid("This form could not be read.", "Reload the page and try again.") from problem
    return check_fields(dict(pairs))


def check_fields(fields: dict[str, str]) -> dict[str, str]:
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
    if kind.partition(";")[0].strip().lower() != MULTIPART_TYPE:
        await problem_responses.drain_body(request.scope, request.receive)
        raise Invalid(
            "This address takes a file.", "Choose a file on the settings page.", fields={"logo": "Missing"}
        )
    too_large = FormTooLarge(
        "This picture is larger than 2 MB.", "Choose a smaller PNG, JPEG or WebP picture."
    )
    body = await _read_body(request, logos.MAX_UPLOAD_BYTES + MAX_FORM_BYTES, too_large)

    async def once() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, once).form(max_files=1, max_fields=MAX_FIELDS) as form:
            file, content = form.get("logo"), b""
            if file is not None and not isinstance(file, str):
                content = await file.read(logos.MAX_UPLOAD_BYTES + 1)
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
    except Exception as problem:
        raise Invalid(
            "This file could not be read.", "Choose it again.", fields={"logo": "Unreadable"}
        ) from problem
    if len(content) > logos.MAX_UPLOAD_BYTES:
        raise too_large
    return check_fields(fields), content


async def _read_body(request: Request, max_bytes: int, too_large: DomainError) -> bytes:
    """Reads to the end what is too long, so that the answer arrives."""
    if int(request.headers.get("content-length", "0") or 0) > problem_responses.MAX_DRAIN_BYTES:
        raise too_large
    parts, size = list[bytes](), 0
    async for part in request.stream():
        size += len(part)
        if size <= max_bytes:
            parts.append(part)
        elif size > problem_responses.MAX_DRAIN_BYTES:
            break
    if size > max_bytes:
        raise too_large
    return b"".join(parts)
