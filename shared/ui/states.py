"""Base states of both apps: the only way from an event into the domain."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import reflex as rx
from reflex.event import EventSpec
from reflex_components_sonner.toast import ToastAction

from shared.core import db, live_events, log, rate_limits, request_ids
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import DomainError, Refused
from shared.core.socket_frames import slug_from_path
from shared.tenancy import entry
from shared.tenancy.admissions import OperatorAdmission, TenantAdmission
from shared.ui import event_requests
from shared.ui.live_updates import get_tab_key

AnyCtx = TypeVar("AnyCtx")  # Ctx or OperatorCtx


@dataclass(frozen=True, slots=True)
class EventAdmission:
    """Whom the middleware has just authenticated for this event, and by which cookies at which address."""

    cookies: str
    slug: str
    admission: TenantAdmission | OperatorAdmission | None


# Reflex runs every event in a task of its own, so one event never sees another one's.
_event_admission: ContextVar[EventAdmission | None] = ContextVar("event_admission", default=None)


def set_event_admission(admission: EventAdmission) -> None:
    """For the next `_ctx()` of this event. Replaces what the event that started this one may have left."""
    _event_admission.set(admission)


def _take_admission(cookies: str, slug: str) -> TenantAdmission | OperatorAdmission | None:
    """Once per event: a second transaction, such as one after a call to the provider, authenticates again."""
    admitted = _event_admission.get()
    _event_admission.set(None)
    return admitted.admission if admitted and (admitted.cookies, admitted.slug) == (cookies, slug) else None


class SessionState(rx.State, Generic[AnyCtx]):
    """Has no vars: what is in a var is in the browser."""

    @asynccontextmanager
    async def _ctx(self) -> AsyncIterator[AnyCtx]:
        """One event, one transaction: commits at the end, rolls back on any error.

        Session, role and permissions are read once per event, so a revoked right ends with the next event.
        """
        async with rate_limits.not_counted_in_an_outage(), self._enter() as ctx:
            yield ctx

    def _enter(self) -> AbstractAsyncContextManager[AnyCtx]:
        """The context of this page's realm."""
        raise NotImplementedError

    async def _read_frame(self, ctx: AnyCtx) -> Any:
        """What surrounds the page and may change with it, for `_show_frame`."""
        raise NotImplementedError

    async def _show_frame(self, ctx: AnyCtx, frame_data: Any) -> None:
        """Shows what `_read_frame` has read."""
        raise NotImplementedError

    @asynccontextmanager
    async def _change_page(self) -> AsyncIterator[AnyCtx]:
        """For a handler that changes something and shows the page again: the commit does not load this tab again.

        Whatever the page's load shows has to be read inside, after the change. The frame is shown here.
        """
        async with self._quiet_ctx() as ctx:
            yield ctx
            frame_data = await self._read_frame(ctx)
        await self._show_frame(ctx, frame_data)

    @asynccontextmanager
    async def _quiet_ctx(self) -> AsyncIterator[AnyCtx]:
        """A context whose commit does not load this tab again, for a handler that answers with the page's load."""
        with self._skip_own_tab():
            async with self._ctx() as ctx:
                yield ctx

    def _skip_own_tab(self) -> AbstractContextManager[None]:
        """Commits inside do not load this tab again, for a service that opens its own transactions."""
        return live_events.skip_tab(get_tab_key(self.router.session.session_id))

    def _cookies(self) -> str:
        """The cookies of the websocket handshake, HttpOnly ones included.

        The handshake is frozen for the life of the socket, so signing in, signing out and
        switching tenant are HTTP posts followed by a full page load.
        """
        return self.router.headers.cookie


class TenantState(SessionState[Ctx]):
    """Base of every page state in tenant_app."""

    def _slug(self) -> str:
        """The tenant the page asks for: a wish of the browser, no proof."""
        return slug_from_path(self.router.url.path)

    def _enter(self) -> AbstractAsyncContextManager[Ctx]:
        admission = _take_admission(self._cookies(), self._slug())
        if isinstance(admission, TenantAdmission):
            return entry.enter_admitted(admission)
        return entry.enter_tenant(self._cookies(), self._slug())


class OperatorState(SessionState[OperatorCtx]):
    """Base of every page state in admin_app: another realm, another cookie, no tenant."""

    def _enter(self) -> AbstractAsyncContextManager[OperatorCtx]:
        admission = _take_admission(self._cookies(), slug_from_path(self.router.url.path))
        if isinstance(admission, OperatorAdmission):
            return entry.enter_admitted_operator(admission)
        return entry.enter_operator(self._cookies())


def show_refusal(exception: Exception) -> EventSpec:
    """`rx.App(backend_exception_handler=...)`: returns the toast that says what went wrong.

    An unexpected error is reported, and the toast has its reference. Raised again, it would show nothing at all.
    """
    request_id = event_requests.resume()
    if isinstance(exception, DomainError):
        return refusal_toast(exception)
    if refusal := db.to_refusal(exception):
        log.report_outage(exception, request_id=request_id)
        return refusal_toast(refusal)
    log.report_bug(exception, request_id=request_id)
    return rx.toast.error(
        "Something went wrong.",
        description=f"Nothing was changed. Reference: {request_id}",
        duration=10_000,
    )


def refusal_toast(refusal: DomainError) -> EventSpec:
    """Long enough to read twice; people read an error slower than a success.

    With the ids of the recorded decision and of the request, and a button that copies the first.
    """
    if not isinstance(refusal, Refused) or not refusal.decision_id:
        return rx.toast.error(refusal.detail, description=refusal.next_step, duration=8_000)
    return rx.toast.error(
        refusal.detail,
        description=f"{refusal.next_step} Decision: {refusal.decision_id}. Reference: {request_ids.current()}",
        action=ToastAction(label="Copy decision ID", on_click=rx.set_clipboard(refusal.decision_id)),
        duration=10_000,
    )
