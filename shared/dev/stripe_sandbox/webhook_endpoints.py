"""Webhook endpoints. The API returns the signing secret once, when an endpoint is created."""

from shared.dev.stripe_sandbox.contract import API_VERSION
from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata
from shared.dev.stripe_sandbox.refusals import ApiError, UnsupportedError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, paginate, route
from shared.dev.stripe_sandbox.store import Object, copy_visible, new_id

ACCEPTED_PARAMS = "url enabled_events description metadata"


@route("POST", "/v1/webhook_endpoints", "WebhookEndpointCreateParams", f"{ACCEPTED_PARAMS} api_version")
def create_webhook_endpoint(call: ApiCall) -> Object:
    version = call.get("api_version", API_VERSION)
    if version != API_VERSION:
        raise UnsupportedError(f"events of API version {version}")
    endpoint = make_object(
        call.account,
        "webhook_endpoint",
        api_version=version,
        status="enabled",
        metadata={},
        _secret=new_id("whsec"),
    )
    endpoint.pop("secret")
    _fill_endpoint(endpoint, call)
    call.account.put(endpoint)
    return {**copy_visible(endpoint), "secret": endpoint["_secret"]}


@route("GET", "/v1/webhook_endpoints/{id}", "WebhookEndpointRetrieveParams")
def retrieve_webhook_endpoint(call: ApiCall) -> Object:
    return fetch_object(call.account, "webhook_endpoint", call.ids["id"])


@route("POST", "/v1/webhook_endpoints/{id}", "WebhookEndpointUpdateParams", f"{ACCEPTED_PARAMS} disabled")
def change_webhook_endpoint(call: ApiCall) -> Object:
    endpoint = fetch_object(call.account, "webhook_endpoint", call.ids["id"])
    _fill_endpoint(endpoint, call)
    if "disabled" in call.params:
        endpoint["status"] = "disabled" if call.get("disabled") else "enabled"
    return call.account.put(endpoint)


@route("DELETE", "/v1/webhook_endpoints/{id}", "WebhookEndpointDeleteParams")
def delete_webhook_endpoint(call: ApiCall) -> Object:
    endpoint = fetch_object(call.account, "webhook_endpoint", call.ids["id"])
    call.account.delete_object("webhook_endpoint", endpoint["id"])
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


@route("GET", "/v1/webhook_endpoints", "WebhookEndpointListParams", PAGING)
def list_webhook_endpoints(call: ApiCall) -> Object:
    return paginate(call, call.account.list_objects("webhook_endpoint"), "webhook endpoint")


def _fill_endpoint(endpoint: Object, call: ApiCall) -> None:
    if "url" in call.params:
        if not call.get("url").startswith(("http://", "https://")):
            raise ApiError(
                "Invalid URL: an explicit scheme (such as https) must be provided.",
                code="url_invalid",
                param="url",
            )
        endpoint["url"] = call.get("url")
    for name in ("enabled_events", "description"):
        if name in call.params:
            endpoint[name] = call.get(name) or None
    merge_metadata(endpoint, call.get("metadata"))
