"""Data of commit 6f945b5, the first published one, upgrades in place and keeps its meaning."""

import os
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import LiteralString

import pytest
from sqlmodel import select

from shared.access import decision_counts
from shared.access.actions import ACTIONS
from shared.access.meters import METERS
from shared.access.permissions import Permission
from shared.access.refusal_codes import Reason
from shared.access.roles import OPERATOR_ROLES, ROLES
from shared.audit import audit_log
from shared.audit.event_types import AuditAction, OperatorAuditAction
from shared.backoffice import adjustments, flag_admin
from shared.backoffice import tasks as backoffice_tasks
from shared.billing import tasks as billing_tasks
from shared.cli import database as migrations
from shared.core import db
from shared.core.config import DEMO_PASSWORD
from shared.core.notification_kinds import NOTIFICATION_KINDS
from shared.entitlements import assignments, rights_cache
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import FlagVersion
from shared.identity import mfa, sign_in, users
from shared.identity import tasks as identity_tasks
from shared.identity.realms import USER
from shared.tenancy import entry, onboarding_checklist, provisioning, tenants
from shared.tenancy import tasks as tenancy_tasks
from tests.support import audit_chains, database, database_catalog, landed_data

TASK_NAMES = {
    *(*identity_tasks.TASKS, *identity_tasks.PLATFORM_TASKS),
    *(*tenancy_tasks.TASKS, *tenancy_tasks.PLATFORM_TASKS),
    *(*billing_tasks.TASKS, *billing_tasks.PLATFORM_TASKS),
    *backoffice_tasks.TASKS,
}
# What is stored, where, and what the present code knows of its kind. A word that changes needs an alias.
STORED_WORDS: dict[str, tuple[LiteralString, Collection[str]]] = {
    "audit actions": ("select action from {audit_event}", set(AuditAction)),
    "operators' audit actions": ("select action from {operator_event}", set(OperatorAuditAction)),
    "task names": ("select task_name from {procrastinate_jobs}", TASK_NAMES),
    "permissions of custom roles": ("select unnest(permissions) from {role}", set(Permission)),
    "permissions in the history of roles": ("select unnest(permissions) from {role_change}", set(Permission)),
    "built-in roles": ("select key from {role} where builtin", set(ROLES)),
    "operators' roles": ("select role from {operator}", set(OPERATOR_ROLES)),
    "features of plans": ("select unnest(features) from {plan_version}", set(FEATURES)),
    "limits of plans": ("select jsonb_object_keys(limits) from {plan_version}", set(LIMITS)),
    "overridden features": (
        "select name from {tenant_override} where target = 'feature'",
        set(FEATURES),
    ),
    "overridden limits": ("select name from {tenant_override} where target = 'limit'", set(LIMITS)),
    "traits": ("select name from {tenant_trait}", set(assignments.TRAITS)),
    "actions in decision counts": ("select action from {decision_tally}", {*ACTIONS, ""}),
    "reasons in decision counts": (
        "select reason from {decision_tally}",
        {*Reason, decision_counts.ERROR_REASON},
    ),
    "provisioning steps": ("select key from {provisioning_step}", {step.key for step in provisioning.STEPS}),
    "checklist items": ("select key from {checklist_item}", set(onboarding_checklist.ITEM_KEYS)),
    "mail choices": ("select kind from {mail_choice}", set(NOTIFICATION_KINDS)),
    "meters of prices": ("select meter from {price} where kind = 'metered'", set(METERS)),
    "recorded meters": ("select meter from {billing_usage}", set(METERS)),
    "reasons of adjustments": ("select reason_code from {billing_adjustment}", set(adjustments.REASON_CODES)),
}


@dataclass(frozen=True, kw_only=True)
class Upgraded:
    name: str  # of the database
    rows_before: dict[str, int]  # by table, as they were called
    rows_after: dict[str, int]


@pytest.fixture(scope="module")
async def upgraded_database(schema: str) -> AsyncIterator[Upgraded]:
    """The database that 6f945b5 made, migrated to the newest revision; this process works in it."""
    name = f"{schema}_landed"
    landed_data.restore(name)
    rows_before = landed_data.count_rows(name)
    keys_before = os.environ.get("BULKHEAD_MASTER_KEYS")
    await db.dispose()
    os.environ["BULKHEAD_MASTER_KEYS"] = landed_data.MASTER_KEYS
    _work_in(name)
    try:
        migrations.prepare_database()
        yield Upgraded(name=name, rows_before=rows_before, rows_after=landed_data.count_rows(name))
    finally:
        await db.dispose()
        os.environ.pop("BULKHEAD_MASTER_KEYS")
        if keys_before is not None:
            os.environ["BULKHEAD_MASTER_KEYS"] = keys_before
        _work_in(schema)
        database.drop(name)


