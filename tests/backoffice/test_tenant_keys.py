"""Rotation of the master key: data keys are rewrapped, old data opens, the old key can be removed."""

import base64
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pyotp
import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from sqlalchemy import text

from shared.audit import audit_log
from shared.backoffice import key_renewal, tenant_keys
from shared.backoffice.reasons import state_reason
from shared.cli import keys
from shared.core import crypto, db, registry
from shared.core.config import ConfigurationError, settings
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid, Refused
from shared.core.progress import ProgressLine
from shared.identity import encryption_keys, mfa
from shared.identity.realms import OPERATOR, USER
from shared.tenancy import invitations, provisioning
from shared.tenancy.models import TenantKey, TenantSettings
from tests.conftest import ROOT, Cast, Operating
from tests.support import factories

NEW = "7:" + base64.b64encode(os.urandom(32)).decode()


def set_master_keys(*master_keys: str) -> None:
    os.environ["BULKHEAD_MASTER_KEYS"] = ",".join(master_keys)
    settings.cache_clear()


@pytest.fixture
async def old_master_keys(cast: Cast) -> AsyncIterator[str]:
    """The master keys before number 7, and two tenants with data keys. They are restored afterwards."""
    before = os.environ.get("BULKHEAD_MASTER_KEYS")
    old_keys = ",".join(
        f"{number}:{base64.b64encode(key).decode()}" for number, key in settings().load_master_keys().items()
    )
    for person in (cast.ann, cast.gil):
        async with person.ctx() as ctx:
            assert await provisioning.run_next_step(ctx) == "settings"
    yield old_keys
    set_master_keys(old_keys, NEW)
    await keys.rotate_keys()
    os.environ.pop("BULKHEAD_MASTER_KEYS") if before is None else set_master_keys(before)
    settings.cache_clear()


async def load_data_key(tenant_id: str) -> tuple[int, bytes]:
    async with db.transaction(tenant_id=tenant_id) as session:
        row = await session.get_one(TenantKey, (tenant_id, "dek"))
    return row.kek_id, crypto.unwrap_dek(crypto.WrappedKey(row.kek_id, row.wrapped))


async def list_platform_keys() -> dict[str, int]:
    async with db.transaction("owner") as session:
        connection = await session.connection()
        rows = await connection.execute(text("select id, kek_id from platform_key"))
        return {row[0]: row[1] for row in rows}


async def test_rotation_rewraps_every_data_key_without_changing_it(cast: Cast, old_master_keys: str) -> None:
    before = {tenant: (await load_data_key(tenant))[1] for tenant in (cast.acme, cast.globex)}
    sealed = crypto.seal(before[cast.acme], b"secret", cast.acme, "t.c", "row")
    set_master_keys(NEW, old_master_keys)
    report = await keys.rotate_keys()
    assert "all use key 7 now" in report
    assert f"needs {old_master_keys.partition(':')[0]} for 7 more days, for links in mails" in report
    set_master_keys(NEW)  # the old one is gone for good
    for tenant, key in before.items():
        assert await load_data_key(tenant) == (7, key)
    assert (
        crypto.open_sealed((await load_data_key(cast.acme))[1], sealed, cast.acme, "t.c", "row") == b"secret"
    )


async def test_old_link_works_after_rotation_until_it_expires(cast: Cast, old_master_keys: str) -> None:
    async with cast.ann.ctx() as ctx:
        link = invitations.build_link(await invitations.invite(ctx, f"zoe.{cast.acme}@acme.test", "member"))
    set_master_keys(NEW, old_master_keys)
    await keys.rotate_keys()
    assert (await invitations.get_offer(link.partition("token=")[2])).tenant_name == "Acme"
    assert f"{invitations.LIFETIME.days} days" in (ROOT / "docs" / "settings.md").read_text()


