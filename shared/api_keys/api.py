"""API keys: create, change, rotate and revoke them."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import Response
from pydantic import AwareDatetime, Field, StringConstraints

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
from shared.api_keys import keys
from shared.api_keys.actions import API_KEY_CREATE, API_KEY_READ, API_KEY_REVOKE
from shared.tenancy.api.parameters import IdText
from shared.tenancy.models import TenantMode

MAX_HOURS = 24 * 7
Name = Annotated[str, StringConstraints(max_length=200)]
Texts = Annotated[list[Annotated[str, StringConstraints(max_length=200)]], Field(max_length=100)]


class Key(ApiOutput):
    id: str = Field(examples=["key_01jz"])
    name: str = Field(examples=["Nightly import"])
    hint: str = Field(description="Beginning and end of the key", examples=["bk_live_…Q7xA"])
    scopes: list[str] = Field(examples=[["member:read"]])
    state: Literal["active", "expired", "revoked"]
    holder_type: Literal["user", "service_account"]
    holder_id: str = Field(description="The person or service account whose key it is", examples=["usr_ann"])
    holder_name: str = Field(examples=["Ann"])
    networks: list[str] = Field(examples=[["203.0.113.0/24"]])
    origins: list[str] = Field(examples=[["https://app.example.com"]])
    created_by_name: str = Field(examples=["Ann"])
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    last_used_address: str = Field(examples=["203.0.113.7"])
    previous_hint: str = Field(description="Of the key that it replaced, while that works", examples=[""])
    previous_ends_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str = Field(examples=[""])
    version: int = Field(description="Also the ETag", examples=[1])


class NewKey(Key):
    secret: str | None = Field(description="The key itself, in this answer only", examples=["bk_live_…"])


class KeyInput(ApiInput):
    name: Name = Field(examples=["Nightly import"])
    scopes: Texts = Field(examples=[["member:read"]])
    networks: Texts = Field(
        default=[], description="Where it works; empty: everywhere", examples=[["203.0.113.0/24"]]
    )
    origins: Texts = Field(
        default=[], description="Web pages that may use it", examples=[["https://app.example.com"]]
    )


class KeyCreation(KeyInput):
    expires_at: Annotated[AwareDatetime | None, Field(strict=False)] = None
    service_account_id: IdText | None = Field(
        default=None, description="Without it, the key is the caller’s own", examples=[None]
    )
    mode: Literal["live", "test"] | None = Field(
        default=None, description="Without it, the mode of the caller’s key", examples=["test"]
    )


class Rotation(ApiInput):
    overlap_hours: int = Field(
        default=24, ge=0, le=MAX_HOURS, description="How long the former key works still", examples=[24]
    )


async def list_keys(ctx: ApiCtx, after: After = "", limit: Limit = 50) -> ApiPage[Key]:
    page = await keys.list_keys(ctx, after=after, limit=limit)
    return ApiPage(items=[Key.model_validate(key) for key in page.rows], next=page.next_cursor or None)


async def get_key(ctx: ApiCtx, response: Response, key_id: IdText) -> Key:
    key = await keys.get(ctx, key_id)
    set_etag(response, key.version)
    return Key.model_validate(key)


async def create_key(ctx: ApiCtx, response: Response, creation: KeyCreation) -> NewKey:
    created = await keys.create(
        ctx,
        keys.KeyRequest(
            name=creation.name,
            scopes=creation.scopes,
            expires_at=creation.expires_at,
            networks=creation.networks,
            origins=creation.origins,
            service_account_id=creation.service_account_id or "",
            mode=TenantMode(creation.mode) if creation.mode else None,
        ),
    )
    return _show_new_key(response, created)


async def change_key(
    ctx: ApiCtx, response: Response, key_id: IdText, change: KeyInput, version: IfMatch
) -> Key:
    key = await keys.change(
        ctx,
        key_id,
        name=change.name,
        scopes=change.scopes,
        networks=change.networks,
        origins=change.origins,
        version=version,
    )
    set_etag(response, key.version)
    return Key.model_validate(key)


async def rotate_key(ctx: ApiCtx, response: Response, key_id: IdText, rotation: Rotation) -> NewKey:
    rotated = await keys.rotate(ctx, key_id, overlap=timedelta(hours=rotation.overlap_hours))
    return _show_new_key(response, rotated)


async def revoke_key(ctx: ApiCtx, key_id: IdText) -> None:
    await keys.revoke(ctx, key_id)


def _show_new_key(response: Response, created: keys.CreatedKey) -> NewKey:
    set_etag(response, created.key.version)
    return NewKey(**Key.model_validate(created.key).model_dump(), secret=created.text)


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/api-keys",
        handler=list_keys,
        action=API_KEY_READ,
        summary="List API keys",
    ),
    Endpoint(
        method="POST",
        path="/api-keys",
        handler=create_key,
        action=API_KEY_CREATE,
        summary="Create an API key",
        status=201,
        errors=(404,),
    ),
    Endpoint(
        method="GET",
        path="/api-keys/{key_id}",
        handler=get_key,
        action=API_KEY_READ,
        summary="Read an API key",
    ),
    Endpoint(
        method="PUT",
        path="/api-keys/{key_id}",
        handler=change_key,
        action=API_KEY_CREATE,
        summary="Change what an API key may do",
    ),
    Endpoint(
        method="POST",
        path="/api-keys/{key_id}/rotate",
        handler=rotate_key,
        action=API_KEY_CREATE,
        summary="Replace the secret of an API key",
    ),
    Endpoint(
        method="DELETE",
        path="/api-keys/{key_id}",
        handler=revoke_key,
        action=API_KEY_REVOKE,
        summary="Revoke an API key",
        status=204,
    ),
]
