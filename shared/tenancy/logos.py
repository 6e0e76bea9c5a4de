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
from shared.audit import trail
from shared.core.cache import Key, Kind, cache
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.errors import Invalid
from shared.core.limits import Limit, hit
from shared.tenancy import checklist, repository, tenants

LARGEST = 2_000_000  # bytes of an upload
MOST_PIXELS = 4_000_000  # of an image that claims to be small and unpacks to gigabytes
SIDES = (256, 192)  # pixels of what we keep; the smaller one for what hardly compresses
MOST_KEPT = 262_144  # bytes; the table says so too
FORMATS = ("PNG", "JPEG", "WEBP")
_threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="logo")


@dataclass(frozen=True, slots=True)
class Drawn:
    """A PNG of our own making."""

    png: bytes


async def admit(ctx: Ctx) -> None:
    """Asked before anything is drawn. Raises Refused, also for too many uploads."""
    policy.require(ctx, actions.SETTINGS_WRITE)
    await hit(Limit.UPLOAD_TENANT, ctx.tenant_id)


async def draw(uploaded: bytes) -> Drawn:
    """From a PNG, JPEG or WebP of at most 2 MB. Raises Invalid. Not inside of a transaction."""
    if len(uploaded) > LARGEST:
        raise _wrong(f"The logo has {len(uploaded) / 1e6:.1f} MB; 2 MB is the most.")
    return await asyncio.get_running_loop().run_in_executor(_threads, _draw, uploaded)


async def keep(ctx: Ctx, logo: Drawn) -> None:
    policy.require(ctx, actions.SETTINGS_WRITE)
    found = await repository.lock_settings(ctx)
    before, digest = found.logo_digest, hashlib.sha256(logo.png).hexdigest()
    found.logo, found.logo_digest, found.changed_at = logo.png, digest, now()
    ctx.session.add(found)
    await checklist.complete_itself(ctx, "brand")
    trail.record(
        ctx, "tenant.logo_changed", ctx.tenant_id, before={"logo": before[:12]}, after={"logo": digest[:12]}
    )
    await tenants.changed(ctx)


async def remove(ctx: Ctx) -> None:
    policy.require(ctx, actions.SETTINGS_WRITE)
    found = await repository.lock_settings(ctx)
    if not found.logo_digest:
        return
    before, found.logo, found.logo_digest, found.changed_at = found.logo_digest, None, "", now()
    ctx.session.add(found)
    trail.record(ctx, "tenant.logo_removed", ctx.tenant_id, before={"logo": before[:12]})
    await tenants.changed(ctx)


async def get(ctx: Ctx) -> bytes | None:
    """The PNG, for members. Kept in the cache under its digest: another picture is another key."""
    policy.require(ctx, actions.HOME_READ)
    digest = await repository.get_logo_digest(ctx)
    if not digest:
        return None
    key = Key(ctx.tenant_id, Kind.LOGO, (digest,))
    if (kept := await cache().get(key)) is not None:
        return kept
    found = await repository.get_settings(ctx)
    if found is None or found.logo is None:
        return None
    await cache().set(Key(ctx.tenant_id, Kind.LOGO, (found.logo_digest,)), found.logo)
    return found.logo


def _draw(uploaded: bytes) -> Drawn:
    """Decodes and draws anew: nothing of the file survives but its pixels."""
    try:
        with Image.open(io.BytesIO(uploaded), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise _wrong("The logo has too many pixels: 2000 by 2000 is plenty.")
            image.load()
            drawn = image.convert("RGBA")
    except Image.DecompressionBombError:
        raise _wrong("The logo has too many pixels: 2000 by 2000 is plenty.") from None
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
    return Drawn(kept)


def _wrong(said: str) -> Invalid:
    return Invalid(said, "Choose another file.", fields={"logo": said})