async def test_rotation_rewraps_what_an_earlier_version_wrapped_with_the_master_key_itself(
    cast: Cast, old_master_keys: str
) -> None:
    newest, master_key = next(iter(settings().load_master_keys().items()))
    _, key = await load_data_key(cast.acme)
    async with db.transaction(tenant_id=cast.acme) as session:
        row = await session.get_one(TenantKey, (cast.acme, "dek"))
        row.kek_id, row.wrapped = newest, aes_key_wrap(master_key, key)
        session.add(row)
    assert await load_data_key(cast.acme) == (newest, key)
    async with cast.olga.octx() as octx:
        assert await tenant_keys.rotate_tenant_keys(octx, state_reason(octx, "after an update")) >= 1
        assert await tenant_keys.rotate_tenant_keys(octx, state_reason(octx, "after an update")) == 0
    assert await load_data_key(cast.acme) == (newest, key)


async def test_second_factors_can_be_read_after_rotation(cast: Cast, old_master_keys: str) -> None:
    seed = pyotp.random_base32()
    async with db.transaction() as session:
        await mfa.install_seed(session, USER, cast.ann.user_id, seed)
    async with db.transaction("operator") as session:
        assert await mfa.enrol(session, OPERATOR, await get_operator_id(cast))
    set_master_keys(NEW, old_master_keys)
    await keys.rotate_keys()
    set_master_keys(NEW)
    assert set((await list_platform_keys()).values()) == {7}
    async with db.transaction() as session:
        assert await mfa.read_seed(session, USER, cast.ann.user_id) == seed


async def get_operator_id(cast: Cast) -> str:
    async with cast.sam.octx() as octx:
        return octx.actor_id


async def test_rotation_repeated_changes_nothing_and_is_recorded_once(
    cast: Cast, old_master_keys: str
) -> None:
    set_master_keys(NEW, old_master_keys)
    async with cast.olga.octx() as octx:
        rewrapped = await tenant_keys.rotate_tenant_keys(octx, state_reason(octx, "yearly, ticket 4471"))
    assert rewrapped >= 2
    async with cast.olga.octx() as octx:
        assert await tenant_keys.rotate_tenant_keys(octx, state_reason(octx, "yearly, ticket 4471")) == 0
        events = await audit_log.list_operator_events(octx)
    (event,) = [
        line for line in events if line.action == "keys.rotated" and line.reason == "yearly, ticket 4471"
    ]
    assert event.details == {"keys": rewrapped, "to": 7}


async def test_rotation_is_refused_when_an_old_master_key_is_missing(
    cast: Cast, old_master_keys: str
) -> None:
    set_master_keys(NEW)
    with pytest.raises(ConfigurationError, match="lacks key"):
        await keys.rotate_keys()
    set_master_keys(old_master_keys)
    assert (await load_data_key(cast.acme))[0] != 7


async def test_rotation_is_refused_without_permission_or_reason(cast: Cast) -> None:
    for somebody in (cast.sam, Operating(await factories.create_operator("Eve", "engineer"))):
        with pytest.raises(Refused, match="missing_permission"):
            async with somebody.octx() as octx:
                await tenant_keys.rotate_tenant_keys(octx, state_reason(octx, "why not, ticket 4471"))
    with pytest.raises(Invalid, match="reason"):
        async with cast.olga.octx() as octx:
            await tenant_keys.rotate_tenant_keys(octx, state_reason(octx, ""))


class Interrupted(Exception):
    """The renewal is killed."""


def quiet_progress() -> ProgressLine:
    return ProgressLine("test", is_terminal=False, write=lambda _: None)


async def seal_logo(tenant_id: str, plain: bytes) -> None:
    """As a module would that declares the column as sealed."""
    _, key = await load_data_key(tenant_id)
    async with db.transaction(tenant_id=tenant_id) as session:
        row = await session.get_one(TenantSettings, (tenant_id, "settings"))
        row.logo = crypto.seal(key, plain, tenant_id, "tenant_settings.logo", "settings")
        session.add(row)


