"""An organisation that pays for events and for calls, at the landed price list."""

from datetime import datetime, timedelta

from shared.billing.models import PLATFORM, BillingCustomer, BillingSnapshot
from shared.billing.provider_values import CustomerState, Subscription, SubscriptionItem
from shared.billing.sync import provider_records
from shared.core.ids import new_id
from shared.tenancy import entry

PERIOD = timedelta(days=30)


async def subscribe(tenant_id: str, starts_at: datetime, *, sold_from: datetime | None = None) -> None:
    """`starts_at`: of the running period. `sold_from`: of the subscription, as the period without it."""
    items = tuple(
        SubscriptionItem(
            f"si_{plan}",
            f"prc_{plan}_metered_month",
            f"price_{plan}",
            0,
            starts_at,
            starts_at + PERIOD,
        )
        for plan in ("business", "pro")
    )
    async with entry.enter_billing_sync(tenant_id, "tests") as ctx:
        customer = BillingCustomer(tenant_id=tenant_id, id=new_id("cus"), account_id=PLATFORM)
        ctx.session.add(customer)
        ctx.session.add(BillingSnapshot(tenant_id=tenant_id, schedule={}, status="active", ticket=1))
        await ctx.session.flush()
        subscription = Subscription(new_id("sub"), "active", sold_from or starts_at, items)
        state = CustomerState(customer.id, subscriptions=(subscription,))
        await provider_records.write_records(ctx, PLATFORM, customer.id, state, ticket=1)
