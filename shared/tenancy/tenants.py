"""A tenant's own name, address and colour."""

import re
from dataclasses import dataclass

from shared.access import actions, policy
from shared.audit import trail
from shared.core import notices
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid
from shared.tenancy import checklist, names, repository
from shared.tenancy.models import TenantSettings

COLOUR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Look:
    """What the frame of every page shows. "" where the tenant has chosen nothing."""

    colour: str = ""
    logo_digest: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    name: str
    slug: str
    colour: str
    logo_digest: str
    onboarded: bool


async def look(ctx: Ctx) -> Look:
    policy.require(ctx, actions.HOME_READ)
    found = await repository.get_settings(ctx)
    return Look(found.colour, found.logo_digest) if found else Look()


async def get_settings(ctx: Ctx) -> Settings:
    policy.require(ctx, actions.SETTINGS_READ)
    found = await repository.get_settings(ctx) or TenantSettings(tenant_id=ctx.tenant_id)
    return Settings(
        ctx.tenant_name, ctx.slug, found.colour, found.logo_digest, found.onboarded_at is not None
    )


async def rename(ctx: Ctx, name: str) -> None:
    policy.require(ctx, actions.SETTINGS_WRITE)
    name = names.clean_name(name)
    tenant = await repository.lock_tenant(ctx)
    if tenant.name == name:
        return
    before, tenant.name = tenant.name, name
    ctx.session.add(tenant)
    trail.record(ctx, "tenant.renamed", ctx.tenant_id, before={"name": before}, after={"name": name})
    await changed(ctx)


async def change_slug(ctx: Ctx, slug: str) -> str:
    """Every address of the tenant changes with it; returns the slug as it is kept. Raises Invalid, Conflict."""
    policy.require(ctx, actions.SETTINGS_WRITE)
    slug = names.clean_slug(slug)
    tenant = await repository.lock_tenant(ctx)
    if tenant.slug == slug:
        return slug
    before = tenant.slug
    if not await repository.set_slug(ctx, tenant, slug):
        raise Conflict(f"The address “{slug}” is taken.", "Choose another one.", reason="slug_taken")
    trail.record(ctx, "tenant.slug_changed", ctx.tenant_id, before={"slug": before}, after={"slug": slug})
    await changed(ctx)
    return slug


async def set_brand(ctx: Ctx, colour: str) -> None:
    """`colour`: "#rrggbb", or "" for the standard one. Whether it can be read is the page's business: it falls back."""
    policy.require(ctx, actions.SETTINGS_WRITE)
    colour = colour.strip().lower()
    if colour and not COLOUR.fullmatch(colour):
        raise Invalid(
            "This is not a colour.", "Write it as #rrggbb.", fields={"colour": "Write it as #rrggbb."}
        )
    found = await repository.lock_settings(ctx)
    if found.colour == colour:
        return
    before, found.colour, found.changed_at = found.colour, colour, now()
    ctx.session.add(found)
    await checklist.complete_itself(ctx, "brand")
    trail.record(ctx, "tenant.branded", ctx.tenant_id, before={"colour": before}, after={"colour": colour})
    await changed(ctx)


async def finish_onboarding(ctx: Ctx) -> None:
    """The wizard was walked through, or left on purpose: it does not come back."""
    policy.require(ctx, actions.SETTINGS_SETUP)
    found = await repository.lock_settings(ctx)
    found.onboarded_at = found.onboarded_at or now()
    ctx.session.add(found)


async def lock(ctx: Ctx) -> None:
    """Until commit: whatever follows from more than one row of this tenant is worked out by one at a time."""
    await repository.lock_tenant(ctx)


async def changed(ctx: Ctx) -> None:
    """Open pages of the tenant load again: name, colour and logo stand in the frame of all of them."""
    for topic in ("tenant", "settings"):
        await notices.page(ctx.session, ctx.tenant_id, topic)
