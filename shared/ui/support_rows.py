"""Support sessions as both apps show them: the list and the transcript of one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import reflex as rx

from shared.access.actions import ACTIONS
from shared.core.plurals import plural
from shared.tenancy.impersonations import ImpersonationView, Phase, Transcript
from shared.tenancy.models import ImpersonationEnd, ImpersonationEvent
from shared.ui.banners import empty_state, local_time
from shared.ui.panels import small, text_with_note
from shared.ui.tables import badge, has_items

PHASE_LABELS = {
    Phase.WAITING: ("Waiting for consent", "wait"),
    Phase.READY: ("Ready to begin", "wait"),
    Phase.RUNNING: ("Running", "accent"),
    Phase.DECLINED: ("Declined", "idle"),
    Phase.ENDED: ("Ended", "idle"),
    Phase.LAPSED: ("Never began", "idle"),
}
END_TEXTS = {
    ImpersonationEnd.EXPIRED.value: "its time ran out",
    ImpersonationEnd.OPERATOR.value: "the operator ended it",
    ImpersonationEnd.OWNER.value: "an owner ended it",
    ImpersonationEnd.UNUSED.value: "the operator gave it up",
}
# Of a page that was refused, the frame alone is shown.
HANDLER_TEXTS = {"refresh": "Navigation shown"}
KIND_LABELS = {"page": ("Seen", "idle"), "action": ("Action", "accent"), "refused": ("Refused", "warn")}


@dataclass(frozen=True, kw_only=True)
class SupportRow:
    id: str = ""
    operator: str = ""
    person: str = ""
    reason: str = ""
    ticket: str = ""
    scope: str = ""
    status: str = ""
    tone: str = ""
    at: str = ""
    ended_text: str = ""
    seen_text: str = ""
    decided_text: str = ""
    is_waiting: bool = False
    is_ready: bool = False
    is_open: bool = False  # it runs, or could begin
    is_own: bool = False  # of the operator who reads it


@dataclass(frozen=True, kw_only=True)
class SeenRow:
    at: str
    label: str
    tone: str
    page: str
    action: str


@dataclass(frozen=True, kw_only=True)
class TranscriptRow:
    session: SupportRow = field(default_factory=SupportRow)
    events: list[SeenRow] = field(default_factory=list)


def support_row(view: ImpersonationView, *, operator_id: str = "") -> SupportRow:
    """`operator_id`: of the operator who reads it, "" for a member."""
    status, tone = PHASE_LABELS[view.phase]
    seen = [
        plural(count, word)
        for count, word in (
            (view.page_count, "page"),
            (view.action_count, "action"),
            (view.refusal_count, "refusal"),
        )
        if count
    ]
    decided = "Declined" if view.phase is Phase.DECLINED else "Agreed"
    return SupportRow(
        id=view.id,
        operator=f"Support, {view.operator_name}",
        person=view.user_name,
        reason=view.reason,
        ticket=view.ticket,
        scope=f"Changes allowed: {view.write_reason}" if view.can_write else "Read only",
        status=status,
        tone=tone,
        at=(view.started_at or view.created_at).isoformat(),
        ended_text=END_TEXTS.get(view.ended_by, "") if view.phase is Phase.ENDED else "",
        seen_text=", ".join(seen),
        decided_text=f"{decided} by {view.decided_by_name}" if view.decided_by_name else "",
        is_waiting=view.phase is Phase.WAITING,
        is_ready=view.phase is Phase.READY,
        is_open=view.phase in (Phase.WAITING, Phase.READY, Phase.RUNNING),
        is_own=view.operator_id == operator_id,
    )


def transcript_row(transcript: Transcript) -> TranscriptRow:
    return TranscriptRow(session=support_row(transcript.impersonation), events=_seen_rows(transcript.events))


def _seen_rows(events: Sequence[ImpersonationEvent]) -> list[SeenRow]:
    return [
        SeenRow(
            at=event.at.isoformat(),
            label=KIND_LABELS[event.kind][0],
            tone=KIND_LABELS[event.kind][1],
            page=f"/{event.page}",
            action=_describe_action(event),
        )
        for event in events
    ]


def _describe_action(event: ImpersonationEvent) -> str:
    """The action in words. A page needs none."""
    if event.kind == "page":
        return ""
    action = ACTIONS.get(event.action)
    text = action.description if action else HANDLER_TEXTS.get(event.action, event.action.replace("_", " "))
    return text[:1].upper() + text[1:]


def support_line(row: SupportRow, controls: rx.Component) -> rx.Component:
    """One session of a list."""
    title = rx.el.h3(
        rx.el.span(row.operator, " for ", row.person), " ", badge(row.status, row.tone), class_name="strong"
    )
    notes = rx.fragment(
        small(row.reason, " · ticket ", row.ticket, " · ", row.scope, class_name="cut-anywhere"),
        small(
            local_time(row.at, "", "moment"),
            rx.cond(row.ended_text != "", rx.fragment(" · ", row.ended_text)),
            rx.cond(row.decided_text != "", rx.fragment(" · ", row.decided_text)),
            rx.cond(row.seen_text != "", rx.fragment(" · ", row.seen_text)),
        ),
    )
    return rx.el.li(text_with_note(title, notes), controls, class_name="wrap")


def transcript_list(transcript: TranscriptRow) -> rx.Component:
    """What was seen and done, newest first."""

    def line(event: SeenRow) -> rx.Component:
        words = text_with_note(
            rx.el.span(rx.el.code(event.page, class_name="mono"), class_name="cut-anywhere"),
            rx.cond(event.action != "", small(event.action)),
        )
        return rx.el.li(
            badge(event.label, event.tone),
            words,
            small(local_time(event.at, "", "moment"), class_name="num nowrap"),
        )

    events: Any = transcript.events
    nothing = empty_state("Nothing was seen", "The session was not used.", glyph="eye-off")
    return rx.cond(
        has_items(events),
        rx.el.ol(rx.foreach(events, line), class_name="list", data_testid="transcript"),
        nothing,
    )