async def open_logo(tenant_id: str) -> bytes:
    _, key = await load_data_key(tenant_id)
    async with db.transaction(tenant_id=tenant_id) as session:
        row = await session.get_one(TenantSettings, (tenant_id, "settings"))
    assert row.logo is not None
    return crypto.open_sealed(key, row.logo, tenant_id, "tenant_settings.logo", "settings")


@pytest.fixture
def sealed_logos(monkeypatch: pytest.MonkeyPatch) -> None:
    contract = replace(registry.list_tables()["tenant_settings"], sealed=("logo",))
    monkeypatch.setattr(registry, "list_tables", lambda: {"tenant_settings": contract})


async def test_deep_rotation_replaces_data_keys_and_everything_opens_without_the_old_master_key(
    cast: Cast, old_master_keys: str, sealed_logos: None
) -> None:
    seed, operator_id = pyotp.random_base32(), await get_operator_id(cast)
    async with db.transaction() as session:
        await mfa.install_seed(session, USER, cast.ann.user_id, seed)
    async with db.transaction("operator") as session:
        operator_seed = await mfa.read_seed(session, OPERATOR, operator_id)
    for tenant_id in (cast.acme, cast.globex):
        await seal_logo(tenant_id, tenant_id.encode())
    before = {tenant_id: (await load_data_key(tenant_id))[1] for tenant_id in (cast.acme, cast.globex)}
    set_master_keys(NEW, old_master_keys)
    text_shown = await keys.renew_keys(quiet_progress())
    assert "data keys are new" in text_shown
    set_master_keys(NEW)
    for tenant_id, old_key in before.items():
        number, new_key = await load_data_key(tenant_id)
        assert (number, await open_logo(tenant_id)) == (7, tenant_id.encode())
        assert new_key != old_key
    async with db.transaction() as session:
        assert await mfa.read_seed(session, USER, cast.ann.user_id) == seed
    async with db.transaction("operator") as session:
        assert await mfa.read_seed(session, OPERATOR, operator_id) == operator_seed
    async with cast.ann.ctx() as ctx:  # sessions are signed again
        assert ctx.actor_id == cast.ann.user_id


async def test_deep_rotation_goes_on_where_it_was_interrupted(
    cast: Cast, old_master_keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_master_keys(NEW, old_master_keys)
    renew_tenant_key, renewed_ids = key_renewal.renew_tenant_key, list[str]()

    async def renew_one(octx: OperatorCtx, tenant_id: str) -> int:
        if renewed_ids:
            raise Interrupted
        renewed_ids.append(tenant_id)
        return await renew_tenant_key(octx, tenant_id)

    monkeypatch.setattr(key_renewal, "renew_tenant_key", renew_one)
    with pytest.raises(Interrupted):
        await keys.renew_keys(quiet_progress())
    monkeypatch.undo()
    assert "1 tenants are done already" in await keys.describe_renewal()
    renewed_key = await load_data_key(renewed_ids[0])
    await keys.renew_keys(quiet_progress())
    assert await load_data_key(renewed_ids[0]) == renewed_key
    assert "done already" not in await keys.describe_renewal()  # the next one begins anew


async def test_dry_run_of_a_deep_rotation_changes_nothing(cast: Cast, old_master_keys: str) -> None:
    before = await load_data_key(cast.acme)
    set_master_keys(NEW, old_master_keys)
    assert "under master key 7. Nothing was changed." in await keys.describe_renewal()
    assert await load_data_key(cast.acme) == before


async def test_factor_opens_that_was_read_before_its_key_was_renewed(
    cast: Cast, old_master_keys: str
) -> None:
    """Between reading the seed and reading the key, the renewal commits."""
    seed = pyotp.random_base32()
    async with db.transaction() as session:
        await mfa.install_seed(session, USER, cast.ann.user_id, seed)
        row = await session.get_one(USER.totp, cast.ann.user_id)
        stale = row.sealed
    await encryption_keys.renew_realm_key(USER, lambda _: None)
    async with db.transaction() as session:
        assert await mfa._unseal_seed(session, USER, cast.ann.user_id, stale) == seed
