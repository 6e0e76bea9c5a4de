"""The grammar of what a page sends over its socket: engine.io, socket.io and the envelope of an event.

Our own pages send a small part of what these libraries accept. Everything else is malformed and reaches neither them nor
Reflex: socket.io itself would let a client call `connect` again with a handshake of its own making.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

NAMESPACE = "/_event"
CLOSE, PONG, DISCONNECT = "1", "3", f"41{NAMESPACE},"
CONNECT, EVENT = f"40{NAMESPACE},", f"42{NAMESPACE},"
MAX_FRAME = 64 * 1024  # bytes
MAX_NAME, MAX_PATH, MAX_TEXT = 300, 2_000, 20_000  # characters
MAX_DEPTH = 12
# What the page sends with an event. Reflex reads the first three; the page adds the others.
ENVELOPE_FIELDS = frozenset({"name", "payload", "router_data", "token", "event_actions", "handler"})
ROUTER_FIELDS = frozenset({"pathname", "asPath", "query"})
EVENT_NAMES = frozenset({"event", "ping", "client_error"})
NAME_PATTERN = re.compile(r"[A-Za-z0-9_.]+")


class MalformedFrame(ValueError):
    """A frame that none of our pages sends. The message is a constant, without a word of the client's."""


class OversizedEvent(ValueError):
    """A well-formed event with a text that is too long, which a person may have caused."""


@dataclass(frozen=True, slots=True)
class Frame:
    is_connect: bool = False
    is_event: bool = False
    slug: str = ""  # of the tenant whose page sends it: a wish of the browser, no proof


def check_frame(text: str | None) -> Frame:
    """Raises MalformedFrame for everything that our pages don't send. Lengths of texts are left to `check_lengths`."""
    if text is None:
        raise MalformedFrame("binary frame")
    if len(text) > MAX_FRAME or len(text.encode(errors="replace")) > MAX_FRAME:
        raise MalformedFrame("frame too large")
    if text in (CLOSE, PONG, DISCONNECT):
        return Frame()
    if text.startswith(CONNECT):
        auth = _load_json(text.removeprefix(CONNECT)) if text != CONNECT else None
        _check_connect(auth)
        return Frame(is_connect=True, slug=_slug_of_event((auth or {}).get("event")))
    if text.startswith(EVENT):
        packet = _load_json(text.removeprefix(EVENT))
        _check_event_packet(packet)
        return Frame(is_event=True, slug=_slug_of_event(packet[1]) if packet[0] == "event" else "")
    raise MalformedFrame("unknown packet")


def _load_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as problem:
        raise MalformedFrame("invalid JSON") from problem


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and infinities are no JSON


def _check_connect(auth: Any) -> None:
    """The payload of the CONNECT packet carries the first event of the page."""
    if auth is None:
        return
    if not isinstance(auth, dict) or auth.keys() - {"event", "state_schema"}:
        raise MalformedFrame("unknown connect payload")
    if not isinstance(auth.get("state_schema", ""), str | None):
        raise MalformedFrame("invalid state schema")
    if auth.get("event") is not None:
        check_event(auth["event"])


def _check_event_packet(packet: Any) -> None:
    if not isinstance(packet, list) or not packet or packet[0] not in tuple(EVENT_NAMES):
        raise MalformedFrame("unknown event")
    if packet[0] == "event":
        if len(packet) != 2:
            raise MalformedFrame("wrong number of arguments")
        check_event(packet[1])
    elif packet[0] == "ping" and len(packet) != 1:
        raise MalformedFrame("wrong number of arguments")
    elif packet[0] == "client_error":
        if len(packet) != 2 or not isinstance(packet[1], dict):
            raise MalformedFrame("invalid error report")
        _check_value(packet[1], MAX_DEPTH)


def check_event(event: Any) -> None:
    """Raises MalformedFrame unless this is the envelope of an event: name, payload and place."""
    if not isinstance(event, dict) or event.keys() - ENVELOPE_FIELDS:
        raise MalformedFrame("invalid envelope")
    name = event.get("name")
    if not isinstance(name, str) or len(name) > MAX_NAME or not NAME_PATTERN.fullmatch(name):
        raise MalformedFrame("invalid event name")
    payload, router_data = event.get("payload", {}), event.get("router_data", {})
    if not isinstance(payload, dict) or not isinstance(router_data, dict):
        raise MalformedFrame("invalid envelope")
    if router_data.keys() - ROUTER_FIELDS:
        raise MalformedFrame("unknown router data")
    for field in ("pathname", "asPath"):
        if not _is_path(router_data.get(field, "/")):
            raise MalformedFrame("invalid path")
    query = router_data.get("query", {})
    if not isinstance(query, dict) or not all(_is_query_value(value) for value in query.values()):
        raise MalformedFrame("invalid query")
    for value in (payload, event.get("event_actions", {}), event.get("handler"), event.get("token", "")):
        _check_value(value, MAX_DEPTH)


def slug_from_path(path: str) -> str:
    """The tenant a page names, `/t/<slug>/…`; "" for other pages."""
    return path.removeprefix("/t/").partition("/")[0] if path.startswith("/t/") else ""


def _slug_of_event(event: dict[str, Any] | None) -> str:
    return slug_from_path(event.get("router_data", {}).get("asPath", "")) if event else ""


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("/") and value.isprintable()


def _is_query_value(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(item, str) for item in value)
    )


def _check_value(value: Any, depth: int) -> None:
    if depth == 0:
        raise MalformedFrame("too deeply nested")
    if isinstance(value, dict):
        for item in value.values():
            _check_value(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check_value(item, depth - 1)
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        raise MalformedFrame("number out of range")


def check_lengths(event: dict[str, Any]) -> None:
    """Raises OversizedEvent. `event` has passed `check_event`."""
    router_data = event.get("router_data", {})
    paths = (router_data.get("pathname", ""), router_data.get("asPath", ""))
    if any(len(path) > MAX_PATH for path in paths) or len(str(router_data.get("query", ""))) > 2 * MAX_PATH:
        raise OversizedEvent("path")
    if _longest_text(event.get("payload", {})) > MAX_TEXT:
        raise OversizedEvent("text")


def _longest_text(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    items: list[Any] = []
    if isinstance(value, dict):
        items = [*value.keys(), *value.values()]
    elif isinstance(value, list):
        items = value
    return max(map(_longest_text, items), default=0)
