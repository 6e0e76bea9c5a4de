"""A tenant's own name, address, colour and logo: only by who may, only what can be shown, each with its line."""

import io
import os
import struct
import warnings
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.tenancy import checklist, entry, history, names, tenants
from tests.conftest import Cast


def picture(kind: str = "PNG", size: tuple[int, int] = (40, 20), mode: str = "RGBA") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind)
    return out.getvalue()


def noise(side: int) -> bytes:
    """What compresses worst: a PNG of it is as large as its pixels."""
    out = io.BytesIO()
    Image.frombytes("RGBA", (side, side), os.urandom(side * side * 4)).save(out, "PNG")
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it is huge."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def text_bomb() -> bytes:
    """A small picture with a comment that unpacks to 200 MB."""
    plain = picture()
    body = b"c\0\0" + zlib.compress(b"\0" * 200_000_000, 1)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    return plain[:33] + chunk + plain[33:]


# ── name and address ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_new_name_is_kept_in_one_form_and_leaves_an_event(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        await tenants.rename(ctx, "  Acme   Werke\tGmbH ")
        await tenants.rename(ctx, "Acme Werke GmbH")  # no change, no event
    async with cast.adam.ctx() as ctx:
        assert ctx.tenant_name == "Acme Werke GmbH"
        events = (await history.list_events(ctx, limit=2)).events
    assert events[0].action == "tenant.renamed" != events[1].action
    assert (events[0].before, events[0].after) == ({"name": "Acme"}, {"name": "Acme Werke GmbH"})


@pytest.mark.parametrize(
    "name", ["", " \n ", "nul\x00byte", "half \ud83d pair", "bell\a", "x" * 81, "x" * 10_000]
)
async def test_a_name_that_cannot_be_shown_is_refused_in_a_sentence(cast: Cast, name: str) -> None:
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Invalid) as caught:
            await tenants.rename(ctx, name)
    assert caught.value.fields["name"].endswith(".")


@pytest.mark.parametrize(
    "name", ["🚀🚀", "山田商店", "Ünïcörn & Söhne", "x", "x" * 80, "<script>alert(1)</script>"]
)
async def test_any_script_makes_a_name(cast: Cast, name: str) -> None:
    async with cast.adam.ctx() as ctx:
        await tenants.rename(ctx, name)
    assert [place.name for place in await entry.places(cast.adam.cookie)] == [name]


async def test_a_new_address_leads_in_and_the_old_one_to_nothing(cast: Cast) -> None:
    slug = f"works-{cast.acme[-10:]}"
    async with cast.adam.ctx() as ctx:
        assert await tenants.change_slug(ctx, f" {slug.upper()} ") == slug
        assert (await history.list_events(ctx, limit=1)).events[0].action == "tenant.slug_changed"
    async with cast.max.ctx(slug) as ctx:
        assert ctx.tenant_id == cast.acme
    with pytest.raises(NotFound):
        async with cast.max.ctx(cast.max.slug):
            pytest.fail("got in")


async def test_an_address_that_is_taken_says_so_and_changes_nothing(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Conflict, match="slug_taken"):
            await tenants.change_slug(ctx, cast.gil.slug)
        assert (await history.list_events(ctx, limit=1)).events[0].action != "tenant.slug_changed"
    async with cast.adam.ctx() as ctx:
        assert ctx.slug == cast.adam.slug


@pytest.mark.parametrize(
    "slug", ["admin", "sign-in", "ab", "-abc", "abc-", "a--b", "ä-b-c", "a b c", "x" * 41, "a\x00bc"]
)
async def test_an_address_that_is_none_or_reserved_is_refused(cast: Cast, slug: str) -> None:
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Invalid):
            await tenants.change_slug(ctx, slug)


@given(st.text(max_size=100), st.integers(0, 3))
def test_what_is_suggested_is_always_a_free_form_of_address(name: str, attempt: int) -> None:
    slug = names.suggest_slug(name, attempt)
    assert names.clean_slug(slug) == slug


# ── colour ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_colour_is_the_tenants_own_and_ticks_the_checklist(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        await checklist.add_all(ctx)
        await tenants.set_brand(ctx, " #AA0033 ")
        assert {one.key for one in await checklist.list_items(ctx) if one.done_at} == {"brand"}
        event = (await history.list_events(ctx, limit=1)).events[0]
        assert (event.action, event.before, event.after) == (
            "tenant.branded",
            {"colour": ""},
            {"colour": "#aa0033"},
        )
    async with cast.max.ctx() as ctx:
        assert (await tenants.look(ctx)).colour == "#aa0033"
    async with cast.gil.ctx() as ctx:
        assert (await tenants.look(ctx)).colour == ""


@pytest.mark.parametrize("colour", ["red", "#fff", "#gggggg", "#12345\x00", "#" + "1" * 10_000, "#١٢٣٤٥٦"])
async def test_what_is_no_colour_is_refused(cast: Cast, colour: str) -> None:
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Invalid, match="not a colour"):
            await tenants.set_brand(ctx, colour)


