"""A program that calls the operators' API: a key of an operator, and a client that sends it."""

from collections.abc import Collection
from datetime import datetime

import httpx
import pyotp

from shared.backoffice import operator_keys
from shared.backoffice.operator_keys import OperatorKeyRequest
from shared.backoffice.reasons import state_reason
from shared.core.context import OperatorCtx
from shared.identity import mfa, operators
from shared.identity.models import Operator
from shared.identity.realms import OPERATOR
from shared.tenancy import entry
from shared.web import admin_http
from tests.support.api_clients import Program

REASON = "Ticket 4471"


def client(key: str = "", *, address: str = "127.0.0.1") -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(admin_http.app, client=(address, 4321)),
        base_url="https://admin.bulkhead.test",
        headers=headers,
    )


async def enrol(octx: OperatorCtx) -> str:
    """Turn a second factor on and return its next code."""
    await mfa.install_seed(octx.session, OPERATOR, octx.actor_id, pyotp.random_base32())
    return await mfa.generate_next_code(octx.session, OPERATOR, octx.actor_id)


async def create_key(
    cookie: str,
    *scopes: str,
    name: str = "Provisioning",
    networks: Collection[str] = (),
    expires_at: datetime | None = None,
) -> Program:
    """A key of this operator: with all that they can give where no scopes are named. From the command line."""
    async with entry.enter_operator(cookie) as octx:
        request = OperatorKeyRequest(
            name=name,
            scopes=scopes or operator_keys.list_scopes(octx),
            networks=networks,
            expires_at=expires_at,
        )
        operator = await get_operator(octx)
    async with entry.enter_platform("tests") as platform:
        created = await operator_keys.create_for(
            platform, operator.email, request, state_reason(platform, REASON)
        )
    return Program(created.key.id, created.text)


async def get_operator(octx: OperatorCtx) -> Operator:
    """The account of the actor."""
    return next(row for row in await operators.list_all(octx.session) if row.id == octx.actor_id)
