"""Web pages use a key only from the origins that it lists."""

from tests.conftest import Cast
from tests.support import api_clients

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
