"""Changing a running subscription: what it has, what that costs for the rest of the period, and when it is billed."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from shared.dev.stripe_sandbox import (
    billing_cycle,
    collection,
    coupons,
    endings,
    items,
    payments,
    pending_updates,
    periods,
    prorations,
    sent_invoices,
    taxes,
)
from shared.dev.stripe_sandbox.objects import fetch_object, merge_metadata, restore_on_error, save_change
from shared.dev.stripe_sandbox.refusals import ApiError, UnsupportedError, card_declined_error
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

PARAMS_WHILE_INCOMPLETE = {"metadata", "expand", "default_payment_method", "description"}


@dataclass(frozen=True, slots=True)
class ItemChange:
    """An item before and after. None: it is new, or it goes."""

    old: Object | None
    new: Object | None

    @property
    def changes_price(self) -> bool:
        if self.old is None or self.new is None:
            return True
        return bool(
            self.old["price"]["id"] != self.new["price"]["id"]
            or self.old.get("quantity") != self.new.get("quantity")
        )


def apply_change(account: Account, subscription: Object, params: Object) -> Object | None:
    """The invoice, if the change is billed at once."""
    _require_allowed(subscription, params)
    if subscription["schedule"] and not account.is_preview:
        _require_allowed_by_schedule(subscription, params)
    waits_for_payment = params.get("payment_behavior") == pending_updates.BEHAVIOR
    if waits_for_payment:
        pending_updates.require_supported(params)
    previous, now = copy_visible(subscription), account.now(subscription)
    item_changes = _build_item_changes(account, subscription, params.get("items", []))
    restarts_period = _is_period_restarted(subscription, item_changes, params)
    proration_time = _get_proration_time(subscription, params.get("proration_date"), now)
    behavior = params.get("proration_behavior", "create_prorations")
    if _would_payment_fail(account, subscription, params, item_changes, restarts_period):
        raise card_declined_error("Your card was declined.", "generic_decline")
    is_trialing = subscription["status"] == "trialing"
    if params.keys() & pending_updates.CHANGING_PARAMS and not account.is_preview:
        discard_pending_update(account, subscription)
    before = deepcopy(subscription) if waits_for_payment else subscription
    with restore_on_error(subscription):  # from here on nothing is refused any more
        subscription["items"]["data"] = [
            item_change.new for item_change in item_changes if item_change.new is not None
        ]
        set_automatic_tax(account, subscription, subscription["items"]["data"], params)
        _change_trial(subscription, params.get("trial_end"), now)
        _apply_free_changes(account, subscription, params, now)
    if not is_trialing:
        _prorate_items(account, subscription, item_changes, behavior, proration_time, restarts_period)
    for item_change in item_changes:
        if (
            item_change.changes_price
            and item_change.new is not None
            and (behavior != "none" or is_trialing or restarts_period)
        ):
            reset_credit_basis(account, subscription, item_change.new)
    if restarts_period:
        billing_cycle.restart_periods(account, subscription, now)
    if waits_for_payment and (restarts_period or (behavior == "always_invoice" and not is_trialing)):
        return _bill_before_change(account, subscription, before, restarts_period=restarts_period)
    save_change(account, subscription, "customer.subscription.updated", previous)
    if restarts_period:
        return billing_cycle.bill_first_period(account, subscription, "subscription_update")
    if behavior == "always_invoice" and not is_trialing:
        return billing_cycle.bill_pending_items(account, subscription, "subscription_update")
    return None


def discard_pending_update(account: Account, subscription: Object) -> None:
    """Voids the invoice that a pending update waits for, which drops the update."""
    invoice = account.get("invoice", pending_updates.get_held_invoice_id(subscription))
    if invoice is not None and invoice["status"] == "open":
        collection.close_invoice(account, invoice, "void")


def _bill_before_change(
    account: Account, subscription: Object, before: Object, *, restarts_period: bool
) -> Object | None:
    """Bills a change and tries to collect it; without a payment the subscription stays as it was `before`."""
    previous = copy_visible(before)
    if restarts_period:
        invoice = billing_cycle.bill_first_period(
            account, subscription, "subscription_update", charge_now=False
        )
    else:
        invoice = billing_cycle.bill_pending_items(
            account, subscription, "subscription_update", charge_now=False
        )
    is_open = invoice is not None and invoice["status"] == "open"
    if invoice is not None and is_open:
        method = payments.get_invoice_method(account, invoice)
        if not payments.can_pay(account, subscription["customer"], method):
            invoice["auto_advance"] = False  # tried again only by the customer
            account.put(invoice)
            pending_updates.hold_change(account, subscription, before, invoice)
    save_change(account, subscription, "customer.subscription.updated", previous)
    if invoice is not None and is_open:
        collection.attempt_payment(account, invoice)
    return invoice


def reset_credit_basis(account: Account, subscription: Object, item: Object) -> None:
    """From here on, a credit is for this."""
    if prorations.is_metered(item):
        item["_basis"] = None
    else:
        item["_basis"] = prorations.build_basis(account, subscription, item)


def _require_allowed(subscription: Object, params: Object) -> None:
    if subscription["status"] in endings.ENDED_STATUSES and params.keys() - {
        "metadata",
        "cancellation_details",
        "expand",
    }:
        raise ApiError("A canceled subscription can only update its cancellation_details and metadata.")
    if subscription["status"] == "incomplete" and params.keys() - PARAMS_WHILE_INCOMPLETE:
        raise ApiError("Only the metadata of an incomplete subscription can be updated.")
    if subscription["status"] == "paused" and params.keys() & {"items", "trial_end", "billing_cycle_anchor"}:
        raise UnsupportedError("changing what a paused subscription has")
    if subscription["status"] == "trialing" and "billing_cycle_anchor" in params:
        raise UnsupportedError("billing_cycle_anchor in a trial")
    if sent_invoices.is_sent(subscription):
        if "collection_method" in params:
            raise UnsupportedError("another collection method")
        if params.get("payment_behavior") == pending_updates.BEHAVIOR:
            raise ApiError(
                f"`payment_behavior={pending_updates.BEHAVIOR}` requires `collection_method=charge_automatically`.",
                param="payment_behavior",
            )


def _require_allowed_by_schedule(subscription: Object, params: Object) -> None:
    if not {"cancel_at", "cancel_at_period_end"}.isdisjoint(params):
        raise ApiError(
            f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and updating any"
            " cancelation behavior directly is not allowed. Please update the schedule instead."
        )
    if not {"items", "billing_cycle_anchor", "trial_end", "discounts"}.isdisjoint(params):
        raise UnsupportedError("changing what a subscription with a schedule has")


def _build_item_changes(account: Account, subscription: Object, params: list[Object]) -> list[ItemChange]:
    items_by_id = {item["id"]: item for item in subscription["items"]["data"]}
    changes_by_id = {id_: ItemChange(item, {**item}) for id_, item in items_by_id.items()}
    added_changes = []
    for item_params in params:
        id_ = item_params.get("id")
        if id_ is None:
            if item_params.get("deleted"):
                raise ApiError("An item can only be deleted by its id.", param="items[0][id]")
            added_changes.append(ItemChange(None, _build_added_item(account, subscription, item_params)))
            continue
        if id_ not in items_by_id:
            raise ApiError(
                f"No such subscription item: '{id_}'", code="resource_missing", param="items[0][id]"
            )
        changes_by_id[id_] = ItemChange(
            items_by_id[id_], _build_changed_item(account, subscription, items_by_id[id_], item_params)
        )
    item_changes = [*changes_by_id.values(), *added_changes]
    items.check_items([item_change.new for item_change in item_changes if item_change.new is not None])
    return item_changes


def _build_added_item(account: Account, subscription: Object, params: Object) -> Object:
    price = items.fetch_price(account, params.get("price", ""))
    now = account.now(subscription)
    if subscription["status"] == "trialing":
        period = (now, subscription["trial_end"])
    else:
        period = periods.compute_full_period(subscription["billing_cycle_anchor"], price["recurring"], now)
    return items.build_item(account, subscription, params, period)


def _build_changed_item(
    account: Account, subscription: Object, item: Object, params: Object
) -> Object | None:
    if params.get("deleted"):
        return None
    new_item = {**item}
    if "price" in params and params["price"] != item["price"]["id"]:
        # as Stripe: another price with no quantity named means one
        items.set_price(account, subscription, new_item, params["price"], params.get("quantity"))
        new_item["_since"] = account.now(subscription)
        if subscription["status"] != "trialing" and _get_interval(new_item) != _get_interval(item):
            new_item["_interval_changed"] = True
    elif "quantity" in params:
        # A price that was archived stays in what has it already: https://docs.stripe.com/products-prices/manage-prices
        items.set_price(
            account, subscription, new_item, item["price"]["id"], params["quantity"], allow_archived=True
        )
    merge_metadata(new_item, params.get("metadata"))
    return new_item


def _get_interval(item: Object) -> Any:
    return item["price"]["recurring"]["interval"], item["price"]["recurring"]["interval_count"]


def _is_period_restarted(subscription: Object, item_changes: list[ItemChange], params: Object) -> bool:
    """A new period begins now: asked for, another interval, or from free to paid."""
    if subscription["status"] == "trialing":
        return bool(params.get("trial_end") == "now")
    changed = [
        item_change.new.pop("_interval_changed", False)
        for item_change in item_changes
        if item_change.new is not None
    ]
    if any(changed) or (params.get("billing_cycle_anchor") or {}).get("type") == "now":
        return True
    return _are_free([item_change.old for item_change in item_changes]) and not _are_free(
        [item_change.new for item_change in item_changes]
    )


def _are_free(subscription_items: list[Object | None]) -> bool:
    return all(
        item is None
        or (
            item["price"]["billing_scheme"] == "per_unit"
            and not prorations.is_metered(item)
            and (item["price"]["unit_amount"] == 0 or item["quantity"] == 0)
        )
        for item in subscription_items
    )


def _get_proration_time(subscription: Object, requested_time: int | None, now: int) -> int:
    subscription_items = subscription["items"]["data"]
    if requested_time is None:
        return now
    if not all(
        item["current_period_start"] <= requested_time < item["current_period_end"]
        for item in subscription_items
    ):
        raise ApiError("proration_date has to lie in the current period.", param="proration_date")
    return requested_time


def _would_payment_fail(
    account: Account,
    subscription: Object,
    params: Object,
    item_changes: list[ItemChange],
    restarts_period: bool,
) -> bool:
    """Whether `payment_behavior=error_if_incomplete` applies and the payment would fail, so that nothing may change."""
    if params.get("payment_behavior") != "error_if_incomplete" or sent_invoices.is_sent(subscription):
        return False
    if params.get("proration_behavior") != "always_invoice" and not restarts_period:
        return False
    method = account.get("payment_method", payments.get_default_method_id(account, subscription))
    is_charged = restarts_period or any(item_change.changes_price for item_change in item_changes)
    return is_charged and not payments.can_pay(account, subscription["customer"], method)


def _apply_free_changes(account: Account, subscription: Object, params: Object, now: int) -> None:
    """All that costs nothing."""
    merge_metadata(subscription, params.get("metadata"))
    if "default_payment_method" in params:
        method_id = params["default_payment_method"] or None
        if (
            method_id
            and fetch_object(account, "payment_method", method_id)["customer"] != subscription["customer"]
        ):
            raise ApiError(
                "The customer does not have a payment method with this ID.", param="default_payment_method"
            )
        subscription["default_payment_method"] = method_id
    if "description" in params:
        subscription["description"] = params["description"] or None
    if "trial_settings" in params:
        subscription["trial_settings"] = build_trial_settings(params["trial_settings"])
    if "pause_collection" in params:
        pause = params["pause_collection"]
        subscription["pause_collection"] = {"resumes_at": None, **pause} if pause else None
    if "cancellation_details" in params:
        current_details = subscription["cancellation_details"] or {"reason": None}
        new_details = params["cancellation_details"]
        subscription["cancellation_details"] = {
            "comment": new_details.get("comment") or None,
            "feedback": new_details.get("feedback") or None,
            "reason": current_details["reason"],
        }
    schedule_cancellation(subscription, params, now)
    if "discounts" in params:
        subscription["discounts"] = coupons.redeem_coupons(
            account, subscription["customer"], subscription, params["discounts"] or []
        )


def set_automatic_tax(
    account: Account, subscription: Object, subscription_items: list[Object], params: Object
) -> None:
    """Applies `automatic_tax`, and refuses a taxed subscription whose tax can't be calculated."""
    if (automatic_tax := params.get("automatic_tax")) is not None:
        subscription["automatic_tax"] = taxes.build_automatic_tax(enabled=automatic_tax["enabled"])
        if automatic_tax["enabled"]:
            taxes.require_active(account)
            taxes.require_location(account.objects["customer"][subscription["customer"]])
    if subscription["automatic_tax"]["enabled"]:
        for index, item in enumerate(subscription_items):
            taxes.require_behavior(account, item["price"], f"items[{index}][price]")


