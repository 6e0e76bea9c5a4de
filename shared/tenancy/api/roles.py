"""Roles: built-in ones, and those that the organisation has made."""

from typing import Annotated

from fastapi import Response
from pydantic import Field, StringConstraints

from shared.access import actions
from shared.access import roles as builtin_roles
from shared.access.endpoints import ApiCtx, ApiInput, ApiOutput, ApiPage, Endpoint, IfMatch, set_etag
from shared.tenancy import roles
from shared.tenancy.api.parameters import IdText

Text = Annotated[str, StringConstraints(max_length=200)]


class Role(ApiOutput):
    id: str = Field(description="What members and invitations name as their role", examples=["rol_01jz"])
    name: str = Field(examples=["Auditor"])
    description: str = Field(examples=["Reads everything."])
    permissions: list[str] = Field(examples=[["audit:read", "home:read", "notification:read"]])
    built_in: bool = Field(description="Built-in roles can’t be changed", examples=[False])
    version: int = Field(description="Also the ETag", examples=[1])


class RoleWithUsage(Role):
    members: int = Field(examples=[2])
    pending_invitations: int = Field(examples=[0])
    service_accounts: int = Field(examples=[1])


class RoleInput(ApiInput):
    name: Text = Field(examples=["Auditor"])
    description: Text = Field(default="", examples=["Reads everything."])
    permissions: Annotated[list[Text], Field(max_length=100)] = Field(
        description="`home:read` and `notification:read` are part of every role", examples=[["audit:read"]]
    )


async def list_roles(ctx: ApiCtx) -> ApiPage[RoleWithUsage]:
    return ApiPage(
        items=[
            RoleWithUsage(
                **_build_role(usage.role).model_dump(),
                members=usage.members,
                pending_invitations=usage.pending_invitations,
                service_accounts=usage.service_accounts,
            )
            for usage in await roles.list_role_usage(ctx)
        ]
    )


async def get_role(ctx: ApiCtx, response: Response, role_id: IdText) -> Role:
    return _show(response, await roles.get_role(ctx, role_id))


async def create_role(ctx: ApiCtx, response: Response, creation: RoleInput) -> Role:
    role = await roles.create(ctx, creation.name, creation.description, creation.permissions)
    return _show(response, role)


async def change_role(
    ctx: ApiCtx, response: Response, role_id: IdText, change: RoleInput, version: IfMatch
) -> Role:
    role = await roles.change(
        ctx, role_id, change.name, change.description, change.permissions, version=version
    )
    return _show(response, role)


async def delete_role(ctx: ApiCtx, role_id: IdText) -> None:
    await roles.delete(ctx, role_id)


def _show(response: Response, role: builtin_roles.Role) -> Role:
    set_etag(response, role.version)
    return _build_role(role)


def _build_role(role: builtin_roles.Role) -> Role:
    return Role(
        id=role.key,
        name=role.name,
        description=role.sentence,
        permissions=sorted(role.permissions),
        built_in=role.key in builtin_roles.ROLES,
        version=role.version,
    )


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/roles",
        handler=list_roles,
        action=actions.ROLE_READ,
        summary="List all roles with how many use them, on one page",
    ),
    Endpoint(
        method="POST",
        path="/roles",
        handler=create_role,
        action=actions.ROLE_CREATE,
        summary="Create a role",
        status=201,
    ),
    Endpoint(
        method="GET",
        path="/roles/{role_id}",
        handler=get_role,
        action=actions.ROLE_READ,
        summary="Read a role",
    ),
    Endpoint(
        method="PUT",
        path="/roles/{role_id}",
        handler=change_role,
        action=actions.ROLE_CHANGE,
        summary="Change a role, immediately for all its members",
    ),
    Endpoint(
        method="DELETE",
        path="/roles/{role_id}",
        handler=delete_role,
        action=actions.ROLE_DELETE,
        summary="Delete a role that is not assigned",
        status=204,
    ),
]
