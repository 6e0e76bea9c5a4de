"""Hosts of tenants over HTTP: they say which tenant is meant, and let nobody in."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlmodel import select

from shared.api_keys import keys
from shared.api_keys.keys import KeyRequest
from shared.audit.models import AuditEvent
from shared.backoffice import tenant_directory
from shared.tenancy.models import TenantMode
from shared.test_mode import test_tenants
from shared.web.rest.api_realms import TENANT_API
from tests.conftest import Cast, Person
from tests.support import api_clients, token_issuer
from tests.tenancy.test_resolution import DOMAIN, add_host
from tests.web.test_session_guard import REACHED, GuardedApp


@pytest.fixture(autouse=True)
def domain(environment: Callable[[str, str], None]) -> None:
    environment("BULKHEAD_TENANT_DOMAIN", DOMAIN)


async def ask(key: str, host: str, **headers: str) -> httpx.Response:
    async with api_clients.client(key) as client:
        return await client.get(f"{TENANT_API.prefix}/me", headers={"host": host, **headers})


async def list_refused_requests(person: Person) -> list[AuditEvent]:
    async with person.ctx() as ctx:
        statement = select(AuditEvent).where(AuditEvent.tenant_id == ctx.tenant_id)
        statement = statement.where(AuditEvent.action == "request.refused")
        return list((await ctx.session.exec(statement)).all())


async def count_security_events(cast: Cast) -> int:
    async with cast.olga.octx() as octx:
        overview = await tenant_directory.get_security_overview(octx)
    return overview.counts.get("tenant_conflict", 0)


async def test_key_works_at_the_hosts_of_its_own_tenant(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "member:read")
    for host in ("localhost:3000", f"{cast.ann.slug}.{DOMAIN}", add_host(cast.acme)):
        answer = await ask(program.text, host)
        assert (answer.status_code, answer.json()["organisation"]["id"]) == (200, cast.acme)


async def test_key_at_a_host_of_another_tenant_is_refused_and_recorded(cast: Cast) -> None:
    program, before = await api_clients.create_key(cast.ann, "member:read"), await count_security_events(cast)
    for host in (f"{cast.gil.slug}.{DOMAIN}", add_host(cast.globex)):
        answer = await ask(program.text, host)
        assert (answer.status_code, answer.json()["reason"]) == (403, "tenant_conflict")
    (event,) = await list_refused_requests(cast.ann)  # once an hour
    assert (event.actor_type, event.actor_id) == ("api_key", program.key_id)
    assert event.details == {"named_by": "api_key, subdomain"}
    assert await list_refused_requests(cast.gil) == []
    assert await count_security_events(cast) > before


async def test_token_at_a_host_of_another_tenant_is_refused_and_recorded(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = token_issuer.TokenIssuer(cast.acme)
    issuer.publish_to(monkeypatch)
    await token_issuer.add_issuer(cast.ann)
    answer = await ask(issuer.sign(), f"{cast.ann.slug}.{DOMAIN}")
    assert (answer.status_code, answer.json()["organisation"]["id"]) == (200, cast.acme)
    answer = await ask(issuer.sign(), f"{cast.gil.slug}.{DOMAIN}")
    assert (answer.status_code, answer.json()["reason"]) == (403, "tenant_conflict")
    (event,) = await list_refused_requests(cast.ann)
    assert (event.actor_type, event.actor_name) == ("external", "zoe@acme.example (Company sign-in)")


HEADERS = ("x-tenant-id", "x-tenant", "x-organisation-id", "x-forwarded-host", "x-original-host")


async def test_header_grants_and_changes_nothing(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "member:read")
    for value in (cast.globex, cast.gil.slug, f"{cast.gil.slug}.{DOMAIN}"):
        headers = dict.fromkeys(HEADERS, value)
        answer = await ask(program.text, "localhost", **headers)
        assert (answer.status_code, answer.json()["organisation"]["id"]) == (200, cast.acme)
        for host in ("localhost", f"{cast.gil.slug}.{DOMAIN}"):
            assert (await ask("", host, **headers)).status_code == 401


async def open_page(person: Person | None, slug: str, host: str, **headers: Any) -> tuple[int, bytes]:
    cookie = person.cookie if person else ""
    answer = await GuardedApp().ask(f"/t/{slug}/members", cookie=cookie, host=host, **headers)
    return answer.status, answer.body


async def test_page_opens_at_the_hosts_of_its_own_tenant(cast: Cast) -> None:
    for host in ("localhost:3000", f"{cast.ann.slug}.{DOMAIN}", add_host(cast.acme)):
        assert await open_page(cast.ann, cast.ann.slug, host) == (200, REACHED)


async def test_host_tells_a_stranger_nothing_about_who_has_it(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "member:read")
    hosts = (
        f"{cast.gil.slug}.{DOMAIN}",
        add_host(cast.globex),
        f"unknown.{DOMAIN}",
        "unknown.example",
        "a b",
    )
    answers = [await ask(program.text, host) for host in hosts]
    texts = {answer.text.replace(answer.headers["x-request-id"], "") for answer in answers}
    assert ({answer.status_code for answer in answers}, len(texts)) == ({403}, 1)
    assert {(await open_page(cast.ann, cast.ann.slug, host))[0] for host in hosts} == {403}
    assert {(await ask("", host)).status_code for host in hosts} == {401}


async def test_page_at_a_host_of_another_tenant_is_refused_and_recorded(cast: Cast) -> None:
    for host in (f"{cast.gil.slug}.{DOMAIN}", add_host(cast.globex)):
        status, body = await open_page(cast.ann, cast.ann.slug, host)
        assert (status, REACHED in body) == (403, False)
    (event,) = await list_refused_requests(cast.ann)
    assert (event.actor_id, event.details) == (cast.ann.user_id, {"named_by": "path, subdomain"})


async def test_host_lets_nobody_into_a_page(cast: Cast) -> None:
    host = f"{cast.gil.slug}.{DOMAIN}"
    assert (await open_page(cast.ann, cast.gil.slug, host))[0] == 404
    assert (await open_page(None, cast.gil.slug, host, x_tenant_id=cast.globex))[0] == 303


async def test_key_of_one_mode_at_the_host_of_the_other_is_refused(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        test_mode = await test_tenants.turn_on(ctx)
        request = KeyRequest(name="Trial run", scopes=["home:read"], mode=TenantMode.TEST)
        test_key = (await keys.create(ctx, request)).text
    live_key = (await api_clients.create_key(cast.ann, "home:read")).text
    live_host, test_host = f"{cast.ann.slug}.{DOMAIN}", f"{test_mode.slug}.{DOMAIN}"
    for key, host in ((test_key, live_host), (live_key, test_host)):
        answer = await ask(key, host)
        assert (answer.status_code, answer.json()["reason"]) == (403, "tenant_conflict")
    answer = await ask(test_key, test_host)
    assert (answer.status_code, answer.json()["organisation"]["id"]) == (200, test_mode.tenant_id)