def _work_in(name: str) -> None:
    database.use(name)
    rights_cache.invalidate()
    rights_cache._catalog = None  # its number may mean something else there


async def _sign_in(email: str) -> str:
    """The Cookie header of somebody who has signed in with the demo password."""
    checked = await sign_in.check_password(USER, email, DEMO_PASSWORD)
    assert checked is not None
    async with db.transaction() as session:
        opened = await sign_in.open_session(session, USER, checked.subject_id, sign_in.Browser(), checked)
    return f"{USER.session_cookie}={opened.token}"


def test_upgrade_keeps_every_row(upgraded_database: Upgraded) -> None:
    expected = {
        landed_data.RENAMED.get(table, table): count for table, count in upgraded_database.rows_before.items()
    }
    assert sum(expected.values()) > 300
    assert {table: upgraded_database.rows_after.get(table) for table in expected} == expected


async def test_person_signs_in_and_finds_their_organisation(upgraded_database: Upgraded) -> None:
    cookie = await _sign_in("ann@acme.test")
    async with entry.enter_tenant(cookie, "acme") as ctx:
        assert ctx.permissions == ROLES["owner"].permissions
        assert ctx.rights.plan == "business"
        assert ctx.rights.limits["members"].amount == 40  # by an override


async def test_custom_role_gives_the_permissions_that_were_stored(upgraded_database: Upgraded) -> None:
    cookie = await _sign_in("max@acme.test")
    query = "select permissions from {role} where not builtin and deleted_at is null"
    stored = database_catalog.run_query(
        query.format_map(landed_data.PresentNames()), name=upgraded_database.name
    )
    async with entry.enter_tenant(cookie, "acme") as ctx:
        assert ctx.permissions == set(stored[0][0])
        assert len(ctx.permissions) > 10


async def test_audit_chain_of_a_tenant_verifies(upgraded_database: Upgraded) -> None:
    cookie = await _sign_in("ann@acme.test")
    async with entry.enter_tenant(cookie, "acme") as ctx:
        legacy = await audit_chains.verify_within(ctx)
        await tenants.rename(ctx, "Acme Works", version=None)
    async with entry.enter_tenant(cookie, "acme") as ctx:
        verification = await audit_chains.verify_within(ctx)
    assert (legacy.is_intact, verification.is_intact) == (True, True)
    assert legacy.checked_count > 30
    assert verification.checked_count > legacy.checked_count


async def test_audit_chain_of_operators_verifies(upgraded_database: Upgraded) -> None:
    async with entry.enter_platform("tests") as octx:
        verification = await audit_log.verify_operator_chain(octx)
    assert verification.is_intact
    assert verification.checked_count > 5


async def test_sealed_second_factor_opens(upgraded_database: Upgraded) -> None:
    async with db.transaction() as session:
        adam = await users.get_by_email(session, "adam@acme.test")
        assert adam is not None
        assert await mfa.read_seed(session, USER, adam.id) == "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


async def test_rules_of_flags_are_valid_today(upgraded_database: Upgraded) -> None:
    async with entry.enter_platform("tests") as octx:
        versions = (await octx.session.exec(select(FlagVersion))).all()
        for version in versions:
            assert await flag_admin.parse_rules(octx, version.rules) == version.rules
    assert {rule["kind"] for version in versions for rule in version.rules} >= {"allowed", "plan", "industry"}


@pytest.mark.parametrize("kind", STORED_WORDS)
def test_stored_words_are_known(upgraded_database: Upgraded, kind: str) -> None:
    query, known_words = STORED_WORDS[kind]
    rows = database_catalog.run_query(
        query.format_map(landed_data.PresentNames()), name=upgraded_database.name
    )
    assert rows, f"no {kind} are stored, so nothing was compared"
    unknown = {word for (word,) in rows} - set(known_words)
    assert not unknown, f"{kind} that are stored and that the code does not know: {sorted(unknown)}"
