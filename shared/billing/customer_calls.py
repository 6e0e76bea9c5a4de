"""Calls of the provider for the customer of a tenant, who may have been deleted there unnoticed."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.billing import customers
from shared.billing.models import PLATFORM
from shared.billing.provider import ProviderRefused
from shared.billing.sync import customer_sync

T = TypeVar("T")


async def call_with_customer(tenant_id: str, call: Callable[[str], Awaitable[T]]) -> T:
    """The result of `call` with the tenant's customer, or with a new one where the provider deleted it unnoticed.

    Outside of any transaction. Raises the provider's errors.
    """
    customer_id = await customers.ensure(tenant_id)
    try:
        return await call(customer_id)
    except ProviderRefused as refusal:
        if refusal.kind != "customer":
            raise
        await customer_sync.sync_customer(PLATFORM, customer_id, tenant_id, cause="member")
        new_customer_id = await customers.ensure(tenant_id)
        if new_customer_id == customer_id:  # it exists, so that the refusal is about something else
            raise
    return await call(new_customer_id)
