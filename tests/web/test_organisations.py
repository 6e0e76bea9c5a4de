"""The pages on which a person creates and leaves an organisation."""

import re

import httpx
import psycopg
import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.backoffice import tenant_directory
from shared.backoffice.reasons import state_reason
from shared.identity.models import User
from shared.tenancy import signups, user_tenants
from shared.tenancy.models import Tenant
from tests.conftest import Cast
from tests.support.http_visitor import alerts, browser


async def suspend_acme(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, "ticket 4471", tenant_id=cast.acme)
        await tenant_directory.suspend_tenant(octx, cast.acme, reason)


async def read_leave_form(client: httpx.AsyncClient, slug: str) -> dict[str, str]:
    """The hidden fields of the page that asks for confirmation."""
    page = await client.get("/organisations/leave", params={"t": slug})
    return dict(re.findall(r'name="(t|membership)" value="([^"]+)"', page.text))


async def test_leaving_asks_and_then_ends_the_membership(cast: Cast) -> None:
    client = browser(cookie=cast.max.cookie)
    page = await client.get("/organisations/leave", params={"t": cast.max.slug})
    assert "Leave Acme?" in page.text
    left = await client.post("/organisations/leave", data=await read_leave_form(client, cast.max.slug))
    assert left.headers["location"] == "/organisations?notice=left"
    assert (await client.get(f"/t/{cast.max.slug}/home")).status_code == 403
    assert await user_tenants.list_user_tenants(cast.max.cookie) == []


async def test_suspended_organisation_can_be_left(cast: Cast) -> None:
    await suspend_acme(cast)
    client = browser(cookie=cast.max.cookie)
    listed = await client.get("/organisations")
    assert "Suspended" in listed.text
    assert f"/organisations/leave?t={cast.max.slug}" in listed.text
    left = await client.post("/organisations/leave", data=await read_leave_form(client, cast.max.slug))
    assert left.headers["location"] == "/organisations?notice=left"
    assert await user_tenants.list_user_tenants(cast.max.cookie) == []


async def test_last_owner_of_a_suspended_organisation_is_sent_to_support(cast: Cast) -> None:
    """They can't transfer ownership meanwhile."""
    await suspend_acme(cast)
    client = browser(cookie=cast.ann.cookie)
    answer = await client.post("/organisations/leave", data=await read_leave_form(client, cast.ann.slug))
    assert answer.status_code == 409
    assert "Contact support." in alerts(answer)


async def test_leaving_without_the_confirmed_membership_is_refused(cast: Cast) -> None:
    client = browser(cookie=cast.max.cookie)
    answer = await client.post("/organisations/leave", data={"t": cast.max.slug})
    assert answer.status_code == 422
    assert "Reload the page and confirm again." in alerts(answer)
    assert len(await user_tenants.list_user_tenants(cast.max.cookie)) == 1


async def test_leaving_tells_the_last_owner_what_to_do_first(cast: Cast) -> None:
    client = browser(cookie=cast.ann.cookie)
    answer = await client.post("/organisations/leave", data=await read_leave_form(client, cast.ann.slug))
    assert answer.status_code == 409
    assert "Transfer ownership on the Members page first." in alerts(answer)


async def test_leaving_a_foreign_organisation_is_the_same_as_an_unknown_one(cast: Cast) -> None:
    client = browser(cookie=cast.gil.cookie)
    answers = [
        await client.get("/organisations/leave", params={"t": slug}) for slug in (cast.ann.slug, "nobody")
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text == answers[1].text


class FailingCreation:
    """Creates organisations, but meets another transaction the first `failures` times."""

    def __init__(self, failures: int) -> None:
        self.create, self.failures, self.count = signups.create_tenant, failures, 0

    async def run(self, session: AsyncSession, user: User, name: str) -> Tenant:
        tenant = await self.create(session, user, name)
        await session.flush()
        self.count += 1
        if self.count <= self.failures:
            raise psycopg.errors.DeadlockDetected("deadlock detected")
        return tenant


async def test_form_whose_transaction_met_another_one_is_handled_again(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    creation = FailingCreation(1)
    monkeypatch.setattr(signups, "create_tenant", creation.run)
    created = await browser(cookie=cast.carl.cookie).post("/organisations", data={"organisation": "Harbour"})
    assert created.headers["location"].startswith("/onboarding?t=harbour")
    assert creation.count == 2
    assert [tenant.name for tenant in await user_tenants.list_user_tenants(cast.carl.cookie)] == ["Harbour"]


async def test_form_that_meets_others_twice_says_what_to_do(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signups, "create_tenant", FailingCreation(2).run)
    answer = await browser(cookie=cast.carl.cookie).post("/organisations", data={"organisation": "Harbour"})
    assert answer.status_code == 503
    assert "Another change of the same data was made at the same moment" in answer.text
    assert "then try again" in answer.text
    assert await user_tenants.list_user_tenants(cast.carl.cookie) == []
