"""Logos: redrawn outside of the tenant's transaction, or refused in a sentence."""

import asyncio
import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from shared.core import db
from shared.core.errors import Invalid, Refused
from shared.tenancy import audit_reader, logos, tenants
from tests.conftest import Cast
from tests.support.sizes import size


def draw_picture(kind: str = "PNG", size: tuple[int, int] = (40, 20), mode: str = "RGBA") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind)
    return out.getvalue()


def draw_noise(side: int) -> bytes:
    """Noise compresses worst: its PNG is as large as its pixels."""
    out = io.BytesIO()
    Image.frombytes("RGBA", (side, side), os.urandom(side * side * 4)).save(out, "PNG")
    return out.getvalue()


def build_decompression_bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that declares a huge size."""

    def build_chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + build_chunk(b"IHDR", head)
        + build_chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + build_chunk(b"IEND", b"")
    )


def build_text_bomb() -> bytes:
    """A small picture with a comment that unpacks to 200 MB."""
    plain = draw_picture()
    body = b"c\0\0" + zlib.compress(b"\0" * 200_000_000, 1)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    return plain[:33] + chunk + plain[33:]


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGBA"), ("PNG", "1"), ("PNG", "P"), ("JPEG", "CMYK"), ("WEBP", "RGB")]
)
async def test_logo_is_stored_as_a_small_png(cast: Cast, kind: str, mode: str) -> None:
    async with cast.adam.ctx() as ctx:
        await logos.save(ctx, await logos.redraw_image(draw_picture(kind, (2000, 500), mode)), version=None)
        kept = await logos.get(ctx)
    assert kept is not None
    with Image.open(io.BytesIO(kept)) as image:
        assert (image.format, image.size) == ("PNG", (256, 64))


async def test_logo_keeps_nothing_of_the_file_but_its_pixels(cast: Cast) -> None:
    output, metadata = io.BytesIO(), PngImagePlugin.PngInfo()
    metadata.add_text("Comment", "<script>evil()</script>")
    Image.new("RGB", (10, 10)).save(output, "PNG", pnginfo=metadata)
    for uploaded in (output.getvalue(), draw_picture() + b"<?php evil() ?>"):
        assert b"evil" in uploaded
        async with cast.adam.ctx() as ctx:
            await logos.save(ctx, await logos.redraw_image(uploaded), version=None)
            assert b"evil" not in (await logos.get(ctx) or b"evil")


@pytest.mark.parametrize("side", [256, 600])
async def test_logo_made_of_noise_fits_the_column(cast: Cast, side: int) -> None:
    """As a PNG, noise is larger than its pixels, and the table has a limit."""
    async with cast.adam.ctx() as ctx:
        await logos.save(ctx, await logos.redraw_image(draw_noise(side)), version=None)
        kept = await logos.get(ctx)
    assert kept is not None
    assert len(kept) <= 262_144


@pytest.mark.parametrize(
    ("uploaded", "message"),
    [
        (b"\x89PNG" + b"0" * 5_000_000, "5.0 MB; the maximum is 2 MB"),
        (b"", "isn’t a PNG, JPEG or WebP"),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'><script>evil()</script></svg>",
            "isn’t a PNG, JPEG or WebP",
        ),
        (b"%PDF-1.7 ", "isn’t a PNG, JPEG or WebP"),
        (draw_picture("GIF", mode="P"), "isn’t a PNG, JPEG or WebP"),
        (draw_picture("BMP", mode="RGB"), "isn’t a PNG, JPEG or WebP"),
        (draw_picture()[:50], "isn’t a PNG, JPEG or WebP"),
        (build_decompression_bomb(2_001, 2_000), "too many pixels"),
        (build_decompression_bomb(12_000, 12_000), "too many pixels"),
        (build_decompression_bomb(60_000, 60_000), "too many pixels"),
        (build_decompression_bomb(2**31 - 1, 2**31 - 1), "too many pixels"),
        (build_text_bomb, "isn’t a PNG, JPEG or WebP"),  # made when it is needed, and not by every process
    ],
    ids=range(12),
)
async def test_invalid_logo_is_refused_with_a_message(
    uploaded: bytes | Callable[[], bytes], message: str
) -> None:
    uploaded = uploaded() if callable(uploaded) else uploaded
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in production, where a warning stops nothing
        with pytest.raises(Invalid, match=message):
            await logos.redraw_image(uploaded)


@settings(max_examples=size("fuzz.pictures"), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(
        [draw_picture("PNG"), draw_picture("JPEG", mode="RGB"), draw_picture("WEBP", mode="RGB")]
    ),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12),
    st.floats(0.3, 1),
)
def test_damaged_image_is_redrawn_or_refused(
    whole: bytes, damage: list[tuple[float, int]], kept: float
) -> None:
    spoilt = bytearray(whole)
    for place, value in damage:
        spoilt[int(place * (len(spoilt) - 1))] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            logos._redraw_image(bytes(spoilt[: int(len(spoilt) * kept)]))
        except Invalid:
            pass


async def test_saving_and_removing_a_logo_are_audited(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        await logos.remove(ctx, version=None)  # there is none: no event
        await logos.save(ctx, await logos.redraw_image(draw_picture()), version=None)
        await logos.remove(ctx, version=None)
        actions = [event.action for event in (await audit_reader.list_events(ctx, limit=3)).rows]
        assert actions[:2] == ["tenant.logo_removed", "tenant.logo_changed"]
        assert actions[2] != "tenant.logo_removed"
        assert await logos.get(ctx) is None
        assert (await tenants.get_frame_settings(ctx)).logo_digest == ""


async def test_uploads_are_rate_limited(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        for _ in range(30):
            await logos.require_upload(ctx)
        with pytest.raises(Refused, match="rate_limited"):
            await logos.require_upload(ctx)


async def test_redrawing_images_holds_no_database_connection(cast: Cast) -> None:
    """As many at once as there are connections, each as large as is allowed."""
    out = io.BytesIO()
    Image.new("RGB", (2_000, 2_000)).save(out, "PNG")
    drawing = [asyncio.create_task(logos.redraw_image(out.getvalue())) for _ in range(25)]
    await asyncio.sleep(0.05)
    assert not all(task.done() for task in drawing)
    assert db.engine("app").pool.checkedout() == 0  # type: ignore[attr-defined]
    async with asyncio.timeout(3):
        async with cast.gil.ctx() as ctx:
            assert ctx.tenant_id == cast.globex
    for task in drawing:
        task.cancel()
    await asyncio.gather(*drawing, return_exceptions=True)


async def test_cached_logo_is_replaced_by_the_next_and_stays_in_its_tenant(cast: Cast) -> None:
    first, second = (
        await logos.redraw_image(draw_picture()),
        await logos.redraw_image(draw_picture(size=(30, 30))),
    )
    async with cast.adam.ctx() as ctx:
        await logos.save(ctx, first, version=None)
        assert [await logos.get(ctx), await logos.get(ctx)] == [first.png, first.png]
        await logos.save(ctx, second, version=None)
        assert await logos.get(ctx) == second.png
    async with cast.gil.ctx() as ctx:
        assert await logos.get(ctx) is None
