"""What happened in the last 30 days."""

from shared.dev.stripe_sandbox.objects import fetch
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route, within
from shared.dev.stripe_sandbox.store import Object

KEPT_SECONDS = 30 * 86_400


@route("GET", "/v1/events/{id}", "EventRetrieveParams")
def retrieve(call: Call) -> Object:
    event = fetch(call.account, "event", call.ids["id"])
    if not _kept(call, event):
        raise Refusal(f"No such event: '{event['id']}'", status=404, code="resource_missing", param="id")
    return event


@route("GET", "/v1/events", "EventListParams", f"{PAGING} type types created")
def listing(call: Call) -> Object:
    if "type" in call.sent and "types" in call.sent:
        raise Refusal("You may pass either `type` or `types`, not both.", param="types")
    wanted = call.get("types", [call.get("type", "*")])
    found = [
        one
        for one in call.account.all("event")
        if _kept(call, one)
        and any(_matches(one["type"], each) for each in wanted)
        and ("created" not in call.sent or within(one["created"], call.get("created")))
    ]
    return page(call, found, "event")


def _matches(kind: str, wanted: str) -> bool:
    return wanted == "*" or kind == wanted or (wanted.endswith(".*") and kind.startswith(wanted[:-1]))


def _kept(call: Call, event: Object) -> bool:
    """By the account's time: the time of a test clock may be long ago."""
    return bool(event["_at"] > call.account.now() - KEPT_SECONDS)
