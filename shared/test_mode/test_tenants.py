"""The test tenant of an organisation: turn test mode on, and delete the test data.

It has rows of its own, and the members, roles and plan of the live tenant (`tenancy.entry`). It has no customer at the
payment provider; a constraint of the database forbids one.
"""

import secrets
from dataclasses import dataclass

from shared.access import policy
from shared.audit import audit_log
from shared.core import live_events, registry
from shared.core.context import Ctx
from shared.core.errors import Conflict
from shared.core.ids import ALPHABET
from shared.files import retention
from shared.tenancy import naming, provisioning, siblings, tenants
from shared.tenancy.models import Tenant
from shared.test_mode.actions import TEST_DATA_DELETE, TEST_MODE_READ, TEST_MODE_TURN_ON

MAX_SLUG_ATTEMPTS = 5
# Not deleted with the test data. Without keys and settings test mode would not work; the audit log is never shortened;
# the rows of files go after their bytes.
KEPT_TABLES = frozenset(
    {
        *("api_key", "tenant_key", "tenant_settings", "tenant_state_change", "stored_file"),
        *("audit_anchor", "audit_event", "audit_head", "audit_seal", "audit_stream", "audit_verification"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestModeView:
    """`tenant_id`, `slug`: of the test tenant, "" while test mode is off."""

    tenant_id: str = ""
    slug: str = ""

    @property
    def is_on(self) -> bool:
        return bool(self.tenant_id)


async def get(ctx: Ctx) -> TestModeView:
    policy.require(ctx, TEST_MODE_READ)
    return _build_view(await siblings.find_test_tenant(ctx))


async def turn_on(ctx: Ctx) -> TestModeView:
    """Create the test tenant. A second call changes nothing. Raises Conflict where no address is free."""
    policy.require(ctx, TEST_MODE_TURN_ON)
    await tenants.lock(ctx)
    tenant = await siblings.find_test_tenant(ctx)
    if tenant is not None:
        return _build_view(tenant)
    tenant = await _add_tenant(ctx)
    async with siblings.enter_test_tenant(ctx, tenant) as test_ctx:
        await provisioning.add_settings(test_ctx)
        audit_log.record(test_ctx, "tenant.created", tenant.id, after={"slug": tenant.slug, "mode": "test"})
    audit_log.record(ctx, "test_mode.turned_on", tenant.id, after={"slug": tenant.slug})
    await _publish_change(ctx)
    return _build_view(tenant)


async def delete_data(ctx: Ctx) -> None:
    """Delete everything that the test tenant has but its API keys and its audit log. Raises Conflict while it is off."""
    policy.require(ctx, TEST_DATA_DELETE)
    tenant = await siblings.require_test_tenant(ctx)
    async with siblings.enter_test_tenant(ctx, tenant) as test_ctx:
        await tenants.lock(test_ctx)  # and not the live one: there may be much to delete
        tables = [table for table in registry.list_erase_order() if table not in KEPT_TABLES]
        await siblings.delete_rows(test_ctx, tables)
        await retention.expire_all(test_ctx)
        await live_events.refresh_pages(test_ctx.session, tenant.id, "tenant")
    audit_log.record(ctx, "test_data.deleted", tenant.id)
    await _publish_change(ctx)


async def _add_tenant(ctx: Ctx) -> Tenant:
    """Raises Conflict."""
    for attempt in range(MAX_SLUG_ATTEMPTS):
        tenant = await siblings.add_test_tenant(ctx, _suggest_slug(ctx.slug, attempt))
        if tenant is not None:
            return tenant
    raise Conflict("We couldn’t find a free address for test mode.", "Try again.")


def _suggest_slug(live_slug: str, attempt: int) -> str:
    """As in acme-test. A repeated attempt has random characters in it."""
    mark = "".join(secrets.choice(ALPHABET) for _ in range(4)) if attempt else ""
    ending = f"-{mark}{naming.TEST_SLUG_ENDING}" if mark else naming.TEST_SLUG_ENDING
    return f"{live_slug[: naming.MAX_SLUG_LENGTH - len(ending)].strip('-')}{ending}"


def _build_view(tenant: Tenant | None) -> TestModeView:
    return TestModeView(tenant_id=tenant.id, slug=tenant.slug) if tenant else TestModeView()


async def _publish_change(ctx: Ctx) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "settings")
