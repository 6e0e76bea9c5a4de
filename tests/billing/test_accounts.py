"""Provider accounts: sealed credentials, tokens stored as hashes, managed by owners of the platform."""

import base64
import os
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from shared.audit import audit_log
from shared.backoffice import provider_accounts
from shared.backoffice.reasons import state_reason
from shared.billing import accounts, customers, provider_registry, verify_key
from shared.billing.models import PLATFORM
from shared.billing.pricing import prices_repository
from shared.billing.provider import ProviderDown
from shared.cli import keys, stripe_accounts
from shared.core import crypto, db
from shared.core.config import DEMO_STRIPE_KEY, DEMO_STRIPE_SECRET, settings
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.core.ids import new_id
from tests.conftest import Cast, Operating
from tests.support import factories
from tests.support.billing import scripted_provider

NEW = "7:" + base64.b64encode(os.urandom(32)).decode()
SECRET = "whsec_of_the_second_business"


def new_key(mode: str = "test") -> str:
    return f"sk_{mode}_{new_id('x')}"


async def add_account(cast: Cast, **changed: Any) -> str:
    """Returns the token of its webhook address."""
    values = {
        "name": "Second business",
        "key": new_key(),
        "secrets": [SECRET],
        **changed,
    }
    async with cast.olga.octx() as octx:
        address = await provider_accounts.add(
            octx,
            values.pop("name"),
            values.pop("key"),
            values.pop("secrets"),
            reason=state_reason(octx, values.pop("reason", "It sells too")),
            **values,
        )
    assert address.startswith(f"{settings().tenant_url}/webhooks/stripe/")
    return address.rpartition("/")[2]


async def load_credentials(token: str) -> accounts.AccountCredentials:
    async with db.transaction() as session:
        account = await accounts.find_by_token(session, token)
    assert account is not None
    return account


def load_account_row(account_id: str) -> dict[str, Any]:
    """Read as a superuser."""
    with psycopg.connect(os.environ["DATABASE_URL"], row_factory=dict_row) as connection:
        row = connection.execute("select * from provider_account where id = %s", [account_id]).fetchone()
    assert row is not None
    return row


async def test_platform_account_comes_from_the_settings() -> None:
    async with db.transaction() as session:
        account = await accounts.get(session, PLATFORM)
    assert account == accounts.get_platform_account()
    assert (account.key, account.secrets, account.livemode) == (DEMO_STRIPE_KEY, (DEMO_STRIPE_SECRET,), False)
    assert account.is_platform


async def test_account_is_found_by_its_token_and_stored_sealed(
    cast: Cast,
) -> None:
    mine = new_key("live")
    token = await add_account(cast, key=mine)
    account = await load_credentials(token)
    assert (account.key, account.secrets, account.livemode) == (mine, (SECRET,), True)
    assert not account.is_paused
    assert not account.is_platform
    async with db.transaction() as session:
        assert await accounts.get(session, account.id) == account
    kept = repr(load_account_row(account.id))
    for secret in (mine, SECRET, token):
        assert secret not in kept
        assert secret not in repr(account)


async def test_test_key_is_refused_in_production_unless_a_setting_allows_it(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    production = settings().model_copy(update={"env": "prod"})
    monkeypatch.setattr(provider_accounts, "settings", lambda: production)
    with pytest.raises(Invalid, match="test key"):
        await add_account(cast)
    await add_account(cast, key=new_key("live"))
    rehearsal = production.model_copy(update={"stripe_allow_test_key": True})
    monkeypatch.setattr(provider_accounts, "settings", lambda: rehearsal)
    await add_account(cast)


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "é" * 43, "A" * 42 + "\0", "'" * 43])
async def test_unknown_token_finds_no_account(token: str) -> None:
    async with db.transaction() as session:
        assert await accounts.find_by_token(session, token) is None


async def test_sealed_credentials_do_not_open_for_another_account(cast: Cast) -> None:
    account, other = [await load_credentials(await add_account(cast)) for _ in range(2)]
    other_seal = load_seal(other.id)
    set_seal(load_seal(account.id), other.id)
    with pytest.raises(crypto.DecryptionError):
        async with db.transaction() as session:
            await accounts.get(session, other.id)
    set_seal(other_seal, other.id)
    async with db.transaction() as session:
        assert await accounts.get(session, other.id) == other


