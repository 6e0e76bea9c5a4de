"""The operators' page of API keys: the secret reaches the browser once and is in no state."""

from typing import Any

from admin_app.pages.api_keys.state import SECRET_DIALOG, OperatorKeysState
from shared.backoffice import operator_key_entry
from tests.conftest import Operating
from tests.support import factories, operator_clients
from tests.support.operator_clients import REASON

FORM = {
    "name": "Provisioning",
    "lifetime": "90",
    "networks": "203.0.113.0/24, 198.51.100.7",
    "may_operator_tenant_read": "on",
    "reason": REASON,
}


async def test_new_secret_is_sent_to_the_browser_and_not_stored_in_state(schema: str) -> None:
    owner = Operating(await factories.create_operator("Olive"))
    async with owner.octx() as octx:
        code = await operator_clients.enrol(octx)
    page = owner.opens(OperatorKeysState, path="/api-keys")
    create: Any = OperatorKeysState.event_handlers["create_key"].fn
    page.dialog = "create"
    assert await create(page, {**FORM, "code": "000000x"}) is None  # it says so below the field
    assert page.dialog == "create"
    event = str(await create(page, {**FORM, "code": code}))
    secret = event[event.index("bk_op_") :][:49]
    admission = await operator_key_entry.authenticate_operator_key(secret, address="203.0.113.9")
    assert admission.operator.permissions == {"operator:tenant:read"}
    assert (page.dialog, page.subject.name) == (SECRET_DIALOG, "Provisioning")
    assert secret not in str(page._get_root_state().dict(initial=True)) + str(page._backend_vars)
    revoke: Any = OperatorKeysState.event_handlers["revoke_key"].fn
    await revoke(page, {"reason": REASON})
    assert page.rows[0].status == "Revoked"
