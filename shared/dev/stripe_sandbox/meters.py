"""Meters, and the events by which use is reported."""

from datetime import UTC, datetime
from typing import Any

import structlog

from shared.dev.stripe_sandbox import usage
from shared.dev.stripe_sandbox.contract import skeleton
from shared.dev.stripe_sandbox.customers import known
from shared.dev.stripe_sandbox.objects import fetch, make, update
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route
from shared.dev.stripe_sandbox.store import Account, Object, new_id, visible

log = structlog.get_logger()
HOUR, DAY = 3600, 86_400
OLDEST, NEWEST = 35 * DAY, 300
UNIQUE_SECONDS = DAY
TAKES = (
    "display_name event_name default_aggregation.formula customer_mapping.event_payload_key customer_mapping.type"
    " value_settings.event_payload_key"
)


@route("POST", "/v1/billing/meters", "billing.MeterCreateParams", TAKES)
def create(call: Call) -> Object:
    account = call.account
    name = call.get("event_name")
    if any(one["event_name"] == name and one["status"] == "active" for one in account.all("billing.meter")):
        raise Refusal(f"An active meter already uses the event name '{name}'.", param="event_name")
    mapping = call.get("customer_mapping", {"type": "by_id", "event_payload_key": "stripe_customer_id"})
    meter = make(
        account,
        "billing.meter",
        display_name=call.get("display_name"),
        event_name=name,
        default_aggregation=call.get("default_aggregation"),
        customer_mapping=mapping,
        value_settings=call.get("value_settings", {"event_payload_key": "value"}),
        status="active",
    )
    meter["updated"] = meter["created"]
    account.put(meter)
    account.emit("billing.meter.created", meter)
    return meter


@route("GET", "/v1/billing/meters/{id}", "billing.MeterRetrieveParams")
def retrieve(call: Call) -> Object:
    return fetch(call.account, "billing.meter", call.ids["id"])


@route("POST", "/v1/billing/meters/{id}", "billing.MeterUpdateParams", "display_name")
def rename(call: Call) -> Object:
    return _changed(call, "billing.meter.updated", display_name=call.get("display_name"))


@route("POST", "/v1/billing/meters/{id}/deactivate", "billing.MeterDeactivateParams")
def deactivate(call: Call) -> Object:
    now = call.account.now()
    return _changed(
        call, "billing.meter.deactivated", status="inactive", status_transitions={"deactivated_at": now}
    )


@route("POST", "/v1/billing/meters/{id}/reactivate", "billing.MeterReactivateParams")
def reactivate(call: Call) -> Object:
    return _changed(
        call, "billing.meter.reactivated", status="active", status_transitions={"deactivated_at": None}
    )


@route("GET", "/v1/billing/meters", "billing.MeterListParams", f"{PAGING} status")
def listing(call: Call) -> Object:
    found = [
        one for one in call.account.all("billing.meter") if one["status"] == call.get("status", one["status"])
    ]
    return page(call, found, "meter")


@route(
    "GET",
    "/v1/billing/meters/{id}/event_summaries",
    "billing.MeterListEventSummariesParams",
    f"{PAGING} customer start_time end_time value_grouping_window",
)
def summaries(call: Call) -> Object:
    """Of whole hours or days when grouped; newest first."""
    account = call.account
    meter = fetch(account, "billing.meter", call.ids["id"])
    customer = known(account, call.get("customer"))
    start, end = call.get("start_time"), call.get("end_time")
    step = {"hour": HOUR, "day": DAY}.get(call.get("value_grouping_window", ""), end - start)
    least = {"hour": HOUR, "day": DAY}.get(call.get("value_grouping_window", ""), 60)
    if start % least or end % least or end <= start:
        raise Refusal("start_time and end_time have to be aligned with the window.", param="start_time")
    found = [
        _summary(account, meter, customer["id"], at, min(at + step, end)) for at in range(start, end, step)
    ]
    if "value_grouping_window" in call.sent:
        found = [one for one in found if one["aggregated_value"]]
    return page(call, found[::-1], "meter event summary")


