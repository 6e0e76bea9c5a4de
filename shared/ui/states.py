"""Base states of both apps: the only way from an event into the domain."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import reflex as rx
from reflex.event import EventSpec

from shared.core import log
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import DomainError
from shared.tenancy import entry


def slug_from_path(path: str) -> str:
    """The tenant a page names, `/t/<slug>/…`; "" for other pages."""
    return path.removeprefix("/t/").partition("/")[0] if path.startswith("/t/") else ""


class SessionState(rx.State):
    """Has no vars: what is in a var is in the browser."""

    def _cookies(self) -> str:
        """The cookies of the websocket handshake, HttpOnly ones included.

        The handshake is frozen for the life of the socket, so signing in, signing out and
        switching tenant are HTTP posts followed by a full page load.
        """
        return self.router.headers.cookie


class TenantState(SessionState):
    """Base of every page state in tenant_app."""

    def _slug(self) -> str:
        """The tenant the page asks for: a wish of the browser, no proof."""
        return slug_from_path(self.router.url.path)

    @asynccontextmanager
    async def _ctx(self) -> AsyncIterator[Ctx]:
        """One event, one transaction: commits at the end, rolls back on any error.

        Session, membership and role are read anew, so a revoked right ends here.
        """
        async with entry.enter_tenant(self._cookies(), self._slug()) as ctx:
            yield ctx


class OperatorState(SessionState):
    """Base of every page state in admin_app: another realm, another cookie, no tenant."""

    @asynccontextmanager
    async def _ctx(self) -> AsyncIterator[OperatorCtx]:
        async with entry.enter_operator(self._cookies()) as ctx:
            yield ctx


def show_refusal(exception: Exception) -> EventSpec:
    """`rx.App(backend_exception_handler=...)`: the one place where a refusal is shown.

    A bug is reported and gets an id for support; raised again it would show nothing at all.
    """
    if isinstance(exception, DomainError):
        return refusal_toast(exception)
    request_id = log.report_bug(exception)
    return rx.toast.error(
        "Something went wrong.",
        description=f"Nothing was changed. Reference: {request_id}",
        duration=10_000,
    )


def refusal_toast(refusal: DomainError) -> EventSpec:
    """Long enough to read twice; people read an error slower than a success."""
    return rx.toast.error(refusal.detail, description=refusal.next_step, duration=8_000)
