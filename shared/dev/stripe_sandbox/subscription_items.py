"""The items of a subscription, one by one; each change is a change of the subscription."""

from shared.dev.stripe_sandbox import changes
from shared.dev.stripe_sandbox.objects import fetch
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route
from shared.dev.stripe_sandbox.store import Account, Object


@route("GET", "/v1/subscription_items", "SubscriptionItemListParams", f"{PAGING} subscription")
def list_items(call: Call) -> Object:
    if "subscription" not in call.sent:
        raise Refusal("Missing required param: subscription.", code="parameter_missing", param="subscription")
    subscription = fetch(call.account, "subscription", call.get("subscription"), "subscription")
    return page(call, subscription["items"]["data"], "subscription item")


@route("GET", "/v1/subscription_items/{id}", "SubscriptionItemRetrieveParams")
def retrieve_item(call: Call) -> Object:
    return _item(call.account, call.ids["id"])[1]


@route(
    "POST",
    "/v1/subscription_items/{id}",
    "SubscriptionItemUpdateParams",
    "price quantity metadata proration_behavior proration_date payment_behavior=allow_incomplete|error_if_incomplete",
)
def change_item(call: Call) -> Object:
    subscription, item = _item(call.account, call.ids["id"])
    _change_items(call, subscription, {"id": item["id"]}, ("price", "quantity", "metadata"))
    return _item(call.account, item["id"])[1]


@route(
    "POST",
    "/v1/subscription_items",
    "SubscriptionItemCreateParams",
    "subscription price quantity metadata proration_behavior proration_date payment_behavior=allow_incomplete|error_if_incomplete",
)
def add_item(call: Call) -> Object:
    subscription = fetch(call.account, "subscription", call.get("subscription"), "subscription")
    before = {item["id"] for item in subscription["items"]["data"]}
    _change_items(call, subscription, {}, ("price", "quantity", "metadata"))
    return next(item for item in subscription["items"]["data"] if item["id"] not in before)


@route(
    "DELETE",
    "/v1/subscription_items/{id}",
    "SubscriptionItemDeleteParams",
    "proration_behavior proration_date payment_behavior=allow_incomplete|error_if_incomplete",
)
def delete_item(call: Call) -> Object:
    subscription, item = _item(call.account, call.ids["id"])
    _change_items(call, subscription, {"id": item["id"], "deleted": True}, ())
    return {"id": item["id"], "object": "subscription_item", "deleted": True}


def _change_items(call: Call, subscription: Object, item: Object, names: tuple[str, ...]) -> None:
    sent: Object = {"items": [{**item, **{name: call.sent[name] for name in names if name in call.sent}}]}
    for name in ("proration_behavior", "proration_date", "payment_behavior"):
        if name in call.sent:
            sent[name] = call.sent[name]
    changes.apply(call.account, subscription, sent)


def _item(account: Account, id_: str) -> tuple[Object, Object]:
    for subscription in account.all("subscription"):
        for item in subscription["items"]["data"]:
            if item["id"] == id_:
                return subscription, item
    raise Refusal(f"Invalid subscription_item id: '{id_}'", status=404, code="resource_missing", param="id")
