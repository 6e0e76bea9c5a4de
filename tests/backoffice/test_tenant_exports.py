"""Export of all data of a tenant: by owners of the platform, for one operator, without secrets and foreign rows."""

import json

import httpx
import pytest

from shared.audit import audit_log
from shared.backoffice import tasks, tenant_exports
from shared.backoffice.reasons import state_reason
from shared.backoffice.tenant_exports import TenantExport
from shared.core import registry
from shared.core.errors import Conflict, Refused
from shared.files.models import ExportState
from shared.jobs.worker import ExternalJob
from tests.conftest import Cast, Operating
from tests.support import factories
from tests.support.http_visitor import browser

REASON = "The customer asked for a copy, ticket 4471"


async def ask(operator: Operating, tenant_id: str) -> str:
    async with operator.octx() as octx:
        return await tenant_exports.request(octx, tenant_id, state_reason(octx, REASON, tenant_id=tenant_id))


async def run(tenant_id: str, export_id: str) -> None:
    await tasks.export_tenant(ExternalJob(tenant_id, ""), export_id=export_id)


async def read_newest(operator: Operating, tenant_id: str) -> TenantExport:
    async with operator.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=tenant_id)
        return (await tenant_exports.list_exports(octx, tenant_id, reason))[0]


async def download(operator: Operating, path: str) -> httpx.Response:
    async with browser(operators=True, cookie=operator.cookie) as client:
        return await client.get(path)


async def test_export_has_every_exported_table_and_no_secret_or_foreign_row(cast: Cast) -> None:
    export_id = await ask(cast.olga, cast.acme)
    await run(cast.acme, export_id)
    await run(cast.acme, export_id)  # a second run finds it done
    export = await read_newest(cast.olga, cast.acme)
    assert export.state is ExportState.READY
    answer = await download(cast.olga, export.path)
    assert answer.status_code == 200
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert len(lines) == export.row_count
    tables = {line["table"] for line in lines}
    exported = {name for name, contract in registry.list_tables().items() if contract.export}
    assert {"membership", "audit_event", "role"} <= tables <= exported
    assert {line["row"]["tenant_id"] for line in lines} == {cast.acme}
    assert cast.globex not in answer.text
    names = {name for line in lines for name in line["row"]}
    assert not {name for name in names if name.endswith(("token_hash", "secret_hash", "secret", "proof"))}


async def test_columns_with_secrets_stay_here() -> None:
    hidden = {table.name: names for table, names in tenant_exports.list_exported_tables()}
    assert hidden["api_key"] == {"previous_hash", "secret_hash"}
    assert {"code_hash", "operator_session_hash", "proof", "token_hash"} <= hidden["impersonation"]
    assert hidden["audit_seal"] == frozenset()
    for name, contract in registry.list_tables().items():
        assert not contract.export or set(contract.sealed) <= hidden[name]


async def test_export_and_download_are_in_the_audit_log_of_the_tenant(cast: Cast) -> None:
    await run(cast.acme, await ask(cast.olga, cast.acme))
    await download(cast.olga, (await read_newest(cast.olga, cast.acme)).path)
    async with cast.ann.ctx() as ctx:
        events = {
            action: (await audit_log.list_events(ctx, audit_log.AuditFilter(action=action))).rows
            for action in ("tenant.exported", "tenant.export_downloaded")
        }
    ((request_event,), (download_event,)) = events.values()
    assert (request_event.actor_name, request_event.reason) == ("Olga", REASON)
    assert download_event.actor_name == "Olga"


async def test_link_opens_for_the_operator_who_asked_only(cast: Cast) -> None:
    await run(cast.acme, await ask(cast.olga, cast.acme))
    path = (await read_newest(cast.olga, cast.acme)).path
    other = Operating(await factories.create_operator("Nora"))
    assert (await download(other, path)).status_code == 404
    assert (await download(Operating(""), path)).status_code == 303  # to the sign-in
    assert (await download(cast.olga, path[:-1] + ("0" if path[-1] != "0" else "1"))).status_code == 403


async def test_second_export_waits_for_the_first(cast: Cast) -> None:
    await ask(cast.olga, cast.acme)
    with pytest.raises(Conflict):
        await ask(cast.olga, cast.acme)


async def test_support_cannot_export(cast: Cast) -> None:
    with pytest.raises(Refused):
        await ask(cast.sam, cast.acme)
