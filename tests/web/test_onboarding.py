"""The steps of setting up an organisation, when two people take them at the same time."""

import re

import httpx

from shared.tenancy import tenants
from tests.conftest import Cast
from tests.support.http_visitor import browser


async def open_step(visitor: httpx.AsyncClient, slug: str, step: str) -> str:
    """The version that the form shows."""
    page = await visitor.get(f"/onboarding?t={slug}&step={step}")
    version = re.search(r'name="row_version" value="(\d+)"', page.text)
    assert version is not None
    return version[1]


async def test_stale_name_is_refused_once_and_shows_both(cast: Cast) -> None:
    visitor, slug = browser(cookie=cast.ann.cookie), cast.ann.slug
    version = await open_step(visitor, slug, "organisation")
    async with cast.ann.ctx() as ctx:
        await tenants.rename(ctx, "Acme Trading", version=None)
    form = {"t": slug, "slug": slug, "name": "Acme Works", "row_version": version}
    refused = await visitor.post("/onboarding/organisation", data=form)
    assert refused.status_code == 409
    assert "now Acme Trading, yours Acme Works" in refused.text
    assert "Ann changed this organisation" in refused.text
    newer = re.search(r'name="row_version" value="(\d+)"', refused.text)
    assert newer is not None
    saved = await visitor.post("/onboarding/organisation", data={**form, "row_version": newer[1]})
    assert saved.status_code == 303
    async with cast.ann.ctx() as ctx:
        assert ctx.tenant_name == "Acme Works"


async def test_stale_colour_is_refused_once_and_shows_both(cast: Cast) -> None:
    visitor, slug = browser(cookie=cast.ann.cookie), cast.ann.slug
    version = await open_step(visitor, slug, "look")
    async with cast.ann.ctx() as ctx:
        await tenants.set_colour(ctx, "#112233", version=None)
    form = {"colour": "#445566", "row_version": version}
    refused = await visitor.post(
        f"/onboarding/{slug}/look", data=form, files={"logo": ("", b"", "application/octet-stream")}
    )
    assert refused.status_code == 409
    assert "now #112233, yours #445566" in refused.text
    async with cast.ann.ctx() as ctx:
        assert (await tenants.get_frame_settings(ctx)).colour == "#112233"
