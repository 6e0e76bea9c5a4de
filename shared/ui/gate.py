"""Before every event, under the state lock: whose session, whose state tree, which permission.

Deny by default: a handler that does not say what it needs is refused.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import reflex as rx
from reflex.event import Event
from reflex.state import BaseState, State, StateUpdate
from reflex_base.registry import RegistrationContext

from shared.access import decision, evidence, policy
from shared.access.actions import ACTIONS, Action, OperatorAction
from shared.access.reasons import PAYING_HELPS
from shared.core import log
from shared.core.errors import DomainError, NotFound, NotSignedIn, Refused
from shared.entitlements.features import FEATURES
from shared.tenancy import entry
from shared.tenancy.entry import Peek, Principal
from shared.ui.live import Live
from shared.ui.state import refusal_toast, slug_of

S = "reflex___state____state."
PAGE_LOADS = {S + "hydrate_and_load", S + "reflex___state____on_load_internal_state.on_load_internal"}
FRAMEWORK = PAGE_LOADS | {
    S + "hydrate",
    S + "set_is_hydrated",
    S + "reflex___state____on_load_internal_state.set_is_hydrated",
    S + "reflex___state____update_vars_internal_state.update_vars_internal",
    S + "reflex___state____frontend_event_exception_state.handle_frontend_exception",
}
# A full page load: the socket keeps the cookie it was opened with; the HTTP guard knows where to send people.
RELOAD = rx.call_script("window.location.reload()")


Handler = TypeVar("Handler", bound=Callable[..., Any])


async def peek_operator(cookies: str, slug: str, *, touches: bool) -> Principal | None:  # noqa: ARG001  no tenant here
    return await entry.peek_operator(cookies, touches=touches)


@dataclass(frozen=True)
class Offer:
    """What a page that is not in the plan would give. Nothing of it is there; nothing of it is invented."""

    feature: str = ""
    does: str = ""
    points: list[str] = field(default_factory=list)
    plans: str = ""  # that include it, as in "Pro and Business"
    step: str = ""  # for this person


class Admission(rx.State):
    """Whom this state tree serves, and what the page says instead of its content."""

    _bound: str = ""  # session and tenant of this tree; never leaves the server
    _at: str = ""  # path of the page it shows
    refused: str = ""
    next_step: str = ""
    offer: Offer = Offer()  # where paying would help
    broken: str = ""  # request id of a load that failed

    def _say(self, refusal: DomainError | None = None, *, broken: str = "") -> None:
        self.refused, self.next_step = (refusal.detail, refusal.next_step) if refusal else ("", "")
        self.offer, self.broken = offer_of(refusal), broken


def offer_of(refusal: DomainError | None) -> Offer:
    """Without a feature when paying would not help."""
    if not isinstance(refusal, Refused) or refusal.reason not in PAYING_HELPS:
        return Offer()
    action = ACTIONS.get(refusal.action)
    feature = FEATURES.get(action.feature) if action else None
    if feature is None:
        return Offer()
    step = refusal.next_step.removeprefix(policy.include_it(refusal.plans))
    return Offer(feature.title, feature.does, list(feature.points), refusal.plans, step)


def needs(action: Action | OperatorAction, *, page: bool = False) -> Callable[[Handler], Handler]:
    """Marks a handler; sits below `@rx.event`. `page`: a load, whose trouble stands on the page itself."""

    def mark(handler: Handler) -> Handler:
        marked: Any = _answering(handler) if page else handler
        marked.__action__, marked.__page__ = action, page
        return marked

    return mark


def _answering(load: Any) -> Any:
    @functools.wraps(load)
    async def answer(self: Any, *args: Any) -> Any:
        admission = await self.get_state(Admission)
        try:
            result = await load(self, *args)
        except NotSignedIn:
            return RELOAD
        except DomainError as refusal:
            admission._say(refusal)
        except Exception as bug:
            admission._say(broken=log.report(bug))
        else:
            admission._say()
            return result

    return answer


def unmarked_handlers() -> list[str]:
    """What a connected browser could call and nobody has thought about. A test asserts: nothing."""
    found = {name: entry.handler.fn for name, entry in RegistrationContext.get().event_handlers.items()}
    ours = {name: fn for name, fn in found.items() if not fn.__module__.startswith("reflex.")}
    return [name for name, fn in ours.items() if not hasattr(fn, "__action__")]


class Gate(rx.Middleware):
    def __init__(self, peek: Peek, live: Live, *, frame: Any = None) -> None:
        """`frame`: the event that fills the frame of a page whose own load was refused."""
        self._peek, self._live, self._frame = peek, live, frame
        self._frame_name = Event.from_event_type(frame)[0].name if frame is not None else ""

    async def preprocess(
        self,
        app: rx.App,  # noqa: ARG002  passed by name
        state: BaseState,
        event: Event,
    ) -> StateUpdate | None:
        """None lets the event through; anything else is the answer."""
        admission = await state.get_state(Admission)
        path, boots = admission.router.url.path, event.name in FRAMEWORK
        slug, touches = slug_of(path), self._is_a_persons(event, admission._at, path)
        principal = await self._peek(admission.router.headers.cookie, slug, touches=touches)
        foreign = await _bind(admission, f"{principal.session_hash}/{slug}" if principal else "")
        if admission._at != path:
            admission._at = path
        if principal is None or (foreign and not boots):
            return await _answer(state, RELOAD)
        self._live.seen(
            admission, principal.session_hash, principal.user_id, navigates=event.name in PAGE_LOADS
        )
        if boots:
            if event.name in PAGE_LOADS:
                admission._say()
            if slug and not principal.permissions:
                await _reset(state)  # or hydrating would send what the page held before
                admission._bound = f"{principal.session_hash}/{slug}"
            return None
        handler = RegistrationContext.get().event_handlers[event.name].handler.fn
        refusal = _refusal(handler, principal, slug)
        if refusal is None:
            return None
        log.get(__name__).info("event_refused", handler=event.name, reason=refusal.reason)
        if principal.tenant_id and isinstance(refusal, Refused) and refusal.action:
            evidence.note_refused(principal, refusal.action, refusal.reason, log.new_request_id())
            await evidence.write(principal.tenant_id)
        shown_on_page = getattr(handler, "__page__", False)
        if outside := slug != "" and not principal.permissions:
            await _reset(state)  # nothing of the tenant stays on the page of somebody who left
            admission._bound = f"{principal.session_hash}/{slug}"
        if outside or shown_on_page:
            admission._say(refusal)
        if shown_on_page and principal.tenant_id and not outside:
            # The load that would have said so did not run: what is refused now may be possible later.
            about = ("tenant", f"person:{principal.user_id}")
            self._live.wait(admission, Event(name=event.name, payload={}), principal.tenant_id, *about)
        if not shown_on_page:
            return await _answer(state, refusal_toast(refusal))
        frame = self._frame is not None and isinstance(refusal, Refused) and refusal.action != ""
        return await _answer(state, *([self._frame] if frame else []))

    def _is_a_persons(self, event: Event, before: str, path: str) -> bool:
        """Whether somebody sits before the tab: only that moves the idle clock of the session.

        An open page loads again whenever others commit something, and boots again whenever the network breaks. So a
        load is nobody's, and neither is what the framework sends by itself, except where it leads to another page:
        links are followed without an HTTP request. The first page of a tab came by one.
        """
        if event.name in FRAMEWORK:
            return event.name in PAGE_LOADS and before not in ("", path)
        known = RegistrationContext.get().event_handlers.get(event.name)
        loads = known is None or getattr(known.handler.fn, "__page__", False)
        return not loads and event.name != self._frame_name


def _refusal(handler: Any, principal: Principal, slug: str) -> DomainError | None:
    if principal.ended:
        return Refused(principal.ended, principal.ended_step, reason="membership_ended")
    if slug and not principal.tenant_id:
        return NotFound(entry.NOTHING_HERE, entry.NOTHING_HERE_STEP)
    action = getattr(handler, "__action__", None)
    if action is None:
        return Refused(
            "This cannot be done from a page.", "Reload the page and try again.", reason="unmarked"
        )
    if isinstance(action, OperatorAction):
        decided = decision.decide_operator(principal, action)
        return None if decided.allowed else policy.refusal(decided.reason, action)
    decided = decision.decide(principal, action)
    return None if decided.allowed else policy.refusal(decided.reason, action, principal)


async def _bind(admission: Admission, owner: str) -> bool:
    """True when the tree belonged to another session or tenant, and has therefore been emptied."""
    foreign = bool(admission._bound) and admission._bound != owner
    if foreign:
        await _reset(admission)
    admission._bound = owner
    return foreign


async def _reset(state: BaseState) -> None:
    root = state._get_root_state()

    async def load(kind: type[BaseState]) -> None:  # the redis manager loads substates lazily
        for sub in kind.get_substates():
            await root.get_state(sub)
            await load(sub)

    await load(State)
    root.reset()  # of everything loaded; router data is kept


async def _answer(state: BaseState, *events: Any) -> StateUpdate:
    delta = await state._get_root_state()._get_resolved_delta()
    state._get_root_state()._clean()
    return StateUpdate(delta=delta, events=[one for event in events for one in Event.from_event_type(event)])
