"""The items of a subscription, one by one; each change is a change of the subscription."""

from shared.dev.stripe_sandbox import changes
from shared.dev.stripe_sandbox.objects import fetch_object
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object


@route("GET", "/v1/subscription_items", "SubscriptionItemListParams", f"{PAGING} subscription")
def list_items(call: ApiCall) -> Object:
    if "subscription" not in call.params:
        raise ApiError(
            "Missing required param: subscription.", code="parameter_missing", param="subscription"
        )
    subscription = fetch_object(call.account, "subscription", call.get("subscription"), "subscription")
    return paginate(call, subscription["items"]["data"], "subscription item")


@route("GET", "/v1/subscription_items/{id}", "SubscriptionItemRetrieveParams")
def retrieve_item(call: ApiCall) -> Object:
    return _find_item(call.account, call.ids["id"])[1]


@route(
    "POST",
    "/v1/subscription_items/{id}",
    "SubscriptionItemUpdateParams",
    "price quantity metadata proration_behavior proration_date payment_behavior=allow_incomplete|error_if_incomplete",
)
def change_item(call: ApiCall) -> Object:
    subscription, item = _find_item(call.account, call.ids["id"])
    _change_items(call, subscription, {"id": item["id"]}, ("price", "quantity", "metadata"))
    return _find_item(call.account, item["id"])[1]


@route(
    "POST",
    "/v1/subscription_items",
    "SubscriptionItemCreateParams",
    "subscription price quantity metadata proration_behavior proration_date payment_behavior=allow_incomplete|error_if_incomplete",
)
def add_item(call: ApiCall) -> Object:
    subscription = fetch_object(call.account, "subscription", call.get("subscription"), "subscription")
    previous_ids = {item["id"] for item in subscription["items"]["data"]}
    _change_items(call, subscription, {}, ("price", "quantity", "metadata"))
    return next(item for item in subscription["items"]["data"] if item["id"] not in previous_ids)


@route(
    "DELETE",
    "/v1/subscription_items/{id}",
    "SubscriptionItemDeleteParams",
    "proration_behavior proration_date payment_behavior=allow_incomplete|error_if_incomplete",
)
def delete_item(call: ApiCall) -> Object:
    subscription, item = _find_item(call.account, call.ids["id"])
    _change_items(call, subscription, {"id": item["id"], "deleted": True}, ())
    return {"id": item["id"], "object": "subscription_item", "deleted": True}


def _change_items(call: ApiCall, subscription: Object, item: Object, names: tuple[str, ...]) -> None:
    params: Object = {
        "items": [{**item, **{name: call.params[name] for name in names if name in call.params}}]
    }
    for name in ("proration_behavior", "proration_date", "payment_behavior"):
        if name in call.params:
            params[name] = call.params[name]
    changes.apply_change(call.account, subscription, params)


def _find_item(account: Account, id_: str) -> tuple[Object, Object]:
    for subscription in account.list_objects("subscription"):
        for item in subscription["items"]["data"]:
            if item["id"] == id_:
                return subscription, item
    raise ApiError(f"Invalid subscription_item id: '{id_}'", status=404, code="resource_missing", param="id")
