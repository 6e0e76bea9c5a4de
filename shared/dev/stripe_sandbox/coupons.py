"""Coupons, and the discounts that subscriptions have by them."""

from decimal import Decimal

from shared.dev.stripe_sandbox.amounts import percent, rounded
from shared.dev.stripe_sandbox.objects import fetch, make, merge_metadata, update
from shared.dev.stripe_sandbox.periods import boundary
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route
from shared.dev.stripe_sandbox.store import Account, Object, new_id, visible

TAKES = (
    "id name percent_off amount_off currency duration duration_in_months max_redemptions redeem_by metadata"
)


@route("POST", "/v1/coupons", "CouponCreateParams", TAKES)
def create(call: Call) -> Object:
    account = call.account
    if ("percent_off" in call.sent) == ("amount_off" in call.sent):
        raise Refusal("Specify one of `percent_off` and `amount_off`.", param="percent_off")
    if ("amount_off" in call.sent) != ("currency" in call.sent):
        raise Refusal("`amount_off` needs a `currency`, and only that.", param="currency")
    duration = call.get("duration", "once")
    if (duration == "repeating") != ("duration_in_months" in call.sent):
        raise Refusal("`duration_in_months` belongs to `duration=repeating`.", param="duration_in_months")
    id_ = call.get("id") or new_id("coupon").removeprefix("coupon_")[:8]
    if account.get("coupon", id_):
        raise Refusal("Coupon already exists.", code="resource_already_exists", param="id")
    coupon = make(account, "coupon", id=id_, duration=duration, valid=True, metadata={})
    for name in ("name", "amount_off", "currency", "duration_in_months", "max_redemptions", "redeem_by"):
        coupon[name] = call.get(name)
    coupon["percent_off"] = call.get("percent_off")
    merge_metadata(coupon, call.get("metadata"))
    account.put(coupon)
    account.emit("coupon.created", coupon)
    return coupon


@route("GET", "/v1/coupons/{id}", "CouponRetrieveParams")
def retrieve(call: Call) -> Object:
    return fetch(call.account, "coupon", call.ids["id"])


@route("POST", "/v1/coupons/{id}", "CouponUpdateParams", "name metadata")
def change(call: Call) -> Object:
    coupon = fetch(call.account, "coupon", call.ids["id"])
    before = visible(coupon)
    coupon["name"] = call.get("name", coupon["name"])
    merge_metadata(coupon, call.get("metadata"))
    return update(call.account, coupon, "coupon.updated", before)


@route("DELETE", "/v1/coupons/{id}", "CouponDeleteParams")
def delete(call: Call) -> Object:
    """Who has it already keeps it."""
    coupon = fetch(call.account, "coupon", call.ids["id"])
    coupon["valid"] = False
    call.account.emit("coupon.deleted", coupon)
    call.account.drop("coupon", coupon["id"])
    return {"id": coupon["id"], "object": "coupon", "deleted": True}


@route("GET", "/v1/coupons", "CouponListParams", PAGING)
def listing(call: Call) -> Object:
    return page(call, call.account.all("coupon"), "coupon")


def redeem(account: Account, customer: str, subscription: Object, sent: list[Object]) -> list[str]:
    """Discounts for these coupons; existing ones may be named again."""
    found = []
    for each in sent:
        if "discount" in each:
            found.append(fetch(account, "discount", each["discount"], "discounts")["id"])
            continue
        coupon = fetch(account, "coupon", each.get("coupon"), "discounts[coupon]")
        now = account.now(customer)
        spent = coupon["max_redemptions"] and coupon["times_redeemed"] >= coupon["max_redemptions"]
        if spent or (coupon["redeem_by"] and coupon["redeem_by"] < now):
            raise Refusal("Coupon expired.", code="coupon_expired", param="discounts[coupon]")
        coupon["times_redeemed"] += 1
        account.put(coupon)
        months = coupon["duration_in_months"]
        discount = make(
            account,
            "discount",
            customer=customer,
            subscription=subscription["id"],
            start=now,
            end=boundary(now, {"interval": "month", "interval_count": 1}, months) if months else None,
            source={"coupon": coupon["id"], "type": "coupon"},
            _coupon=visible(coupon),
        )
        account.put(discount)
        account.emit("customer.discount.created", discount)
        found.append(discount["id"])
    return found


def for_invoice(account: Account, subscription: Object) -> list[str]:
    """Those that still run; what is good once has been used by this."""
    now = account.now(subscription)
    discounts = [account.objects["discount"][id_] for id_ in subscription["discounts"]]
    running = [one for one in discounts if one["end"] is None or one["end"] > now]
    subscription["discounts"] = [one["id"] for one in running if one["_coupon"]["duration"] != "once"]
    return [one["id"] for one in running]


def off(account: Account, invoice: Object) -> None:
    """What the discounts of the invoice take away, spread over its lines."""
    found = []
    discountable = [line for line in invoice["lines"]["data"] if line["discountable"] and line["amount"] > 0]
    for line in invoice["lines"]["data"]:
        line["discount_amounts"] = []
    for id_ in invoice["discounts"]:
        coupon = account.objects["discount"][id_]["_coupon"]
        base = sum(
            line["amount"] - sum(one["amount"] for one in line["discount_amounts"]) for line in discountable
        )
        if coupon["percent_off"] is not None:
            amount = percent(base, coupon["percent_off"])
        else:
            amount = min(coupon["amount_off"], base)
        _spread(discountable, id_, amount, base)
        found.append({"amount": amount, "discount": id_})
    invoice["total_discount_amounts"] = found


def _spread(found: list[Object], id_: str, amount: int, base: int) -> None:
    """In proportion, so that the parts add up: each gets its share of what is left."""
    for line in found:
        free = line["amount"] - sum(one["amount"] for one in line["discount_amounts"])
        part = rounded(Decimal(amount) * free / base) if base else 0
        line["discount_amounts"].append({"amount": part, "discount": id_})
        amount, base = amount - part, base - free
