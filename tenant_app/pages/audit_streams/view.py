"""/t/[tenant]/settings/audit: streams of the audit log to a SIEM."""

import reflex as rx

from shared.evidence import actions
from shared.evidence.streams import MAX_TOKEN_LENGTH, MAX_URL_LENGTH
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button, dialog_field, radio_cards, text_input
from shared.ui.dialogs import confirm_field, dialog_opener, form_dialog
from shared.ui.one_time_secret import one_time_secret
from shared.ui.panels import panel, small, strong, text_with_note
from shared.ui.shell import page_header
from shared.ui.tables import badge, has_items
from tenant_app.frame import page
from tenant_app.pages.audit_streams.state import KIND_CHOICES, AuditStreamsState, StreamRow
from tenant_app.shell import guard_control


def create_dialog() -> rx.Component:
    url = text_input(
        "url",
        required=True,
        type="url",
        auto_complete="off",
        spell_check=False,
        max_length=MAX_URL_LENGTH,
        placeholder="https://siem.example.com/bulkhead",
    )
    token = text_input(
        "token", type="password", auto_complete="off", spell_check=False, max_length=MAX_TOKEN_LENGTH
    )
    return form_dialog(
        AuditStreamsState,
        "create",
        "Add a stream",
        "All events are sent from the first one on, in the order of the hash chain.",
        radio_cards("Receiver", "kind", KIND_CHOICES, value="https"),
        dialog_field("Address", url, id="url", hint="https:// on port 443 of a host on the public internet."),
        dialog_field("Token", token, id="token", hint="For Splunk only."),
        confirm="Add stream",
        submit=AuditStreamsState.create_stream,
        wide=True,
    )


def secret_dialog() -> rx.Component:
    return form_dialog(
        AuditStreamsState,
        "secret",
        "Signing secret",
        "It’s shown only now. Store it where your receiver reads it.",
        one_time_secret(
            "secret", gone="The secret can’t be shown again. Delete the stream and add it again."
        ),
        confirm="I’ve stored it",
        submit=AuditStreamsState.close_secret,
        back="Close",
    )


def delete_dialog() -> rx.Component:
    subject = AuditStreamsState.subject
    return form_dialog(
        AuditStreamsState,
        "delete",
        "Delete the stream",
        "Nothing more is sent, and its secret is erased. The audit log stays.",
        confirm_field("delete-stream", subject.url),
        confirm="Delete stream",
        submit=AuditStreamsState.delete_stream,
        kind="danger-fill",
    )


def stream_item(row: StreamRow) -> rx.Component:
    state = AuditStreamsState
    delivered = rx.cond(
        row.delivered_at != "", rx.fragment(" · last delivered ", local_time(row.delivered_at, "", "ago"))
    )
    description = text_with_note(
        rx.el.span(strong(row.kind), " ", badge(row.status, row.tone), class_name="row"),
        small(rx.el.code(row.url, class_name="mono cut-anywhere"), " · ", row.note, delivered),
    )
    test = button("Send test event", kind="quiet", on_click=state.test_stream(row.id), data_once="true")
    pause = button("Pause", kind="quiet", on_click=state.pause_stream(row.id), data_once="true")
    resume = button("Resume", on_click=state.resume_stream(row.id), data_once="true")
    delete = button("Delete", kind="quiet", **dialog_opener(state, "delete", row.id))
    controls = rx.el.div(
        rx.cond(
            row.is_paused,
            guard_control(actions.AUDIT_STREAM_CHANGE, resume, "Resume"),
            rx.fragment(
                guard_control(actions.AUDIT_STREAM_TEST, test, "Send test event"),
                guard_control(actions.AUDIT_STREAM_PAUSE, pause, "Pause"),
            ),
        ),
        guard_control(actions.AUDIT_STREAM_DELETE, delete, "Delete"),
        class_name="row wrap",
    )
    return rx.el.li(description, controls, class_name="wrap", data_testid="stream")


@rx.page(
    route="/t/[tenant]/settings/audit",
    title="Audit log streams · Bulkhead",
    on_load=AuditStreamsState.load,
)
def audit_streams_page() -> rx.Component:
    state = AuditStreamsState
    add = button("Add stream", kind="primary", glyph="plus", **dialog_opener(state, "create"))
    nothing = empty_state(
        "No streams yet",
        "Send the audit log to your SIEM as it grows: over HTTPS or to Splunk, as OCSF.",
        glyph="radio-tower",
    )
    rows = rx.el.ul(rx.foreach(state.rows, stream_item), class_name="list", data_testid="streams")
    content = rx.cond(has_items(state.rows), rows, nothing)
    return page(
        page_header(
            "Audit log streams",
            description="Events wait while a receiver is down or paused, and arrive in the order of the hash chain.",
            actions=[guard_control(actions.AUDIT_STREAM_CREATE, add, "Add stream", glyph="plus")],
        ),
        panel(rx.cond(state.loaded, content, skeleton_rows(3)), name="Streams"),
        create_dialog(),
        secret_dialog(),
        delete_dialog(),
        current="Settings",
        load=state.load,
    )
