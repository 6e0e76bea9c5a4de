"""Organisations: find, create, suspend and restore them, and change what they may use."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field

from shared.access import actions
from shared.access.endpoints import After, ApiOperatorCtx, ApiOutput, ApiPage, Endpoint, Limit
from shared.backoffice import tenant_creation, tenant_directory
from shared.backoffice.api.parameters import Line, ReasonInput, ReasonQuery
from shared.backoffice.reasons import state_reason
from shared.core.paging import MAX_SEARCH_LENGTH
from shared.tenancy.api.parameters import IdText

State = Literal["pending_verification", "active", "suspended", "deleted"]
Search = Annotated[
    str,
    Query(
        max_length=MAX_SEARCH_LENGTH,
        description="Part of name or slug, the id, or the full email address of a member",
    ),
]


class Tenant(ApiOutput):
    id: str = Field(examples=["ten_acme"])
    slug: str = Field(examples=["acme"])
    name: str = Field(examples=["Acme"])
    state: State
    state_reason: str = Field(description="Why operators have suspended it", examples=[""])
    suspension_message: str = Field(description="What its members read meanwhile", examples=[""])
    plan: str = Field(description="Its name", examples=["Business"])
    created_at: datetime
    owner: str = Field(description="Name of the longest-standing owner", examples=["Ann"])
    members: int = Field(description="Active ones", examples=[3])
    seen_at: datetime | None = Field(description="When a member was there last")
    steps: int = Field(description="Of its set-up", examples=[9])
    steps_done: int = Field(examples=[9])
    steps_failed: int = Field(examples=[0])


class NewTenant(ApiOutput):
    id: str = Field(examples=["ten_acme"])
    slug: str = Field(examples=["acme"])
    name: str = Field(examples=["Acme"])
    state: State = Field(description="pending_verification until the owner has opened the link in the mail")
    owner_id: str = Field(examples=["usr_ann"])


class TenantCreation(ReasonInput):
    owner_email: Line = Field(
        description="A person without a verified account gets a mail that verifies it",
        examples=["ann@acme.example"],
    )
    owner_name: Line = Field(description="Of a new account", examples=["Ann"])
    name: Line = Field(description="Of the organisation", examples=["Acme"])
    slug: Line | None = Field(
        default=None, description="Part of its addresses; without it, one made of the name", examples=["acme"]
    )
    plan_version_id: IdText | None = Field(
        default=None,
        description="Of GET /plans; without it, the plan of a sign-up. Needs the scope operator:rights:write",
        examples=[None],
    )


class Suspension(ReasonInput):
    message: Line = Field(
        default="",
        description="What its members read until it is restored",
        examples=["We need to check a payment."],
    )


async def list_tenants(
    octx: ApiOperatorCtx,
    search: Search = "",
    state: State | None = None,
    after: After = "",
    limit: Limit = 50,
) -> ApiPage[Tenant]:
    page = await tenant_directory.search_tenants(octx, search, state or "", after=after, limit=limit)
    return ApiPage(
        items=[Tenant.model_validate(tenant) for tenant in page.rows], next=page.next_cursor or None
    )


async def create_tenant(octx: ApiOperatorCtx, creation: TenantCreation) -> NewTenant:
    order = tenant_creation.TenantOrder(
        owner_email=creation.owner_email,
        owner_name=creation.owner_name,
        name=creation.name,
        slug=creation.slug or "",
        plan_version_id=creation.plan_version_id or "",
    )
    created = await tenant_creation.create_tenant(octx, order, state_reason(octx, creation.reason))
    return NewTenant.model_validate(created)


async def get_tenant(octx: ApiOperatorCtx, tenant_id: IdText, reason: ReasonQuery) -> Tenant:
    stated = state_reason(octx, reason, tenant_id=tenant_id)
    return Tenant.model_validate(await tenant_directory.get_tenant(octx, tenant_id, stated))


async def suspend_tenant(octx: ApiOperatorCtx, tenant_id: IdText, suspension: Suspension) -> None:
    stated = state_reason(octx, suspension.reason, tenant_id=tenant_id)
    await tenant_directory.suspend_tenant(octx, tenant_id, stated, message=suspension.message)


async def restore_tenant(octx: ApiOperatorCtx, tenant_id: IdText, restoration: ReasonInput) -> None:
    stated = state_reason(octx, restoration.reason, tenant_id=tenant_id)
    await tenant_directory.restore_tenant(octx, tenant_id, stated)


ENDPOINTS = [
    Endpoint(
        realm="operator",
        method="GET",
        path="/tenants",
        handler=list_tenants,
        action=actions.OP_TENANT_LIST,
        summary="List and search organisations",
    ),
    Endpoint(
        realm="operator",
        method="POST",
        path="/tenants",
        handler=create_tenant,
        action=actions.OP_TENANT_CREATE,
        summary="Create an organisation with its owner, set up as after a sign-up",
        status=201,
        errors=(404,),
    ),
    Endpoint(
        realm="operator",
        method="GET",
        path="/tenants/{tenant_id}",
        handler=get_tenant,
        action=actions.OP_TENANT_READ,
        summary="Read an organisation",
    ),
    Endpoint(
        realm="operator",
        method="POST",
        path="/tenants/{tenant_id}/suspend",
        handler=suspend_tenant,
        action=actions.OP_TENANT_SUSPEND,
        summary="Suspend an organisation",
        status=204,
    ),
    Endpoint(
        realm="operator",
        method="POST",
        path="/tenants/{tenant_id}/restore",
        handler=restore_tenant,
        action=actions.OP_TENANT_SUSPEND,
        summary="Restore a suspended organisation",
        status=204,
    ),
]
