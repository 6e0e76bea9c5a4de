"""Coupons, and the discounts that subscriptions have by them."""

from decimal import Decimal

from shared.dev.stripe_sandbox.amounts import compute_percentage, round_amount
from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata, save_change
from shared.dev.stripe_sandbox.periods import compute_boundary
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible, new_id

ACCEPTED_PARAMS = (
    "id name percent_off amount_off currency duration duration_in_months max_redemptions redeem_by metadata"
)


@route("POST", "/v1/coupons", "CouponCreateParams", ACCEPTED_PARAMS)
def create_coupon(call: ApiCall) -> Object:
    account = call.account
    if ("percent_off" in call.params) == ("amount_off" in call.params):
        raise ApiError("Specify one of `percent_off` and `amount_off`.", param="percent_off")
    if ("amount_off" in call.params) != ("currency" in call.params):
        raise ApiError("`amount_off` needs a `currency`, and only that.", param="currency")
    duration = call.get("duration", "once")
    if (duration == "repeating") != ("duration_in_months" in call.params):
        raise ApiError("`duration_in_months` belongs to `duration=repeating`.", param="duration_in_months")
    id_ = call.get("id") or new_id("coupon").removeprefix("coupon_")[:8]
    if account.get("coupon", id_):
        raise ApiError("Coupon already exists.", code="resource_already_exists", param="id")
    coupon = make_object(account, "coupon", id=id_, duration=duration, valid=True, metadata={})
    for name in ("name", "amount_off", "currency", "duration_in_months", "max_redemptions", "redeem_by"):
        coupon[name] = call.get(name)
    coupon["percent_off"] = call.get("percent_off")
    merge_metadata(coupon, call.get("metadata"))
    account.put(coupon)
    account.emit("coupon.created", coupon)
    return coupon


@route("GET", "/v1/coupons/{id}", "CouponRetrieveParams")
def retrieve_coupon(call: ApiCall) -> Object:
    return fetch_object(call.account, "coupon", call.ids["id"])


@route("POST", "/v1/coupons/{id}", "CouponUpdateParams", "name metadata")
def change_coupon(call: ApiCall) -> Object:
    coupon = fetch_object(call.account, "coupon", call.ids["id"])
    previous = copy_visible(coupon)
    coupon["name"] = call.get("name", coupon["name"])
    merge_metadata(coupon, call.get("metadata"))
    return save_change(call.account, coupon, "coupon.updated", previous)


@route("DELETE", "/v1/coupons/{id}", "CouponDeleteParams")
def delete_coupon(call: ApiCall) -> Object:
    """Customers with the coupon keep it."""
    coupon = fetch_object(call.account, "coupon", call.ids["id"])
    coupon["valid"] = False
    call.account.emit("coupon.deleted", coupon)
    call.account.delete_object("coupon", coupon["id"])
    return {"id": coupon["id"], "object": "coupon", "deleted": True}


@route("GET", "/v1/coupons", "CouponListParams", PAGING)
def list_coupons(call: ApiCall) -> Object:
    return paginate(call, call.account.list_objects("coupon"), "coupon")


def give_to_customer(account: Account, customer: Object, coupon_id: str) -> None:
    """As in the dashboard: invoices of the customer inherit it. https://docs.stripe.com/api/invoices/create"""
    (discount_id,) = redeem_coupons(account, customer["id"], None, [{"coupon": coupon_id}])
    customer["discount"] = account.objects["discount"][discount_id]
    account.put(customer)


def redeem_coupons(
    account: Account, customer: str, subscription: Object | None, params: list[Object]
) -> list[str]:
    """Discounts for these coupons; existing ones may be named again."""
    discount_ids = []
    for discount_params in params:
        if "discount" in discount_params:
            discount_ids.append(
                fetch_object(account, "discount", discount_params["discount"], "discounts")["id"]
            )
            continue
        coupon = fetch_object(account, "coupon", discount_params.get("coupon"), "discounts[coupon]")
        now = account.now(customer)
        is_used_up = coupon["max_redemptions"] and coupon["times_redeemed"] >= coupon["max_redemptions"]
        if is_used_up or (coupon["redeem_by"] and coupon["redeem_by"] < now):
            raise ApiError("Coupon expired.", code="coupon_expired", param="discounts[coupon]")
        coupon["times_redeemed"] += 1
        account.put(coupon)
        months = coupon["duration_in_months"]
        discount = make_object(
            account,
            "discount",
            customer=customer,
            subscription=subscription["id"] if subscription else None,
            start=now,
            end=compute_boundary(now, {"interval": "month", "interval_count": 1}, months) if months else None,
            source={"coupon": coupon["id"], "type": "coupon"},
            _coupon=copy_visible(coupon),
        )
        account.put(discount)
        account.emit("customer.discount.created", discount)
        discount_ids.append(discount["id"])
    return discount_ids


def use_discounts(account: Account, subscription: Object) -> list[str]:
    """Those that still run; what is good once has been used by this."""
    now = account.now(subscription)
    discounts = [account.objects["discount"][id_] for id_ in subscription["discounts"]]
    active_discounts = [
        discount for discount in discounts if discount["end"] is None or discount["end"] > now
    ]
    subscription["discounts"] = [
        discount["id"] for discount in active_discounts if discount["_coupon"]["duration"] != "once"
    ]
    return [discount["id"] for discount in active_discounts]


def compute_net_total(account: Account, subscription: Object, total: Decimal) -> Decimal:
    """What the discounts of the subscription leave of `total`. Prorations contain them: their lines aren't discounted."""
    now, net_total = account.now(subscription), total
    for id_ in subscription["discounts"]:
        discount = account.objects["discount"][id_]
        coupon = discount["_coupon"]
        if discount["end"] is not None and discount["end"] <= now:
            continue
        if coupon["percent_off"] is not None:
            net_total -= net_total * Decimal(str(coupon["percent_off"])) / 100
        else:
            net_total -= min(Decimal(coupon["amount_off"]), net_total)
    return net_total


def apply_discounts(account: Account, invoice: Object) -> None:
    """What the discounts of the invoice take away, spread over its lines."""
    discount_totals = []
    discountable = [line for line in invoice["lines"]["data"] if line["discountable"] and line["amount"] > 0]
    for line in invoice["lines"]["data"]:
        line["discount_amounts"] = []
    for id_ in invoice["discounts"]:
        coupon = account.objects["discount"][id_]["_coupon"]
        base = sum(
            line["amount"] - sum(discount["amount"] for discount in line["discount_amounts"])
            for line in discountable
        )
        if coupon["percent_off"] is not None:
            amount = compute_percentage(base, coupon["percent_off"], invoice["currency"])
        else:
            amount = min(coupon["amount_off"], base)
        spread_discount(discountable, id_, amount, base, currency=invoice["currency"])
        discount_totals.append({"amount": amount, "discount": id_})
    invoice["total_discount_amounts"] = discount_totals


def spread_discount(lines: list[Object], id_: str, amount: int, base: int, *, currency: str) -> None:
    """In proportion, so that the parts add up: each gets its share of what is left."""
    for line in lines:
        remaining = line["amount"] - sum(discount["amount"] for discount in line["discount_amounts"])
        share = round_amount(Decimal(amount) * remaining / base, currency) if base else 0
        line["discount_amounts"].append({"amount": share, "discount": id_})
        amount, base = amount - share, base - remaining
