"""Who acts is read once per event: the middleware reads it, and the handler's transaction starts from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from reflex.event import Event
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlmodel import select

from admin_app.pages.operators import OperatorsState
from shared.core.context import Ctx
from shared.core.errors import NotFound, Refused
from shared.tenancy import authentication, members
from shared.tenancy.admissions import Authenticator
from shared.tenancy.models import Membership
from shared.ui.authorize import AuthorizeMiddleware, authenticate_operator
from shared.ui.live_updates import LiveUpdates
from shared.ui.states import SessionState
from tenant_app.pages.members.state import MembersState
from tests.conftest import Cast
from tests.support.app_pages import AppPages
from tests.support.round_trips import recorded_round_trips


@contextmanager
def recorded_statements() -> Iterator[list[str]]:
    statements: list[str] = []

    def record_statement(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", record_statement)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", record_statement)


async def authorize(page: SessionState, authenticate: Authenticator = authentication.authenticate) -> None:
    """As Reflex does before the handler runs, in the task of the event."""
    tree: Any = page._get_root_state()
    name = Event.from_event_type(type(page).load)[0].name  # type: ignore[attr-defined]
    middleware = AuthorizeMiddleware(authenticate, LiveUpdates("app"))
    await middleware.preprocess(app=AppPages(), state=tree, event=Event(name=name))


async def _find_membership_id(ctx: Ctx, user_id: str) -> str:
    membership_id = (await ctx.session.exec(select(Membership.id).where(Membership.user_id == user_id))).one()
    assert membership_id
    return membership_id


async def test_session_and_membership_are_read_once_per_event(cast: Cast) -> None:
    page = cast.ann.opens(MembersState)
    async with recorded_round_trips() as round_trips:
        await authorize(page)
        async with page._ctx() as ctx:
            assert (ctx.tenant_id, ctx.actor_id, ctx.role) == (cast.acme, cast.ann.user_id, "owner")
            assert ctx.rights.plan == "business"
        statements = round_trips.list_statements()
    assert len([statement for statement in statements if "authenticate_user" in statement]) == 1
    assert not [statement for statement in statements if "FROM user_session" in statement]


async def test_operator_is_read_once_per_event(cast: Cast) -> None:
    page = cast.olga.opens(OperatorsState, path="/operators")
    with recorded_statements() as statements:
        await authorize(page, authenticate_operator)
        async with page._ctx() as octx:
            assert octx.role == "owner"
    assert len([statement for statement in statements if "find_operator_session" in statement]) == 1


async def test_second_transaction_of_an_event_authenticates_again(cast: Cast) -> None:
    page = cast.max.opens(MembersState)
    await authorize(page)
    async with page._ctx():
        pass
    async with cast.ann.ctx() as ctx:
        await members.remove(ctx, await _find_membership_id(ctx, cast.max.user_id))
    with pytest.raises(Refused, match="membership_ended"):
        async with page._ctx():
            pass


async def test_next_event_after_a_removal_does_not_use_what_an_earlier_event_left(cast: Cast) -> None:
    page = cast.max.opens(MembersState)
    await authorize(page)  # its handler opens no transaction
    async with cast.ann.ctx() as ctx:
        await members.remove(ctx, await _find_membership_id(ctx, cast.max.user_id))
    await authorize(page)
    with pytest.raises(Refused, match="membership_ended"):
        async with page._ctx():
            pass


async def test_admission_of_one_tenant_does_not_enter_another(cast: Cast) -> None:
    await authorize(cast.ann.opens(MembersState))
    other_page = cast.ann.opens(MembersState, slug=cast.gil.slug)
    with pytest.raises(NotFound):
        async with other_page._ctx():
            pass


async def test_admission_of_one_person_does_not_enter_for_another(cast: Cast) -> None:
    await authorize(cast.ann.opens(MembersState))
    async with cast.max.opens(MembersState)._ctx() as ctx:
        assert (ctx.actor_id, ctx.role) == (cast.max.user_id, "member")
