"""A program that calls the REST API: a key, and a client that sends it."""

from collections.abc import Collection
from dataclasses import dataclass

import httpx
from sqlmodel import select
from sqlmodel.sql.expression import SelectOfScalar

from shared.api_keys import keys
from shared.api_keys.models import ApiKey, IdempotencyKey
from shared.core.context import Ctx
from shared.core.db import now
from shared.tenancy import roles, service_accounts
from shared.web import tenant_http
from tests.conftest import Person


@dataclass(frozen=True, slots=True)
class Program:
    key_id: str
    text: str

    def client(self) -> httpx.AsyncClient:
        return client(self.text)


def client(key: str = "", *, address: str = "127.0.0.1") -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(tenant_http.app, client=(address, 4321)),
        base_url="https://bulkhead.test",
        headers=headers,
    )


async def create_key(
    person: Person,
    *scopes: str,
    name: str = "Nightly import",
    networks: Collection[str] = (),
    origins: Collection[str] = (),
) -> Program:
    """A key of this person: with all their scopes where none are named."""
    async with person.ctx() as ctx:
        created = await keys.create(
            ctx,
            keys.KeyRequest(
                name=name, scopes=scopes or keys.list_scopes(ctx), networks=networks, origins=origins
            ),
        )
    return Program(created.key.id, created.text)


async def create_account_key(owner: Person, role: str, *scopes: str) -> Program:
    """A key of a new service account: with all scopes of its role where none are named."""
    async with owner.ctx() as ctx:
        account = await service_accounts.create(ctx, "Nightly import", role)
        permissions = await roles.get_permissions(ctx, role) or frozenset[str]()
        request = keys.KeyRequest(
            name="Import", scopes=scopes or sorted(permissions), service_account_id=account.id
        )
        created = await keys.create(ctx, request)
    return Program(created.key.id, created.text)


def select_kept(ctx: Ctx) -> SelectOfScalar[IdempotencyKey]:
    """The answers that are kept in this tenant."""
    return select(IdempotencyKey).where(IdempotencyKey.tenant_id == ctx.tenant_id)


async def end_key(person: Person, program: Program, column: str) -> None:
    """`column`: "revoked_at" or "expires_at", which is now."""
    async with person.ctx() as ctx:
        key = await ctx.session.get(ApiKey, (ctx.tenant_id, program.key_id))
        setattr(key, column, now())
