"""Before every event, under the state lock: whose session, whose state tree, which permission.

Deny by default: a handler that does not say what it needs is refused.
"""

import functools
import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import reflex as rx
from reflex.event import Event
from reflex.state import BaseState, State, StateUpdate
from reflex_base.registry import RegistrationContext

from shared.access.actions import Action, OperatorAction
from shared.core import db, log, transaction_retries
from shared.core.errors import DomainError, NotSignedIn, Refused
from shared.core.socket_frames import slug_from_path
from shared.core.socket_limits import SocketLimits
from shared.tenancy import authentication
from shared.tenancy.admissions import Authenticator, Principal
from shared.ui import event_refusals, event_requests, support_tabs
from shared.ui.admission import Admission
from shared.ui.live_updates import LiveUpdates
from shared.ui.object_state import find_other_object, show_object
from shared.ui.present_address import open_present_address
from shared.ui.states import EventAdmission, refusal_toast, set_event_admission

STATE_PREFIX = "reflex___state____state."
PAGE_LOAD_EVENTS = {
    STATE_PREFIX + "hydrate_and_load",
    STATE_PREFIX + "reflex___state____on_load_internal_state.on_load_internal",
}
FRAMEWORK_EVENTS = PAGE_LOAD_EVENTS | {
    STATE_PREFIX + "hydrate",
    STATE_PREFIX + "set_is_hydrated",
    STATE_PREFIX + "reflex___state____on_load_internal_state.set_is_hydrated",
    STATE_PREFIX + "reflex___state____update_vars_internal_state.update_vars_internal",
    STATE_PREFIX + "reflex___state____frontend_event_exception_state.handle_frontend_exception",
}
# A full page load: the socket keeps the cookie it was opened with; the HTTP guard knows where to send people.
RELOAD_PAGE = rx.call_script("window.location.reload()")
Handler = TypeVar("Handler", bound=Callable[..., Any])


async def authenticate_operator(cookies: str, slug: str, *, touches: bool) -> Principal | None:  # noqa: ARG001  no tenant here
    return await authentication.authenticate_operator(cookies, touches=touches)


def needs(
    action: Action | OperatorAction, *, page: bool = False, part: bool = False
) -> Callable[[Handler], Handler]:
    """Marks a handler; sits below `@rx.event`.

    `page`: a load, whose errors are shown on the page itself. `part`: of a part of a page, whose errors are toasts.
    A handler whose transaction meets another one is repeated once. One that yields isn't: the page has shown its steps.
    """

    def mark(handler: Handler) -> Handler:
        marked: Any = _repeat_on_conflict(handler) if inspect.iscoroutinefunction(handler) else handler
        marked = show_object(marked) if page or part else marked
        marked = _catch_refusals(marked) if page else marked
        marked.__action__, marked.__page__, marked.__loads__ = action, page, page or part
        return marked

    return mark


def mark_inherited(state_class: type[BaseState], action_by_handler: Mapping[str, Any]) -> None:
    """Marks handlers that a page state inherits from a mixin; for the mixin's `__init_subclass__`.

    The handlers are copies of this class: other pages keep their own mark. Raises TypeError for a missing action.
    """
    for name, action in action_by_handler.items():
        if not isinstance(action, Action | OperatorAction):
            raise TypeError(
                f"{state_class.__name__} needs `reads: ClassVar[Action] = …`, the action of its page."
            )
        handler: Any = state_class.event_handlers[name].fn
        handler.__action__, handler.__page__, handler.__loads__ = action, False, False


def _repeat_on_conflict(handler: Any) -> Any:
    @functools.wraps(handler)
    async def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await transaction_retries.repeat_on_conflict(lambda: handler(self, *args, **kwargs))

    return run


def _catch_refusals(load: Any) -> Any:
    @functools.wraps(load)
    async def answer(self: Any, *args: Any) -> Any:
        admission = await self.get_state(Admission)
        try:
            result = await load(self, *args)
        except NotSignedIn:
            return RELOAD_PAGE
        except DomainError as refusal:
            admission._set_message(refusal)
        except Exception as problem:
            if outage := db.to_refusal(problem):
                log.report_outage(problem)
                admission._set_message(outage)
            else:
                admission._set_message(error_id=log.report_bug(problem))
        else:
            admission._set_message()
            return result

    return answer


def list_unmarked_handlers() -> list[str]:
    """Handlers without a permission. A test asserts that there are none."""
    handlers = {name: entry.handler.fn for name, entry in RegistrationContext.get().event_handlers.items()}
    app_handlers = {name: fn for name, fn in handlers.items() if not fn.__module__.startswith("reflex.")}
    return [name for name, fn in app_handlers.items() if not hasattr(fn, "__action__")]


