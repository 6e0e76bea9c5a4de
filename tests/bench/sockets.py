"""Bytes that the websockets of a server took on the wire: compressed, with the heads of their frames, both ways.

The browser only says how long messages were before compression, so the server counts.
"""

from typing import Any

from uvicorn.protocols.websockets import websockets_sansio_impl

PATH = "/bench-socket-bytes"
_bytes = 0


class CountedTransport:
    """The same transport, which counts what is written."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        _count(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class CountedProtocol(websockets_sansio_impl.WebSocketsSansIOProtocol):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(CountedTransport(transport))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        _count(data)
        super().data_received(data)


def _count(data: bytes) -> None:
    global _bytes
    _bytes += len(data)


def counting(app: Any) -> Any:
    """The same ASGI app, which also says the number. Every server of this process counts from here on."""
    websockets_sansio_impl.WebSocketsSansIOProtocol = CountedProtocol  # type: ignore[misc]

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == PATH:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(_bytes).encode()})
        else:
            await app(scope, receive, send)

    return asked
