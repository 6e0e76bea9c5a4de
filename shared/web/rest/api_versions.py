"""Versions of the API by date: clients name theirs in `Bulkhead-Version`, and former versions answer as before.

A breaking change makes a new `CURRENT` and adds the one before it to `FORMER_VERSIONS`, with what differs. A request of a
former version passes the converters of all versions between it and the current one, and its answer passes them back.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared.core.db import now
from shared.core.errors import DomainError

HEADER = "bulkhead-version"
CURRENT = "2026-11-30"
Json = Any  # the body of any operation
# The operation's id and the body. Called with objects only, which it may change.
Converter = Callable[[str, dict[str, Json]], dict[str, Json]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerVersion:
    """A version that still works. It ends at `sunset_at`, at least a year after `deprecated_at`."""

    date: str
    deprecated_at: datetime
    sunset_at: datetime
    upgrade_request: Converter  # to the version after this one
    downgrade_answer: Converter  # from the version after this one

    def list_headers(self) -> dict[str, str]:
        """RFC 9745 and RFC 8594."""
        return {
            HEADER: self.date,
            "deprecation": f"@{int(self.deprecated_at.timestamp())}",
            "sunset": format_datetime(self.sunset_at.astimezone(UTC), usegmt=True),
        }


FORMER_VERSIONS: tuple[FormerVersion, ...] = ()  # the newest first


class UnknownVersion(DomainError):
    default_reason = "unknown_version"

    def __init__(self, detail: str, versions: Sequence[str]) -> None:
        super().__init__(detail, f"Send one of {', '.join(versions)}, or none for the newest.")
        self._known = list(versions)

    def problem_details(self, request_id: str) -> dict[str, object]:
        return {**super().problem_details(request_id), "versions": self._known}


@dataclass(frozen=True, slots=True)
class RequestedVersion:
    """`steps`: the version of the client and all later ones but the current, the newest first."""

    steps: tuple[FormerVersion, ...] = ()

    def list_headers(self) -> dict[str, str]:
        return self.steps[-1].list_headers() if self.steps else {HEADER: CURRENT}

    def upgrade_request(self, operation: str, value: Json) -> Json:
        """The body as the current version would have it."""
        for version in reversed(self.steps):
            if not isinstance(value, dict):
                break
            value = version.upgrade_request(operation, value)
        return value

    def downgrade_answer(self, operation: str, response: Response) -> Response:
        """The answer as the client's version has it."""
        if not self.steps or not response.body:
            return response
        value = json.loads(bytes(response.body))
        for version in self.steps:
            value = version.downgrade_answer(operation, value)
        headers = {name: text for name, text in response.headers.items() if name != "content-length"}
        return Response(json.dumps(value, ensure_ascii=False), response.status_code, headers)


def parse_version(request: Request) -> RequestedVersion:
    """Of the header; the current one without it. Raises UnknownVersion."""
    lines = request.headers.getlist(HEADER)
    if not lines or lines == [CURRENT]:
        return RequestedVersion()
    working = [version for version in FORMER_VERSIONS if version.sunset_at > now()]
    dates = [version.date for version in working]
    if len(lines) == 1 and lines[0] in dates:
        return RequestedVersion(tuple(working[: dates.index(lines[0]) + 1]))
    has_ended = len(lines) == 1 and lines[0] in {version.date for version in FORMER_VERSIONS}
    detail = "This version of the API has ended." if has_ended else "There is no such version of the API."
    raise UnknownVersion(detail, [CURRENT, *dates])
