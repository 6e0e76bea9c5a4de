"""Read submitted forms: limited in size, decoded strictly, without characters that the database cannot store."""

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
    """The submitted fields; the last value wins for a repeated name. Raises Invalid, FormTooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM_TYPE and (kind or request.headers.get("content-length", "0") != "0"):
        await problem_responses.drain_body(request.scope, request.receive)
        raise Invalid("This address only accepts forms.", "Reload and submit again.")
    body = await _read_body(
        request, MAX_FORM_BYTES, FormTooLarge("Your input is too long.", "Shorten what you entered.")
    )
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError as problem:
        raise Invalid("We couldn’t read your input.", "Reload the page and try again.") from problem
    return check_fields(dict(pairs))


def read_version(fields: dict[str, str]) -> int | None:
    """The version of the object that the form shows. None for a form without the field. Raises Invalid."""
    if "row_version" not in fields:
        return None
    if not (text := fields["row_version"]).isdecimal() or len(text) > 9:
        raise Invalid("We couldn’t read your input.", "Reload the page and try again.")
    return int(text)


def check_fields(fields: dict[str, str]) -> dict[str, str]:
    """Return `fields`. Raises Invalid for characters that cannot be stored."""
    for name, value in fields.items():
        if "\x00" in value or "\x00" in name:
            raise Invalid(
                "Your input contains an unsupported character.",
                "Type it again instead of pasting it.",
                fields={name.replace("\x00", ""): "Contains an unsupported character."},
            )
    return fields


async def read_logo(request: Request) -> tuple[dict[str, str], bytes]:
    """The fields and the bytes of the file `logo`, b"" without a file. Raises Invalid, FormTooLarge."""
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != MULTIPART_TYPE:
        await problem_responses.drain_body(request.scope, request.receive)
        raise Invalid(
            "This address only accepts file uploads.",
            "Choose a file on the Settings page.",
            fields={"logo": "Missing"},
        )
    too_large = FormTooLarge("This image is larger than 2 MB.", "Choose a smaller PNG, JPEG or WebP image.")
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
            "We couldn’t read this file.", "Choose another file.", fields={"logo": "Unreadable"}
        ) from problem
    if len(content) > logos.MAX_UPLOAD_BYTES:
        raise too_large
    return check_fields(fields), content


async def _read_body(request: Request, max_bytes: int, too_large: DomainError) -> bytes:
    """Read a body that is too long to its end, so that the client receives the response. A second call gets the same."""
    if (known_body := request.scope["state"].get("form_body")) is not None:
        return bytes(known_body)
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
    body = request.scope["state"]["form_body"] = b"".join(parts)
    return body
