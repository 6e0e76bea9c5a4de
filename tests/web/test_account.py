"""A person's own account. An operator's change and its audit event are one transaction."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pyotp
import pytest

from shared.audit import audit_log
from shared.audit.models import OperatorEvent
from shared.core import crypto, db
from shared.identity import mfa, repository, sessions
from shared.identity.realms import OPERATOR
from shared.tenancy import entry
from shared.web import account
from tests.conftest import Cast
from tests.support import factories
from tests.support.http_visitor import browser

NEW_PASSWORD = "nine copper kettles in the rain"


class Account:
    """A new operator with a signed-in browser."""

    def __init__(self, cookie: str, operator_id: str) -> None:
        self.operator_id = operator_id
        self.session_hash = crypto.hash_token(cookie.partition("=")[2])
        self.browser: httpx.AsyncClient = browser(operators=True, cookie=cookie)

    async def post(self, path: str, **form: str) -> httpx.Response:
        return await self.browser.post(path, data={"current": factories.PASSWORD, **form})

    async def another_device(self) -> str:
        async with db.transaction("operator") as session:
            token = await sessions.start(session, OPERATOR, self.operator_id, "password+totp")
            devices = await sessions.list_sessions(session, OPERATOR, crypto.hash_token(token))
            return devices[0].id

    async def seed(self, *, on: bool) -> str:
        async with db.transaction("operator") as session:
            if not on:
                return await mfa.enrol(session, OPERATOR, self.operator_id)
            seed = pyotp.random_base32()
            await mfa.install_seed(session, OPERATOR, self.operator_id, seed)
            return seed

    async def lines(self) -> list[OperatorEvent]:
        async with entry.enter_platform("tests") as octx:
            events = await audit_log.list_operator_events(octx, limit=100)
        return [event for event in reversed(events) if event.actor_id == self.operator_id]


@pytest.fixture(name="account")
async def own_account(cast: Cast) -> Account:
    cookie = await factories.create_operator("Otto")
    async with entry.enter_operator(cookie) as octx:
        return Account(cookie, octx.actor_id)


async def rename_operator(account: Account) -> dict[str, Any]:
    await account.post("/account/name", name="Otto Berg")
    return {"old": "Otto", "new": "Otto Berg"}


async def change_password(account: Account) -> dict[str, Any]:
    await account.post("/account/password", password=NEW_PASSWORD)
    return {}


async def start_enrolment(account: Account) -> dict[str, Any]:
    await account.post("/account/factor/enrol")
    return {}


async def confirm_enrolment(account: Account) -> dict[str, Any]:
    await account.post("/account/factor", code=pyotp.TOTP(await account.seed(on=False)).now())
    return {}


async def turn_off_factor(account: Account) -> dict[str, Any]:
    await account.post("/account/factor/off")
    return {}


async def create_codes(account: Account) -> dict[str, Any]:
    await account.seed(on=True)
    await account.post("/account/codes")
    return {}


async def end_device_session(account: Account) -> dict[str, Any]:
    device = await account.another_device()
    await account.post("/account/sessions/end", session=device)
    return {"device": device}


async def end_other_sessions(account: Account) -> dict[str, Any]:
    await account.another_device()
    await account.another_device()
    await account.post("/account/sessions/end-others")
    return {"other_devices": 2}


Act = Callable[[Account], Awaitable[dict[str, Any]]]
LINES: dict[str, tuple[Act, str]] = {  # of every form of the page; "" where nothing has changed yet
    "/account/codes": (create_codes, "factor.codes_renewed"),
    "/account/factor": (confirm_enrolment, "factor.enrolled"),
    "/account/factor/enrol": (start_enrolment, ""),
    "/account/factor/off": (turn_off_factor, ""),  # refused to operators
    "/account/name": (rename_operator, "operator.renamed"),
    "/account/password": (change_password, "password.changed"),
    "/account/sessions/end": (end_device_session, "session.ended"),
    "/account/sessions/end-others": (end_other_sessions, "session.ended"),
}


def test_every_account_form_has_a_case() -> None:
    assert {route.path for route in account.ROUTES if "POST" in (route.methods or ())} == set(LINES)


@pytest.mark.parametrize("path", LINES)
async def test_operator_account_change_is_recorded_in_the_audit_log(account: Account, path: str) -> None:
    act, action = LINES[path]
    details = await act(account)
    events = [(event.action, event.object_id, event.details) for event in await account.lines()]
    assert events == ([(action, account.operator_id, details)] if action else [])


@pytest.mark.parametrize("path", [path for path, (_, action) in LINES.items() if action])
async def test_operator_account_change_is_rolled_back_without_its_event(
    account: Account, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event and the change are one transaction; here the event fails, after the change."""
    async with db.transaction("operator") as session:
        person = await repository.get_person(session, OPERATOR, account.operator_id)
        credential = await repository.get_credential(session, OPERATOR, account.operator_id)
    assert person is not None
    assert credential is not None

    def raise_error(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("no line")

    monkeypatch.setattr(audit_log, "record_operator", raise_error)
    details = await LINES[path][0](account)
    assert (await account.browser.get("/account")).status_code == 200
    async with db.transaction("operator") as session:
        after = await repository.get_person(session, OPERATOR, account.operator_id)
        secret = await repository.get_credential(session, OPERATOR, account.operator_id)
        devices = await sessions.list_sessions(session, OPERATOR, account.session_hash)
        confirmed = await mfa.is_enabled(session, OPERATOR, account.operator_id)
    assert after is not None
    assert secret is not None
    assert (after.name, secret.password_hash) == (person.name, credential.password_hash)
    assert confirmed is (path == "/account/codes")  # where it was on before
    assert len(devices) == 1 + details.get("other_devices", int("device" in details))
