"""Frames of our pages, changed at random at every level of their envelope. The seed is printed and repeats a run.

Most are closed as malformed. What is still an event is an honest page's, or is refused in words: nothing breaks.
"""

import asyncio
import copy
import json
import random
from collections.abc import Callable
from typing import Any

from websockets.exceptions import ConnectionClosed

from shared.core.socket_frames import EVENT, PONG
from shared.web.guarded_socket import TOO_MANY
from tests.attack.apps import OVER, App, Socket
from tests.attack.frames import contains_words
from tests.attack.malformed import is_refusal
from tests.attack.report import Report
from tests.attack.sockets import own_cookie
from tests.attack.variety import seed
from tests.attack.world import World
from tests.support.sizes import size

KIND = "envelopes"
BUG = "Something went wrong."
BROKEN = "the server broke the socket"
SECONDS = 20.0  # for the answer to one frame
PING, ANSWERED = EVENT + '["ping"]', '["ping"'
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**53, 2**64, 1e308, "", "x", "\0", "\u202e", "\ud800", "x" * 30_000, "/", "../.."),
    *([], {}, [[]], [None, {}], {"": ""}, {"a": {"a": {"a": []}}}, {"__proto__": {}}, {"$type": "x"}),
    *("{{7*7}}", "${jndi:x}", "' or 1=1 --", "%00", "\r\nx: y", "reflex___state____state", "state.reset"),
)
KEYS = ("name", "payload", "router_data", "token", "pathname", "asPath", "query", "headers", "__class__", "")
Change = Callable[[random.Random, Any], Any]


def build_frames(seed: int, names: list[str], count: int) -> list[str]:
    """`names`: of handlers that only read, which an honest page calls."""
    choice = random.Random(seed)
    return [_change_text(choice, _change_packet(choice, names)) for _ in range(count)]


def _change_packet(choice: random.Random, names: list[str]) -> str:
    place = {"pathname": "/", "asPath": "/", "query": {}}
    packet: Any = ["event", {"name": choice.choice(names), "payload": {}, "router_data": place, "token": "x"}]
    for _ in range(choice.randint(0, 3)):  # an honest one between them has to be answered
        packet = _change_somewhere(choice, copy.deepcopy(packet))
    return EVENT + json.dumps(packet)


def _change_somewhere(choice: random.Random, value: Any) -> Any:
    """Walks down a random path and changes what is there: another value, a key more or less, an item twice."""
    if isinstance(value, dict) and value and choice.random() < 0.8:
        key = choice.choice(list(value))
        kind = choice.randrange(6)
        if kind == 0:
            del value[key]
        elif kind == 1:
            value[choice.choice(KEYS)] = choice.choice(VALUES)
        elif kind == 2:
            value[key + choice.choice("\0 .x")] = value.pop(key)
        else:
            value[key] = _change_somewhere(choice, value[key])
        return value
    if isinstance(value, list) and value and choice.random() < 0.8:
        place = choice.randrange(len(value))
        if choice.random() < 0.2:
            return [*value, value[place]]
        value[place] = _change_somewhere(choice, value[place])
        return value
    return choice.choice(VALUES)


def _change_text(choice: random.Random, text: str) -> str:
    """Now and then the text itself: cut, doubled, with another byte."""
    kind = choice.randrange(12)
    place = choice.randrange(len(text))
    if kind == 0:
        return text[:place]
    if kind == 1:
        return text[:place] + choice.choice('"{}[],:\\0\u2028') + text[place:]
    if kind == 2:
        return text + text[place:]
    return text


async def attack(app: App, world: World, report: Report) -> None:
    number_of_run = seed()
    names = ["reflex___state____state.hydrate", *app.listing["pages"].values()]
    frames = build_frames(number_of_run, names, size("attack.changed_frames"))
    cookie, foreign_words = own_cookie(app, world), world.words(world.globex)
    closed = answered = 0
    while frames:
        async with app.socket(cookie) as socket:
            while frames:
                number = len(frames)
                is_open, text = await _send(socket, frames.pop())
                broken = next((line for line in text.splitlines() if line.startswith(BROKEN)), "")
                leaks = app.name == "tenant" and contains_words(text, foreign_words)
                report.attempt(
                    KIND,
                    f"{app.name}: frame {number} of {number_of_run} {broken}".rstrip(),
                    refused=not broken and BUG not in text and not leaks,
                )
                closed, answered = closed + (not is_open), answered + is_open
                if not is_open:
                    break
    report.control(
        KIND,
        f"{app.name}: some changed frames are closed, and some answered",
        works=min(closed, answered) > 0,
    )
    report.control(KIND, f"{app.name}: it is alive", works=await app.answers())


async def _send(socket: Socket, frame: str) -> tuple[bool, str]:
    """Whether the socket is still open, and everything that came back before our ping was answered.

    `BROKEN` as well, for another end than one of ours.
    """
    texts: list[str] = []
    try:
        await socket.wire.send(frame)
        await socket.wire.send(PING)
        async with asyncio.timeout(SECONDS):
            while not (text := str(await socket.wire.recv())).startswith(EVENT + ANSWERED):
                if text == "2":
                    await socket.wire.send(PONG)
                elif text != OVER:
                    texts.append(text)
    except ConnectionClosed:
        code = socket.wire.close_code
        if code != TOO_MANY and not is_refusal(code, frame):
            texts.append(f"{BROKEN}: {code}, {len(frame)} characters")
        return False, "\n".join(texts)
    except TimeoutError:
        return False, BROKEN
    return True, "\n".join(texts)
