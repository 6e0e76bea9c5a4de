"""A tenant's name, address and colour: permission, validation and audit events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.tenancy import audit_reader, entry, logos, naming, onboarding_checklist, tenants
from tests.conftest import Cast

# ── name and address ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_rename_normalises_the_name_and_leaves_an_event(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        await tenants.rename(ctx, "  Acme   Werke\tGmbH ", version=None)
        await tenants.rename(ctx, "Acme Werke GmbH", version=None)  # no change, no event
    async with cast.adam.ctx() as ctx:
        assert ctx.tenant_name == "Acme Werke GmbH"
        events = (await audit_reader.list_events(ctx, limit=2)).rows
    assert events[0].action == "tenant.renamed" != events[1].action
    assert (events[0].before, events[0].after) == ({"name": "Acme"}, {"name": "Acme Werke GmbH"})


@pytest.mark.parametrize(
    "name", ["", " \n ", "nul\x00byte", "half \ud83d pair", "bell\a", "x" * 81, "x" * 10_000]
)
async def test_rename_is_refused_for_an_invalid_name(cast: Cast, name: str) -> None:
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Invalid) as caught:
            await tenants.rename(ctx, name, version=None)
    assert caught.value.fields["name"].endswith(".")


@pytest.mark.parametrize(
    "name", ["🚀🚀", "山田商店", "Ünïcörn & Söhne", "x", "x" * 80, "<script>alert(1)</script>"]
)
async def test_rename_accepts_any_script(cast: Cast, name: str) -> None:
    async with cast.adam.ctx() as ctx:
        await tenants.rename(ctx, name, version=None)
    assert [place.name for place in await entry.list_user_tenants(cast.adam.cookie)] == [name]


async def test_slug_change_leads_to_the_tenant_and_frees_the_old_slug(cast: Cast) -> None:
    slug = f"works-{cast.acme[-10:]}"
    async with cast.adam.ctx() as ctx:
        assert await tenants.change_slug(ctx, f" {slug.upper()} ", version=None) == slug
        assert (await audit_reader.list_events(ctx, limit=1)).rows[0].action == "tenant.slug_changed"
    async with cast.max.ctx(slug) as ctx:
        assert ctx.tenant_id == cast.acme
    with pytest.raises(NotFound):
        async with cast.max.ctx(cast.max.slug):
            pytest.fail("got in")


async def test_slug_change_is_refused_for_a_taken_slug(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Conflict, match="slug_taken"):
            await tenants.change_slug(ctx, cast.gil.slug, version=None)
        assert (await audit_reader.list_events(ctx, limit=1)).rows[0].action != "tenant.slug_changed"
    async with cast.adam.ctx() as ctx:
        assert ctx.slug == cast.adam.slug


@pytest.mark.parametrize(
    "slug", ["admin", "sign-in", "ab", "-abc", "abc-", "a--b", "ä-b-c", "a b c", "x" * 41, "a\x00bc"]
)
async def test_slug_change_is_refused_for_an_invalid_or_reserved_slug(cast: Cast, slug: str) -> None:
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Invalid):
            await tenants.change_slug(ctx, slug, version=None)


@given(st.text(max_size=100), st.integers(0, 3))
def test_suggested_slug_is_always_valid(name: str, attempt: int) -> None:
    slug = naming.suggest_slug(name, attempt)
    assert naming.clean_slug(slug) == slug


# ── colour ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_colour_change_is_audited_and_completes_the_checklist_item(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        await onboarding_checklist.add_items(ctx)
        await tenants.set_colour(ctx, " #AA0033 ", version=None)
        assert {item.key for item in await onboarding_checklist.list_items(ctx) if item.done_at} == {"brand"}
        event = (await audit_reader.list_events(ctx, limit=1)).rows[0]
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
async def test_colour_change_is_refused_for_an_invalid_colour(cast: Cast, colour: str) -> None:
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Invalid, match="valid colour"):
            await tenants.set_colour(ctx, colour, version=None)


# ── who may ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_settings_are_readable_and_not_changeable_for_a_member(cast: Cast) -> None:
    async with cast.max.ctx() as ctx:
        assert (await tenants.get_settings(ctx)).name == "Acme"
        for change in (
            tenants.rename(ctx, "Mine", version=None),
            tenants.change_slug(ctx, "mine-now", version=None),
            tenants.set_colour(ctx, "#000000", version=None),
            logos.require_upload(ctx),
            logos.save(ctx, logos.RedrawnLogo(b""), version=None),
            logos.remove(ctx, version=None),
            tenants.finish_onboarding(ctx),
        ):
            with pytest.raises(Refused, match="missing_permission"):
                await change


async def test_onboarding_can_be_finished_twice(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        assert not (await tenants.get_settings(ctx)).is_onboarded
        await tenants.finish_onboarding(ctx)
        await tenants.finish_onboarding(ctx)
        assert (await tenants.get_settings(ctx)).is_onboarded
