"""The REST API: who may call it, what it answers, how it refuses."""

from shared.web.rest import api
from tests.conftest import Cast
from tests.support import api_clients


async def test_key_lists_members_of_its_organisation(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "member:read")
    async with program.client() as client:
        me = (await client.get("/api/v1/me")).json()
        answer = await client.get("/api/v1/members", params={"limit": 2})
        last_page = await client.get("/api/v1/members", params={"limit": 2, "after": answer.json()["next"]})
    assert me["organisation"]["id"] == cast.acme
    assert me["permissions"] == ["member:read"]
    names = [item["name"] for page in (answer, last_page) for item in page.json()["items"]]
    assert names == ["Adam", "Ann", "Max"]
    assert last_page.json()["next"] is None


async def test_key_without_scope_is_refused_with_the_scope(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "role:read")
    async with program.client() as client:
        answer = await client.get("/api/v1/members")
    problem = answer.json()
    assert (answer.status_code, problem["reason"]) == (403, "missing_scope")
    assert "member:read" in problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/problem+json"


async def test_document_describes_every_endpoint() -> None:
    document = api.build_document()
    assert document["openapi"].startswith("3.1")
    assert "/api/v1/members/{member_id}" in document["paths"]
