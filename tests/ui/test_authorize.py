"""The middleware decides about every event before its handler. The principal is given by the test."""

import json
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import reflex as rx
from reflex.event import Event
from reflex.istate.data import RouterData
from reflex.state import State, StateUpdate

from shared.access import actions
from shared.access.actions import ACTIONS
from shared.access.refusal_codes import Reason
from shared.access.roles import ROLES
from shared.core.context import RefusalWording
from shared.core.errors import NotFound
from shared.entitlements.features import FEATURES
from shared.tenancy.admissions import NO_RIGHTS, Principal
from shared.ui import authorize
from shared.ui.admission import Admission
from shared.ui.authorize import AuthorizeMiddleware, needs
from shared.ui.live_updates import LiveUpdates
from shared.ui.states import show_refusal
from tests.support.app_pages import AppPages


class ToyState(rx.State):
    rows: list[str] = []

    @rx.event
    @needs(actions.MEMBER_READ, page=True)
    async def load(self) -> None:
        self.rows = ["read"]

    @rx.event
    @needs(actions.HOME_READ, page=True)
    async def load_broken(self) -> None:
        raise ZeroDivisionError("secret detail")

    @rx.event
    @needs(actions.HOME_READ, page=True)
    async def load_nothing(self) -> None:
        raise NotFound("There is nothing here.", "Go back.")

    @rx.event
    @needs(actions.REPORT_READ, page=True)
    async def load_reports(self) -> None: ...

    @rx.event
    @needs(actions.HOME_READ)
    async def fill_frame(self) -> None: ...

    @rx.event
    @needs(actions.MEMBER_INVITE)
    async def invite(self) -> None: ...

    @rx.event
    @needs(actions.MEMBER_INVITE)
    async def meet_another_change(self, times: int) -> str:
        self.rows = [*self.rows, "tried"]
        if len(self.rows) <= times:
            raise psycopg.errors.DeadlockDetected("deadlock detected")
        return "done"


SUSPENDED = replace(NO_RIGHTS, verdicts={action.name: Reason.TENANT_SUSPENDED for action in ACTIONS.values()})
OWNER = Principal("hash-ann", "usr_ann", ROLES["owner"].permissions, "ten_acme", NO_RIGHTS)
VIEWER = replace(OWNER, permissions=ROLES["viewer"].permissions)
STRANGER = Principal("hash-ann", "usr_ann")
REMOVED = replace(
    STRANGER, tenant_id="ten_acme", ended_message="Ann removed you from Acme.", ended_step="Ask Ann."
)


CLOCK: list[bool] = []  # of each event that was let in: whether it moved the idle clock


def open_tab(path: str = "/t/acme/members") -> State:
    tree = State(_reflex_internal_init=True)  # type: ignore[call-arg]
    data = {
        "headers": {"cookie": "c=1", "origin": "http://localhost:3000"},
        "pathname": path,
        "asPath": path,
        "query": {},
        "sid": "sid",
        "token": "token",
    }
    tree.router_data, tree.router = data, RouterData.from_router_data(data)
    return tree


async def send_event(
    tree: State, principal: Principal | None, handler: Any, frame: Any = None
) -> StateUpdate | None:
    async def peek(cookies: str, slug: str, *, touches: bool) -> Principal | None:
        assert cookies == "c=1"
        CLOCK.append(touches)
        return principal

    name = handler if isinstance(handler, str) else Event.from_event_type(handler)[0].name
    middleware = AuthorizeMiddleware(peek, LiveUpdates("app"), frame=frame)
    return await middleware.preprocess(app=AppPages(ToyState.load), state=tree, event=Event(name=name))


def get_event_text(update: StateUpdate | None) -> str:
    assert update is not None
    return json.dumps([str(event) for event in update.events])


async def test_allowed_event_reaches_its_handler() -> None:
    assert await send_event(open_tab(), OWNER, ToyState.invite) is None


async def test_click_on_a_page_that_was_never_loaded_finds_what_the_page_shows() -> None:
    """As after a restart, when a click arrives before the page has loaded again."""
    tree = open_tab()
    assert await send_event(tree, OWNER, ToyState.invite) is None
    assert (await tree.get_state(ToyState)).rows == ["read"]


