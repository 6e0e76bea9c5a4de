"""While a customer disputes a payment at their bank, nothing else is collected from them; their access stays.

The pause is made at the provider by a job, from the records of the last sync, and ends when no dispute is open any more. It is
marked there with its dispute. A pause without a mark was made by a customer or an operator and stays; so does the end of a
marked pause that someone made at the provider.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.billing import provider_registry, repository
from shared.billing.models import BillingDispute
from shared.billing.provider import ProviderRefused
from shared.billing.provider_values import PAUSING_DISPUTE_STATUSES, Subscription
from shared.billing.sync import provider_records
from shared.core import log
from shared.core.config import settings
from shared.core.context import Ctx
from shared.core.ids import new_id
from shared.jobs import queue
from shared.tenancy import entry

TASK = "billing.pause_collection"
COLLECTED_STATUSES = ("active", "past_due", "trialing")


@dataclass(frozen=True, slots=True)
class PauseChange:
    """`dispute_id`: because of which collection is paused, "" where it is resumed."""

    subscription_id: str
    dispute_id: str


def plan_changes(
    subscriptions: Iterable[Subscription], disputes: Iterable[BillingDispute]
) -> list[PauseChange]:
    """Of one customer. Pure."""
    open_ids = [dispute.id for dispute in disputes if dispute.status in PAUSING_DISPUTE_STATUSES]
    dispute_id = min(open_ids, default="") if settings().disputes_pause_collection else ""
    changes = []
    for subscription in subscriptions:
        if subscription.status not in COLLECTED_STATUSES:
            continue
        pauses = dispute_id and not subscription.paused_collection and not subscription.dispute_mark
        resumes = not dispute_id and subscription.dispute_mark
        if pauses or resumes:
            changes.append(PauseChange(subscription.id, dispute_id))
    return changes


async def request_changes(ctx: Ctx, account_id: str, customer_id: str) -> None:
    """Has a job pause or resume the customer's subscriptions where that is due. For the sync."""
    if await _list_changes(ctx, customer_id):
        await queue.put(ctx, TASK, account_id=account_id, customer_id=customer_id, key=new_id("pau"))


async def execute_changes(
    tenant_id: str, account_id: str, *, customer_id: str, key: str, request_id: str
) -> bool:
    """Makes the changes that are due now at the provider, outside of any transaction. Raises ProviderDown.

    False where a refusal left something undone; the next sync asks for it again.
    """
    async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
        changes = await _list_changes(ctx, customer_id)
    provider = await provider_registry.get(account_id)
    is_done = True
    for change in changes:
        change_key = f"{key}:{change.subscription_id}"
        try:
            if change.dispute_id:
                await provider.pause_collection(change.subscription_id, change.dispute_id, change_key)
            else:
                await provider.resume_collection(change.subscription_id, change_key)
        except ProviderRefused as refusal:
            is_done = False
            log.get_tenant_logger(__name__).error(
                "collection_not_changed", subscription_id=change.subscription_id, kind=refusal.kind
            )
    return is_done


async def _list_changes(ctx: Ctx, customer_id: str) -> Sequence[PauseChange]:
    subscriptions = [
        provider_records.to_subscription(row)
        for row in await repository.list_customer_subscriptions(ctx, customer_id)
    ]
    return plan_changes(subscriptions, await repository.list_customer_disputes(ctx, customer_id))
