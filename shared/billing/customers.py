"""The customer of a tenant at the provider. One that was deleted there is followed by another one."""

from shared.audit import audit_log
from shared.billing import provider_registry, repository
from shared.billing.models import PLATFORM, BillingCustomer
from shared.core import log
from shared.core.context import Ctx
from shared.tenancy import billing_contacts, entry, tenants

CREATE_TASK = "billing.create_customer"


async def find_id(ctx: Ctx, account_id: str = PLATFORM) -> str:
    """The tenant's current customer id at the provider; "" before it is created. The caller checks the permission."""
    row = await repository.get_customer(ctx, account_id)
    return row.id if row else ""


async def ensure(tenant_id: str, account_id: str = PLATFORM, request_id: str = "") -> str:
    """The tenant's customer id; creates the customer where it is missing or known to be deleted. Outside of any
    transaction of the caller.

    Concurrent calls return the same id, by an idempotency key at the provider and a lock of the tenant. Raises the
    provider's errors.
    """
    async with entry.enter_billing_sync(tenant_id, CREATE_TASK, request_id) as ctx:
        current_id, generation = await _get_usable_customer(ctx, account_id)
        if current_id:
            return current_id
        name, email = ctx.tenant_name, await billing_contacts.get_owner_email(ctx)
    customer_id = await (await provider_registry.get(account_id)).create_customer(
        tenant_id, name, email, build_key(tenant_id, generation)
    )
    async with entry.enter_billing_sync(tenant_id, CREATE_TASK, request_id) as ctx:
        await tenants.lock(ctx)
        current_id, next_generation = await _get_usable_customer(ctx, account_id)
        if current_id:
            return current_id
        row = BillingCustomer(
            tenant_id=tenant_id, id=customer_id, account_id=account_id, generation=next_generation
        )
        ctx.session.add(row)
        audit_log.record(ctx, "billing.customer_created", customer_id)
    if generation:
        log.get_logger(__name__).error("customer_replaced", tenant_id=tenant_id, customer_id=customer_id)
    return customer_id


def build_key(tenant_id: str, generation: int) -> str:
    """The idempotency key of a customer. A key that was used for the deleted one would return that one again."""
    return f"customer-{tenant_id}" + (f"-{generation}" if generation else "")


async def _get_usable_customer(ctx: Ctx, account_id: str) -> tuple[str, int]:
    """Id of the current customer, or "" and the generation of the next one."""
    row = await repository.get_customer(ctx, account_id)
    if row is None:
        return "", 0
    snapshot = await repository.get_billing_snapshot(ctx)
    if snapshot is not None and snapshot.deleted_customer_id == row.id:
        return "", row.generation + 1
    return row.id, row.generation
