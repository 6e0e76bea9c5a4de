"""State of /t/[tenant]/settings/audit: where the audit log is streamed to, and how far."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from shared.access.actions import Action
from shared.core.context import Ctx
from shared.core.plurals import plural
from shared.evidence import actions, streams
from shared.evidence.models import StreamKind, StreamPause, StreamState
from shared.evidence.streams import MAX_TOKEN_LENGTH, MAX_URL_LENGTH, StreamView
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ConfirmForm, EmptyForm
from shared.ui.forms import Form, parse_id
from shared.ui.one_time_secret import send_secret
from tenant_app.shell import PageState

KIND_CHOICES = [
    ["https", "HTTPS", "JSON arrays of events, signed as Standard Webhooks defines it."],
    ["splunk", "Splunk", "The HTTP Event Collector. Enter its address and token."],
]
KIND_LABELS = {StreamKind.HTTPS: "HTTPS", StreamKind.SPLUNK: "Splunk"}
PAUSE_TEXTS = {
    StreamPause.NONE: "",
    StreamPause.MEMBER: "Paused by a member. Its events wait.",
    StreamPause.FAILURES: "Paused because it accepted nothing for two weeks. Its events wait.",
    StreamPause.GONE: "Paused because it answered that it’s gone (410). Its events wait.",
}
ShortUrl = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL_LENGTH)]
ShortToken = Annotated[str, StringConstraints(max_length=MAX_TOKEN_LENGTH)]


class StreamForm(Form):
    kind: str
    url: ShortUrl
    token: ShortToken = ""


@dataclass(frozen=True, kw_only=True)
class StreamRow:
    id: str = ""
    kind: str = ""
    url: str = ""
    status: str = ""
    tone: str = ""
    note: str = ""
    is_paused: bool = False
    delivered_at: str = ""


def stream_row(stream: StreamView) -> StreamRow:
    status, tone = "Active", "ok"
    if stream.state is StreamState.PAUSED:
        status, tone = "Paused", "warn"
    elif stream.failure_count:
        status, tone = "Failing", "bad"
    lag = f"{plural(stream.lag, 'event')} waiting" if stream.lag else "Up to date"
    problem = stream.last_problem.replace("_", " ") or f"status {stream.last_status}"
    failures = f"{plural(stream.failure_count, 'failed attempt')}: {problem}" if stream.failure_count else ""
    parts = (f"Sent up to event {stream.cursor:,}", lag, failures, PAUSE_TEXTS[stream.pause_reason])
    return StreamRow(
        id=stream.id,
        kind=KIND_LABELS[stream.kind],
        url=stream.url,
        status=status,
        tone=tone,
        note=" · ".join(part for part in parts if part),
        is_paused=stream.state is StreamState.PAUSED,
        delivered_at=stream.last_delivered_at.isoformat() if stream.last_delivered_at else "",
    )


class AuditStreamsState(DialogState, PageState):
    reads: ClassVar[Action] = actions.AUDIT_STREAM_READ
    dialogs: ClassVar[Sequence[str]] = ("create",)
    filled_dialogs: ClassVar[Sequence[str]] = ("secret",)
    row_dialogs: ClassVar[Sequence[str]] = ("delete",)
    loaded: bool = False
    rows: list[StreamRow] = []
    subject: StreamRow = StreamRow()

    @rx.event
    @needs(actions.AUDIT_STREAM_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(AuditStreamsState.load, streams.TOPIC) as ctx:
            await self._read(ctx)

    async def _read(self, ctx: Ctx) -> None:
        self.rows = [stream_row(stream) for stream in await streams.list_streams(ctx)]
        self.loaded = True

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:
        if dialog == "delete":
            stream_id = parse_id("ast", row_id)
            self.subject = next((row for row in self.rows if row.id == stream_id), StreamRow())

    @rx.event
    @needs(actions.AUDIT_STREAM_CREATE)
    async def create_stream(self, payload: dict[str, Any]) -> list[EventSpec]:
        form = StreamForm.read(payload)
        async with self._ctx() as ctx:
            check = await streams.begin_url_check(ctx, form.url)
        await check()  # its host is looked up outside of any transaction
        async with self._change_page() as ctx:
            issued = await streams.create(ctx, form.kind, form.url, token=form.token)
            await ctx.session.flush()
            await self._read(ctx)
        self._close_dialog()
        added = rx.toast.success("Added the stream.", description="It begins with the first event.")
        if not issued.secret:
            return [added]
        self.dialog = "secret"
        return [added, send_secret(issued.secret)]

    @rx.event
    @needs(actions.AUDIT_STREAM_READ)
    async def close_secret(self, payload: dict[str, Any]) -> None:
        EmptyForm.read(payload)
        self._close_dialog()

    @rx.event
    @needs(actions.AUDIT_STREAM_PAUSE)
    async def pause_stream(self, stream_id: str) -> EventSpec:
        async with self._change_page() as ctx:
            await streams.pause(ctx, parse_id("ast", stream_id))
            await ctx.session.flush()
            await self._read(ctx)
        return rx.toast.success("Paused the stream.", description="Its events wait in the audit log.")

    @rx.event
    @needs(actions.AUDIT_STREAM_CHANGE)
    async def resume_stream(self, stream_id: str) -> EventSpec:
        async with self._change_page() as ctx:
            await streams.resume(ctx, parse_id("ast", stream_id))
            await ctx.session.flush()
            await self._read(ctx)
        return rx.toast.success("Resumed the stream.", description="Waiting events are being sent.")

    @rx.event
    @needs(actions.AUDIT_STREAM_TEST)
    async def test_stream(self, stream_id: str) -> EventSpec:
        async with self._change_page() as ctx:
            await streams.send_test(ctx, parse_id("ast", stream_id))
            await ctx.session.flush()
            await self._read(ctx)
        return rx.toast.info("A test event is on its way.", description="The status shows the answer.")

    @rx.event
    @needs(actions.AUDIT_STREAM_DELETE)
    async def delete_stream(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ConfirmForm.read(payload), self.subject
        form.check(subject.url)
        async with self._change_page() as ctx:
            await streams.delete(ctx, parse_id("ast", subject.id))
            await ctx.session.flush()
            await self._read(ctx)
        self._close_dialog()
        return rx.toast.success("Deleted the stream.", description="Nothing more is sent.")
