"""Subscription schedules: what a running subscription has from the end of its period on.

Built: a schedule made from a subscription, its current phase, and one phase after it that starts with the next period.
https://docs.stripe.com/billing/subscriptions/subscription-schedules
"""

from shared.dev.stripe_sandbox import items, periods, prorations
from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata, save_change
from shared.dev.stripe_sandbox.refusals import ApiError, UnsupportedError
from shared.dev.stripe_sandbox.routes import ApiCall, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

KIND = "subscription_schedule"
PHASE_PARAMS = (
    "phases.items.price phases.items.quantity phases.start_date phases.end_date phases.duration"
    " phases.proration_behavior=none phases.discounts.discount"
)


@route("POST", "/v1/subscription_schedules", "SubscriptionScheduleCreateParams", "from_subscription metadata")
def create_schedule(call: ApiCall) -> Object:
    account = call.account
    if "from_subscription" not in call.params:
        raise UnsupportedError("a schedule without a subscription")
    if "metadata" in call.params:
        raise ApiError("You cannot set `metadata` if `from_subscription` is set.", param="from_subscription")
    subscription = fetch_object(account, "subscription", call.get("from_subscription"), "from_subscription")
    if subscription["schedule"]:
        raise ApiError(
            "You cannot migrate a subscription that is already attached to a schedule:"
            f" {subscription['id']} is already attached to {subscription['schedule']}"
        )
    starts = {item["current_period_start"] for item in subscription["items"]["data"]}
    ends = {item["current_period_end"] for item in subscription["items"]["data"]}
    if subscription["status"] not in ("active", "past_due") or subscription["cancel_at"] or len(ends) > 1:
        raise UnsupportedError(
            "a schedule of a subscription that isn't active, ends, or has several intervals"
        )
    now, starts_at, ends_at = account.now(subscription), max(starts), max(ends)
    schedule = make_object(
        account,
        KIND,
        billing_mode=dict(subscription["billing_mode"]),
        created=now,
        current_phase={"start_date": starts_at, "end_date": ends_at},
        customer=subscription["customer"],
        end_behavior="release",
        metadata={},
        phases=[
            _build_phase(
                subscription,
                [
                    {"price": item["price"]["id"], "quantity": item.get("quantity")}
                    for item in subscription["items"]["data"]
                ],
                (starts_at, ends_at),
                discount_ids=subscription["discounts"],
            )
        ],
        status="active",
        subscription=subscription["id"],
        test_clock=subscription["test_clock"],
    )
    schedule["default_settings"] |= {
        "billing_cycle_anchor": "automatic",
        "collection_method": subscription["collection_method"],
    }
    previous = copy_visible(subscription)
    subscription["schedule"] = schedule["id"]
    account.put(schedule)
    account.emit("subscription_schedule.created", schedule)
    save_change(account, subscription, "customer.subscription.updated", previous)
    return schedule


@route("GET", "/v1/subscription_schedules/{id}", "SubscriptionScheduleRetrieveParams")
def retrieve_schedule(call: ApiCall) -> Object:
    return fetch_object(call.account, KIND, call.ids["id"])


@route(
    "POST",
    "/v1/subscription_schedules/{id}",
    "SubscriptionScheduleUpdateParams",
    f"{PHASE_PARAMS} end_behavior=release metadata",
)
def change_schedule(call: ApiCall) -> Object:
    account, schedule = call.account, fetch_object(call.account, KIND, call.ids["id"])
    _require_active(schedule)
    previous = copy_visible(schedule)
    if "phases" in call.params:
        schedule["phases"] = _read_phases(account, schedule, call.get("phases"))
        _apply_discounts(account, schedule, schedule["phases"][0])
    merge_metadata(schedule, call.get("metadata"))
    return save_change(account, schedule, "subscription_schedule.updated", previous)


@route("POST", "/v1/subscription_schedules/{id}/release", "SubscriptionScheduleReleaseParams")
def release_on_request(call: ApiCall) -> Object:
    schedule = fetch_object(call.account, KIND, call.ids["id"])
    _require_active(schedule)
    release_schedule(call.account, schedule)
    return schedule


def release_schedule(account: Account, schedule: Object) -> None:
    """The subscription goes on with what it has now."""
    subscription = account.objects["subscription"][schedule["subscription"]]
    previous = copy_visible(subscription)
    schedule |= {
        "status": "released",
        "released_at": account.now(schedule),
        "released_subscription": subscription["id"],
        "subscription": None,
        "current_phase": None,
    }
    account.put(schedule)
    account.emit("subscription_schedule.released", schedule)
    subscription["schedule"] = None
    save_change(account, subscription, "customer.subscription.updated", previous)


def cancel_schedule(account: Account, subscription: Object) -> None:
    """Its subscription has ended. The caller stores the subscription."""
    schedule = account.get(KIND, subscription["schedule"])
    if schedule is None:
        return
    schedule |= {
        "status": "canceled",
        "canceled_at": account.now(schedule),
        "subscription": None,
        "current_phase": None,
    }
    account.put(schedule)
    account.emit("subscription_schedule.canceled", schedule)
    subscription["schedule"] = None


def enter_next_phase(account: Account, schedule: Object) -> None:
    """The current phase is over. After the last one the subscription is released."""
    next_phase = _find_next_phase(schedule)
    if next_phase is None:
        release_schedule(account, schedule)
        return
    subscription = account.objects["subscription"][schedule["subscription"]]
    previous, previous_schedule = copy_visible(subscription), copy_visible(schedule)
    schedule["current_phase"] = {key: next_phase[key] for key in ("start_date", "end_date")}
    _replace_items(account, subscription, next_phase["items"])
    subscription["discounts"] = _list_discount_ids(next_phase)
    save_change(account, schedule, "subscription_schedule.updated", previous_schedule)
    save_change(account, subscription, "customer.subscription.updated", previous)


