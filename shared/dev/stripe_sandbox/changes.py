"""Changing a running subscription: what it has, what that costs for the rest of the period, and when it is billed."""

from dataclasses import dataclass
from typing import Any

from shared.dev.stripe_sandbox import bills, coupons, endings, items, payments, periods, prorations
from shared.dev.stripe_sandbox.objects import fetch, intact, merge_metadata, update
from shared.dev.stripe_sandbox.refusals import Refusal, Unbuilt, declined
from shared.dev.stripe_sandbox.store import Account, Object, visible

IN_INCOMPLETE = {"metadata", "expand", "default_payment_method", "description"}


@dataclass(frozen=True, slots=True)
class Pair:
    """An item before and after. None: it is new, or it goes."""

    old: Object | None
    new: Object | None

    @property
    def priced_anew(self) -> bool:
        if self.old is None or self.new is None:
            return True
        return bool(
            self.old["price"]["id"] != self.new["price"]["id"]
            or self.old.get("quantity") != self.new.get("quantity")
        )


def apply(account: Account, subscription: Object, sent: Object) -> Object | None:
    """The invoice, if the change is billed at once."""
    _allowed(subscription, sent)
    before, now = visible(subscription), account.now(subscription)
    pairs = _pairs(account, subscription, sent.get("items", []))
    restarts = _restarts(subscription, pairs, sent)
    moment = _moment(subscription, sent.get("proration_date"), now)
    behavior = sent.get("proration_behavior", "create_prorations")
    if _would_be_refused(account, subscription, sent, pairs, restarts):
        raise declined("Your card was declined.", "generic_decline")
    trialing = subscription["status"] == "trialing"
    with intact(subscription):  # from here on nothing is refused any more
        subscription["items"]["data"] = [pair.new for pair in pairs if pair.new is not None]
        _trial(subscription, sent.get("trial_end"), now)
        _plain(account, subscription, sent, now)
    if not trialing:
        _prorate(account, subscription, pairs, behavior, moment, restarts)
    for pair in pairs:
        if pair.priced_anew and pair.new is not None and (behavior != "none" or trialing or restarts):
            rebase(pair.new)
    if restarts:
        bills.restart(account, subscription, now)
    update(account, subscription, "customer.subscription.updated", before)
    if restarts:
        return bills.first_of_period(account, subscription, "subscription_update")
    if behavior == "always_invoice" and not trialing:
        return bills.pending_now(account, subscription, "subscription_update")
    return None


def rebase(item: Object) -> None:
    """From here on, a credit is for this."""
    if prorations.is_metered(item):
        item["_basis"] = None
    else:
        item["_basis"] = {"price": item["price"], "quantity": item["quantity"]}


def _allowed(subscription: Object, sent: Object) -> None:
    if subscription["status"] in endings.OVER and sent.keys() - {
        "metadata",
        "cancellation_details",
        "expand",
    }:
        raise Refusal("A canceled subscription can only update its cancellation_details and metadata.")
    if subscription["status"] == "incomplete" and sent.keys() - IN_INCOMPLETE:
        raise Refusal("Only the metadata of an incomplete subscription can be updated.")
    if subscription["status"] == "paused" and sent.keys() & {"items", "trial_end", "billing_cycle_anchor"}:
        raise Unbuilt("changing what a paused subscription has")
    if subscription["status"] == "trialing" and "billing_cycle_anchor" in sent:
        raise Unbuilt("billing_cycle_anchor in a trial")
    if subscription["discounts"] and sent.get("items") and sent.get("proration_behavior") != "none":
        raise Unbuilt("proration of a discounted subscription")


