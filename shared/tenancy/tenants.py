"""A tenant's own name, address, colour and logo."""

import asyncio
import hashlib
import io
import re
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from shared.access import actions, policy
from shared.audit import trail
from shared.core import notices
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid
from shared.core.limits import Limit, hit
from shared.tenancy import checklist, names, repository
from shared.tenancy.models import TenantSettings

LARGEST = 2_000_000  # bytes of an uploaded logo
MOST_PIXELS = 25_000_000  # of an image that claims to be small and unpacks to gigabytes
SIDES = (256, 192)  # pixels of what we keep; the smaller one for what hardly compresses
MOST_KEPT = 262_144  # bytes; the table says so too
FORMATS = ("PNG", "JPEG", "WEBP")
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
    await _changed(ctx)


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
    await _changed(ctx)
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
    await _changed(ctx)


async def set_logo(ctx: Ctx, uploaded: bytes) -> None:
    """A PNG, JPEG or WebP of at most 2 MB. What is kept is a PNG of our own making. Raises Invalid."""
    policy.require(ctx, actions.SETTINGS_WRITE)
    await hit(Limit.UPLOAD_TENANT, ctx.tenant_id)
    if len(uploaded) > LARGEST:
        raise _wrong(f"The logo has {len(uploaded) / 1e6:.1f} MB; 2 MB is the most.")
    logo = await asyncio.to_thread(_drawn_again, uploaded)
    found = await repository.lock_settings(ctx)
    before, digest = found.logo_digest, hashlib.sha256(logo).hexdigest()
    found.logo, found.logo_digest, found.changed_at = logo, digest, now()
    ctx.session.add(found)
    await checklist.complete_itself(ctx, "brand")
    trail.record(
        ctx, "tenant.logo_changed", ctx.tenant_id, before={"logo": before[:12]}, after={"logo": digest[:12]}
    )
    await _changed(ctx)


async def remove_logo(ctx: Ctx) -> None:
    policy.require(ctx, actions.SETTINGS_WRITE)
    found = await repository.lock_settings(ctx)
    if not found.logo_digest:
        return
    before, found.logo, found.logo_digest, found.changed_at = found.logo_digest, None, "", now()
    ctx.session.add(found)
    trail.record(ctx, "tenant.logo_removed", ctx.tenant_id, before={"logo": before[:12]})
    await _changed(ctx)


async def logo(ctx: Ctx) -> bytes | None:
    """The PNG, for members."""
    policy.require(ctx, actions.HOME_READ)
    found = await repository.get_settings(ctx)
    return found.logo if found else None


async def finish_onboarding(ctx: Ctx) -> None:
    """The wizard was walked through, or left on purpose: it does not come back."""
    policy.require(ctx, actions.SETTINGS_SETUP)
    found = await repository.lock_settings(ctx)
    found.onboarded_at = found.onboarded_at or now()
    ctx.session.add(found)


def _drawn_again(uploaded: bytes) -> bytes:
    """Decodes and draws anew: nothing of the file survives but its pixels."""
    try:
        with Image.open(io.BytesIO(uploaded), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise _wrong("The logo has too many pixels.")
            image.load()
            drawn = image.convert("RGBA")
    except Image.DecompressionBombError:
        raise _wrong("The logo has too many pixels.") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise _wrong("This file is not a PNG, JPEG or WebP image.") from None
    kept = b""
    for side in SIDES:
        drawn.thumbnail((side, side))
        out = io.BytesIO()
        drawn.save(out, "PNG", optimize=True)
        kept = out.getvalue()
        if len(kept) <= MOST_KEPT:
            break
    return kept


def _wrong(said: str) -> Invalid:
    return Invalid(said, "Choose another file.", fields={"logo": said})


async def _changed(ctx: Ctx) -> None:
    for topic in ("tenant", "settings"):
        await notices.page(ctx.session, ctx.tenant_id, topic)
