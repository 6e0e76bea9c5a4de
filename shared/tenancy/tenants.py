"""Settings of a tenant: name, slug and colour."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.access import actions, policy
from shared.audit import audit_log
from shared.core import live_events
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid
from shared.core.versions import advance_version, require_version
from shared.tenancy import naming, onboarding_checklist, tenant_repository
from shared.tenancy.models import Tenant, TenantSettings

SLUG_KEPT_FOR, MAX_KEPT_SLUGS = timedelta(days=90), 10
COLOUR_PATTERN = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class FrameSettings:
    """What the frame of every page shows of the tenant; empty strings mean the default."""

    colour: str = ""
    logo_digest: str = ""
    deletion_at: datetime | None = None  # while one is scheduled


@dataclass(frozen=True, slots=True)
class TenantSettingsView:
    name: str
    slug: str
    colour: str
    logo_digest: str
    is_onboarded: bool
    version: int  # of name and slug
    branding_version: int  # of colour and logo


async def get_frame_settings(ctx: Ctx) -> FrameSettings:
    policy.require(ctx, actions.HOME_READ)
    return FrameSettings(*await tenant_repository.get_frame_settings(ctx))


async def get_settings(ctx: Ctx) -> TenantSettingsView:
    policy.require(ctx, actions.SETTINGS_READ)
    settings = await tenant_repository.get_settings(ctx) or TenantSettings(tenant_id=ctx.tenant_id)
    return TenantSettingsView(
        ctx.tenant_name,
        ctx.slug,
        settings.colour,
        settings.logo_digest,
        settings.onboarded_at is not None,
        await tenant_repository.get_version(ctx),
        settings.version,
    )


async def get_rights_version(ctx: Ctx) -> int:
    """The number of the present plan, overrides, flags and state. The caller checks the permission."""
    return await tenant_repository.get_rights_version(ctx)


async def rename(ctx: Ctx, name: str, *, version: int | None) -> Tenant:
    """`version`: of the settings that were read. Raises Invalid, ChangedMeanwhile."""
    policy.require(ctx, actions.SETTINGS_WRITE)
    name = naming.clean_name(name)
    tenant = await tenant_repository.lock_tenant(ctx)
    if tenant.name == name:
        return tenant
    require_version(tenant, version, "this organisation", {"Name": (tenant.name, name)})
    before, tenant.name = tenant.name, name
    advance_version(tenant, ctx.actor.name)
    ctx.session.add(tenant)
    audit_log.record(ctx, "tenant.renamed", ctx.tenant_id, before={"name": before}, after={"name": name})
    await publish_change(ctx)
    return tenant


async def change_slug(ctx: Ctx, slug: str, *, version: int | None) -> str:
    """Change the slug and so every URL of the tenant. Returns the normalised slug.

    The old one leads members to the new one for `SLUG_KEPT_FOR`, and no other tenant can take it in that time.
    `version`: of the settings that were read. Raises Invalid, Conflict, ChangedMeanwhile.
    """
    policy.require(ctx, actions.SETTINGS_WRITE)
    slug = naming.clean_slug(slug)
    tenant = await tenant_repository.lock_tenant(ctx)
    if tenant.slug == slug:
        return slug
    require_version(tenant, version, "this organisation", {"Address": (tenant.slug, slug)})
    before = tenant.slug
    kept_slugs = await tenant_repository.list_kept_slugs(ctx)
    if len(kept_slugs) >= MAX_KEPT_SLUGS and slug not in {kept.id for kept in kept_slugs}:
        raise Conflict(
            f"You already have {MAX_KEPT_SLUGS} former addresses, which are kept for {SLUG_KEPT_FOR.days} days.",
            f"Return to a former address, or wait until {kept_slugs[0].kept_until:%-d %B %Y}.",
            reason="too_many_slugs",
        )
    advance_version(tenant, ctx.actor.name)
    if not await tenant_repository.set_slug(ctx, tenant, slug):
        raise Conflict(f"The address “{slug}” is taken.", "Choose another one.", reason="slug_taken")
    await tenant_repository.release_slug(ctx, slug)
    await tenant_repository.keep_slug(ctx, before, now() + SLUG_KEPT_FOR)
    audit_log.record(ctx, "tenant.slug_changed", ctx.tenant_id, before={"slug": before}, after={"slug": slug})
    await publish_change(ctx)
    return slug


async def set_colour(ctx: Ctx, colour: str, *, version: int | None) -> TenantSettings:
    """`colour`: "#rrggbb", or "" for the default. Pages fall back when the contrast is too low.

    `version`: of the branding that was read. Raises Invalid, ChangedMeanwhile.
    """
    policy.require(ctx, actions.SETTINGS_WRITE)
    colour = colour.strip().lower()
    if colour and not COLOUR_PATTERN.fullmatch(colour):
        raise Invalid(
            "Enter a valid colour.", "Write it as #rrggbb.", fields={"colour": "Write it as #rrggbb."}
        )
    settings = await tenant_repository.lock_settings(ctx)
    if settings.colour == colour:
        return settings
    require_version(settings, version, "the branding", {"Colour": (settings.colour, colour)})
    before, settings.colour, settings.changed_at = settings.colour, colour, now()
    advance_version(settings, ctx.actor.name)
    ctx.session.add(settings)
    await onboarding_checklist.complete_automatically(ctx, "brand")
    audit_log.record(
        ctx, "tenant.branded", ctx.tenant_id, before={"colour": before}, after={"colour": colour}
    )
    await publish_change(ctx)
    return settings


async def finish_onboarding(ctx: Ctx) -> None:
    """Mark the onboarding as finished, so that it is not shown again."""
    policy.require(ctx, actions.SETTINGS_SETUP)
    settings = await tenant_repository.lock_settings(ctx)
    settings.onboarded_at = settings.onboarded_at or now()
    ctx.session.add(settings)


async def lock(ctx: Ctx) -> Tenant:
    """Lock the tenant's row until the transaction ends, to serialise changes that read several rows."""
    return await tenant_repository.lock_tenant(ctx)


async def require_not_ending(ctx: Ctx) -> None:
    """For what can be bought. Raises Conflict while a deletion is scheduled."""
    deletion_at = await tenant_repository.get_deletion_at(ctx)
    if deletion_at is not None:
        raise Conflict(
            f"{ctx.tenant_name} will be deleted on {deletion_at:%-d %B %Y}.",
            "Cancel the deletion in Settings first.",
            reason="deletion_scheduled",
        )


async def publish_change(ctx: Ctx) -> None:
    """Refresh all open pages of the tenant, because their frame shows name, colour and logo."""
    for topic in ("tenant", "settings"):
        await live_events.refresh_pages(ctx.session, ctx.tenant_id, topic)
