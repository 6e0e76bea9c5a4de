"""Where events are sent. The secret is shown once, when the endpoint is made."""

from shared.dev.stripe_sandbox.contract import API_VERSION
from shared.dev.stripe_sandbox.objects import fetch, make, merge_metadata
from shared.dev.stripe_sandbox.refusals import Refusal, Unbuilt
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route
from shared.dev.stripe_sandbox.store import Object, new_id, visible

TAKES = "url enabled_events description metadata"


@route("POST", "/v1/webhook_endpoints", "WebhookEndpointCreateParams", f"{TAKES} api_version")
def create(call: Call) -> Object:
    version = call.get("api_version", API_VERSION)
    if version != API_VERSION:
        raise Unbuilt(f"events of API version {version}")
    endpoint = make(
        call.account,
        "webhook_endpoint",
        api_version=version,
        status="enabled",
        metadata={},
        _secret=new_id("whsec"),
    )
    endpoint.pop("secret")
    _fill(endpoint, call)
    call.account.put(endpoint)
    return {**visible(endpoint), "secret": endpoint["_secret"]}


@route("GET", "/v1/webhook_endpoints/{id}", "WebhookEndpointRetrieveParams")
def retrieve(call: Call) -> Object:
    return fetch(call.account, "webhook_endpoint", call.ids["id"])


@route("POST", "/v1/webhook_endpoints/{id}", "WebhookEndpointUpdateParams", f"{TAKES} disabled")
def change(call: Call) -> Object:
    endpoint = fetch(call.account, "webhook_endpoint", call.ids["id"])
    _fill(endpoint, call)
    if "disabled" in call.sent:
        endpoint["status"] = "disabled" if call.get("disabled") else "enabled"
    return call.account.put(endpoint)


@route("DELETE", "/v1/webhook_endpoints/{id}", "WebhookEndpointDeleteParams")
def delete(call: Call) -> Object:
    endpoint = fetch(call.account, "webhook_endpoint", call.ids["id"])
    call.account.drop("webhook_endpoint", endpoint["id"])
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


@route("GET", "/v1/webhook_endpoints", "WebhookEndpointListParams", PAGING)
def listing(call: Call) -> Object:
    return page(call, call.account.all("webhook_endpoint"), "webhook endpoint")


def _fill(endpoint: Object, call: Call) -> None:
    if "url" in call.sent:
        if not call.get("url").startswith(("http://", "https://")):
            raise Refusal(
                "Invalid URL: an explicit scheme (such as https) must be provided.",
                code="url_invalid",
                param="url",
            )
        endpoint["url"] = call.get("url")
    for name in ("enabled_events", "description"):
        if name in call.sent:
            endpoint[name] = call.get(name) or None
    merge_metadata(endpoint, call.get("metadata"))