def load_seal(account_id: str) -> list[Any]:
    row = load_account_row(account_id)
    return [row[name] for name in ("sealed", "kek_id", "wrapped")]


def set_seal(seal: list[Any], account_id: str) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        change = "update provider_account set sealed = %s, kek_id = %s, wrapped = %s where id = %s"
        connection.execute(change, [*seal, account_id])


async def test_account_with_a_used_key_is_refused(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = new_key()
    account = await load_credentials(await add_account(cast, key=mine))
    with pytest.raises(Conflict, match=account.id):
        await add_account(cast, key=f" {mine}\n")
    platforms = new_key()
    monkeypatch.setenv("STRIPE_SECRET_KEY", platforms)
    settings.cache_clear()
    with pytest.raises(Conflict, match=PLATFORM):
        await add_account(cast, key=platforms)
    monkeypatch.undo()
    settings.cache_clear()


WRONG = {
    "no name": {"name": " "},
    "a name too long": {"name": "n" * 61},
    "a name that cannot be shown": {"name": "a\x07b"},
    "a publishable key": {"key": "pk_test_12345678"},
    "no key": {"key": ""},
    "no secret": {"secrets": []},
    "three secrets": {"secrets": [SECRET] * 3},
    "an empty secret": {"secrets": [""]},
    "a key for a secret": {"secrets": ["sk_test_12345678"]},
    "no reason": {"reason": " "},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_invalid_account_is_refused_with_a_next_step(cast: Cast, wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        await add_account(cast, **wrong)
    assert caught.value.next_step


async def test_account_changes_are_refused_for_other_operator_roles(cast: Cast) -> None:
    engineer = Operating(await factories.create_operator("Eve", "engineer"))
    for somebody in (cast.sam, engineer, Operating(await factories.create_operator("Bo", "billing"))):
        for act in (
            lambda octx: provider_accounts.add(
                octx, "Mine", new_key(), [SECRET], reason=state_reason(octx, "why not, ticket 4471")
            ),
            lambda octx: provider_accounts.set_secrets(
                octx, PLATFORM, [SECRET], reason=state_reason(octx, "why not, ticket 4471")
            ),
            lambda octx: provider_accounts.unpause(
                octx, PLATFORM, reason=state_reason(octx, "why not, ticket 4471")
            ),
        ):
            with pytest.raises(Refused, match="missing_permission"):
                async with somebody.octx() as octx:
                    await act(octx)


async def test_webhook_secrets_are_replaced_and_audited_without_their_values(cast: Cast) -> None:
    token = await add_account(cast)
    account = await load_credentials(token)
    newer = "whsec_a_newer_one"
    async with cast.olga.octx() as octx:
        await provider_accounts.set_secrets(
            octx, account.id, [newer, SECRET], reason=state_reason(octx, "Rolled, ticket 4471")
        )
    changed = await load_credentials(token)
    assert (changed.secrets, changed.key) == ((newer, SECRET), account.key)
    async with cast.olga.octx() as octx:
        events = [
            event for event in await audit_log.list_operator_events(octx) if event.object_id == account.id
        ]
    assert [(event.action, event.reason) for event in events] == [
        ("provider_account.secrets_changed", "Rolled, ticket 4471"),
        ("provider_account.added", "It sells too"),
    ]
    assert SECRET not in repr([event.details for event in events])
    assert newer not in repr([event.details for event in events])
    with pytest.raises(NotFound):
        async with cast.olga.octx() as octx:
            await provider_accounts.set_secrets(
                octx, PLATFORM, [newer], reason=state_reason(octx, "Those are settings")
            )


async def test_account_with_a_refused_key_is_paused_until_resumed(cast: Cast) -> None:
    token = await add_account(cast)
    account = await load_credentials(token)
    for why in ("the key was revoked", "again, ticket 4471"):
        async with db.transaction() as session:
            await accounts.pause(session, account.id, why)
    assert (await load_credentials(token)).is_paused
    assert load_account_row(account.id)["pause_reason"] == "the key was revoked"
    async with cast.olga.octx() as octx:
        await provider_accounts.unpause(octx, account.id, reason=state_reason(octx, "There is a new key"))
    assert not (await load_credentials(token)).is_paused
    async with cast.olga.octx() as octx:
        newest = next(
            event for event in await audit_log.list_operator_events(octx) if event.object_id == account.id
        )
    assert (newest.action, newest.details) == ("provider_account.unpaused", {"was": "the key was revoked"})


async def test_app_role_may_pause_an_account_and_nothing_else(cast: Cast) -> None:
    account = await load_credentials(await add_account(cast))
    for change in ("livemode = true", "token_hash = 'x'", "sealed = 'x'", "name = 'x'"):
        statement = text(f"update provider_account set {change} where id = :id")
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with db.transaction() as session:
                await (await session.connection()).execute(statement, {"id": account.id})


def set_master_keys(*master_keys: str) -> None:
    os.environ["BULKHEAD_MASTER_KEYS"] = ",".join(master_keys)
    settings.cache_clear()


@pytest.fixture
async def old_master_keys() -> AsyncIterator[str]:
    """The master keys before number 7. They are restored afterwards."""
    before = os.environ.get("BULKHEAD_MASTER_KEYS")
    old_keys = ",".join(
        f"{number}:{base64.b64encode(master_key).decode()}"
        for number, master_key in settings().load_master_keys().items()
    )
    yield old_keys
    set_master_keys(old_keys, NEW)
    await keys.rotate_keys()
    os.environ.pop("BULKHEAD_MASTER_KEYS") if before is None else set_master_keys(before)
    settings.cache_clear()


async def test_rotation_rewraps_account_credentials(cast: Cast, old_master_keys: str) -> None:
    token = await add_account(cast)
    account = await load_credentials(token)
    set_master_keys(NEW, old_master_keys)
    await keys.rotate_keys()
    set_master_keys(NEW)  # the old one is gone for good
    assert await load_credentials(token) == account
    assert load_account_row(account.id)["kek_id"] == 7
    async with cast.olga.octx() as octx:
        assert await provider_accounts.rewrap_keys(octx, state_reason(octx, "again, ticket 4471")) == 0


async def test_accounts_are_managed_from_the_command_line(cast: Cast) -> None:
    output = await stripe_accounts.add("Third business", new_key(), [SECRET], "It sells too")
    token = output.rpartition("/")[2]
    account = await load_credentials(token)
    assert "shown once" in output
    output = await stripe_accounts.set_secrets(
        account.id, ["whsec_a_newer_one", SECRET], "Rolled, ticket 4471"
    )
    assert "newest alone" in output
    assert (await load_credentials(token)).secrets == ("whsec_a_newer_one", SECRET)
    async with db.transaction() as session:
        await accounts.pause(session, account.id, "refused")
    await stripe_accounts.unpause(account.id, "It is good again")
    assert not (await load_credentials(token)).is_paused


async def test_account_with_another_accounts_key_is_paused(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, provider)
    await customers.ensure(cast.acme)
    assert [await verify_key.verify_keys() for _ in range(2)] == [0, 0]

    async def get_other_account_id() -> str:
        return "acct_other"

    monkeypatch.setattr(provider, "get_account_id", get_other_account_id)
    assert [await verify_key.verify_keys() for _ in range(2)] == [1, 0]
    async with db.transaction() as session:
        assert (await accounts.get(session, PLATFORM)).is_paused
        assert await prices_repository.list_all_customers(session) == [], (
            "nobody is looked at, billed or repriced"
        )
    async with cast.olga.octx() as octx:
        await provider_accounts.unpause(octx, PLATFORM, reason=state_reason(octx, "We have moved"))
    assert await verify_key.verify_keys() == 0
    async with db.transaction() as session:
        assert not (await accounts.get(session, PLATFORM)).is_paused
        assert await prices_repository.list_all_customers(session) != []


async def test_silent_provider_does_not_pause_the_account(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, provider)

    async def raise_provider_down() -> str:
        raise ProviderDown("gone")

    monkeypatch.setattr(provider, "get_account_id", raise_provider_down)
    assert await verify_key.verify_keys() == 0
