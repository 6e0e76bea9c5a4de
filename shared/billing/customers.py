"""The one customer of a tenant at the provider."""

from shared.audit import audit_log
from shared.billing import provider_registry, repository
from shared.billing.models import PLATFORM, BillingCustomer
from shared.core.context import Ctx
from shared.tenancy import billing_contacts, entry, tenants

CREATE_TASK = "billing.create_customer"


async def find_id(ctx: Ctx, account_id: str = PLATFORM) -> str:
    """The tenant's customer id at the provider; "" before it is created. The caller checks the permission."""
    row = await repository.get_customer(ctx, account_id)
    return row.id if row else ""


async def ensure(tenant_id: str, account_id: str = PLATFORM, request_id: str = "") -> str:
    """The tenant's customer id; creates the customer where it is missing. Outside of any transaction of the caller.

    Concurrent calls return the same id, by an idempotency key at the provider and a lock of the tenant. Raises the
    provider's errors.
    """
    async with entry.enter_billing_sync(tenant_id, CREATE_TASK, request_id) as ctx:
        if existing_id := await find_id(ctx, account_id):
            return existing_id
        name, email = ctx.tenant_name, await billing_contacts.get_owner_email(ctx)
    customer_id = await (await provider_registry.get(account_id)).create_customer(
        tenant_id, name, email, f"customer-{tenant_id}"
    )
    async with entry.enter_billing_sync(tenant_id, CREATE_TASK, request_id) as ctx:
        await tenants.lock(ctx)
        if existing_id := await find_id(ctx, account_id):
            return existing_id
        ctx.session.add(BillingCustomer(tenant_id=tenant_id, id=customer_id, account_id=account_id))
        audit_log.record(ctx, "billing.customer_created", customer_id)
    return customer_id