def _replace_items(account: Account, subscription: Object, phase_items: list[Object]) -> None:
    """Without proration, at the end of a period. What was used in it is billed at the price that it was used under."""
    now = account.now(subscription)
    old_items = {item["price"]["id"]: item for item in subscription["items"]["data"]}
    new_items = []
    for phase_item in phase_items:
        price_id, quantity = phase_item["price"], phase_item.get("quantity")
        item = old_items.pop(price_id, None)
        if item is None:
            params = {"price": price_id} | ({} if quantity is None else {"quantity": quantity})
            # A price that was archived meanwhile stays in what has it already.
            item = items.build_item(account, subscription, params, (now, now), allow_archived=True)
            if prorations.is_metered(item):  # the others are billed for their first period by the renewal
                item["current_period_end"] = periods.compute_period_end(
                    subscription["billing_cycle_anchor"], item["price"]["recurring"], now
                )
        elif quantity is not None:
            item["quantity"] = quantity
        new_items.append(item)
    for item in old_items.values():
        if prorations.is_metered(item):
            prorations.bill_usage_so_far(account, subscription, item, now)
    subscription["items"]["data"] = new_items


def _list_discount_ids(phase: Object) -> list[str]:
    """A phase that names none has none: discounts of customers, which it would inherit, don't exist here."""
    return [discount["discount"] for discount in phase.get("discounts") or []]


def _apply_discounts(account: Account, schedule: Object, phase: Object) -> None:
    """A change of the current phase takes effect at once."""
    subscription = account.objects["subscription"][schedule["subscription"]]
    discount_ids = _list_discount_ids(phase)
    if discount_ids == subscription["discounts"]:
        return
    previous = copy_visible(subscription)
    subscription["discounts"] = discount_ids
    save_change(account, subscription, "customer.subscription.updated", previous)


def _find_next_phase(schedule: Object) -> Object | None:
    ends_at = schedule["current_phase"]["end_date"]
    phases: list[Object] = schedule["phases"]
    return next((phase for phase in phases if phase["start_date"] >= ends_at), None)


def _read_phases(account: Account, schedule: Object, params: list[Object]) -> list[Object]:
    subscription = account.objects["subscription"][schedule["subscription"]]
    current = schedule["current_phase"]
    if len(params) > 2 or (_find_next_phase(schedule) is None and len(schedule["phases"]) > 1):
        raise UnsupportedError("a schedule with more than one phase after the current one")
    first, *later = params
    if first.get("start_date") != current["start_date"]:
        raise ApiError(
            "You can not modify the start date of the current phase.", param="phases[0][start_date]"
        )
    if first.get("end_date") != current["end_date"]:
        raise UnsupportedError("a current phase that doesn't end with its period")
    current_items = {(item["price"]["id"], item.get("quantity")) for item in subscription["items"]["data"]}
    if {(item.get("price"), item.get("quantity")) for item in first["items"]} != current_items:
        raise UnsupportedError("a schedule that changes the current phase")
    phases = [
        _build_phase(
            subscription,
            first["items"],
            (current["start_date"], current["end_date"]),
            discount_ids=_list_discount_ids(first),
        )
    ]
    for phase in later:
        if not {"start_date", "end_date"}.isdisjoint(phase) or "duration" not in phase:
            raise UnsupportedError("a later phase without a duration")
        _check_items(account, subscription, phase["items"])
        ends_at = periods.compute_period_end(
            current["end_date"], {"interval_count": 1, **phase["duration"]}, current["end_date"]
        )
        phases.append(
            _build_phase(
                subscription,
                phase["items"],
                (current["end_date"], ends_at),
                proration_behavior=phase.get("proration_behavior", "create_prorations"),
                discount_ids=_list_discount_ids(phase),
            )
        )
        if phases[-1]["proration_behavior"] != "none":
            raise UnsupportedError("prorations of a phase")
    return phases


def _check_items(account: Account, subscription: Object, phase_items: list[Object]) -> None:
    """As for a subscription; raises ApiError."""
    items.check_items([items.build_item(account, {**subscription}, item, (0, 1)) for item in phase_items])


def _build_phase(
    subscription: Object,
    phase_items: list[Object],
    period: tuple[int, int],
    *,
    proration_behavior: str = "create_prorations",
    discount_ids: list[str],
) -> Object:
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "billing_cycle_anchor": None,
        "collection_method": None,
        "currency": subscription["currency"],
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [{"coupon": None, "discount": id_, "promotion_code": None} for id_ in discount_ids],
        "end_date": period[1],
        "invoice_settings": None,
        "items": [
            {
                "billing_thresholds": None,
                "discounts": [],
                "metadata": {},
                "plan": item["price"],
                "price": item["price"],
                "tax_rates": [],
            }
            | ({} if item.get("quantity") is None else {"quantity": item["quantity"]})
            for item in phase_items
        ],
        "metadata": {},
        "on_behalf_of": None,
        "proration_behavior": proration_behavior,
        "start_date": period[0],
        "transfer_data": None,
        "trial_end": None,
    }


def _require_active(schedule: Object) -> None:
    if schedule["status"] != "active":
        raise ApiError(
            f"You cannot change a subscription schedule that is currently in the `{schedule['status']}` status."
        )