class AuthorizeMiddleware(rx.Middleware):
    def __init__(
        self,
        authenticate: Authenticator,
        live: LiveUpdates,
        *,
        frame: Any = None,
        socket_limits: SocketLimits | None = None,
    ) -> None:
        """`frame`: the event that fills the frame of a page whose own load was refused.

        `socket_limits`: are told which tenants a session was admitted to.
        """
        self._authenticate, self._live, self._frame = authenticate, live, frame
        self._socket_limits = socket_limits
        self._frame_name = Event.from_event_type(frame)[0].name if frame is not None else ""

    async def preprocess(self, app: rx.App, state: BaseState, event: Event) -> StateUpdate | None:
        """None lets the event through; anything else is the answer."""
        event_requests.begin()
        event_started_at = time.monotonic()
        admission = await state.get_state(Admission)
        path, is_framework_event = admission.router.url.path, event.name in FRAMEWORK_EVENTS
        slug, touches = slug_from_path(path), self._is_user_action(event, admission._path, path)
        cookies = admission.router.headers.cookie
        principal = await self._authenticate(cookies, slug, touches=touches)
        set_event_admission(EventAdmission(cookies, slug, principal.admission if principal else None))
        is_foreign = await _bind_owner(admission, f"{principal.session_hash}/{slug}" if principal else "")
        if admission._path != path:
            admission._path = path
        if principal is None or (is_foreign and not is_framework_event):
            return await _state_update(state, RELOAD_PAGE)
        if principal.present_slug:
            return await _state_update(state, open_present_address(admission, slug, principal.present_slug))
        if self._socket_limits is not None and principal.tenant_id:
            self._socket_limits.note_tenant(principal.session_hash, slug, principal.tenant_id)
        self._register_tab(admission, event.name, principal, event_started_at=event_started_at)
        if event.name in PAGE_LOAD_EVENTS:
            admission._set_message()
        has_left_tenant = slug != "" and not principal.permissions
        if is_framework_event and has_left_tenant:
            await _reset_states(state)  # or hydrating would send what the page held before
            admission._owner = f"{principal.session_hash}/{slug}"
        if is_framework_event:
            return None
        registered = RegistrationContext.get().event_handlers[event.name]
        handler = registered.handler.fn
        refusal = event_refusals.find_refusal(handler, principal, slug) or event_refusals.find_excess(
            principal
        )
        if getattr(handler, "__loads__", False):
            admission._has_loaded = True
        elif refusal is None:
            if not admission._has_loaded:
                await self._load_page(app, admission, principal, slug)
            refusal = await find_other_object(state, registered.states[0])
        if refusal is None:
            return None
        await event_refusals.record_refusal(event, principal, refusal, path=path)
        shown_on_page = getattr(handler, "__page__", False)
        if has_left_tenant:
            await _reset_states(state)  # a former member's page keeps nothing of the tenant
            admission._owner = f"{principal.session_hash}/{slug}"
        if has_left_tenant or shown_on_page:
            admission._set_message(refusal)
        if shown_on_page and principal.tenant_id and not has_left_tenant:
            # The load that would have said so did not run: what is refused now may be possible later.
            load, person = Event(name=event.name, payload={}), f"person:{principal.user_id}"
            self._live.watch_event(admission, load, principal.tenant_id, "tenant", person)
        if not shown_on_page:
            return await _state_update(state, refusal_toast(refusal))
        needs_frame = self._frame is not None and isinstance(refusal, Refused) and refusal.action != ""
        return await _state_update(state, *([self._frame] if needs_frame else []))

    def _register_tab(
        self, admission: Admission, event_name: str, principal: Principal, *, event_started_at: float
    ) -> None:
        person, navigates = (principal.session_hash, principal.user_id), event_name in PAGE_LOAD_EVENTS
        self._live.register_tab(admission, *person, navigates=navigates, event_started_at=event_started_at)
        if principal.impersonation is not None:
            support_tabs.follow_session(
                self._live, self._authenticate, admission, event_name=event_name, principal=principal
            )

    async def _load_page(self, app: rx.App, admission: Admission, principal: Principal, slug: str) -> None:
        """Runs the loads of the page whose state is new, as after a restart: a click that waited needs what was shown.

        Only where nothing was loaded: what was typed about one object must not count for another one.
        """
        admission._has_loaded = True
        for load in app.get_load_events(admission._path):
            registered = RegistrationContext.get().event_handlers[Event.from_event_type(load)[0].name]
            if event_refusals.find_refusal(registered.handler.fn, principal, slug) is None:
                page = await admission.get_state(registered.states[0])
                await registered.handler.fn(page)

    def _is_user_action(self, event: Event, before: str, path: str) -> bool:
        """Whether a person caused the event: only that resets the idle timeout of the session.

        An open page loads again whenever others commit something, and boots again whenever the network breaks. So a
        load isn't a user action, and neither are events that the framework sends, except where they open another page:
        links are followed without an HTTP request. The first page of a tab came by one.
        """
        if event.name in FRAMEWORK_EVENTS:
            return event.name in PAGE_LOAD_EVENTS and before not in ("", path)
        registered = RegistrationContext.get().event_handlers.get(event.name)
        is_load = registered is None or getattr(registered.handler.fn, "__page__", False)
        return not is_load and event.name != self._frame_name


async def _bind_owner(admission: Admission, owner: str) -> bool:
    """True when the tree belonged to another session or tenant, and has therefore been emptied."""
    is_foreign = bool(admission._owner) and admission._owner != owner
    if is_foreign:
        await _reset_states(admission)
    admission._owner = owner
    return is_foreign


async def _reset_states(state: BaseState) -> None:
    root = state._get_root_state()

    async def load(state_class: type[BaseState]) -> None:  # the redis manager loads substates lazily
        for substate in state_class.get_substates():
            await root.get_state(substate)
            await load(substate)

    await load(State)
    root.reset()  # of everything loaded; router data is kept


async def _state_update(state: BaseState, *events: Any) -> StateUpdate:
    delta = await state._get_root_state()._get_resolved_delta()
    state._get_root_state()._clean()
    return StateUpdate(
        delta=delta,
        events=[queued_event for event in events for queued_event in Event.from_event_type(event)],
    )
