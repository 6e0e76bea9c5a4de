"""API routes of events, which are kept for 30 days."""

from shared.dev.stripe_sandbox.objects import fetch_object
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, is_within, paginate, route
from shared.dev.stripe_sandbox.store import Object

RETENTION_SECONDS = 30 * 86_400


@route("GET", "/v1/events/{id}", "EventRetrieveParams")
def retrieve_event(call: ApiCall) -> Object:
    event = fetch_object(call.account, "event", call.ids["id"])
    if not _is_retained(call, event):
        raise ApiError(f"No such event: '{event['id']}'", status=404, code="resource_missing", param="id")
    return event


@route("GET", "/v1/events", "EventListParams", f"{PAGING} type types created")
def list_events(call: ApiCall) -> Object:
    if "type" in call.params and "types" in call.params:
        raise ApiError("You can pass either `type` or `types`, not both.", param="types")
    patterns = call.get("types", [call.get("type", "*")])
    events = [
        event
        for event in call.account.list_objects("event")
        if _is_retained(call, event)
        and any(_matches_type(event["type"], pattern) for pattern in patterns)
        and ("created" not in call.params or is_within(event["created"], call.get("created")))
    ]
    return paginate(call, events, "event")


def _matches_type(kind: str, pattern: str) -> bool:
    return pattern == "*" or kind == pattern or (pattern.endswith(".*") and kind.startswith(pattern[:-1]))


def _is_retained(call: ApiCall, event: Object) -> bool:
    """By the account's time: the time of a test clock may be long ago."""
    return bool(event["_at"] > call.account.now() - RETENTION_SECONDS)
