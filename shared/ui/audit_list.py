"""The list of audit events, in both apps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints

from shared.audit.audit_filter import AuditFilter
from shared.audit.event_types import (
    AUDIT_TEXTS,
    RESULT_KEY,
    AuditObject,
    AuditResult,
    AuditText,
    list_nouns,
)
from shared.audit.filters import MAX_LENGTH, build_query, parse_filter
from shared.audit.models import AuditEvent
from shared.ui.banners import local_time
from shared.ui.change_rows import describe_usage_key
from shared.ui.controls import filter_form, form_field, icon, text_input
from shared.ui.decision_trace import Change, change_list, list_changes
from shared.ui.forms import Form
from shared.ui.panels import small, strong
from shared.ui.shell import link
from shared.ui.tables import avatar, badge, initials_of

FilterText = Annotated[str, StringConstraints(max_length=MAX_LENGTH)]
DayText = Annotated[str, StringConstraints(max_length=10)]
SUBJECT_KEYS = (
    "member",
    "owner",
    "account",
    "email",
    "role",
    "name",
)  # keys under which services leave the name of what they changed
HIDDEN_KEYS = (*SUBJECT_KEYS, RESULT_KEY, "operator", "operator_name", "on_behalf_of")  # shown elsewhere
KEY_LABELS = {"impersonation": "Support session", "on_behalf_of_name": "On behalf of"}
RESULT_LABELS = {AuditResult.DENIED.value: "Denied", AuditResult.FAILED.value: "Failed"}
RESULT_CHOICES = [("", "All results"), (AuditResult.DONE.value, "Done"), *RESULT_LABELS.items()]
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
    url: str = ""  # of this event alone, "" where there is no such page
    result: str = ""  # "Denied" or "Failed", "" for what was done


def event_rows(
    events: Any,
    names: Mapping[str, str] | None = None,
    *,
    decision_ids: Mapping[str, str] | None = None,
    decision_url: Callable[[str], str] = str,
    list_path: str = "",
) -> list[EventRow]:
    """`names`: of tenants by id, where one list shows events of several.

    `decision_ids`: by id of the event. `decision_url`: the address of a decision's page, by its id. `list_path`: of the
    page that shows one event by its id; without it, events have no link.
    """
    return [
        _event_row(
            event,
            names.get(event.tenant_id, event.tenant_id) if names else "",
            decision_id=decision_ids.get(event.id, "") if decision_ids else "",
            decision_url=decision_url,
            list_path=list_path,
        )
        for event in events
    ]


def event_url(list_path: str, event_id: str) -> str:
    """The permanent address of one event; "" without a page that shows it."""
    return f"{list_path}{build_query({'event': event_id})}" if list_path else ""


def result_label(details: Mapping[str, Any]) -> str:
    """ "Denied" or "Failed"; "" for what was done."""
    return RESULT_LABELS.get(str(details.get(RESULT_KEY, "")), "")


def _event_row(
    event: AuditEvent,
    tenant_name: str,
    *,
    decision_id: str,
    decision_url: Callable[[str], str],
    list_path: str,
) -> EventRow:
    kind = ACTOR_LABELS.get(event.actor_type, "")
    name = "Bulkhead" if event.actor_type == "job" else event.actor_name or kind
    action_text, subject = _action_text(event)
    reason = [f"Reason: {event.reason}"] if event.reason else []
    facts = [
        f"{_key_label(key)}: {value}"
        for key, value in event.details.items()
        if value and key not in HIDDEN_KEYS
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
        event_url(list_path, event.id),
        result_label(event.details),
    )


def _action_text(event: AuditEvent) -> tuple[str, str]:
    """What was done and to whom, in the words of that time: names outlive the rows they came from."""
    text, shown_object = AUDIT_TEXTS.get(event.action, AuditText(event.action))
    if shown_object is AuditObject.NONE:
        return text, ""
    if shown_object is AuditObject.KEY:
        return text, _key_label(event.object_id).lower()
    if shown_object is AuditObject.USAGE:
        return text, describe_usage_key(event.object_id)
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
    return KEY_LABELS.get(key) or key.replace("_", " ").capitalize()


class AuditFilterForm(Form):
    """An empty field does not filter."""

    actor: FilterText = ""
    action: FilterText = ""
    object: FilterText = ""
    request: FilterText = ""
    result: FilterText = ""
    event: FilterText = ""
    since: DayText = ""
    until: DayText = ""

    def to_filter(self) -> AuditFilter:
        """Raises Invalid."""
        return parse_filter(self.model_dump())


def audit_filter_form(
    values: Any,
    actions: Sequence[tuple[str, str]],
    *further_fields: rx.Component,
    is_filtered: Any,
    on_apply: Any,
    on_clear: Any,
    test_id: str = "audit-filter",
) -> rx.Component:
    """The filter of a log. `values`: a var of what the address says, by name. `actions`: values and labels to choose from."""

    def text_field(label: str, name: str, **props: Any) -> rx.Component:
        return form_field(label, text_input(name, default_value=values[name], **props), id=name)

    def choice(label: str, name: str, options: Sequence[tuple[str, str]]) -> rx.Component:
        choices = [rx.el.option(text, value=value) for value, text in options]
        control = rx.el.select(*choices, id=name, name=name, default_value=values[name], class_name="input")
        return form_field(label, control, id=name)

    return filter_form(
        text_field("Actor", "actor", placeholder="Name or id", max_length=MAX_LENGTH),
        choice("Action", "action", actions),
        text_field("Object", "object", placeholder="mem_…", max_length=MAX_LENGTH),
        *further_fields,
        text_field("Request", "request", placeholder="req_…", max_length=MAX_LENGTH),
        text_field("Event", "event", placeholder="aud_…", max_length=MAX_LENGTH),
        choice("Result", "result", RESULT_CHOICES),
        text_field("From", "since", type="date"),
        text_field("Until", "until", type="date"),
        is_filtered=is_filtered,
        on_apply=on_apply,
        on_clear=on_clear,
        test_id=test_id,
        key=values.to_string(),
    )


def event_item(row: Any) -> rx.Component:
    visit = rx.cond(row.is_operator, rx.fragment(" ", badge("Operator", "warn")))
    words = rx.el.span(
        strong(row.actor),
        " ",
        row.action_text,
        rx.cond(row.subject != "", rx.fragment(" ", strong(row.subject))),
        visit,
        rx.cond(row.result != "", rx.fragment(" ", badge(row.result, "bad"))),
    )
    moment = local_time(row.at, "", "moment")
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
        rx.cond(row.url != "", link(moment, row.url, class_name="plain-link"), moment),
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