# ── logo ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGBA"), ("PNG", "1"), ("PNG", "P"), ("JPEG", "CMYK"), ("WEBP", "RGB")]
)
async def test_what_is_kept_is_a_small_png_of_our_own(cast: Cast, kind: str, mode: str) -> None:
    async with cast.adam.ctx() as ctx:
        await tenants.set_logo(ctx, picture(kind, (2000, 500), mode))
        kept = await tenants.logo(ctx)
    assert kept is not None
    with Image.open(io.BytesIO(kept)) as image:
        assert (image.format, image.size) == ("PNG", (256, 64))


async def test_nothing_of_the_file_survives_but_its_pixels(cast: Cast) -> None:
    told, said = io.BytesIO(), PngImagePlugin.PngInfo()
    said.add_text("Comment", "<script>evil()</script>")
    Image.new("RGB", (10, 10)).save(told, "PNG", pnginfo=said)
    for uploaded in (told.getvalue(), picture() + b"<?php evil() ?>"):
        assert b"evil" in uploaded
        async with cast.adam.ctx() as ctx:
            await tenants.set_logo(ctx, uploaded)
            assert b"evil" not in (await tenants.logo(ctx) or b"evil")


@pytest.mark.parametrize("side", [256, 600])
async def test_a_picture_of_noise_fits_too(cast: Cast, side: int) -> None:
    """As a PNG it is larger than its pixels, and the table has a limit."""
    async with cast.adam.ctx() as ctx:
        await tenants.set_logo(ctx, noise(side))
        kept = await tenants.logo(ctx)
    assert kept is not None
    assert len(kept) <= 262_144


@pytest.mark.parametrize(
    ("uploaded", "said"),
    [
        (b"\x89PNG" + b"0" * 5_000_000, "5.0 MB; 2 MB is the most"),
        (b"", "not a PNG, JPEG or WebP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>evil()</script></svg>", "not a PNG, JPEG or WebP"),
        (b"%PDF-1.7 ", "not a PNG, JPEG or WebP"),
        (picture("GIF", mode="P"), "not a PNG, JPEG or WebP"),
        (picture("BMP", mode="RGB"), "not a PNG, JPEG or WebP"),
        (picture()[:50], "not a PNG, JPEG or WebP"),
        (bomb(6_000, 6_000), "too many pixels"),
        (bomb(12_000, 12_000), "too many pixels"),
        (bomb(60_000, 60_000), "too many pixels"),
        (bomb(2**31 - 1, 2**31 - 1), "too many pixels"),
        (text_bomb(), "not a PNG, JPEG or WebP"),
    ],
    ids=range(12),
)
async def test_what_is_no_logo_is_refused_in_a_sentence(cast: Cast, uploaded: bytes, said: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in production, where a warning stops nothing
        async with cast.adam.ctx() as ctx:
            with pytest.raises(Invalid, match=said):
                await tenants.set_logo(ctx, uploaded)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([picture("PNG"), picture("JPEG", mode="RGB"), picture("WEBP", mode="RGB")]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12),
    st.floats(0.3, 1),
)
def test_a_damaged_picture_is_drawn_or_refused_and_never_a_bug(
    whole: bytes, damage: list[tuple[float, int]], kept: float
) -> None:
    spoilt = bytearray(whole)
    for place, value in damage:
        spoilt[int(place * (len(spoilt) - 1))] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tenants._drawn_again(bytes(spoilt[: int(len(spoilt) * kept)]))
        except Invalid:
            pass


async def test_a_logo_comes_and_goes_with_its_lines(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        await tenants.remove_logo(ctx)  # there is none: no event
        await tenants.set_logo(ctx, picture())
        await tenants.remove_logo(ctx)
        actions = [event.action for event in (await history.list_events(ctx, limit=3)).events]
        assert actions[:2] == ["tenant.logo_removed", "tenant.logo_changed"]
        assert actions[2] != "tenant.logo_removed"
        assert await tenants.logo(ctx) is None
        assert (await tenants.look(ctx)).logo_digest == ""


async def test_uploads_are_counted(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        for _ in range(30):
            with pytest.raises(Invalid):
                await tenants.set_logo(ctx, b"")
        with pytest.raises(Refused, match="rate_limited"):
            await tenants.set_logo(ctx, picture())


# ── who may ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_member_looks_and_changes_nothing(cast: Cast) -> None:
    async with cast.max.ctx() as ctx:
        assert (await tenants.get_settings(ctx)).name == "Acme"
        for change in (
            tenants.rename(ctx, "Mine"),
            tenants.change_slug(ctx, "mine-now"),
            tenants.set_brand(ctx, "#000000"),
            tenants.set_logo(ctx, picture()),
            tenants.remove_logo(ctx),
            tenants.finish_onboarding(ctx),
        ):
            with pytest.raises(Refused, match="missing_permission"):
                await change


async def test_onboarding_is_finished_once(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        assert not (await tenants.get_settings(ctx)).onboarded
        await tenants.finish_onboarding(ctx)
        await tenants.finish_onboarding(ctx)
        assert (await tenants.get_settings(ctx)).onboarded
