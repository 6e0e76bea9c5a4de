"""Members of the organisation: their roles, and the end of their access."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query, Response
from pydantic import Field

from shared.access import actions
from shared.access.endpoints import (
    After,
    ApiCtx,
    ApiInput,
    ApiOutput,
    ApiPage,
    Endpoint,
    IfMatch,
    Limit,
    set_etag,
)
from shared.core.paging import MAX_SEARCH_LENGTH
from shared.tenancy import members
from shared.tenancy.api.parameters import IdText

Search = Annotated[str, Query(max_length=MAX_SEARCH_LENGTH, description="Part of a name or an address")]


class Member(ApiOutput):
    id: str = Field(examples=["mem_01jz"])
    user_id: str = Field(examples=["usr_max"])
    name: str = Field(examples=["Max"])
    email: str = Field(examples=["max@acme.test"])
    role: str = Field(description="Key of the role", examples=["member"])
    state: str = Field(description="active or deactivated", examples=["active"])
    created_at: datetime
    seen_at: datetime | None
    version: int = Field(description="Also the ETag", examples=[1])


class MemberChange(ApiInput):
    role: IdText = Field(description="Key of the role", examples=["viewer"])


async def list_members(
    ctx: ApiCtx,
    query: Search = "",
    role: Annotated[str, Query(max_length=60, description="Key of a role")] = "",
    sort: Literal["name", "role", "seen_at", "created_at"] = "name",
    descending: bool = False,
    after: After = "",
    limit: Limit = 50,
) -> ApiPage[Member]:
    page = await members.list_members(
        ctx, query=query, role=role, sort=sort, descending=descending, after=after, limit=limit
    )
    return ApiPage(
        items=[Member.model_validate(member) for member in page.rows], next=page.next_cursor or None
    )


async def get_member(ctx: ApiCtx, response: Response, member_id: IdText) -> Member:
    return _show(response, await members.get(ctx, member_id))


async def change_member(
    ctx: ApiCtx, response: Response, member_id: IdText, change: MemberChange, version: IfMatch
) -> Member:
    return _show(response, await members.set_role(ctx, member_id, change.role, version=version))


async def deactivate_member(ctx: ApiCtx, response: Response, member_id: IdText) -> Member:
    return _show(response, await members.deactivate(ctx, member_id))


async def reactivate_member(ctx: ApiCtx, response: Response, member_id: IdText) -> Member:
    return _show(response, await members.reactivate(ctx, member_id))


async def remove_member(ctx: ApiCtx, member_id: IdText) -> None:
    await members.remove(ctx, member_id)


def _show(response: Response, member: members.Member) -> Member:
    set_etag(response, member.version)
    return Member.model_validate(member)


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/members",
        handler=list_members,
        action=actions.MEMBER_READ,
        summary="List members",
    ),
    Endpoint(
        method="GET",
        path="/members/{member_id}",
        handler=get_member,
        action=actions.MEMBER_READ,
        summary="Read a member",
    ),
    Endpoint(
        method="PATCH",
        path="/members/{member_id}",
        handler=change_member,
        action=actions.MEMBER_SET_ROLE,
        summary="Change a member’s role",
    ),
    Endpoint(
        method="POST",
        path="/members/{member_id}/deactivate",
        handler=deactivate_member,
        action=actions.MEMBER_DEACTIVATE,
        summary="End a member’s access for a while",
    ),
    Endpoint(
        method="POST",
        path="/members/{member_id}/reactivate",
        handler=reactivate_member,
        action=actions.MEMBER_DEACTIVATE,
        summary="Give a deactivated member access again",
    ),
    Endpoint(
        method="DELETE",
        path="/members/{member_id}",
        handler=remove_member,
        action=actions.MEMBER_REMOVE,
        summary="Remove a member",
        status=204,
    ),
]