def build_trial_settings(params: Object) -> Object:
    end_behavior = params["end_behavior"]
    return {
        "end_behavior": {
            "billing_cycle_anchor": None,
            "missing_payment_method": end_behavior.get("missing_payment_method", "create_invoice"),
        }
    }


def schedule_cancellation(subscription: Object, params: Object, now: int) -> None:
    """Applies `cancel_at_period_end` and `cancel_at`, or removes them."""
    if "cancel_at_period_end" in params and "cancel_at" in params:
        raise ApiError("You can only pass one of `cancel_at_period_end` and `cancel_at`.", param="cancel_at")
    if "cancel_at_period_end" in params:
        period_ends = {item["current_period_end"] for item in subscription["items"]["data"]}
        if params["cancel_at_period_end"] and len(period_ends) > 1:
            raise UnsupportedError("cancel_at_period_end with items of different intervals")
        _set_cancel_at(subscription, max(period_ends) if params["cancel_at_period_end"] else None, now)
        subscription["cancel_at_period_end"] = params["cancel_at_period_end"]
    elif "cancel_at" in params:
        cancel_at = params["cancel_at"]
        end_times = [item["current_period_end"] for item in subscription["items"]["data"]]
        cancel_at = {"min_period_end": min(end_times), "max_period_end": max(end_times)}.get(
            cancel_at, cancel_at
        )
        if cancel_at not in ("", *end_times):
            raise UnsupportedError("cancel_at in the middle of a period")
        _set_cancel_at(subscription, cancel_at or None, now)
        subscription["cancel_at_period_end"] = False


