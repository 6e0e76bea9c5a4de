"""The operators page and a password that is shown once."""

from typing import Any

from admin_app.pages.operators import OperatorsState, operator_row
from shared.backoffice import operators
from shared.core.ids import new_id
from shared.identity import sign_in
from shared.identity.realms import OPERATOR
from tests.conftest import Cast


async def test_new_password_is_sent_to_the_browser_and_not_stored_in_state(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        made = await operators.create(octx, f"{new_id('x')[2:]}@bulkhead.test", "support", "Sue")
        subject = operator_row(octx, made.operator)
    page = cast.olga.opens(OperatorsState, path="/operators")
    page.subject, page.dialog = subject, "reset"
    handler: Any = OperatorsState.event_handlers["reset_access"].fn
    toast = str(await handler(page, {"reason": "lost her phone"}))
    password = toast.partition("shown once: ")[2].partition(".")[0]
    assert await sign_in.check_password(OPERATOR, made.operator.email, password) is not None
    assert page.dialog == ""
    assert password not in str(page._get_root_state().dict(initial=True)) + str(page._backend_vars)