@route(
    "POST",
    "/v1/billing/meter_events",
    "billing.MeterEventCreateParams",
    "event_name payload identifier timestamp",
)
def record(call: Call) -> Object:
    sent = call.sent
    event = _record(call.account, sent, sent.get("timestamp"))
    return skeleton(
        "billing.meter_event",
        created=call.account.now(),
        event_name=event["event_name"],
        identifier=event["id"],
        payload=event["payload"],
        timestamp=event["timestamp"],
    )


@route(
    "POST",
    "/v2/billing/meter_events",
    "v2.billing.MeterEventCreateParams",
    "event_name payload identifier timestamp",
)
def record_v2(call: Call) -> Object:
    chosen = call.get("timestamp")
    event = _record(call.account, call.sent, None if chosen is None else _seconds(chosen))
    return skeleton(
        "v2.billing.meter_event",
        created=_iso(call.account.now()),
        event_name=event["event_name"],
        identifier=event["id"],
        payload=event["payload"],
        timestamp=_iso(event["timestamp"]),
    )


def _record(account: Account, sent: Object, chosen: int | None) -> Object:
    """Wrong times and duplicates are refused; what is wrong inside is only found out later, and counts nothing."""
    identifier = sent.get("identifier") or new_id("meter_event")
    before = account.get("_meter_event", identifier) or account.get("_meter_error", identifier)
    if before is not None and before["at"] > account.now() - UNIQUE_SECONDS:
        raise Refusal(f"An event already exists with identifier {identifier}.", code="duplicate_meter_event")
    meters = [one for one in account.all("billing.meter") if one["event_name"] == sent["event_name"]]
    active = [one for one in meters if one["status"] == "active"]
    if meters and not active:
        raise Refusal(
            "The meter is not active: its events are not accepted.", code="archived_meter", param="event_name"
        )
    payload = sent["payload"]
    customer = payload.get(active[0]["customer_mapping"]["event_payload_key"]) if active else None
    now = account.now(customer)
    timestamp = now if chosen is None else chosen
    if timestamp < now - OLDEST:
        raise Refusal(
            "The timestamp must be within the past 35 days.",
            code="timestamp_too_far_in_past",
            param="timestamp",
        )
    if timestamp > now + NEWEST:
        raise Refusal(
            "The timestamp must be at most 5 minutes in the future.",
            code="timestamp_in_future",
            param="timestamp",
        )
    event: Object = {
        "object": "_meter_event",
        "id": identifier,
        "event_name": sent["event_name"],
        "payload": payload,
        "timestamp": timestamp,
        "at": account.now(),
    }
    if fault := _fault(account, active, payload, customer):
        log.warning("stripe sandbox: a meter event counts nothing", why=fault, identifier=identifier)
        return account.put({**event, "object": "_meter_error", "why": fault})
    meter = active[0]
    if before is not None:  # its day is over: Stripe counts it once more, and so do we
        account.put({**before, "id": f"{identifier}#{before['at']}"})
    value = payload.get(meter["value_settings"]["event_payload_key"], "0")
    return account.put({**event, "meter": meter["id"], "customer": customer, "value": int(value)})


def _fault(account: Account, active: list[Object], payload: Object, customer: Any) -> str | None:
    if not active:
        return "no_meter_found"
    owner = account.get("customer", customer)
    if owner is None or owner.get("deleted"):
        return "meter_event_customer_not_found" if customer else "meter_event_no_customer_defined"
    if active[0]["default_aggregation"]["formula"] == "count":
        return None
    value = payload.get(active[0]["value_settings"]["event_payload_key"])
    if value is None:
        return "meter_event_value_not_found"
    return None if value.isascii() and value.lstrip("-").isdigit() else "meter_event_invalid_value"


def _summary(account: Account, meter: Object, customer: str, start: int, end: int) -> Object:
    return skeleton(
        "billing.meter_event_summary",
        id=f"mtrusg_test_{meter['id'][4:]}_{customer[4:]}_{start}",
        aggregated_value=usage.aggregate(account, meter, customer, start, end),
        start_time=start,
        end_time=end,
        meter=meter["id"],
    )


def _changed(call: Call, event: str, **what: Any) -> Object:
    meter = fetch(call.account, "billing.meter", call.ids["id"])
    before = visible(meter)
    meter |= {**what, "updated": call.account.now()}
    return update(call.account, meter, event, before)


def _seconds(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError as error:
        raise Refusal("The timestamp is not an RFC 3339 time.", param="timestamp") from error


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
