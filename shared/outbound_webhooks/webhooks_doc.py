"""The documentation page of outbound webhooks, with the catalog of events from the manifests."""

import json
from collections.abc import Iterator

from shared.audit.public_events import API_VERSION, EVENT_TYPES, EventOrder, EventType
from shared.core import outbound
from shared.core.rate_limits import RateLimit
from shared.outbound_webhooks.dispatcher import LIMITS, RETENTION
from shared.outbound_webhooks.endpoints import OVERLAP
from shared.outbound_webhooks.retries import RETRY_POLICY

ORDER_TEXTS = {
    EventOrder.NONE: "in any order",
    EventOrder.OBJECT: "in order, by object",
    EventOrder.TENANT: "in order",
}
HEADER = """# Webhooks

Written by `bulkhead docs webhooks` from the manifests of all modules; a test compares. Members register endpoints under *Webhooks*.
What happens in their organisation is then sent to them by POST, as JSON.

## What a receiver does

- It verifies the signature with a library of [Standard Webhooks](https://www.standardwebhooks.com). `webhook-id`,
  `webhook-timestamp` and `webhook-signature` are its headers. After a rotation, the former secret signs too for {overlap} hours. So a
  rotation whose answer was lost can be repeated: the deployed secret signs until its own time is over. A third rotation in that
  time is refused.
- It answers with 2xx within {timeout} seconds and does the work afterwards. Redirects are not followed, and only the first bytes of
  the answer are read.
- It knows an event by its id. Events are delivered at least once: the same event may come twice, with the same id.
- It may rely on the order of events that the catalog calls ordered: the next one of an object comes after the earlier one was
  taken or given up.

```python
from standardwebhooks import Webhook

event = Webhook(secret).verify(body, headers)  # raises WebhookVerificationError
```

## What we do

- An event is written in the transaction of what it tells about. Its body is made then, in API version `{version}`, and never
  changes; it has the declared fields only.
- Only https on port 443 of public addresses is called. The address is checked when the socket opens, and that address is dialled.
- A delivery is tried {attempts} times in about {hours} hours, with jitter; a `Retry-After` of up to an hour is obeyed.
- An endpoint that takes nothing for {pause_hours} hours, or answers 410, is paused, and those who manage webhooks get a mail. Its
  events wait, and are sent in order when it is resumed.
- Events, deliveries and answers are kept for {days} days.
- Tenants take turns, and each has a share of the {in_flight} places of a worker. Endpoints that answer after {slow_s} seconds or later, and those that
  haven’t been tried, have {slow} of these places together. So an endpoint that answers fast finds a place, however many others are known to
  hang. Where many tenants’ endpoints begin to hang in the same moment, or very many hang and an endpoint is new, an event may wait
  for a time-out of {total} seconds.
- Each tenant has a share of the look-ups of host names. A delivery whose look-up has to wait is postponed, which isn’t counted as an attempt.
- Who registers an endpoint, changes it, resumes it or reads its deliveries needs the permission of each of its events, those that wait
  included. An endpoint belongs to the organisation: it keeps its events when the person who added it leaves or gets another role.
- A host that can’t be used gets one answer, whether it is unknown or internal, after the same time. An organisation can try
  {hosts} new addresses and send {tests} test events an hour.
- Endpoints are managed over REST too: `/api/v1/webhooks`, see [api.md](api.md).

## Events
"""


def render_page() -> str:
    """The whole page, in Markdown. The registry has to be filled."""
    header = HEADER.format(
        timeout=round(outbound.READ_TIMEOUT_S),
        total=round(outbound.TOTAL_TIMEOUT_S),
        overlap=round(OVERLAP.total_seconds() / 3600),
        in_flight=LIMITS.in_flight,
        slow=LIMITS.slow,
        slow_s=LIMITS.slow_ms // 1000,
        hosts=RateLimit.WEBHOOK_HOST_TENANT.parsed.amount,
        tests=RateLimit.WEBHOOK_TEST_TENANT.parsed.amount,
        version=API_VERSION,
        attempts=RETRY_POLICY.max_attempts,
        hours=RETRY_POLICY.total_hours,
        pause_hours=round(RETRY_POLICY.pause_after.total_seconds() / 3600),
        days=RETENTION.days,
    )
    rows = [
        "| Event | Says | Needs | Delivered |",
        "|---|---|---|---|",
        *map(_render_row, EVENT_TYPES.values()),
    ]
    return "\n".join([header, *rows, "", *_render_example(next(iter(EVENT_TYPES.values()))), ""])


def _render_row(event_type: EventType) -> str:
    order = ORDER_TEXTS[event_type.order]
    return f"| `{event_type.name}` | {event_type.title} | `{event_type.permission}` | {order} |"


def _render_example(event_type: EventType) -> Iterator[str]:
    body = {
        "id": "evt_01jdcq2v7yzk3m9x5w8t6r4p1n",
        "type": event_type.name,
        "created_at": "2026-12-01T09:30:00+00:00",
        "api_version": API_VERSION,
        "tenant_id": "ten_01jdcq2v7yzk3m9x5w8t6r4p1n",
        "request_id": "req_01jdcq2v7yzk3m9x5w8t6r4p1n",
        "data": dict(event_type.example),
    }
    yield from ("A body:", "", "```json", json.dumps(body, indent=2, ensure_ascii=False), "```", "")
    yield "A module declares its events in its manifest (`events`), each for one action of the audit log; nothing else emits them."