async def test_click_on_a_loaded_page_does_not_load_it_again() -> None:
    tree = open_tab()
    await send_event(tree, OWNER, ToyState.load)
    await send_event(tree, OWNER, ToyState.invite)
    assert (
        await tree.get_state(ToyState)
    ).rows == []  # the load was let through, and not run by the middleware


async def test_refused_click_on_a_new_page_loads_nothing() -> None:
    tree = open_tab()
    assert await send_event(tree, VIEWER, ToyState.invite) is not None
    assert (await tree.get_state(ToyState)).rows == []


async def test_load_that_this_person_may_not_run_is_not_run_before_a_click() -> None:
    tree, inviter = open_tab(), replace(OWNER, permissions=frozenset({"member:invite"}))
    assert await send_event(tree, inviter, ToyState.invite) is None
    assert (await tree.get_state(ToyState)).rows == []


async def test_refused_click_is_explained_with_a_next_step() -> None:
    update = await send_event(open_tab(), VIEWER, ToyState.invite)
    assert "have permission to invite people." in get_event_text(update)
    assert "Ask an owner or admin" in get_event_text(update)


async def test_refused_page_shows_the_refusal_and_loads_its_frame() -> None:
    tree = open_tab()
    billing = replace(OWNER, permissions=frozenset({"home:read"}))
    update = await send_event(tree, billing, ToyState.load, frame=ToyState.load_broken)
    assert "load_broken" in get_event_text(update)
    assert (await tree.get_state(Admission)).refusal == "You don’t have permission to view members."


@pytest.mark.parametrize("reason", [Reason.NOT_IN_PLAN, Reason.BILLING_NONE, Reason.TRIAL_ENDED])
async def test_page_outside_the_plan_names_feature_and_plans(reason: str) -> None:
    words = {"advanced_reports": RefusalWording("Advanced reports", plan_names=("Business", "Enterprise"))}
    unpaid = replace(NO_RIGHTS, plan_name="Starter", verdicts={"report:read": reason}, wording=words)
    tree = open_tab("/t/acme/reports")
    owner = replace(OWNER, rights=unpaid)
    await send_event(tree, owner, ToyState.load_reports, frame=ToyState.fill_frame)
    admission = await tree.get_state(Admission)
    assert admission.refusal
    upsell = admission.upsell
    assert (upsell.feature, upsell.plans) == ("Advanced reports", "Business and Enterprise")
    assert upsell.description == FEATURES["advanced_reports"].benefit
    assert upsell.points == list(FEATURES["advanced_reports"].highlights)
    assert upsell.next_step == "Choose a larger plan in Billing."
    member = replace(owner, permissions=owner.permissions - {"billing:write"})
    await send_event(tree, member, ToyState.load_reports, frame=ToyState.fill_frame)
    assert admission.upsell.next_step == "Ask an owner for a larger plan."
    await send_event(tree, VIEWER, ToyState.load_reports, frame=ToyState.fill_frame)
    assert (admission.refusal, admission.upsell.feature) == (
        "You don’t have permission to view advanced reports.",
        "",
    )


async def test_event_without_a_session_reloads_the_page() -> None:
    for event in (ToyState.invite, ToyState.load, authorize.STATE_PREFIX + "hydrate"):
        assert "location.reload" in get_event_text(await send_event(open_tab(), None, event))


MOVED = replace(STRANGER, present_slug="acme-works")


async def test_every_event_at_a_former_slug_opens_the_page_at_the_present_one() -> None:
    for event in (ToyState.invite, ToyState.load, authorize.STATE_PREFIX + "hydrate"):
        tree = open_tab("/t/acme/members?tab=all")
        text = get_event_text(await send_event(tree, MOVED, event))
        assert "window.location.replace" in text
        assert "/t/acme-works/members?tab=all" in text


async def test_event_for_a_foreign_tenant_is_not_found() -> None:
    assert "Page not found." in get_event_text(await send_event(open_tab(), STRANGER, ToyState.invite))


async def test_removed_member_is_told_and_loses_the_state() -> None:
    tree = open_tab()
    await send_event(tree, OWNER, ToyState.invite)
    (await tree.get_state(ToyState)).rows = ["of acme"]
    update = await send_event(tree, REMOVED, ToyState.invite)
    assert "Ann removed you from Acme." in get_event_text(update)
    assert (await tree.get_state(ToyState)).rows == []
    assert (await tree.get_state(Admission)).refusal == "Ann removed you from Acme."


