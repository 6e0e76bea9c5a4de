"""Public events: what manifests declare, and the rows that follow actions."""

import json
import re

import pytest
from sqlmodel import select

from shared.access.roles import list_permissions
from shared.audit import audit_log
from shared.audit.event_types import AUDIT_TEXTS
from shared.audit.models import EventOutbox
from shared.audit.public_events import EVENT_TYPES, EventOrder, EventType
from shared.core import registry
from shared.core.context import Ctx
from shared.core.registry import Module
from shared.tenancy import members, roles, tenants
from tests.conftest import Cast

SOURCE = re.compile(r"object_id|(?:before|after|details)\.\w+")


async def list_new_events(ctx: Ctx) -> list[EventOutbox]:
    """Of this transaction, in the order in which they were recorded."""
    await ctx.session.flush()
    statement = select(EventOutbox).where(
        EventOutbox.tenant_id == ctx.tenant_id, EventOutbox.request_id == ctx.request_id
    )
    rows = (await ctx.session.exec(statement)).all()
    return sorted(rows, key=lambda row: row.seq or 0)


@pytest.mark.parametrize("event_type", EVENT_TYPES.values(), ids=lambda event_type: event_type.name)
def test_declared_event_is_complete(event_type: EventType) -> None:
    assert event_type.action in AUDIT_TEXTS
    assert event_type.permission in list_permissions()
    assert event_type.fields.keys() == event_type.example.keys()
    assert all(SOURCE.fullmatch(source) for source in event_type.fields.values())
    assert re.fullmatch(r"[a-z_]+\.[a-z_]+", event_type.name)


def test_events_are_those_of_the_manifests() -> None:
    declared = [event_type for module in registry.list_modules() for event_type in module.events]
    assert sorted(event_type.name for event_type in declared) == list(EVENT_TYPES)
    assert len({event_type.action for event_type in declared}) == len(declared)


def test_second_event_of_an_action_is_refused() -> None:
    first = next(iter(EVENT_TYPES.values()))
    second = EventType(
        name="another.name",
        title="Another",
        action=first.action,
        permission=first.permission,
        fields={},
        example={},
        order=EventOrder.NONE,
    )
    with pytest.raises(ValueError, match="two events"):
        registry.fill([Module(name="another", events=[second])])
    registry._modules.pop("another")


async def test_action_is_followed_by_its_event_in_the_same_transaction(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        await tenants.rename(ctx, "Acme Two", version=None)
        (event,) = await list_new_events(ctx)
    body = json.loads(event.body)
    assert (event.type, event.ordering_key) == ("organisation.renamed", "organisation")
    assert (body["id"], body["tenant_id"], body["request_id"]) == (event.id, cast.acme, ctx.request_id)
    assert body["data"] == {"name": "Acme Two", "previous_name": "Acme"}


async def test_events_of_one_object_share_an_ordering_key(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Auditor", "", [])
        await ctx.session.flush()
        await roles.delete(ctx, role.key)
        created, deleted = await list_new_events(ctx)
    assert created.ordering_key == deleted.ordering_key == f"role:{role.key}"
    assert (created.seq or 0) < (deleted.seq or 0)


async def test_event_holds_the_declared_fields_only(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        member = next(row for row in (await members.list_members(ctx)).rows if row.name == cast.max.name)
        await members.remove(ctx, member.id)
        (event,) = await list_new_events(ctx)
    assert json.loads(event.body)["data"] == {"member_id": member.id, "name": cast.max.name}


async def test_action_without_a_declared_event_makes_none(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        audit_log.record(ctx, "member.exported", ctx.tenant_id)
        assert await list_new_events(ctx) == []
