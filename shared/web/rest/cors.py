"""Which web pages may call the API with a key.

A preflight request carries no key: it is answered for origins that any working key lists. The answer itself names the
origin only if this key lists it.
"""

import time
from collections import OrderedDict

from starlette.requests import Request
from starlette.responses import Response

from shared.api_keys import key_origins

HEADERS = "authorization, bulkhead-version, content-type, idempotency-key, if-match"
EXPOSED_HEADERS = (
    "bulkhead-version, content-disposition, decision-id, deprecation, etag, idempotency-replayed, location, ratelimit,"
    " ratelimit-policy, retry-after, sunset, x-request-id"
)
MAX_AGE_SECONDS = 600  # that a browser keeps the answer
MAX_ORIGIN_LENGTH = 200
KNOWN_SECONDS, MAX_KNOWN = 30.0, 1_000

_known: OrderedDict[str, tuple[float, bool]] = OrderedDict()  # origin: until when, and whether a key lists it


async def answer_preflight(request: Request, methods: str, *, has_origins: bool) -> Response:
    """`methods`: of the address, as in "GET, POST". `has_origins`: whether keys of this API can list any."""
    headers = {"allow": methods, "vary": "Origin"}
    origin = get_origin(request)
    if has_origins and origin and await _is_listed(origin):
        headers |= {
            "access-control-allow-origin": origin,
            "access-control-allow-methods": methods,
            "access-control-allow-headers": HEADERS,
            "access-control-max-age": str(MAX_AGE_SECONDS),
        }
    return Response(status_code=204, headers=headers)


def list_headers(request: Request, origins: frozenset[str]) -> dict[str, str]:
    """Of an answer to a request with a key that lists these origins."""
    origin = get_origin(request)
    if not origin or origin not in origins:
        return {"vary": "Origin"}
    return {
        "vary": "Origin",
        "access-control-allow-origin": origin,
        "access-control-expose-headers": EXPOSED_HEADERS,
    }


def get_origin(request: Request) -> str:
    """ "" without one, and for a text that is none."""
    origin = request.headers.get("origin", "")
    return origin if len(origin) <= MAX_ORIGIN_LENGTH and origin.isascii() and origin.isprintable() else ""


async def _is_listed(origin: str) -> bool:
    until, is_listed = _known.get(origin, (0.0, False))
    if until < time.monotonic():
        is_listed = await key_origins.is_listed(origin)
        _known[origin] = (time.monotonic() + KNOWN_SECONDS, is_listed)
        _known.move_to_end(origin)
        if len(_known) > MAX_KNOWN:
            _known.popitem(last=False)
    return is_listed