@pytest.mark.parametrize(
    "boot", [authorize.STATE_PREFIX + "hydrate", authorize.STATE_PREFIX + "hydrate_and_load"]
)
async def test_hydration_sends_no_old_state_to_a_removed_member(boot: str) -> None:
    tree = open_tab()
    await send_event(tree, OWNER, ToyState.invite)
    (await tree.get_state(ToyState)).rows = ["of acme"]
    assert await send_event(tree, REMOVED, boot) is None
    assert (await tree.get_state(ToyState)).rows == []


@pytest.mark.parametrize(
    ("other", "path"),
    [(replace(OWNER, session_hash="hash-gil"), "/t/acme/members"), (OWNER, "/t/globex/members")],
)
async def test_state_is_dropped_when_session_or_tenant_change(other: Principal, path: str) -> None:
    tree = open_tab()
    await send_event(tree, OWNER, ToyState.invite)
    (await tree.get_state(ToyState)).rows = ["of acme"]
    tree.router = open_tab(path).router
    assert "location.reload" in get_event_text(await send_event(tree, other, ToyState.invite))
    assert (await tree.get_state(ToyState)).rows == []


async def test_page_load_of_another_session_starts_with_empty_state() -> None:
    tree = open_tab()
    await send_event(tree, OWNER, ToyState.invite)
    (await tree.get_state(ToyState)).rows = ["of acme"]
    assert (
        await send_event(
            tree, replace(OWNER, session_hash="hash-gil"), authorize.STATE_PREFIX + "hydrate_and_load"
        )
        is None
    )
    assert (await tree.get_state(ToyState)).rows == []


async def test_handler_without_an_action_is_refused() -> None:
    update = await send_event(open_tab(), OWNER, "reflex___state____state.setvar")
    assert "This action is not available on this page." in get_event_text(update)


async def test_suspension_refuses_every_handler() -> None:
    update = await send_event(open_tab(), replace(OWNER, rights=SUSPENDED), ToyState.invite)
    assert "This organisation is suspended." in get_event_text(update)


async def test_error_during_a_load_is_shown_on_the_page() -> None:
    tree = open_tab()
    toy, admission = await tree.get_state(ToyState), await tree.get_state(Admission)
    await ToyState.event_handlers["load_broken"].fn(toy)
    assert admission.error_id.startswith("req_")
    await ToyState.event_handlers["load_nothing"].fn(toy)
    assert (admission.refusal, admission.next_step, admission.error_id) == (
        "There is nothing here.",
        "Go back.",
        "",
    )
    await ToyState.event_handlers["load"].fn(toy)
    assert (admission.refusal, toy.rows) == ("", ["read"])


async def test_handler_whose_transaction_met_another_one_is_repeated_once() -> None:
    toy = await open_tab().get_state(ToyState)
    handler = ToyState.event_handlers["meet_another_change"].fn
    assert await handler(toy, 1) == "done"
    toy.rows = []
    with pytest.raises(psycopg.errors.DeadlockDetected) as caught:
        await handler(toy, times=2)
    assert len(toy.rows) == 2
    toast = json.dumps(Event.from_event_type(show_refusal(caught.value))[0].payload)
    assert "Another change of the same data was made at the same moment" in toast
    assert "try again" in toast


async def extends_idle_time(tree: State, handler: Any) -> bool:
    """Sends the event through the middleware of an app with its own frame."""
    await send_event(tree, OWNER, handler, frame=ToyState.fill_frame)
    return CLOCK[-1]


async def test_automatic_event_does_not_extend_the_idle_time() -> None:
    """Commits of others make open pages load; a broken network makes them hydrate."""
    tree = open_tab()
    for by_itself in (*sorted(authorize.FRAMEWORK_EVENTS), ToyState.load, ToyState.fill_frame):
        assert not await extends_idle_time(tree, by_itself), by_itself
    assert await extends_idle_time(tree, ToyState.invite)


@pytest.mark.parametrize("boot", sorted(authorize.PAGE_LOAD_EVENTS))
async def test_followed_link_extends_the_idle_time(boot: str) -> None:
    """Following a link is no HTTP request. Hydrating again on the same page is no action of a person."""
    tree = open_tab("/t/acme/members")
    assert [await extends_idle_time(tree, boot) for _ in range(2)] == [False, False]
    tree.router = open_tab("/t/acme/settings").router
    assert [await extends_idle_time(tree, boot) for _ in range(2)] == [True, False]
