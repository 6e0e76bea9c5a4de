"""A tenant's logo. Uploads are re-encoded, and only the re-encoded PNG is stored.

Re-encoding is slow and needs much memory. So it runs outside of transactions, one upload at a time.
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
from shared.core.versions import advance_version, require_version
from shared.tenancy import onboarding_checklist, tenant_repository, tenants

MAX_UPLOAD_BYTES = 2_000_000
MAX_PIXELS = 4_000_000  # against small files that decompress to gigabytes
SIDE_LENGTHS = (256, 192)  # pixels of the stored logo; the smaller one for images that hardly compress
MAX_STORED_BYTES = 262_144  # also a CHECK of the table
FORMATS = ("PNG", "JPEG", "WEBP")
_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="logo")


@dataclass(frozen=True, slots=True)
class RedrawnLogo:
    """A re-encoded PNG."""

    png: bytes


async def require_upload(ctx: Ctx) -> None:
    """Check the permission before re-encoding. Raises Refused, including after too many uploads."""
    policy.require(ctx, actions.SETTINGS_WRITE)
    await enforce_rate_limit(RateLimit.UPLOAD_TENANT, ctx.tenant_id)


async def redraw_image(uploaded: bytes) -> RedrawnLogo:
    """Re-encode a PNG, JPEG or WebP of at most 2 MB. Raises Invalid. Call it outside of a transaction."""
    if len(uploaded) > MAX_UPLOAD_BYTES:
        raise _invalid_logo(f"The logo is {len(uploaded) / 1e6:.1f} MB; the maximum is 2 MB.")
    return await asyncio.get_running_loop().run_in_executor(_executor, _redraw_image, uploaded)


async def save(ctx: Ctx, logo: RedrawnLogo, *, version: int | None) -> None:
    """`version`: of the branding that was read. Raises ChangedMeanwhile."""
    policy.require(ctx, actions.SETTINGS_WRITE)
    settings = await tenant_repository.lock_settings(ctx)
    before, digest = settings.logo_digest, hashlib.sha256(logo.png).hexdigest()
    require_version(settings, version, "the branding", {"Logo": (before[:12], digest[:12])})
    settings.logo, settings.logo_digest, settings.changed_at = logo.png, digest, now()
    advance_version(settings, ctx.actor.name)
    ctx.session.add(settings)
    await onboarding_checklist.complete_automatically(ctx, "brand")
    audit_log.record(
        ctx, "tenant.logo_changed", ctx.tenant_id, before={"logo": before[:12]}, after={"logo": digest[:12]}
    )
    await tenants.publish_change(ctx)


async def remove(ctx: Ctx, *, version: int | None) -> None:
    """`version`: of the branding that was read. Raises ChangedMeanwhile."""
    policy.require(ctx, actions.SETTINGS_WRITE)
    settings = await tenant_repository.lock_settings(ctx)
    if not settings.logo_digest:
        return
    require_version(settings, version, "the branding", {"Logo": (settings.logo_digest[:12], "")})
    before, settings.logo, settings.logo_digest, settings.changed_at = settings.logo_digest, None, "", now()
    advance_version(settings, ctx.actor.name)
    ctx.session.add(settings)
    audit_log.record(ctx, "tenant.logo_removed", ctx.tenant_id, before={"logo": before[:12]})
    await tenants.publish_change(ctx)


async def get(ctx: Ctx) -> bytes | None:
    """The PNG, or None. Cached under its digest, so that a new logo has a new key."""
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
    """Decode and re-encode: only the pixels of the file are kept."""
    try:
        with Image.open(io.BytesIO(uploaded), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _invalid_logo("The logo has too many pixels. Use at most 2000 × 2000.")
            image.load()
            redrawn = image.convert("RGBA")
    except Image.DecompressionBombError:
        raise _invalid_logo("The logo has too many pixels. Use at most 2000 × 2000.") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise _invalid_logo("This file isn’t a PNG, JPEG or WebP image.") from None
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
