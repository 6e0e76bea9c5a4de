"""Everybody who acts is recorded as what they are: a person, a key, a service account, a token, a job, an operator."""

import pytest
from sqlmodel import select

from shared.audit import audit_log
from shared.audit.models import AuditEvent
from shared.tenancy import entry, roles
from tests.conftest import Cast
from tests.support import api_clients, token_issuer

ROLE = {"description": "", "permissions": ["member:read"]}


async def test_each_identity_is_an_actor_of_its_own_type(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = token_issuer.TokenIssuer(cast.acme)
    issuer.publish_to(monkeypatch)
    issuer_row = await token_issuer.add_issuer(cast.ann, role="admin")
    person_key = await api_clients.create_key(cast.ann, name="Nightly import")
    account_key = await api_clients.create_account_key(cast.ann, "admin")
    callers = {"By key": person_key.text, "By account": account_key.text, "By token": issuer.sign()}
    for name, text in callers.items():
        async with api_clients.client(text) as client:
            answer = await client.post("/api/v1/roles", json={"name": name, **ROLE})
        assert answer.status_code == 201, answer.text
    async with entry.enter_job(cast.acme, "tests.run", "req_job") as ctx:
        audit_log.record(ctx, "role.created", "rol_job", after={"name": "By job"})
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, "Trying it"):
        operator_id = octx.actor_id
    async with cast.ann.ctx() as ctx:
        await roles.create(ctx, "By session", "", {"member:read"})
    async with cast.ann.ctx() as ctx:
        statement = select(AuditEvent).where(AuditEvent.tenant_id == ctx.tenant_id)
        events = (await ctx.session.exec(statement)).all()
    actors = {event.after.get("name", event.action): event for event in events}
    assert {
        name: (actors[name].actor_type, actors[name].actor_id, actors[name].actor_name)
        for name in (*callers, "By job", "By session", "operator.looked")
    } == {
        "By key": ("api_key", person_key.key_id, "Nightly import"),
        "By account": ("service_account", account_key.key_id, "Nightly import (Import)"),
        "By token": ("external", f"{issuer_row.id}:zoe@acme.example", "zoe@acme.example (Company sign-in)"),
        "By job": ("job", "tests.run", "tests.run"),
        "By session": ("user", cast.ann.user_id, "Ann"),
        "operator.looked": ("operator", operator_id, "Olga"),
    }
