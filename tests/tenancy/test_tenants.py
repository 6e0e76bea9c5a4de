"""A tenant's name, address and colour: permission, validation and audit events."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from shared.core import db
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.tenancy import (
    audit_reader,
    authentication,
    links,
    logos,
    members,
    naming,
    onboarding_checklist,
    tenant_repository,
    tenants,
    user_tenants,
)
from shared.tenancy.models import FormerSlug, Tenant
from tests.conftest import Cast, Person

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
    assert [place.name for place in await user_tenants.list_user_tenants(cast.adam.cookie)] == [name]


async def test_slug_change_is_recorded_and_leads_to_the_tenant(cast: Cast) -> None:
    slug = f"works-{cast.acme[-10:]}"
    async with cast.adam.ctx() as ctx:
        assert await tenants.change_slug(ctx, f" {slug.upper()} ", version=None) == slug
        assert (await audit_reader.list_events(ctx, limit=1)).rows[0].action == "tenant.slug_changed"
    async with cast.max.ctx(slug) as ctx:
        assert ctx.tenant_id == cast.acme


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


# ── former addresses ─────────────────────────────────────────────────────────────────────────────────────────────


async def change_slug(cast: Cast, slug: str) -> None:
    async with cast.adam.ctx() as ctx:
        await tenants.change_slug(ctx, slug, version=None)


async def age_former_slugs(cast: Cast, by: timedelta) -> None:
    async with db.transaction(tenant_id=cast.acme) as session:
        for row in (await session.exec(select(FormerSlug))).all():
            row.kept_until -= by
            session.add(row)


async def present_slug(person: Person, alias: str) -> str:
    principal = await authentication.authenticate(person.cookie, alias)
    assert principal is not None
    assert (principal.tenant_id, principal.admission) == ("", None)  # not let in: only told where to go
    return principal.present_slug


async def test_former_slug_leads_members_and_nobody_else_to_the_present_one(cast: Cast) -> None:
    slug = f"works-{cast.acme[-10:]}"
    await change_slug(cast, slug)
    assert await present_slug(cast.max, cast.max.slug) == slug
    async with cast.max.ctx(cast.max.slug) as ctx:
        assert (ctx.tenant_id, ctx.slug) == (cast.acme, slug)
    for stranger in (cast.gil, cast.carl):
        assert await present_slug(stranger, cast.max.slug) == ""
        with pytest.raises(NotFound):
            async with stranger.ctx(cast.max.slug):
                pytest.fail("got in")


async def test_id_of_the_tenant_leads_members_and_nobody_else_to_its_slug(cast: Cast) -> None:
    assert await present_slug(cast.max, cast.acme) == cast.max.slug
    assert await present_slug(cast.gil, cast.acme) == ""


async def test_former_member_is_not_led_to_the_present_slug(cast: Cast) -> None:
    async with cast.max.ctx() as ctx:
        await members.leave(ctx, await members.get_own_membership_id(ctx))
    await change_slug(cast, f"works-{cast.acme[-10:]}")
    assert await present_slug(cast.max, cast.max.slug) == ""


async def test_former_slug_is_refused_to_others_until_its_time_is_over(cast: Cast) -> None:
    await change_slug(cast, f"works-{cast.acme[-10:]}")
    with pytest.raises(Conflict, match="slug_taken"):
        async with cast.gil.ctx() as ctx:
            await tenants.change_slug(ctx, cast.ann.slug, version=None)
    tenant = Tenant(slug=cast.ann.slug, name="Acme")
    async with db.transaction(tenant_id=tenant.id) as session:  # neither by a new organisation
        assert not await tenant_repository.add_tenant(session, tenant)
    await age_former_slugs(cast, tenants.SLUG_KEPT_FOR)
    assert await present_slug(cast.max, cast.max.slug) == ""
    async with cast.gil.ctx() as ctx:
        await tenants.change_slug(ctx, cast.ann.slug, version=None)
    async with cast.gil.ctx(cast.ann.slug) as ctx:
        assert ctx.tenant_id == cast.globex


async def test_slug_that_is_left_at_the_same_moment_is_kept(cast: Cast) -> None:
    """Whoever waits for the unique index sees what the other transaction has kept."""
    async with cast.adam.ctx() as ctx:
        await tenants.change_slug(ctx, f"works-{cast.acme[-10:]}", version=None)

        async def take() -> str:
            try:
                async with cast.gil.ctx() as other_ctx:
                    await tenants.change_slug(other_ctx, cast.ann.slug, version=None)
            except Conflict as conflict:
                return conflict.reason
            return "taken"

        taking = asyncio.create_task(take())
        await asyncio.sleep(0.3)
        assert not taking.done()
    assert await taking == "slug_taken"


async def test_tenant_returns_to_its_former_slug(cast: Cast) -> None:
    slug = f"works-{cast.acme[-10:]}"
    await change_slug(cast, slug)
    async with cast.adam.ctx(slug) as ctx:
        await tenants.change_slug(ctx, cast.adam.slug, version=None)
    assert await present_slug(cast.max, slug) == cast.max.slug
    async with cast.max.ctx() as ctx:
        assert ctx.slug == cast.max.slug


async def test_number_of_former_slugs_is_limited(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenants, "MAX_KEPT_SLUGS", 1)
    slug = f"works-{cast.acme[-10:]}"
    await change_slug(cast, slug)
    with pytest.raises(Conflict, match="too_many_slugs"):
        await change_slug(cast, f"{slug}-2")
    await change_slug(cast, cast.adam.slug)  # returning is possible


def test_stored_pages_are_opened_at_the_present_slug() -> None:
    assert links.build_path("acme", "billing") == "/t/acme/billing"
    assert links.build_path("acme", "/t/former/billing") == "/t/acme/billing"
    assert links.build_path("acme", "") == ""
    assert links.build_link("ten_1", "home").endswith("/t/ten_1/home")


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
        assert (await tenants.get_frame_settings(ctx)).colour == "#aa0033"
    async with cast.gil.ctx() as ctx:
        assert (await tenants.get_frame_settings(ctx)).colour == ""


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
