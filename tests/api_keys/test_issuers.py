"""Token issuers: who may set them up, what is refused, what is recorded."""

from typing import Any

import pytest
from sqlmodel import select

from shared.api_keys import issuers
from shared.api_keys.issuers import MappedRole
from shared.audit.models import AuditEvent
from shared.core.errors import ChangedMeanwhile, Conflict, Invalid, NotFound, Refused
from shared.tenancy import members, roles
from shared.web.rest.api_realms import TENANT_API
from tests.conftest import Cast
from tests.support import api_clients
from tests.support.token_issuer import AUDIENCE, ISSUER, URL, add_issuer, build_request

REFUSED: dict[str, dict[str, Any]] = {
    "http": {"jwks_url": "http://id.acme.example/jwks.json"},
    "another port": {"jwks_url": "https://id.acme.example:8443/"},
    "host without a dot": {"jwks_url": "https://postgres/"},
    "HS256": {"algorithms": ["HS256"]},
    "none": {"algorithms": ["none", "RS256"]},
    "no algorithm": {"algorithms": []},
    "no issuer": {"issuer": ""},
    "issuer with a space": {"issuer": f"{ISSUER} "},
    "invisible audience": {"audience": "a\u202eb"},
    "registered claim": {"tenant_claim": "sub"},
    "no claim": {"tenant_claim": ""},
    "owner": {"role": "owner"},
    "map without a claim": {"role_map": [MappedRole(value="it", role="viewer")]},
    "claim without a map": {"role_claim": "groups"},
    "map above the role": {"role_claim": "groups", "role_map": [MappedRole(value="it", role="admin")]},
    "map to owner": {"role_claim": "groups", "role_map": [MappedRole(value="it", role="owner")]},
    "value twice": {"role_claim": "groups", "role_map": [MappedRole(value="it", role="viewer")] * 2},
}


@pytest.mark.parametrize("name", REFUSED)
async def test_issuer_with_an_unusable_value_is_refused(cast: Cast, name: str) -> None:
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid):
            await issuers.create(ctx, build_request(**REFUSED[name]))


async def test_issuer_cannot_be_given_a_role_above_its_makers(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Issuer admin", "", ["jwt_issuer:read", "jwt_issuer:write"])
        row = next(
            member for member in (await members.list_members(ctx)).rows if member.email == cast.max.email
        )
        await members.set_role(ctx, row.id, role.key, version=None)
    issuer = await add_issuer(cast.ann, role="admin")
    async with cast.max.ctx() as ctx:
        assert await issuers.create(ctx, build_request(issuer="https://own.example", role=role.key))
        with pytest.raises(Refused):
            await issuers.create(ctx, build_request(issuer="https://other.example", role="admin"))
        with pytest.raises(Refused):
            await issuers.change(ctx, issuer.id, build_request(role=role.key), version=None)


async def test_issuer_above_the_own_role_is_neither_changed_nor_removed(cast: Cast) -> None:
    row = await add_issuer(cast.ann, role="admin")
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Issuers", "", ["jwt_issuer:read", "jwt_issuer:write", "member:read"])
        (adam,) = (await members.list_members(ctx, query=cast.adam.email)).rows
        await members.set_role(ctx, adam.id, role.key, version=None)
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Refused, match="permissions you don’t have"):
            await issuers.delete(ctx, row.id)
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Refused):
            await issuers.change(ctx, row.id, build_request(role="viewer"), version=None)


async def test_issuer_and_audience_are_set_up_once_in_a_tenant(cast: Cast) -> None:
    await add_issuer(cast.ann)
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Conflict):
            await issuers.create(ctx, build_request(name="Again"))
    assert await add_issuer(cast.gil)


async def test_member_without_the_permission_sees_and_changes_no_issuer(cast: Cast) -> None:
    issuer = await add_issuer(cast.ann)
    async with cast.max.ctx() as ctx:
        for call in (
            issuers.list_issuers(ctx),
            issuers.get(ctx, issuer.id),
            issuers.create(ctx, build_request()),
            issuers.change(ctx, issuer.id, build_request(), version=None),
            issuers.delete(ctx, issuer.id),
        ):
            with pytest.raises(Refused):
                await call
    async with cast.gil.ctx() as ctx:
        with pytest.raises(NotFound):
            await issuers.get(ctx, issuer.id)


async def test_changes_of_an_issuer_are_recorded_and_a_stale_one_is_refused(cast: Cast) -> None:
    issuer = await add_issuer(cast.ann)
    async with cast.ann.ctx() as ctx:
        changed = await issuers.change(ctx, issuer.id, build_request(name="New"), version=issuer.version)
        with pytest.raises(ChangedMeanwhile):
            await issuers.change(ctx, issuer.id, build_request(name="Newer"), version=issuer.version)
        await issuers.change(ctx, issuer.id, build_request(name="New"), version=changed.version)
        await issuers.delete(ctx, issuer.id)
        statement = select(AuditEvent.action).where(AuditEvent.tenant_id == ctx.tenant_id)
        statement = statement.where(AuditEvent.object_id == issuer.id).order_by(AuditEvent.id)
        actions = (await ctx.session.exec(statement)).all()
    assert actions == ["jwt_issuer.created", "jwt_issuer.changed", "jwt_issuer.deleted"]


async def test_issuers_are_managed_over_rest(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    body = {
        "name": "Company sign-in",
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks_url": URL,
        "algorithms": ["RS256"],
        "tenant_claim": "organisation",
        "role": "member",
        "role_claim": "groups",
        "role_map": [{"value": "staff", "role": "viewer"}],
    }
    async with program.client() as client:
        created = await client.post(f"{TENANT_API.prefix}/jwt-issuers", json=body)
        address = f"{TENANT_API.prefix}/jwt-issuers/{created.json()['id']}"
        changed = await client.put(
            address, json={**body, "enabled": False}, headers={"if-match": created.headers["etag"]}
        )
        listed = (await client.get(f"{TENANT_API.prefix}/jwt-issuers")).json()["items"]
        deleted = await client.delete(address)
        missing = await client.get(address)
    assert (created.status_code, changed.status_code, deleted.status_code) == (201, 200, 204)
    assert listed == [changed.json()]
    assert listed[0]["role_map"] == body["role_map"]
    assert (listed[0]["enabled"], listed[0]["version"], missing.status_code) == (False, 2, 404)
