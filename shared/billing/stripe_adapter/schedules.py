"""Changes at the end of a period, as subscription schedules with the current phase and one after it.

A schedule is attached until a day after its change took effect. Stripe refuses cancelling a subscription with one, and
pausing it, so those calls release it first. https://docs.stripe.com/billing/subscriptions/subscription-schedules
"""

from collections.abc import Mapping, Sequence
from typing import Any

import stripe

from shared.billing.provider_values import OrderLine
from shared.billing.stripe_adapter import stripe_values, subscription_mapping
from shared.billing.stripe_adapter.idempotency import send_once
from shared.billing.stripe_adapter.metadata_keys import CHANGE_KEY

Raw = Mapping[str, Any]
PHASE_ITEM_PRICES = "phases.items.price"  # what is expanded
# Stripe releases the subscription at the end of the last phase, which changes nothing.
LAST_PHASE: stripe.params.SubscriptionScheduleUpdateParamsPhaseDuration = {
    "interval": "day",
    "interval_count": 1,
}


async def fetch_schedule(v1: "stripe.V1Services", subscription: Raw) -> dict[str, Any] | None:
    """The schedule of a subscription, with its prices; None without one."""
    schedule_id = stripe_values.get_object_id(subscription.get("schedule"))
    if not schedule_id:
        return None
    schedule = await v1.subscription_schedules.retrieve_async(schedule_id, {"expand": [PHASE_ITEM_PRICES]})
    return schedule.to_dict()


async def schedule_change(
    v1: "stripe.V1Services", subscription: Raw, lines: Sequence[OrderLine], key: str
) -> None:
    """Two requests: a schedule made from a subscription takes no phases of ours. Repeated calls complete each other."""
    schedule = await fetch_schedule(v1, subscription)
    if schedule is not None and (schedule.get("metadata") or {}).get(CHANGE_KEY) == key:
        return
    if (
        schedule is not None
        and len(schedule["phases"]) > 1
        and subscription_mapping.find_next_phase(schedule) is None
    ):
        await release(v1, subscription, key)
        schedule = None
    if schedule is None:
        schedule = await _create_schedule(v1, subscription["id"], key)
    current = schedule["current_phase"]
    (current_phase,) = [phase for phase in schedule["phases"] if phase["start_date"] == current["start_date"]]
    # A phase that names no discounts has none of the subscription's.
    # https://docs.stripe.com/api/subscription_schedules/update#update_subscription_schedule-phases-discounts
    discounts: list[stripe.params.SubscriptionScheduleUpdateParamsPhaseDiscount] = [
        {"discount": stripe_values.get_object_id(discount["discount"])}
        for discount in current_phase.get("discounts") or []
        if discount.get("discount")
    ]
    params: stripe.params.SubscriptionScheduleUpdateParams = {
        "end_behavior": "release",
        "metadata": {CHANGE_KEY: key},
        "phases": [
            {
                "start_date": current["start_date"],
                "end_date": current["end_date"],
                "items": [
                    _build_item(stripe_values.get_object_id(item["price"]), item.get("quantity"))
                    for item in current_phase["items"]
                ],
                "discounts": discounts,
            },
            {
                "items": [_build_item(line.external_price_id, line.quantity) for line in lines],
                "duration": LAST_PHASE,
                "proration_behavior": "none",
                "discounts": discounts,
            },
        ],
    }
    schedule_id = schedule["id"]

    async def find_changed() -> stripe.SubscriptionSchedule | None:
        changed = await v1.subscription_schedules.retrieve_async(schedule_id)
        return changed if (changed.to_dict().get("metadata") or {}).get(CHANGE_KEY) == key else None

    await send_once(
        f"{key}-phases",
        lambda options: v1.subscription_schedules.update_async(schedule_id, params, options),
        find_changed,
    )


async def release(v1: "stripe.V1Services", subscription: Raw, key: str) -> None:
    """Detaches the schedule, so that the subscription goes on with what it has. Does nothing without one."""
    schedule_id = stripe_values.get_object_id(subscription.get("schedule"))
    if not schedule_id:
        return

    async def find_released() -> stripe.SubscriptionSchedule | None:
        schedule = await v1.subscription_schedules.retrieve_async(schedule_id)
        return schedule if schedule.status != "active" else None

    try:
        await send_once(
            f"{key}-release-{schedule_id}",
            lambda options: v1.subscription_schedules.release_async(schedule_id, {}, options),
            find_released,
        )
    except stripe.InvalidRequestError:
        if await find_released() is None:  # otherwise it was over meanwhile
            raise


async def _create_schedule(v1: "stripe.V1Services", subscription_id: str, key: str) -> dict[str, Any]:
    async def find_created() -> stripe.SubscriptionSchedule | None:
        subscription = await v1.subscriptions.retrieve_async(subscription_id)
        schedule_id = stripe_values.get_object_id(subscription.to_dict().get("schedule"))
        return await v1.subscription_schedules.retrieve_async(schedule_id) if schedule_id else None

    created = await send_once(
        f"{key}-schedule",
        lambda options: v1.subscription_schedules.create_async(
            {"from_subscription": subscription_id}, options
        ),
        find_created,
    )
    return created.to_dict()


def _build_item(
    price_id: str, quantity: int | None
) -> stripe.params.SubscriptionScheduleUpdateParamsPhaseItem:
    """Metered prices have no quantity."""
    return {"price": price_id} if quantity is None else {"price": price_id, "quantity": quantity}
