"""Meters, and the events that report usage."""

from datetime import UTC, datetime
from typing import Any

import structlog

from shared.dev.stripe_sandbox import usage
from shared.dev.stripe_sandbox.contract import build_skeleton
from shared.dev.stripe_sandbox.customers import get_customer
from shared.dev.stripe_sandbox.objects import fetch_object, make_object, save_change
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible, new_id

log = structlog.get_logger()
HOUR, DAY = 3600, 86_400
MAX_AGE_SECONDS, MAX_AHEAD_SECONDS = 35 * DAY, 300
UNIQUE_SECONDS = DAY
ACCEPTED_PARAMS = (
    "display_name event_name default_aggregation.formula customer_mapping.event_payload_key customer_mapping.type"
    " value_settings.event_payload_key"
)


@route("POST", "/v1/billing/meters", "billing.MeterCreateParams", ACCEPTED_PARAMS)
def create_meter(call: ApiCall) -> Object:
    account = call.account
    name = call.get("event_name")
    if any(
        meter["event_name"] == name and meter["status"] == "active"
        for meter in account.list_objects("billing.meter")
    ):
        raise ApiError(f"An active meter already uses the event name '{name}'.", param="event_name")
    mapping = call.get("customer_mapping", {"type": "by_id", "event_payload_key": "stripe_customer_id"})
    meter = make_object(
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
def retrieve_meter(call: ApiCall) -> Object:
    return fetch_object(call.account, "billing.meter", call.ids["id"])


@route("POST", "/v1/billing/meters/{id}", "billing.MeterUpdateParams", "display_name")
def rename_meter(call: ApiCall) -> Object:
    return _change_meter(call, "billing.meter.updated", display_name=call.get("display_name"))


@route("POST", "/v1/billing/meters/{id}/deactivate", "billing.MeterDeactivateParams")
def deactivate_meter(call: ApiCall) -> Object:
    now = call.account.now()
    return _change_meter(
        call, "billing.meter.deactivated", status="inactive", status_transitions={"deactivated_at": now}
    )


@route("POST", "/v1/billing/meters/{id}/reactivate", "billing.MeterReactivateParams")
def reactivate_meter(call: ApiCall) -> Object:
    return _change_meter(
        call, "billing.meter.reactivated", status="active", status_transitions={"deactivated_at": None}
    )


@route("GET", "/v1/billing/meters", "billing.MeterListParams", f"{PAGING} status")
def list_meters(call: ApiCall) -> Object:
    meters = [
        meter
        for meter in call.account.list_objects("billing.meter")
        if meter["status"] == call.get("status", meter["status"])
    ]
    return paginate(call, meters, "meter")


@route(
    "GET",
    "/v1/billing/meters/{id}/event_summaries",
    "billing.MeterListEventSummariesParams",
    f"{PAGING} customer start_time end_time value_grouping_window",
)
def list_summaries(call: ApiCall) -> Object:
    """Of whole hours or days when grouped; newest first."""
    account = call.account
    meter = fetch_object(account, "billing.meter", call.ids["id"])
    customer = get_customer(account, call.get("customer"))
    start, end = call.get("start_time"), call.get("end_time")
    window_s = {"hour": HOUR, "day": DAY}.get(call.get("value_grouping_window", ""), end - start)
    alignment_s = {"hour": HOUR, "day": DAY}.get(call.get("value_grouping_window", ""), 60)
    if start % alignment_s or end % alignment_s or end <= start:
        raise ApiError("start_time and end_time have to be aligned with the window.", param="start_time")
    window_summaries = [
        _build_summary(account, meter, customer["id"], window_start, min(window_start + window_s, end))
        for window_start in range(start, end, window_s)
    ]
    if "value_grouping_window" in call.params:
        window_summaries = [summary for summary in window_summaries if summary["aggregated_value"]]
    return paginate(call, window_summaries[::-1], "meter event summary")


@route(
    "POST",
    "/v1/billing/meter_events",
    "billing.MeterEventCreateParams",
    "event_name payload identifier timestamp",
)
def record_event(call: ApiCall) -> Object:
    params = call.params
    event = _record_event(call.account, params, params.get("timestamp"))
    return build_skeleton(
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
def record_event_v2(call: ApiCall) -> Object:
    timestamp_text = call.get("timestamp")
    event = _record_event(
        call.account, call.params, None if timestamp_text is None else _parse_time(timestamp_text)
    )
    return build_skeleton(
        "v2.billing.meter_event",
        created=_format_time(call.account.now()),
        event_name=event["event_name"],
        identifier=event["id"],
        payload=event["payload"],
        timestamp=_format_time(event["timestamp"]),
    )


def _record_event(account: Account, params: Object, requested_time: int | None) -> Object:
    """Wrong times and duplicates are refused; what is wrong inside is only found out later, and counts nothing."""
    identifier = params.get("identifier") or new_id("meter_event")
    stored_event = account.get("_meter_event", identifier) or account.get("_meter_error", identifier)
    if stored_event is not None and stored_event["at"] > account.now() - UNIQUE_SECONDS:
        raise ApiError(f"An event already exists with identifier {identifier}.", code="duplicate_meter_event")
    meters = [
        meter
        for meter in account.list_objects("billing.meter")
        if meter["event_name"] == params["event_name"]
    ]
    active = [meter for meter in meters if meter["status"] == "active"]
    if meters and not active:
        raise ApiError(
            "The meter is not active: its events are not accepted.", code="archived_meter", param="event_name"
        )
    payload = params["payload"]
    customer = payload.get(active[0]["customer_mapping"]["event_payload_key"]) if active else None
    now = account.now(customer)
    timestamp = now if requested_time is None else requested_time
    if timestamp < now - MAX_AGE_SECONDS:
        raise ApiError(
            "The timestamp must be within the past 35 days.",
            code="timestamp_too_far_in_past",
            param="timestamp",
        )
    if timestamp > now + MAX_AHEAD_SECONDS:
        raise ApiError(
            "The timestamp must be at most 5 minutes in the future.",
            code="timestamp_in_future",
            param="timestamp",
        )
    event: Object = {
        "object": "_meter_event",
        "id": identifier,
        "event_name": params["event_name"],
        "payload": payload,
        "timestamp": timestamp,
        "at": account.now(),
        "received_at": now,  # on the customer's clock
    }
    if fault := _find_fault(account, active, payload, customer):
        log.warning("stripe sandbox: a meter event counts nothing", why=fault, identifier=identifier)
        return account.put({**event, "object": "_meter_error", "why": fault})
    meter = active[0]
    if stored_event is not None:  # its day is over: Stripe counts it once more, and so do we
        account.put({**stored_event, "id": f"{identifier}#{stored_event['at']}"})
    value = payload.get(meter["value_settings"]["event_payload_key"], "0")
    return account.put({**event, "meter": meter["id"], "customer": customer, "value": int(value)})


def _find_fault(account: Account, active: list[Object], payload: Object, customer: Any) -> str | None:
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


def _build_summary(account: Account, meter: Object, customer: str, start: int, end: int) -> Object:
    return build_skeleton(
        "billing.meter_event_summary",
        id=f"mtrusg_test_{meter['id'][4:]}_{customer[4:]}_{start}",
        aggregated_value=usage.aggregate_usage(account, meter, customer, start, end),
        start_time=start,
        end_time=end,
        meter=meter["id"],
    )


def _change_meter(call: ApiCall, event: str, **fields: Any) -> Object:
    meter = fetch_object(call.account, "billing.meter", call.ids["id"])
    previous = copy_visible(meter)
    meter |= {**fields, "updated": call.account.now()}
    return save_change(call.account, meter, event, previous)


def _parse_time(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError as error:
        raise ApiError("The timestamp is not an RFC 3339 time.", param="timestamp") from error


def _format_time(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
