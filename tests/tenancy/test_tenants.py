"""A tenant's own name, address and colour: only by who may, only what can be shown, each with its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.tenancy import audit_reader, entry, logos, naming, onboarding_checklist, tenants
from tests.conftest import Cast

# ── name and address ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_new_name_is_kept_in_one_form_and_leaves_an_event(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        await tenants.rename(ctx, "  Acme   Werke\tGmbH ")
        await tenants.rename(ctx, "Acme Werke GmbH")  # no change, no event
    async with cast.adam.ctx() as ctx:
        assert ctx.tenant_name == "Acme Werke GmbH"
        events = (await audit_reader.list_events(ctx, limit=2)).events
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
    assert [place.name for place in await entry.list_user_tenants(cast.adam.cookie)] == [name]


async def test_a_new_address_leads_in_and_the_old_one_to_nothing(cast: Cast) -> None:
    slug = f"works-{cast.acme[-10:]}"
    async with cast.adam.ctx() as ctx:
        assert await tenants.change_slug(ctx, f" {slug.upper()} ") == slug
        assert (await audit_reader.list_events(ctx, limit=1)).events[0].action == "tenant.slug_changed"
    async with cast.max.ctx(slug) as ctx:
        assert ctx.tenant_id == cast.acme
    with pytest.raises(NotFound):
        async with cast.max.ctx(cast.max.slug):
            pytest.fail("got in")


async def test_an_address_that_is_taken_says_so_and_changes_nothing(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Conflict, match="slug_taken"):
            await tenants.change_slug(ctx, cast.gil.slug)
        assert (await audit_reader.list_events(ctx, limit=1)).events[0].action != "tenant.slug_changed"
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
    slug = naming.suggest_slug(name, attempt)
    assert naming.clean_slug(slug) == slug


# ── colour ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_colour_is_the_tenants_own_and_ticks_the_checklist(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        await onboarding_checklist.add_items(ctx)
        await tenants.set_colour(ctx, " #AA0033 ")
        assert {item.key for item in await onboarding_checklist.list_items(ctx) if item.done_at} == {"brand"}
        event = (await audit_reader.list_events(ctx, limit=1)).events[0]
        assert (event.action, event.before, event.after) == (
            "tenant.branded",
            {"colour": ""},
            {"colour": "#aa0033"},
        )
    async with cast.max.ctx() as ctx:
        assert (await tenants.get_branding(ctx)).colour == "#aa0033"
    async with cast.gil.ctx() as ctx:
        assert (await tenants.get_branding(ctx)).colour == ""


@pytest.mark.parametrize("colour", ["red", "#fff", "#gggggg", "#12345\x00", "#" + "1" * 10_000, "#١٢٣٤٥٦"])
async def test_what_is_no_colour_is_refused(cast: Cast, colour: str) -> None:
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Invalid, match="valid colour"):
            await tenants.set_colour(ctx, colour)


# ── who may ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_member_looks_and_changes_nothing(cast: Cast) -> None:
    async with cast.max.ctx() as ctx:
        assert (await tenants.get_settings(ctx)).name == "Acme"
        for change in (
            tenants.rename(ctx, "Mine"),
            tenants.change_slug(ctx, "mine-now"),
            tenants.set_colour(ctx, "#000000"),
            logos.require_upload(ctx),
            logos.save(ctx, logos.RedrawnLogo(b"")),
            logos.remove(ctx),
            tenants.finish_onboarding(ctx),
        ):
            with pytest.raises(Refused, match="missing_permission"):
                await change


async def test_onboarding_is_finished_once(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        assert not (await tenants.get_settings(ctx)).is_onboarded
        await tenants.finish_onboarding(ctx)
        await tenants.finish_onboarding(ctx)
        assert (await tenants.get_settings(ctx)).is_onboarded
