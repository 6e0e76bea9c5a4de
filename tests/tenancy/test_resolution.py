"""Which tenant a request means: one strategy at a time, and every pair of them, agreeing and disagreeing."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import psycopg
import pytest

from shared.core import db
from shared.core.errors import DomainError, NotFound
from shared.tenancy import resolution, tenants
from shared.tenancy.key_texts import new_key_text
from shared.tenancy.resolution import Source, Sources, TenantConflict, resolve
from tests.conftest import Cast
from tests.support import database, token_issuer
from tests.support.round_trips import recorded_round_trips

DOMAIN = "bulkhead.example"
FIELD_BY_SOURCE = {
    Source.PATH: "path_slug",
    Source.API_KEY: "key_text",
    Source.TOKEN: "token_text",
    Source.SUBDOMAIN: "host",
    Source.CUSTOM_HOST: "host",
}
PAIRS = [pair for pair in combinations(Source, 2) if FIELD_BY_SOURCE[pair[0]] != FIELD_BY_SOURCE[pair[1]]]


@pytest.fixture(autouse=True)
def domain(environment: Callable[[str, str], None]) -> None:
    environment("BULKHEAD_TENANT_DOMAIN", DOMAIN)


def add_host(tenant_id: str, *, is_verified: bool = True) -> str:
    """As proof of a domain will, which the apps' role can't."""
    host = f"{tenant_id.replace('_', '-')}.customer.example"
    url = database.admin_url(db.engine("app").url.database or "")
    with psycopg.connect(url, autocommit=True) as superuser:
        superuser.execute(
            "insert into tenant_host (tenant_id, id, verified_at) values (%s, %s, case when %s then now() end)",
            [tenant_id, host, is_verified],
        )
    return host


def name_tenant(source: Source, tenant_id: str, slug: str) -> Sources:
    """A request that names this tenant by this source alone."""
    texts = {
        Source.PATH: lambda: slug,
        Source.API_KEY: lambda: new_key_text(tenant_id, is_test=False).text,
        Source.TOKEN: lambda: token_issuer.TokenIssuer(tenant_id).sign(),
        Source.SUBDOMAIN: lambda: f"{slug}.{DOMAIN}:443",
        Source.CUSTOM_HOST: lambda: add_host(tenant_id).upper(),
    }
    return replace(Sources(), **{FIELD_BY_SOURCE[source]: texts[source]()})


def combine(first: Sources, second: Sources) -> Sources:
    return Sources(
        path_slug=first.path_slug or second.path_slug,
        key_text=first.key_text or second.key_text,
        token_text=first.token_text or second.token_text,
        host=first.host or second.host,
    )


async def get_outcome(sources: Sources) -> str:
    """The tenant's id, or the reason of the refusal."""
    try:
        claim = await resolve(sources)
    except DomainError as refusal:
        return refusal.reason
    return claim.tenant_id or claim.slug if claim else ""


@pytest.mark.parametrize("source", Source)
async def test_each_source_names_the_same_tenant(cast: Cast, source: Source) -> None:
    claim = await resolve(name_tenant(source, cast.acme, cast.ann.slug))
    assert claim is not None
    assert claim.source is source
    if source is Source.PATH:  # what a session has read already is not read again
        assert claim.slug == cast.ann.slug
    else:
        assert claim.tenant_id == cast.acme


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_two_sources_that_agree_name_the_tenant(cast: Cast, first: Source, second: Source) -> None:
    sources = (name_tenant(source, cast.acme, cast.ann.slug) for source in (first, second))
    assert await get_outcome(combine(*sources)) == cast.acme


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("is_swapped", [False, True])
async def test_two_sources_that_disagree_are_refused(
    cast: Cast, first: Source, second: Source, is_swapped: bool
) -> None:
    acme, globex = (cast.acme, cast.ann.slug), (cast.globex, cast.gil.slug)
    if is_swapped:
        acme, globex = globex, acme
    sources = combine(name_tenant(first, *acme), name_tenant(second, *globex))
    with pytest.raises(TenantConflict) as refusal:
        await resolve(sources)
    assert (refusal.value.http_status, refusal.value.reason) == (403, "tenant_conflict")
    assert refusal.value.named_by == (first, second)


def test_one_host_is_a_subdomain_or_a_host_of_its_own_and_never_both() -> None:
    hosts = (f"acme.{DOMAIN}", "acme.customer.example", DOMAIN, f"evil{DOMAIN}", f"a.b.{DOMAIN}.", "[::1]:80")
    for host in hosts:
        claims = [adapter(Sources(host=host)) for adapter in resolution.ADAPTERS.values()]
        assert len([claim for claim in claims if claim]) == 1


@pytest.mark.parametrize(
    "host",
    [
        f"nobody-has-this.{DOMAIN}",
        f"a.b.{DOMAIN}",
        f".{DOMAIN}",
        DOMAIN,
        "unknown.customer.example",
        "exa mple",
        "a,b",
        "\xe9",
        "x" * 300,
    ],
)
async def test_host_that_is_nobodys_is_not_found(host: str) -> None:
    with pytest.raises(NotFound):
        await resolve(Sources(host=host))


async def test_host_that_is_not_verified_is_nobodys(cast: Cast) -> None:
    assert await get_outcome(Sources(host=add_host(cast.acme, is_verified=False))) == "not_found"


async def test_verified_host_of_another_tenant_cannot_be_taken(cast: Cast) -> None:
    host = add_host(cast.acme)
    url = database.admin_url(db.engine("app").url.database or "")
    insert = "insert into tenant_host (tenant_id, id, verified_at) values (%s, %s, now())"
    with psycopg.connect(url, autocommit=True) as superuser, pytest.raises(psycopg.errors.UniqueViolation):
        superuser.execute(insert, [cast.globex, host])


async def test_former_slug_as_a_subdomain_names_the_same_tenant(cast: Cast) -> None:
    former = cast.ann.slug
    async with cast.ann.ctx() as ctx:
        await tenants.change_slug(ctx, f"{former}-new"[:60], version=None)
    assert await get_outcome(Sources(host=f"{former}.{DOMAIN}")) == cast.acme


async def test_main_host_and_no_domain_read_nothing(
    cast: Cast, environment: Callable[[str, str], None]
) -> None:
    key = new_key_text(cast.acme, is_test=False).text
    async with recorded_round_trips() as round_trips:
        round_trips.start()
        for host in ("localhost:3000", "LOCALHOST", "localhost.", ""):
            assert await get_outcome(Sources(key_text=key, host=host)) == cast.acme
            assert await get_outcome(Sources(path_slug="acme", host=host)) == "acme"
        environment("BULKHEAD_TENANT_DOMAIN", "")
        assert await get_outcome(Sources(key_text=key, host=f"{cast.gil.slug}.{DOMAIN}")) == cast.acme
        assert round_trips.list_statements() == []
