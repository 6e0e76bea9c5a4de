"""An outage of one account: for a while, its API refuses every request and no event is delivered."""

import time

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.dev.stripe_sandbox.store import Account, Sandbox


def start_outage(account: Account, seconds: float) -> None:
    """Starts an outage now, in real time. 0 ends it."""
    account.settings["stopped_until"] = time.time() + seconds
    account.put(account.settings)


def get_outage_end(account: Account) -> float:
    return float(account.settings.get("stopped_until", 0))


class OutageMiddleware:
    """Refuse API requests of an account during its outage."""

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            _, _, key = Request(scope).headers.get("authorization", "").partition(" ")
            account = self._sandbox.accounts.get(key)
            if account is not None and get_outage_end(account) > time.time():
                app = PlainTextResponse("upstream connect error", 503)  # a gateway's words, not an API's JSON
        await app(scope, receive, send)
