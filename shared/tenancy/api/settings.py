"""Settings of the organisation. Name and branding each have a version of their own."""

from typing import Annotated

from fastapi import Response
from pydantic import Field, StringConstraints

from shared.access import actions
from shared.access.endpoints import ApiCtx, ApiInput, ApiOutput, Endpoint, IfMatch, set_etag
from shared.tenancy import tenants


class Settings(ApiOutput):
    name: str = Field(examples=["Acme"])
    slug: str = Field(description="Part of every page’s address", examples=["acme"])
    version: int = Field(description="Also the ETag", examples=[1])


class SettingsChange(ApiInput):
    name: Annotated[str, StringConstraints(max_length=200)] = Field(examples=["Acme Corporation"])


class Branding(ApiOutput):
    colour: str = Field(description="#rrggbb, or empty for the default", examples=["#0a7d5a"])
    logo_digest: str = Field(description="SHA-256 of the logo, or empty without one", examples=[""])
    version: int = Field(description="Also the ETag", examples=[1])


class BrandingChange(ApiInput):
    colour: Annotated[str, StringConstraints(max_length=20)] = Field(
        description="#rrggbb, or empty for the default", examples=["#0a7d5a"]
    )


async def get_settings(ctx: ApiCtx, response: Response) -> Settings:
    settings = await tenants.get_settings(ctx)
    set_etag(response, settings.version)
    return Settings.model_validate(settings)


async def change_settings(
    ctx: ApiCtx, response: Response, change: SettingsChange, version: IfMatch
) -> Settings:
    tenant = await tenants.rename(ctx, change.name, version=version)
    set_etag(response, tenant.version)
    return Settings.model_validate(tenant)


async def get_branding(ctx: ApiCtx, response: Response) -> Branding:
    settings = await tenants.get_settings(ctx)
    set_etag(response, settings.branding_version)
    return Branding(
        colour=settings.colour, logo_digest=settings.logo_digest, version=settings.branding_version
    )


async def change_branding(
    ctx: ApiCtx, response: Response, change: BrandingChange, version: IfMatch
) -> Branding:
    settings = await tenants.set_colour(ctx, change.colour, version=version)
    set_etag(response, settings.version)
    return Branding.model_validate(settings)


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/settings",
        handler=get_settings,
        action=actions.SETTINGS_READ,
        summary="Read the name and the address of the organisation",
    ),
    Endpoint(
        method="PATCH",
        path="/settings",
        handler=change_settings,
        action=actions.SETTINGS_WRITE,
        summary="Rename the organisation",
    ),
    Endpoint(
        method="GET",
        path="/settings/branding",
        handler=get_branding,
        action=actions.SETTINGS_READ,
        summary="Read the colour and the logo of the organisation",
    ),
    Endpoint(
        method="PATCH",
        path="/settings/branding",
        handler=change_branding,
        action=actions.SETTINGS_WRITE,
        summary="Change the colour of the organisation",
    ),
]
