"""One open socket between the server and Reflex: every frame is checked and takes its turn here.

A reader takes frames from the server at once, so that the end of the connection is seen although frames still wait;
those are dropped then.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.core import metric_catalog, socket_frames
from shared.core.socket_frames import Frame, MalformedFrame
from shared.core.socket_limits import SocketLimits, TooManyFrames

MALFORMED, TOO_MANY = 4400, 4429  # close codes
Report = Callable[[str], Awaitable[None]]


class WaitingMessage(NamedTuple):
    message: Message
    cost: float = 0.0
    slug: str = ""


class GuardedSocket:
    def __init__(
        self,
        app: ASGIApp,
        limits: SocketLimits,
        *,
        session_hash: str,
        person_id: str,
        client_token: str,
        report: Report,
    ) -> None:
        """`report` records a security event of this kind."""
        self._app, self._limits, self._report = app, limits, report
        self._session_hash, self._person_id, self._client_token = session_hash, person_id, client_token
        self._waiting: deque[WaitingMessage] = deque()
        self._arrived, self._ended = asyncio.Event(), asyncio.Event()
        self._close_code = 0  # of ours; 0 while the socket is open or after the client has closed it
        self._has_connected = False
        self._end_message: Message = {"type": "websocket.disconnect", "code": 1005}

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the socket to its end. Raises TooManySockets before it is accepted."""
        self._limits.open_socket(self._session_hash, self._client_token)
        self._send = send
        reader = asyncio.create_task(self._read(receive))
        try:
            await self._app(scope, self._receive, self._send_while_open)
        finally:
            if not self._close_code:  # else it reports why it closed the socket
                reader.cancel()
            await asyncio.wait((reader,))
            self._drop_waiting()
            self._limits.close_socket(self._session_hash, self._client_token)

    async def _read(self, receive: Receive) -> None:
        try:
            await self._read_frames(receive)
        finally:
            if not self._ended.is_set():
                self._end(self._end_message)

    async def _read_frames(self, receive: Receive) -> None:
        while not self._ended.is_set():
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self._end(message)
                return
            waiting = WaitingMessage(message)
            if message["type"] == "websocket.receive":
                try:
                    frame = self._check(message.get("text"))
                    cost = self._limits.add_waiting(self._session_hash, len(message["text"]))
                    waiting = WaitingMessage(message, cost, frame.slug)
                except MalformedFrame as problem:
                    await self._close(MALFORMED, "malformed_frame", str(problem))
                    return
                except TooManyFrames:
                    await self._close(TOO_MANY, "event_flood", "too many frames")
                    return
            self._waiting.append(waiting)
            self._arrived.set()

    def _check(self, text: str | None) -> Frame:
        frame = socket_frames.check_frame(text)
        if frame.is_connect and self._has_connected:
            raise MalformedFrame("second connect")
        if frame.is_event and not self._has_connected:
            raise MalformedFrame("event before connect")
        self._has_connected = self._has_connected or frame.is_connect
        return frame

    async def _close(self, code: int, kind: str, problem: str) -> None:
        self._close_code = code
        self._end({"type": "websocket.disconnect", "code": code})
        metric_catalog.refused_frames.add(problem)
        await self._send({"type": "websocket.close", "code": code, "reason": problem})
        await self._report(kind)

    def _end(self, message: Message) -> None:
        """Reflex hears of the end next, instead of what waits."""
        self._drop_waiting()
        self._end_message = message
        self._ended.set()
        self._arrived.set()

    def _drop_waiting(self) -> None:
        while self._waiting:
            self._limits.remove_waiting(self._session_hash, self._waiting.popleft().cost)

    async def _receive(self) -> Message:
        while not self._ended.is_set():
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            message, cost, slug = self._waiting[0]
            if cost:
                await self._wait_for_turn(cost, slug)
            if not self._ended.is_set():
                self._waiting.popleft()
                self._limits.remove_waiting(self._session_hash, cost)
                return message
        return self._end_message

    async def _wait_for_turn(self, cost: float, slug: str) -> None:
        """Until it is the frame's turn, or the socket has ended."""
        seconds = self._limits.take_turn(self._session_hash, self._person_id, slug, cost)
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._ended.wait()

    async def _send_while_open(self, message: Message) -> None:
        if not self._close_code:
            await self._send(message)
