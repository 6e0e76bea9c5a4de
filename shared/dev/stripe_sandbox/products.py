"""API routes of products."""

from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata, save_change
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, is_within, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

ACCEPTED_PARAMS = "name description active metadata unit_label statement_descriptor url tax_code"
PLAIN_FIELDS = ("name", "description", "active", "unit_label", "statement_descriptor", "url", "tax_code")


def add_product(account: Account, params: Object) -> Object:
    product = make_object(account, "product", active=True, type="service")
    if product_id := params.get("id"):
        if account.get("product", product_id):
            raise ApiError("Product already exists.", code="resource_already_exists", param="id")
        product["id"] = product_id
    _fill_product(product, params)
    product["updated"] = product["created"]
    account.put(product)
    account.emit("product.created", product)
    return product


@route("POST", "/v1/products", "ProductCreateParams", f"{ACCEPTED_PARAMS} id type=service")
def create_on_request(call: ApiCall) -> Object:
    return add_product(call.account, call.params)


@route("GET", "/v1/products/{id}", "ProductRetrieveParams")
def retrieve_product(call: ApiCall) -> Object:
    return fetch_object(call.account, "product", call.ids["id"])


@route("POST", "/v1/products/{id}", "ProductUpdateParams", f"{ACCEPTED_PARAMS} default_price")
def change_product(call: ApiCall) -> Object:
    account = call.account
    product = fetch_object(account, "product", call.ids["id"])
    previous = copy_visible(product)
    if price_id := call.get("default_price"):
        if fetch_object(account, "price", price_id, "default_price")["product"] != product["id"]:
            raise ApiError("The default price has to belong to the product.", param="default_price")
        product["default_price"] = price_id
    _fill_product(product, call.params)
    if copy_visible(product) != previous:
        product["updated"] = account.now()
    return save_change(account, product, "product.updated", previous)


@route("DELETE", "/v1/products/{id}", "ProductDeleteParams")
def delete_product(call: ApiCall) -> Object:
    account = call.account
    product = fetch_object(account, "product", call.ids["id"])
    if any(price["product"] == product["id"] for price in account.list_objects("price")):
        raise ApiError("This product cannot be deleted because it has one or more user-created prices.")
    account.delete_object("product", product["id"])
    account.emit("product.deleted", product)
    return {"id": product["id"], "object": "product", "deleted": True}


@route("GET", "/v1/products", "ProductListParams", f"{PAGING} active created ids")
def list_products(call: ApiCall) -> Object:
    products = [
        product
        for product in call.account.list_objects("product")
        if product["active"] == call.get("active", product["active"])
        and product["id"] in call.get("ids", [product["id"]])
        and ("created" not in call.params or is_within(product["created"], call.get("created")))
    ]
    return paginate(call, products, "product")


def _fill_product(product: Object, params: Object) -> None:
    for name in PLAIN_FIELDS:
        if name in params:
            product[name] = None if params[name] == "" else params[name]
    merge_metadata(product, params.get("metadata"))
