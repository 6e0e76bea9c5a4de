"""Base states of both apps: the only way from an event into the domain."""

from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass

import reflex as rx
from reflex.event import EventSpec

from shared.core import log
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import DomainError
from shared.tenancy import entry


def slug_from_path(path: str) -> str:
    """The tenant a page names, `/t/<slug>/…`; "" for other pages."""
    return path.removeprefix("/t/").partition("/")[0] if path.startswith("/t/") else ""


@dataclass(frozen=True, slots=True)
class EventAdmission:
    """Whom the middleware has just authenticated for this event, and by which cookies at which address."""

    cookies: str
    slug: str
    admission: entry.TenantAdmission | entry.OperatorAdmission | None


# Reflex runs every event in a task of its own, so one event never sees another one's.
_event_admission: ContextVar[EventAdmission | None] = ContextVar("event_admission", default=None)


def set_event_admission(admission: EventAdmission) -> None:
    """For the next `_ctx()` of this event. Replaces what the event that started this one may have left."""
    _event_admission.set(admission)


def _take_admission(cookies: str, slug: str) -> entry.TenantAdmission | entry.OperatorAdmission | None:
    """Once per event: a second transaction, such as one after a call to the provider, authenticates again."""
    admitted = _event_admission.get()
    _event_admission.set(None)
    return admitted.admission if admitted and (admitted.cookies, admitted.slug) == (cookies, slug) else None


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

    def _ctx(self) -> AbstractAsyncContextManager[Ctx]:
        """One event, one transaction: commits at the end, rolls back on any error.

        Session, membership and role are read once per event, so a revoked right ends with the next event.
        """
        admission = _take_admission(self._cookies(), self._slug())
        if isinstance(admission, entry.TenantAdmission):
            return entry.enter_admitted(admission)
        return entry.enter_tenant(self._cookies(), self._slug())


class OperatorState(SessionState):
    """Base of every page state in admin_app: another realm, another cookie, no tenant."""

    def _ctx(self) -> AbstractAsyncContextManager[OperatorCtx]:
        admission = _take_admission(self._cookies(), slug_from_path(self.router.url.path))
        if isinstance(admission, entry.OperatorAdmission):
            return entry.enter_admitted_operator(admission)
        return entry.enter_operator(self._cookies())


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
