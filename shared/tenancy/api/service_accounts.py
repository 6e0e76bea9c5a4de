"""Service accounts: members without a person, whose keys programs use."""

from datetime import datetime
from typing import Annotated

from fastapi import Response
from pydantic import Field, StringConstraints

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
from shared.tenancy import service_accounts
from shared.tenancy.api.parameters import IdText


class ServiceAccount(ApiOutput):
    id: str = Field(examples=["sac_01jz"])
    name: str = Field(examples=["Nightly import"])
    role: str = Field(description="Key of the role", examples=["member"])
    created_by_name: str = Field(examples=["Ann"])
    created_at: datetime
    version: int = Field(description="Also the ETag", examples=[1])


class ServiceAccountInput(ApiInput):
    name: Annotated[str, StringConstraints(max_length=200)] = Field(examples=["Nightly import"])
    role: IdText = Field(description="Key of the role", examples=["member"])


async def list_service_accounts(ctx: ApiCtx, after: After = "", limit: Limit = 50) -> ApiPage[ServiceAccount]:
    page = await service_accounts.list_accounts(ctx, after=after, limit=limit)
    return ApiPage(
        items=[ServiceAccount.model_validate(account) for account in page.rows],
        next=page.next_cursor or None,
    )


async def get_service_account(ctx: ApiCtx, response: Response, service_account_id: IdText) -> ServiceAccount:
    return _show(response, await service_accounts.get(ctx, service_account_id))


async def create_service_account(
    ctx: ApiCtx, response: Response, creation: ServiceAccountInput
) -> ServiceAccount:
    return _show(response, await service_accounts.create(ctx, creation.name, creation.role))


async def change_service_account(
    ctx: ApiCtx,
    response: Response,
    service_account_id: IdText,
    change: ServiceAccountInput,
    version: IfMatch,
) -> ServiceAccount:
    account = await service_accounts.change(
        ctx, service_account_id, name=change.name, role=change.role, version=version
    )
    return _show(response, account)


async def delete_service_account(ctx: ApiCtx, service_account_id: IdText) -> None:
    await service_accounts.end(ctx, service_account_id)


def _show(response: Response, account: service_accounts.ServiceAccountView) -> ServiceAccount:
    set_etag(response, account.version)
    return ServiceAccount.model_validate(account)


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/service-accounts",
        handler=list_service_accounts,
        action=actions.SERVICE_ACCOUNT_READ,
        summary="List service accounts",
    ),
    Endpoint(
        method="POST",
        path="/service-accounts",
        handler=create_service_account,
        action=actions.SERVICE_ACCOUNT_WRITE,
        summary="Create a service account",
        status=201,
    ),
    Endpoint(
        method="GET",
        path="/service-accounts/{service_account_id}",
        handler=get_service_account,
        action=actions.SERVICE_ACCOUNT_READ,
        summary="Read a service account",
    ),
    Endpoint(
        method="PUT",
        path="/service-accounts/{service_account_id}",
        handler=change_service_account,
        action=actions.SERVICE_ACCOUNT_WRITE,
        summary="Change the name and the role of a service account",
    ),
    Endpoint(
        method="DELETE",
        path="/service-accounts/{service_account_id}",
        handler=delete_service_account,
        action=actions.SERVICE_ACCOUNT_END,
        summary="Delete a service account, and its keys with it",
        status=204,
    ),
]
