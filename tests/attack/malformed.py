"""Frames that no page sends, of every layer: websocket, engine.io, socket.io, the envelope of an event."""

import asyncio
import json
import uuid
from contextlib import AsyncExitStack, suppress

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from shared.core.socket_frames import MAX_FRAME
from shared.core.socket_limits import MAX_SOCKETS, MAX_TABS
from shared.web.guarded_socket import MALFORMED
from tests.attack.apps import App
from tests.attack.report import Report
from tests.attack.sockets import fresh_own_session, own_cookie
from tests.attack.world import World

KIND = "frames"
TOO_LARGE = 1009  # close code of the server itself
CUT = 1006  # no close code arrived
CLOSING = 15  # seconds
LINE_LENGTH = 600  # of a line of the log in the report
EVENT, CONNECT = "42/_event,", "40/_event,"
KNOWN = "reflex___state____state.hydrate"
PLACE = {"pathname": "/", "asPath": "/", "query": {}}
FORGED = '{"event": "forged", "level": "error"}'


def _envelope(**fields: object) -> str:
    return _packet("event", {"name": KNOWN, "payload": {}, "router_data": PLACE} | fields)


def _packet(*arguments: object) -> str:
    return EVENT + json.dumps(arguments)


def frames(client_token: str) -> dict[str, str | bytes]:
    """By name. `client_token`: of somebody else's tab."""
    handshake = {"QUERY_STRING": f"token={client_token}", "asgi.scope": {"headers": []}}
    return {
        # websocket and engine.io
        "empty": "",
        "binary": b"\x00\x01\x02",
        "binary event": b'42/_event,["event"]',
        "letters": "zzzzzz",
        "a line that forges a record": f"\n{FORGED}\n",
        "open": "0{}",
        "ping": "2probe",
        "upgrade": "5",
        "noop": "6",
        "unknown packet": "9",
        "base64": "bAAEC",
        "two pongs": "33",
        # socket.io
        "no namespace": '42["event",{}]',
        "another namespace": '42/other,["event",{}]',
        "connect to another namespace": "40/other,",
        "connect without namespace": "40",
        "second connect": CONNECT,
        "acknowledgement": "43/_event,1[]",
        "event with acknowledgement": '42/_event,7["event",{}]',
        "connect error": "44/_event,{}",
        "binary event packet": '451-/_event,["event",{"_placeholder":true,"num":0}]',
        "many attachments": "459999999999-/_event,[]",
        "binary acknowledgement": "461-/_event,[]",
        "huge id": f"42/_event,{'1' * 200}[]",
        "no data": EVENT,
        "number": EVENT + "7",
        "object": EVENT + "{}",
        "empty list": EVENT + "[]",
        "cut off": EVENT + '["event",{"name"',
        "not a number": EVENT + '["event",{"name":"x","payload":{"a":NaN}}]',
        "huge number": EVENT + '["event",{"name":"x","payload":{"a":' + "9" * 5_000 + "}}]",
        "large integer": _envelope(payload={"a": 2**64}),
        "deep": EVENT + '["event",' + "[" * 30_000 + "]" * 30_000 + "]",
        "nested": _envelope(payload={"a": json.loads("[" * 20 + "]" * 20)}),
        "name is a number": _packet(7, {}),
        "name is an object": _packet({}, {}),
        "name is null": _packet(None),
        "reserved name connect": _packet("connect", handshake),
        "reserved name connect with auth": _packet("connect", handshake, {"event": None}),
        "reserved name disconnect": _packet("disconnect"),
        "method of the namespace": _packet("event_namespace", {}),
        "update": _packet("update", {}),
        "no argument": _packet("event"),
        "two arguments": _packet("event", {}, {}),
        "ping with argument": _packet("ping", {}),
        "report without argument": _packet("client_error"),
        "report of a list": _packet("client_error", []),
        # the envelope
        "event is a text": _packet("event", json.dumps({"name": KNOWN})),
        "event is a text with a line": _packet("event", f"\n{FORGED}\n"),
        "event is a list": _packet("event", []),
        "event is null": _packet("event", None),
        "event is a number": _packet("event", 7),
        "event without name": _packet("event", {"payload": {}}),
        "event name is a number": _envelope(name=7),
        "event name is an object": _envelope(name={"a": 1}),
        "event name is empty": _envelope(name=""),
        "event name with a line": _envelope(name=f"x\n{FORGED}"),
        "event name is too long": _envelope(name="x" * 301),
        "payload is a list": _envelope(payload=[]),
        "payload is a text": _envelope(payload="x"),
        "payload is null": _envelope(payload=None),
        "router data is a list": _envelope(router_data=[]),
        "router data is null": _envelope(router_data=None),
        "router data with headers": _envelope(router_data=PLACE | {"headers": {"cookie": "x"}}),
        "router data with a token": _envelope(router_data=PLACE | {"token": client_token}),
        "path is a number": _envelope(router_data=PLACE | {"pathname": 7}),
        "path is a list": _envelope(router_data=PLACE | {"asPath": ["/"]}),
        "path is relative": _envelope(router_data=PLACE | {"asPath": "t/acme"}),
        "path with a line": _envelope(router_data=PLACE | {"asPath": f"/\n{FORGED}"}),
        "path with half a pair": _envelope(router_data=PLACE | {"asPath": "/\ud800"}),
        "query is a list": _envelope(router_data=PLACE | {"query": []}),
        "query of numbers": _envelope(router_data=PLACE | {"query": {"a": 7}}),
        "another field": _envelope(ctx={"tenant_id": "x"}),
        "another field of the class": _envelope(state_cls="x"),
        "too large": _envelope(payload={"a": "x" * 66_000}),
        "far too large": _envelope(payload={"a": "x" * 1_500_000}),
        "boot event is a text": CONNECT + json.dumps({"event": "x"}),
        "boot event of a stranger": CONNECT + json.dumps({"event": {"name": 7}}),
        "boot with another field": CONNECT + json.dumps({"environ": handshake}),
        "boot is a list": CONNECT + "[]",
        "schema is an object": CONNECT + json.dumps({"state_schema": {}}),
    }