def _pairs(account: Account, subscription: Object, sent: list[Object]) -> list[Pair]:
    known = {item["id"]: item for item in subscription["items"]["data"]}
    pairs = {id_: Pair(item, {**item}) for id_, item in known.items()}
    added = []
    for each in sent:
        id_ = each.get("id")
        if id_ is None:
            if each.get("deleted"):
                raise Refusal("An item can only be deleted by its id.", param="items[0][id]")
            added.append(Pair(None, _added(account, subscription, each)))
            continue
        if id_ not in known:
            raise Refusal(
                f"No such subscription item: '{id_}'", code="resource_missing", param="items[0][id]"
            )
        pairs[id_] = Pair(known[id_], _changed(account, subscription, known[id_], each))
    found = [*pairs.values(), *added]
    items.check([pair.new for pair in found if pair.new is not None])
    return found


def _added(account: Account, subscription: Object, sent: Object) -> Object:
    price = items.fetch_price(account, sent.get("price", ""))
    now = account.now(subscription)
    if subscription["status"] == "trialing":
        period = (now, subscription["trial_end"])
    else:
        period = periods.whole(subscription["billing_cycle_anchor"], price["recurring"], now)
    return items.build(account, subscription, sent, period)


def _changed(account: Account, subscription: Object, item: Object, sent: Object) -> Object | None:
    if sent.get("deleted"):
        return None
    new = {**item}
    if "price" in sent and sent["price"] != item["price"]["id"]:
        # as Stripe: another price with no quantity named means one
        items.set_price(account, subscription, new, sent["price"], sent.get("quantity"))
        new["_since"] = account.now(subscription)
        if subscription["status"] != "trialing" and _interval(new) != _interval(item):
            new["_interval_changed"] = True
    elif "quantity" in sent:
        items.set_price(account, subscription, new, item["price"]["id"], sent["quantity"])
    merge_metadata(new, sent.get("metadata"))
    return new


def _interval(item: Object) -> Any:
    return item["price"]["recurring"]["interval"], item["price"]["recurring"]["interval_count"]


def _restarts(subscription: Object, pairs: list[Pair], sent: Object) -> bool:
    """A new period begins now: asked for, another interval, or from free to paid."""
    if subscription["status"] == "trialing":
        return bool(sent.get("trial_end") == "now")
    changed = [pair.new.pop("_interval_changed", False) for pair in pairs if pair.new is not None]
    if any(changed) or (sent.get("billing_cycle_anchor") or {}).get("type") == "now":
        return True
    return _free([pair.old for pair in pairs]) and not _free([pair.new for pair in pairs])


def _free(found: list[Object | None]) -> bool:
    return all(
        item is None
        or (
            item["price"]["billing_scheme"] == "per_unit"
            and not prorations.is_metered(item)
            and (item["price"]["unit_amount"] == 0 or item["quantity"] == 0)
        )
        for item in found
    )


def _moment(subscription: Object, chosen: int | None, now: int) -> int:
    found = subscription["items"]["data"]
    if chosen is None:
        return now
    if not all(item["current_period_start"] <= chosen < item["current_period_end"] for item in found):
        raise Refusal("proration_date has to lie in the current period.", param="proration_date")
    return chosen


def _would_be_refused(
    account: Account, subscription: Object, sent: Object, pairs: list[Pair], restarts: bool
) -> bool:
    """`error_if_incomplete`: better nothing changes than that the payment fails."""
    if sent.get("payment_behavior") != "error_if_incomplete":
        return False
    if sent.get("proration_behavior") != "always_invoice" and not restarts:
        return False
    method = account.get("payment_method", payments.default_of(account, subscription))
    return any(pair.priced_anew for pair in pairs) and not payments.would_pay(
        account, subscription["customer"], method
    )


