"""What is sold."""

from shared.dev.stripe_sandbox.objects import fetch, make, merge_metadata, update
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route, within
from shared.dev.stripe_sandbox.store import Account, Object, visible

TAKES = "name description active metadata unit_label statement_descriptor url tax_code"
PLAIN = ("name", "description", "active", "unit_label", "statement_descriptor", "url", "tax_code")


def add(account: Account, sent: Object) -> Object:
    product = make(account, "product", active=True, type="service")
    if chosen := sent.get("id"):
        if account.get("product", chosen):
            raise Refusal("Product already exists.", code="resource_already_exists", param="id")
        product["id"] = chosen
    _fill(product, sent)
    product["updated"] = product["created"]
    account.put(product)
    account.emit("product.created", product)
    return product


@route("POST", "/v1/products", "ProductCreateParams", f"{TAKES} id type=service")
def create(call: Call) -> Object:
    return add(call.account, call.sent)


@route("GET", "/v1/products/{id}", "ProductRetrieveParams")
def retrieve(call: Call) -> Object:
    return fetch(call.account, "product", call.ids["id"])


@route("POST", "/v1/products/{id}", "ProductUpdateParams", f"{TAKES} default_price")
def change(call: Call) -> Object:
    account = call.account
    product = fetch(account, "product", call.ids["id"])
    before = visible(product)
    if chosen := call.get("default_price"):
        if fetch(account, "price", chosen, "default_price")["product"] != product["id"]:
            raise Refusal("The default price has to belong to the product.", param="default_price")
        product["default_price"] = chosen
    _fill(product, call.sent)
    if visible(product) != before:
        product["updated"] = account.now()
    return update(account, product, "product.updated", before)


@route("DELETE", "/v1/products/{id}", "ProductDeleteParams")
def delete(call: Call) -> Object:
    account = call.account
    product = fetch(account, "product", call.ids["id"])
    if any(price["product"] == product["id"] for price in account.all("price")):
        raise Refusal("This product cannot be deleted because it has one or more user-created prices.")
    account.drop("product", product["id"])
    account.emit("product.deleted", product)
    return {"id": product["id"], "object": "product", "deleted": True}


@route("GET", "/v1/products", "ProductListParams", f"{PAGING} active created ids")
def listing(call: Call) -> Object:
    found = [
        one
        for one in call.account.all("product")
        if one["active"] == call.get("active", one["active"])
        and one["id"] in call.get("ids", [one["id"]])
        and ("created" not in call.sent or within(one["created"], call.get("created")))
    ]
    return page(call, found, "product")


def _fill(product: Object, sent: Object) -> None:
    for name in PLAIN:
        if name in sent:
            product[name] = None if sent[name] == "" else sent[name]
    merge_metadata(product, sent.get("metadata"))