async def attack(app: App, world: World, report: Report) -> None:
    """Each frame over a socket of its own, of somebody who may open it: the socket is closed without a word."""
    cookie = own_cookie(app, world)
    async with app.socket(cookie) as socket:
        works = "delta" in await socket.send(KNOWN, {}, "/")
        report.control(KIND, f"{app.name}: a frame of our pages is answered", works=works)
        left_token = socket.token
    all_frames = frames(left_token)
    for name, frame in all_frames.items():
        async with app.socket(cookie) as socket:
            with suppress(ConnectionClosed):  # before a large one has left
                await socket.wire.send(frame)
            refused = await _is_closed(socket.wire, frame)
        report.attempt(KIND, f"{app.name}: {name}", refused=refused)
    async with app.socket(cookie, connects=False) as socket:
        frame = socket.packet(KNOWN, {}, "/")
        await socket.wire.send(frame)
        report.attempt(
            KIND, f"{app.name}: event before connect", refused=await _is_closed(socket.wire, frame)
        )
    async with app.socket(cookie) as socket:
        answer = await socket.send("reflex___state____state.gone", {}, "/", waits_for="older version")
        report.control(KIND, f"{app.name}: a handler that is gone is explained", works="Reload it." in answer)
    await _open_many(app, report, await fresh_own_session(app, world), MAX_TABS, "tabs", same_tab=False)
    await _open_many(app, report, await fresh_own_session(app, world), MAX_SOCKETS, "sockets", same_tab=True)
    log_text = app.read_log()
    for word in ("Traceback", '"event": "bug"', '"level": "error"', '\n{"event": "forged"'):
        logged_line = next((line for line in log_text.splitlines() if word.strip() in line), "")
        report.attempt(
            KIND, f"{app.name}: {word} in the log {logged_line[:LINE_LENGTH]}", refused=word not in log_text
        )
    report.control(KIND, f"{app.name}: its log was read", works="malformed_frame" in log_text)
    report.control(KIND, f"{app.name}: it is alive", works=await app.answers())


def is_refusal(code: int | None, frame: str | bytes) -> bool:
    """Whether a socket with this close code was closed because of the frame.

    The rest of a large one may still be on its way, and then cuts the connection before the code has arrived.
    """
    size = len(frame.encode() if isinstance(frame, str) else frame)
    return code in (MALFORMED, TOO_LARGE) or (code == CUT and size > MAX_FRAME)


async def _is_closed(wire: ClientConnection, frame: str | bytes) -> bool:
    """With our code, and nothing was sent before."""
    try:
        await asyncio.wait_for(wire.recv(), CLOSING)
    except ConnectionClosed:
        return is_refusal(wire.close_code, frame)
    except TimeoutError:
        return False
    return False


async def _open_many(
    app: App, report: Report, cookie: str, allowed: int, name: str, *, same_tab: bool
) -> None:
    token = str(uuid.uuid4())
    async with AsyncExitStack() as stack:
        opened = 0
        try:
            for _ in range(allowed + 1):
                await stack.enter_async_context(app.socket(cookie, token=token if same_tab else ""))
                opened += 1
        except InvalidHandshake:
            pass
        report.attempt(KIND, f"{app.name}: more than {allowed} {name}", refused=opened <= allowed)
        report.control(KIND, f"{app.name}: {allowed} {name}", works=opened >= allowed)
    await asyncio.sleep(0.2)  # their ends arrive
    works = await app.opens(cookie)
    report.control(KIND, f"{app.name}: another one after those {name} have closed", works=works)