def _set_cancel_at(subscription: Object, ends_at: int | None, now: int) -> None:
    if subscription["cancel_at"] == ends_at:
        return
    subscription |= {"cancel_at": ends_at, "canceled_at": now if ends_at else None}
    details = subscription["cancellation_details"] or {"comment": None, "feedback": None}
    subscription["cancellation_details"] = {
        **details,
        "reason": "cancellation_requested" if ends_at else None,
    }


def _prorate_items(
    account: Account,
    subscription: Object,
    item_changes: list[ItemChange],
    behavior: str,
    proration_time: int,
    restarts_period: bool,
) -> None:
    for item_change in item_changes:
        old_item, new_item = item_change.old, item_change.new
        if old_item is not None and prorations.is_metered(old_item):
            if restarts_period or new_item is None or new_item["price"]["id"] != old_item["price"]["id"]:
                prorations.bill_usage_so_far(account, subscription, old_item, proration_time)
            continue
        if behavior == "none" or not (item_change.changes_price or restarts_period):
            continue
        if old_item is not None:
            prorations.credit_unused_time(account, subscription, old_item, proration_time)
        if new_item is not None and not restarts_period and not prorations.is_metered(new_item):
            prorations.charge_remaining_time(account, subscription, new_item, proration_time)


def _change_trial(subscription: Object, trial_end: Any, now: int) -> None:
    if trial_end is None:
        return
    is_trialing = subscription["status"] == "trialing"
    if trial_end == "now":
        if is_trialing:
            subscription["trial_end"] = now
            subscription["status"] = "active"
        return
    if trial_end <= now:
        raise ApiError("Timestamp must be an integer Unix timestamp in the future.", param="trial_end")
    if not is_trialing:
        raise UnsupportedError("a new trial for a subscription that is not in one")
    subscription |= {"trial_end": trial_end, "billing_cycle_anchor": trial_end, "_warned": False}
    for item in subscription["items"]["data"]:
        item["current_period_end"] = trial_end
    if subscription["cancel_at_period_end"]:
        subscription["cancel_at"] = trial_end
