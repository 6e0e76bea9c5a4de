"""Web pages use a key only from the origins that it lists."""

import re

import psycopg
import pytest

from shared.api_keys import key_origins
from shared.api_keys.keys import KeyRequest, create
from shared.core import db
from shared.web.rest.openapi import HEADERS
from tests.conftest import Cast
from tests.support import api_clients, database

OWN, OTHER = "https://app.example.com", "https://evil.example.com"
PREFLIGHT = {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}
ALLOWED = "access-control-allow-origin"


async def test_preflight_is_answered_for_origins_that_a_key_lists(cast: Cast) -> None:
    await api_clients.create_key(cast.ann, origins=[OWN])
    async with api_clients.client() as client:
        listed = await client.options("/api/v1/members", headers={"origin": OWN, **PREFLIGHT})
        other = await client.options("/api/v1/members", headers={"origin": OTHER, **PREFLIGHT})
    assert (listed.status_code, listed.headers[ALLOWED]) == (204, OWN)
    assert "authorization" in listed.headers["access-control-allow-headers"]
    assert listed.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    assert (other.status_code, other.headers.get(ALLOWED)) == (204, None)
    assert "access-control-allow-credentials" not in listed.headers


async def test_answer_names_the_origin_only_if_this_key_lists_it(cast: Cast) -> None:
    listing = await api_clients.create_key(cast.ann, origins=[OWN])
    silent = await api_clients.create_key(cast.ann)
    allowed = []
    for program in (listing, silent):
        async with program.client() as client:
            for path in ("/api/v1/me", "/api/v1/members/mem_nobody"):
                answer = await client.get(path, headers={"origin": OWN})
                assert answer.headers["vary"] == "Origin"
                allowed.append(answer.headers.get(ALLOWED))
    assert allowed == [OWN, OWN, None, None]


async def test_page_may_read_every_header_that_the_document_names(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, origins=[OWN])
    async with program.client() as client:
        answer = await client.get("/api/v1/me", headers={"origin": OWN})
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    assert {name.lower() for name in HEADERS} | {"location", "decision-id"} <= exposed


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("https://app.example.com:443", "https://app.example.com"),
        ("HTTPS://App.Example.com:8443", "https://app.example.com:8443"),
        ("http://localhost:80", "http://localhost"),
        ("https://[2001:db8::1]:443", "https://[2001:db8::1]"),
    ],
)
async def test_origin_is_kept_as_browsers_send_it(cast: Cast, typed: str, sent: str) -> None:
    async with cast.ann.ctx() as ctx:
        created = await create(ctx, KeyRequest(name="Web", scopes=["member:read"], origins=[typed]))
    assert created.key.origins == (sent,)


async def test_preflight_reads_one_place_however_many_keys_there_are(cast: Cast) -> None:
    await api_clients.create_key(cast.ann, origins=[OWN])
    url = database.admin_url(db.engine("app").url.database or "")
    with psycopg.connect(url) as superuser:
        superuser.execute(
            "insert into api_key (tenant_id, id, name, secret_hash, hint, scopes, user_id, origins, created_by_name)"
            " select %s, 'key_many' || n, 'Many', lpad(n::text, 64, '0'), '', '{}', %s, array['https://' || n || '.example'], ''"
            " from generate_series(1, 3000) n",
            [cast.globex, cast.gil.user_id],
        )
        superuser.execute("analyze api_key")
        superuser.execute("set local role bulkhead_app")
        question = "explain (analyze, buffers, costs off) select is_origin_of_a_key(%s)"
        superuser.execute(question, [OWN])  # loads the catalog
        plan = superuser.execute(question, [OTHER]).fetchall()  # which no key lists
        pages = superuser.execute("select relpages from pg_class where relname = 'api_key'").fetchone()
        superuser.rollback()
    read = sum(int(count) for line in plan for count in re.findall(r"shared hit=(\d+)", line[0])[:1])
    assert pages is not None
    assert pages[0] > 60
    assert read < 30, plan
    assert await key_origins.is_listed(OWN)
