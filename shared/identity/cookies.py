"""Reading and setting our cookies. All are `__Host-`: no script reads, no other host sets them."""

from datetime import timedelta

from starlette.responses import Response

LONGEST = 4096


def read(header: str, name: str) -> str:
    """The value of exactly this cookie, "" when there is none, or two that differ."""
    values = {
        value
        for key, found, value in (part.strip().partition("=") for part in header.split(";"))
        if found and key == name
    }
    value = values.pop() if len(values) == 1 else ""
    return value if len(value) <= LONGEST and value.isascii() and value.isprintable() else ""


def put(response: Response, name: str, value: str, age: timedelta) -> None:
    response.set_cookie(
        name, value, max_age=int(age.total_seconds()), path="/", secure=True, httponly=True, samesite="lax"
    )


def drop(response: Response, name: str) -> None:
    response.set_cookie(name, "", max_age=0, path="/", secure=True, httponly=True, samesite="lax")
