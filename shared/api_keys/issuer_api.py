"""Token issuers over REST."""

from datetime import datetime
from typing import Annotated

from fastapi import Response
from pydantic import Field, StringConstraints

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
from shared.api_keys import issuers
from shared.api_keys.actions import JWT_ISSUER_DELETE, JWT_ISSUER_READ, JWT_ISSUER_WRITE
from shared.tenancy.api.parameters import IdText

Text = Annotated[str, StringConstraints(max_length=500)]


class RoleOfValue(ApiInput):
    value: Text = Field(description="Of the role claim", examples=["engineering"])
    role: Text = Field(description="Key of the role that it gives", examples=["member"])


class RoleOfValueOutput(ApiOutput):
    value: str = Field(examples=["engineering"])
    role: str = Field(examples=["member"])


class Issuer(ApiOutput):
    id: str = Field(examples=["jwi_01jz"])
    name: str = Field(examples=["Company sign-in"])
    issuer: str = Field(examples=["https://id.example.com/"])
    audience: str = Field(examples=["https://api.example.com"])
    jwks_url: str = Field(examples=["https://id.example.com/jwks.json"])
    algorithms: list[str] = Field(examples=[["RS256"]])
    tenant_claim: str = Field(examples=["organisation"])
    role: str = Field(examples=["member"])
    role_claim: str = Field(examples=["groups"])
    role_map: list[RoleOfValueOutput]
    enabled: bool
    created_by_name: str = Field(examples=["Ann"])
    created_at: datetime
    version: int = Field(description="Also the ETag", examples=[1])


class IssuerInput(ApiInput):
    name: Text = Field(examples=["Company sign-in"])
    issuer: Text = Field(description="The claim iss of its tokens", examples=["https://id.example.com/"])
    audience: Text = Field(description="In the claim aud", examples=["https://api.example.com"])
    jwks_url: Text = Field(
        description="Where it publishes its keys", examples=["https://id.example.com/jwks.json"]
    )
    algorithms: Annotated[list[Text], Field(max_length=10)] = Field(examples=[["RS256"]])
    tenant_claim: Text = Field(
        description="The claim whose value is the id of this organisation", examples=["organisation"]
    )
    role: Text = Field(description="Key of the highest role that a token can have", examples=["member"])
    role_claim: Text = Field(
        default="", description="Without it, every token has the highest role", examples=["groups"]
    )
    role_map: Annotated[list[RoleOfValue], Field(max_length=issuers.MAX_MAPPED_ROLES)] = Field(
        default=[], description="The first value that a token has counts"
    )
    enabled: bool = True


async def list_issuers(ctx: ApiCtx, after: After = "", limit: Limit = 50) -> ApiPage[Issuer]:
    page = await issuers.list_issuers(ctx, after=after, limit=limit)
    return ApiPage(
        items=[Issuer.model_validate(issuer) for issuer in page.rows], next=page.next_cursor or None
    )


async def get_issuer(ctx: ApiCtx, response: Response, jwt_issuer_id: IdText) -> Issuer:
    return _show(response, await issuers.get(ctx, jwt_issuer_id))


async def create_issuer(ctx: ApiCtx, response: Response, creation: IssuerInput) -> Issuer:
    return _show(response, await issuers.create(ctx, _build_request(creation)))


async def change_issuer(
    ctx: ApiCtx, response: Response, jwt_issuer_id: IdText, change: IssuerInput, version: IfMatch
) -> Issuer:
    return _show(response, await issuers.change(ctx, jwt_issuer_id, _build_request(change), version=version))


async def delete_issuer(ctx: ApiCtx, jwt_issuer_id: IdText) -> None:
    await issuers.delete(ctx, jwt_issuer_id)


def _build_request(body: IssuerInput) -> issuers.IssuerRequest:
    return issuers.IssuerRequest(
        name=body.name,
        issuer=body.issuer,
        audience=body.audience,
        jwks_url=body.jwks_url,
        algorithms=body.algorithms,
        tenant_claim=body.tenant_claim,
        role=body.role,
        role_claim=body.role_claim,
        role_map=[issuers.MappedRole(value=entry.value, role=entry.role) for entry in body.role_map],
        enabled=body.enabled,
    )


def _show(response: Response, issuer: issuers.IssuerView) -> Issuer:
    set_etag(response, issuer.version)
    return Issuer.model_validate(issuer)


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/jwt-issuers",
        handler=list_issuers,
        action=JWT_ISSUER_READ,
        summary="List token issuers",
    ),
    Endpoint(
        method="POST",
        path="/jwt-issuers",
        handler=create_issuer,
        action=JWT_ISSUER_WRITE,
        summary="Add a token issuer",
        status=201,
        errors=(409,),
    ),
    Endpoint(
        method="GET",
        path="/jwt-issuers/{jwt_issuer_id}",
        handler=get_issuer,
        action=JWT_ISSUER_READ,
        summary="Read a token issuer",
        errors=(404,),
    ),
    Endpoint(
        method="PUT",
        path="/jwt-issuers/{jwt_issuer_id}",
        handler=change_issuer,
        action=JWT_ISSUER_WRITE,
        summary="Change a token issuer",
        errors=(404, 409, 412, 428),
    ),
    Endpoint(
        method="DELETE",
        path="/jwt-issuers/{jwt_issuer_id}",
        handler=delete_issuer,
        action=JWT_ISSUER_DELETE,
        summary="Remove a token issuer",
        status=204,
        errors=(404,),
    ),
]
