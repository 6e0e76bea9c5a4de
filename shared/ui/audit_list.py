"""The list of audit events, in both apps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import reflex as rx

from shared.audit.event_types import AUDIT_TEXTS, AuditObject, AuditText, list_nouns
from shared.audit.models import AuditEvent
from shared.ui.banners import local_time
from shared.ui.controls import icon
from shared.ui.decision_trace import Change, change_list, list_changes
from shared.ui.panels import small, strong
from shared.ui.shell import link
from shared.ui.tables import avatar, badge, initials_of

SUBJECT_KEYS = (
    "member",
    "owner",
    "email",
    "role",
    "name",
)  # keys under which services leave the name of what they changed
ACTOR_LABELS = {
    "user": "",
    "operator": "Bulkhead support",
    "job": "Bulkhead",
    "api_key": "API key",
    "external": "External identity",
    "service_account": "Service account",
}


@dataclass(frozen=True)
class EventRow:
    id: str
    at: str
    actor: str
    initials: str
    is_operator: bool
    action_text: str
    subject: str
    context: str
    action: str
    request_id: str
    changes: list[Change] = field(default_factory=list)
    decision_id: str = ""  # of what allowed it, "" where that isn't recorded
    decision_url: str = ""


def event_rows(
    events: Any,
    names: Mapping[str, str] | None = None,
    *,
    decision_ids: Mapping[str, str] | None = None,
    decision_url: Callable[[str], str] = str,
) -> list[EventRow]:
    """`names`: of tenants by id, where one list shows events of several.

    `decision_ids`: by id of the event. `decision_url`: the address of a decision's page, by its id.
    """
    return [
        _event_row(
            event,
            names.get(event.tenant_id, event.tenant_id) if names else "",
            decision_id=decision_ids.get(event.id, "") if decision_ids else "",
            decision_url=decision_url,
        )
        for event in events
    ]


def _event_row(
    event: AuditEvent, tenant_name: str, *, decision_id: str, decision_url: Callable[[str], str]
) -> EventRow:
    kind = ACTOR_LABELS.get(event.actor_type, "")
    name = "Bulkhead" if event.actor_type == "job" else event.actor_name or kind
    action_text, subject = _action_text(event)
    reason = [f"Reason: {event.reason}"] if event.reason else []
    facts = [
        f"{_key_label(key)}: {value}"
        for key, value in event.details.items()
        if value and key not in SUBJECT_KEYS
    ]
    return EventRow(
        event.id,
        event.at.isoformat() if event.at else "",
        name,
        initials_of(name),
        event.actor_type == "operator",
        action_text,
        subject,
        " · ".join([*([tenant_name] if tenant_name else []), *reason, *facts, event.action]),
        event.action,
        event.request_id,
        list_changes(event.before, event.after),
        decision_id,
        decision_url(decision_id) if decision_id else "",
    )


def _action_text(event: AuditEvent) -> tuple[str, str]:
    """What was done and to whom, in the words of that time: names outlive the rows they came from."""
    text, shown_object = AUDIT_TEXTS.get(event.action, AuditText(event.action))
    if shown_object is AuditObject.NONE:
        return text, ""
    if shown_object is AuditObject.KEY:
        return text, _key_label(event.object_id).lower()
    sources = (event.details, event.after, event.before)
    names = (str(source[key]) for source in sources for key in SUBJECT_KEYS if source.get(key))
    return text, next(names, "")


def action_choices() -> list[tuple[str, str]]:
    """Value and label of the filter by action: everything, all of a noun, one event type."""
    event_types = ((event_type, f"… {audit_text.text}") for event_type, audit_text in AUDIT_TEXTS.items())
    return [
        ("", "All events"),
        *((f"{noun}.", f"All {noun} events") for noun in list_nouns()),
        *sorted(event_types, key=lambda choice: choice[1]),
    ]


def _key_label(key: str) -> str:
    return key.replace("_", " ").capitalize()


def event_item(row: Any) -> rx.Component:
    visit = rx.cond(row.is_operator, rx.fragment(" ", badge("Operator", "warn")))
    words = rx.el.span(
        strong(row.actor),
        " ",
        row.action_text,
        rx.cond(row.subject != "", rx.fragment(" ", strong(row.subject))),
        visit,
    )
    decision_code = rx.el.code(row.decision_id, class_name="mono")
    context = small(
        row.context,
        " · ",
        rx.el.code(row.request_id, class_name="mono"),
        rx.cond(
            row.decision_id != "",
            rx.fragment(" · ", link(decision_code, row.decision_url, class_name="plain-link")),
        ),
        class_name="num cut-anywhere",
    )
    return rx.el.li(
        avatar(row.initials),
        words,
        local_time(row.at, "", "moment"),
        context,
        rx.cond(row.changes.length() > 0, change_list(row.changes)),
        class_name="event",
        data_action=row.action,
    )


def event_list(rows: Any, *, test_id: str = "events") -> rx.Component:
    """Newest first."""
    return rx.el.ol(
        rx.foreach(rows, event_item), class_name="hull events", aria_label="Events", data_testid=test_id
    )


def short_event_item(row: Any) -> rx.Component:
    """For the few latest ones on a page about something else."""
    words = rx.el.span(strong(row.actor), " ", row.action_text, " ", row.subject, class_name="grow small")
    return rx.el.li(
        avatar(row.initials), words, small(local_time(row.at, "", "ago"), class_name="num nowrap")
    )


def chain_status(
    *, chain_text: Any, chain_at: Any, tone: Any, badge_text: Any, text: Any, verified_at: Any
) -> rx.Component:
    """What is in the hash chain, and how far it is verified. Empty times are left out."""
    sealed = rx.el.span(chain_text, rx.cond(chain_at != "", local_time(chain_at, "", "moment")))
    verified = rx.el.span(text, rx.cond(verified_at != "", local_time(verified_at, "", "moment")))
    return rx.el.div(
        icon("link"),
        sealed,
        rx.cond(badge_text != "", badge(badge_text, tone)),
        verified,
        class_name="row small wrap",
        role="status",
        data_testid="chain",
    )