def _plain(account: Account, subscription: Object, sent: Object, now: int) -> None:
    """All that costs nothing."""
    merge_metadata(subscription, sent.get("metadata"))
    if "default_payment_method" in sent:
        chosen = sent["default_payment_method"] or None
        if chosen and fetch(account, "payment_method", chosen)["customer"] != subscription["customer"]:
            raise Refusal(
                "The customer does not have a payment method with this ID.", param="default_payment_method"
            )
        subscription["default_payment_method"] = chosen
    if "description" in sent:
        subscription["description"] = sent["description"] or None
    if "trial_settings" in sent:
        subscription["trial_settings"] = trial_settings(sent["trial_settings"])
    if "pause_collection" in sent:
        pause = sent["pause_collection"]
        subscription["pause_collection"] = {"resumes_at": None, **pause} if pause else None
    if "cancellation_details" in sent:
        known = subscription["cancellation_details"] or {"reason": None}
        asked = sent["cancellation_details"]
        subscription["cancellation_details"] = {
            "comment": asked.get("comment") or None,
            "feedback": asked.get("feedback") or None,
            "reason": known["reason"],
        }
    plan_end(subscription, sent, now)
    if "discounts" in sent:
        subscription["discounts"] = coupons.redeem(
            account, subscription["customer"], subscription, sent["discounts"] or []
        )


def trial_settings(sent: Object) -> Object:
    end = sent["end_behavior"]
    return {
        "end_behavior": {
            "billing_cycle_anchor": None,
            "missing_payment_method": end.get("missing_payment_method", "create_invoice"),
        }
    }


def plan_end(subscription: Object, sent: Object, now: int) -> None:
    """`cancel_at_period_end` and `cancel_at`, or taking them back."""
    if "cancel_at_period_end" in sent and "cancel_at" in sent:
        raise Refusal("You can only pass one of `cancel_at_period_end` and `cancel_at`.", param="cancel_at")
    if "cancel_at_period_end" in sent:
        ends = {item["current_period_end"] for item in subscription["items"]["data"]}
        if sent["cancel_at_period_end"] and len(ends) > 1:
            raise Unbuilt("cancel_at_period_end with items of different intervals")
        _ends_at(subscription, max(ends) if sent["cancel_at_period_end"] else None, now)
        subscription["cancel_at_period_end"] = sent["cancel_at_period_end"]
    elif "cancel_at" in sent:
        chosen = sent["cancel_at"]
        known = [item["current_period_end"] for item in subscription["items"]["data"]]
        chosen = {"min_period_end": min(known), "max_period_end": max(known)}.get(chosen, chosen)
        if chosen not in ("", *known):
            raise Unbuilt("cancel_at in the middle of a period")
        _ends_at(subscription, chosen or None, now)
        subscription["cancel_at_period_end"] = False


def _ends_at(subscription: Object, moment: int | None, now: int) -> None:
    if subscription["cancel_at"] == moment:
        return
    subscription |= {"cancel_at": moment, "canceled_at": now if moment else None}
    known = subscription["cancellation_details"] or {"comment": None, "feedback": None}
    subscription["cancellation_details"] = {**known, "reason": "cancellation_requested" if moment else None}


def _prorate(
    account: Account, subscription: Object, pairs: list[Pair], behavior: str, moment: int, restarts: bool
) -> None:
    for pair in pairs:
        old, new = pair.old, pair.new
        if old is not None and prorations.is_metered(old):
            if restarts or new is None or new["price"]["id"] != old["price"]["id"]:
                prorations.use_so_far(account, subscription, old, moment)
            continue
        if behavior == "none" or not (pair.priced_anew or restarts):
            continue
        if old is not None:
            prorations.credit(account, subscription, old, moment)
        if new is not None and not restarts and not prorations.is_metered(new):
            prorations.charge(account, subscription, new, moment)


def _trial(subscription: Object, chosen: Any, now: int) -> None:
    if chosen is None:
        return
    trialing = subscription["status"] == "trialing"
    if chosen == "now":
        if trialing:
            subscription["trial_end"] = now
            subscription["status"] = "active"
        return
    if chosen <= now:
        raise Refusal("Timestamp must be an integer Unix timestamp in the future.", param="trial_end")
    if not trialing:
        raise Unbuilt("a new trial for a subscription that is not in one")
    subscription |= {"trial_end": chosen, "billing_cycle_anchor": chosen, "_warned": False}
    for item in subscription["items"]["data"]:
        item["current_period_end"] = chosen
    if subscription["cancel_at_period_end"]:
        subscription["cancel_at"] = chosen
