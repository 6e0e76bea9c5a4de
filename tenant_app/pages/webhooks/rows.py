"""Endpoints, deliveries and events as the page shows them."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.audit.public_events import API_VERSION, EventOrder
from shared.core.plurals import plural
from shared.outbound_webhooks.deliveries import AttemptView, DeliveryDetail, DeliveryView
from shared.outbound_webhooks.endpoints import EndpointView
from shared.outbound_webhooks.event_catalog import CatalogEntry
from shared.outbound_webhooks.models import DeliveryStatus, EndpointState, LastResult, PauseReason

NOT_READABLE_TEXT = "You don’t have the permission that this event needs."
PROBLEM_TEXTS = {
    **dict.fromkeys(
        ("host_unusable", "address_refused", "host_unknown"),  # the last two are of old rows
        "The host wasn’t found on the public internet, so nothing was sent.",
    ),
    "bad_answer": "The answer was no HTTP.",
    "bad_status": "",
    "invalid_url": "The address can’t be used any more.",
    "no_connection": "The host didn’t accept the connection.",
    "timeout": "No answer in time.",
    "tls": "The host’s certificate isn’t valid.",
}
PAUSE_TEXTS = {
    PauseReason.NONE: "",
    PauseReason.MEMBER: "Paused by a member. Its events wait.",
    PauseReason.FAILURES: "Paused because it took no event for a day. Its events wait.",
    PauseReason.GONE: "Paused because it answered that it is gone. Its events wait.",
}
DELIVERY_LABELS = {
    DeliveryStatus.WAITING: ("Waiting", "idle"),
    DeliveryStatus.PENDING: ("Pending", "accent"),
    DeliveryStatus.DELIVERED: ("Delivered", "ok"),
    DeliveryStatus.FAILED: ("Failed", "bad"),
}
STATUS_CHOICES = [
    ("", "All deliveries"),
    *((status.value, label) for status, (label, _) in DELIVERY_LABELS.items()),
]


@dataclass(frozen=True, kw_only=True)
class EndpointRow:
    id: str = ""
    url: str = ""
    description: str = ""
    events_text: str = ""
    status: str = ""
    tone: str = ""
    note: str = ""  # why it is paused, or what went wrong last
    last_at: str = ""
    is_paused: bool = False
    is_shown: bool = False  # its deliveries are
    obstacle: str = ""  # why the reader can't manage it
    version: int = 1


@dataclass(frozen=True, kw_only=True)
class DeliveryRow:
    id: str = ""
    event_type: str = ""
    status: str = ""
    tone: str = ""
    note: str = ""
    attempts_text: str = ""
    created_at: str = ""
    due_at: str = ""  # of the next attempt
    is_pending: bool = False
    is_readable: bool = False


@dataclass(frozen=True, kw_only=True)
class AttemptRow:
    title: str
    tone: str
    at: str
    duration: str
    headers: str
    response: str


@dataclass(frozen=True, kw_only=True)
class DetailRow:
    id: str = ""
    event_id: str = ""
    event_type: str = ""
    status: str = ""
    tone: str = ""
    body: str = ""
    request_id: str = ""
    attempts: list[AttemptRow] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class EventRow:
    name: str
    title: str
    order_text: str
    example: str
    is_readable: bool


@dataclass(frozen=True, kw_only=True)
class EventCheckbox:
    field: str
    label: str
    note: str
    is_checked: bool
    refusal: str


@dataclass(frozen=True, kw_only=True)
class EventGroup:
    title: str
    checkboxes: list[EventCheckbox] = field(default_factory=list)


def checkbox_name(event_type: str) -> str:
    """Name of its box in the form."""
    return f"event_{event_type.replace('.', '_')}"


def iso_or_empty(at: datetime | None) -> str:
    return at.isoformat() if at is not None else ""


def describe_answer(status: int, problem: str) -> str:
    """What came back, as in "Answered 500." """
    return PROBLEM_TEXTS.get(problem) or (f"Answered {status}." if status else "")


def endpoint_row(endpoint: EndpointView, shown_id: str) -> EndpointRow:
    status, tone, note = _describe_state(endpoint)
    return EndpointRow(
        id=endpoint.id,
        url=endpoint.url,
        description=endpoint.description,
        events_text=plural(len(endpoint.event_types), "event"),
        status=status,
        tone=tone,
        note=note,
        last_at=iso_or_empty(endpoint.last_attempt_at),
        is_paused=endpoint.state is EndpointState.PAUSED,
        is_shown=endpoint.id == shown_id,
        obstacle="" if endpoint.can_manage else "It gets events that you don’t have permission to view.",
        version=endpoint.version,
    )


def _describe_state(endpoint: EndpointView) -> tuple[str, str, str]:
    """Label, tone and note."""
    answer = describe_answer(endpoint.last_status, endpoint.last_problem)
    if endpoint.state is EndpointState.PAUSED:
        return "Paused", "warn", PAUSE_TEXTS[endpoint.pause_reason]
    if endpoint.last_result is LastResult.FAILED:
        return "Failing", "bad", f"{plural(endpoint.failure_count, 'failed attempt')}. {answer}"
    if endpoint.last_result is LastResult.DELIVERED:
        return "Active", "ok", ""
    return "Active", "idle", "Nothing sent yet."


def delivery_row(delivery: DeliveryView) -> DeliveryRow:
    status, tone = DELIVERY_LABELS[delivery.status]
    is_due = delivery.status is DeliveryStatus.PENDING and delivery.attempts > 0
    return DeliveryRow(
        id=delivery.id,
        event_type=delivery.event_type,
        status=status,
        tone="warn" if is_due else tone,
        note=_describe_delivery(delivery),
        attempts_text=plural(delivery.attempts, "attempt"),
        created_at=delivery.created_at.isoformat(),
        due_at=delivery.due_at.isoformat() if is_due else "",
        is_pending=delivery.status is DeliveryStatus.PENDING,
        is_readable=delivery.is_readable,
    )


def _describe_delivery(delivery: DeliveryView) -> str:
    if delivery.status is DeliveryStatus.WAITING:
        return "Waits for an earlier event of the same object."
    return describe_answer(delivery.last_status, delivery.last_problem)


def detail_row(detail: DeliveryDetail) -> DetailRow:
    status, tone = DELIVERY_LABELS[detail.delivery.status]
    return DetailRow(
        id=detail.delivery.id,
        event_id=detail.delivery.event_id,
        event_type=detail.delivery.event_type,
        status=status,
        tone=tone,
        body=format_json(detail.body),
        request_id=detail.request_id,
        attempts=[_attempt_row(attempt) for attempt in detail.attempts],
    )


def _attempt_row(attempt: AttemptView) -> AttemptRow:
    is_success = 200 <= attempt.response_status < 300
    return AttemptRow(
        title=describe_answer(attempt.response_status, attempt.problem).removesuffix("."),
        tone="ok" if is_success else "bad",
        at=attempt.at.isoformat(),
        duration=f"{attempt.duration_ms:,} ms",
        headers="\n".join(f"{name}: {value}" for name, value in attempt.request_headers),
        response=attempt.response_body,
    )


def format_json(text: str) -> str:
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False)


def event_row(entry: CatalogEntry) -> EventRow:
    event_type = entry.event_type
    example = {
        "id": "evt_01jdcq2v7yzk3m9x5w8t6r4p1n",
        "type": event_type.name,
        "created_at": "2026-12-01T09:30:00+00:00",
        "api_version": API_VERSION,
        "tenant_id": "ten_01jdcq2v7yzk3m9x5w8t6r4p1n",
        "request_id": "req_01jdcq2v7yzk3m9x5w8t6r4p1n",
        "data": dict(event_type.example),
    }
    return EventRow(
        name=event_type.name,
        title=event_type.title,
        order_text="" if event_type.order is EventOrder.NONE else "In order",
        example=json.dumps(example, indent=2, ensure_ascii=False),
        is_readable=entry.is_readable,
    )


def event_groups(catalog: Sequence[CatalogEntry], chosen: Collection[str]) -> list[EventGroup]:
    """By noun, in the order of the catalog."""
    checkboxes_by_title: dict[str, list[EventCheckbox]] = {}
    for entry in catalog:
        event_type = entry.event_type
        checkboxes_by_title.setdefault(event_type.noun.replace("_", " ").capitalize(), []).append(
            EventCheckbox(
                field=checkbox_name(event_type.name),
                label=event_type.title,
                note=event_type.name,
                is_checked=event_type.name in chosen,
                refusal="" if entry.is_readable else NOT_READABLE_TEXT,
            )
        )
    return [
        EventGroup(title=title, checkboxes=checkboxes) for title, checkboxes in checkboxes_by_title.items()
    ]
