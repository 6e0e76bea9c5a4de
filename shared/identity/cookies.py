"""Read and set our cookies. All have the `__Host-` prefix and HttpOnly."""

from datetime import timedelta

from starlette.responses import Response

MAX_LENGTH = 4096


def get_cookie_value(header: str, name: str) -> str:
    """ "" without the cookie, with two different values of it, or for one that is too long or not printable ASCII."""
    values = {
        value
        for key, separator, value in (part.strip().partition("=") for part in header.split(";"))
        if separator and key == name
    }
    value = values.pop() if len(values) == 1 else ""
    return value if len(value) <= MAX_LENGTH and value.isascii() and value.isprintable() else ""


def put(response: Response, name: str, value: str, max_age: timedelta) -> None:
    response.set_cookie(
        name,
        value,
        max_age=int(max_age.total_seconds()),
        path="/",
        secure=True,
        httponly=True,
        samesite="lax",
    )


def clear(response: Response, name: str) -> None:
    response.set_cookie(name, "", max_age=0, path="/", secure=True, httponly=True, samesite="lax")
