"""How a server proves that it is the one just started: it repeats a word that only it was told.

For our app and for the peers, so nothing of the product is imported here.
"""

import os
from typing import Any

PATH, VARIABLE = "/bench-nonce", "BENCH_NONCE"


def answering(app: Any) -> Any:
    """The same ASGI app, which also says its nonce."""
    nonce = os.environ[VARIABLE].encode()

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == PATH:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": nonce})
        else:
            await app(scope, receive, send)

    return asked
