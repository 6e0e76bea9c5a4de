"""A tenant's logo: what was uploaded is drawn again, and only what we drew is kept.

Drawing takes long and much memory, so it happens before the tenant's transaction and for one upload at a time: a
connection that waits for a picture is missing everybody else.
"""

import asyncio
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from shared.access import actions, policy
from shared.audit import audit_log
from shared.core.cache import CacheKey, CacheKind, get_cache
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Invalid
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.tenancy import onboarding_checklist, tenant_repository, tenants

MAX_UPLOAD_BYTES = 2_000_000  # bytes of an upload
MAX_PIXELS = 4_000_000  # of an image that claims to be small and unpacks to gigabytes
SIDE_LENGTHS = (256, 192)  # pixels of what we keep; the smaller one for what hardly compresses
MAX_STORED_BYTES = 262_144  # bytes; the table says so too
FORMATS = ("PNG", "JPEG", "WEBP")
_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="logo")


@dataclass(frozen=True, slots=True)
class RedrawnLogo:
    """A PNG of our own making."""

    png: bytes


async def require_upload(ctx: Ctx) -> None:
    """Asked before anything is drawn. Raises Refused, also for too many uploads."""
    policy.require(ctx, actions.SETTINGS_WRITE)
    await enforce_rate_limit(RateLimit.UPLOAD_TENANT, ctx.tenant_id)


async def redraw_image(uploaded: bytes) -> RedrawnLogo:
    """From a PNG, JPEG or WebP of at most 2 MB. Raises Invalid. Not inside of a transaction."""
    if len(uploaded) > MAX_UPLOAD_BYTES:
        raise _invalid_logo(f"The logo has {len(uploaded) / 1e6:.1f} MB; 2 MB is the most.")
    return await asyncio.get_running_loop().run_in_executor(_executor, _redraw_image, uploaded)


async def save(ctx: Ctx, logo: RedrawnLogo) -> None:
    policy.require(ctx, actions.SETTINGS_WRITE)
    settings = await tenant_repository.lock_settings(ctx)
    before, digest = settings.logo_digest, hashlib.sha256(logo.png).hexdigest()
    settings.logo, settings.logo_digest, settings.changed_at = logo.png, digest, now()
    ctx.session.add(settings)
    await onboarding_checklist.complete_automatically(ctx, "brand")
    audit_log.record(
        ctx, "tenant.logo_changed", ctx.tenant_id, before={"logo": before[:12]}, after={"logo": digest[:12]}
    )
    await tenants.publish_change(ctx)


async def remove(ctx: Ctx) -> None:
    policy.require(ctx, actions.SETTINGS_WRITE)
    settings = await tenant_repository.lock_settings(ctx)
    if not settings.logo_digest:
        return
    before, settings.logo, settings.logo_digest, settings.changed_at = settings.logo_digest, None, "", now()
    ctx.session.add(settings)
    audit_log.record(ctx, "tenant.logo_removed", ctx.tenant_id, before={"logo": before[:12]})
    await tenants.publish_change(ctx)


async def get(ctx: Ctx) -> bytes | None:
    """The PNG, for members. Kept in the cache under its digest: another picture is another key."""
    policy.require(ctx, actions.HOME_READ)
    digest = await tenant_repository.get_logo_digest(ctx)
    if not digest:
        return None
    key = CacheKey(ctx.tenant_id, CacheKind.LOGO, (digest,))
    if (cached_logo := await get_cache().get(key)) is not None:
        return cached_logo
    settings = await tenant_repository.get_settings(ctx)
    if settings is None or settings.logo is None:
        return None
    await get_cache().set(CacheKey(ctx.tenant_id, CacheKind.LOGO, (settings.logo_digest,)), settings.logo)
    return settings.logo


def _redraw_image(uploaded: bytes) -> RedrawnLogo:
    """Decodes and draws anew: nothing of the file survives but its pixels."""
    try:
        with Image.open(io.BytesIO(uploaded), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _invalid_logo("The logo has too many pixels: 2000 by 2000 is plenty.")
            image.load()
            redrawn = image.convert("RGBA")
    except Image.DecompressionBombError:
        raise _invalid_logo("The logo has too many pixels: 2000 by 2000 is plenty.") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise _invalid_logo("This file is not a PNG, JPEG or WebP image.") from None
    png = b""
    for side in SIDE_LENGTHS:
        redrawn.thumbnail((side, side))
        out = io.BytesIO()
        redrawn.save(out, "PNG", optimize=True)
        png = out.getvalue()
        if len(png) <= MAX_STORED_BYTES:
            break
    return RedrawnLogo(png)


def _invalid_logo(problem: str) -> Invalid:
    return Invalid(problem, "Choose another file.", fields={"logo": problem})
