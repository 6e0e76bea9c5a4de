"""/t/[tenant]/audit: the audit log, with filter, export and verification."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from shared.access import actions
from shared.access.actions import Action
from shared.access.file_kinds import ExportKind
from shared.audit import filters
from shared.audit.audit_log import AuditFilter
from shared.audit.verification import ChainStatus, LogVerification
from shared.core.context import Ctx
from shared.core.plurals import plural
from shared.tenancy import audit_reader
from shared.tenancy.audit_reader import AuditLogView
from shared.tenancy.exports import AUDIT_LOG
from shared.ui.audit_list import EventRow, action_choices, chain_status, event_list, event_rows
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, skeleton_rows
from shared.ui.controls import button, filter_form, form_field, text_input
from shared.ui.forms import Form
from shared.ui.list_state import ListState, list_pager
from shared.ui.panels import panel
from shared.ui.shell import page_header
from shared.ui.tables import has_items
from tenant_app.exports import ExportsState, export_list, export_menu
from tenant_app.frame import page
from tenant_app.shell import PageState, decision_path

ShortText = Annotated[str, StringConstraints(max_length=120)]
PAGE_SIZE = 50
DayText = Annotated[str, StringConstraints(max_length=10)]
TOPICS = (
    "members",
    "invitations",
    "checklist",
    "provisioning",
    "roles",
    "settings",
    audit_reader.VERIFICATION_TOPIC,
)  # topics whose changes are recorded, and the progress of a verification


class AuditFilterForm(Form):
    """An empty field does not filter."""

    actor: ShortText = ""
    action: ShortText = ""
    object: ShortText = ""
    request: ShortText = ""
    since: DayText = ""
    until: DayText = ""

    def to_filter(self) -> AuditFilter:
        return filters.parse_filter(self.model_dump())


class AuditState(ExportsState, ListState, PageState):
    reads: ClassVar[Action] = actions.AUDIT_READ
    export_kind: ClassVar[ExportKind] = AUDIT_LOG
    loaded: bool = False
    rows: list[EventRow] = []
    filtered: bool = False
    _filter_values: dict[str, str] = {}  # the filter as typed, for the export
    chain_text: str = ""
    chain_at: str = ""
    verification_tone: str = ""
    verification_badge: str = ""
    verification_text: str = ""
    verified_at: str = ""
    _filter: AuditFilter = AuditFilter()

    @rx.event
    @needs(actions.AUDIT_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(AuditState.load, *TOPICS, own_topics=("exports",)) as ctx:
            view, exports = await self._read(ctx), await self._read_exports(ctx)
        self._show(view, ctx.slug)
        self._show_exports(exports)

    def _export_filter(self) -> Mapping[str, str]:
        return self._filter_values

    async def _read(self, ctx: Ctx) -> AuditLogView:
        return await audit_reader.view_audit_log(ctx, self._filter, after=self._cursor(), limit=PAGE_SIZE)

    def _show(self, view: AuditLogView, slug: str) -> None:
        self.rows = event_rows(
            view.events.rows,
            decision_ids=view.decision_ids,
            decision_url=lambda decision_id: decision_path(slug, decision_id),
        )
        self._show_page(view.events, "event")
        self._show_chain(view.chain)
        self.filtered = self._filter != AuditFilter()
        self.loaded = True

    def _show_chain(self, chain: ChainStatus) -> None:
        self.chain_text, self.chain_at = "No events are in the hash chain yet.", ""
        if chain.sealed_at is not None:
            self.chain_text, self.chain_at = (
                "Events are in the hash chain up to ",
                chain.sealed_at.isoformat(),
            )
        self._show_verification(chain.verification)

    def _show_verification(self, verification: LogVerification | None) -> None:
        self.verified_at = ""
        if verification is None:
            self.verification_tone, self.verification_badge = "idle", ""
            self.verification_text = "Not verified yet."
        elif verification.is_running:
            self.verification_tone, self.verification_badge = "idle", "Verifying"
            self.verification_text = progress_text(verification)
        elif verification.is_intact:
            self.verification_tone, self.verification_badge = "ok", "Intact"
            self.verification_text = intact_text(verification)
            self.verified_at = verification.verified_at.isoformat() if verification.verified_at else ""
        else:
            self.verification_tone, self.verification_badge = "bad", "Broken"
            self.verification_text = broken_text(verification)

    async def _reload(self) -> None:
        async with self._ctx() as ctx:
            view = await self._read(ctx)
        self._show(view, ctx.slug)

    async def _apply_filter(self, event_filter: AuditFilter, filter_values: dict[str, str]) -> None:
        await self._show_first_page(_filter=event_filter, _filter_values=filter_values)

    @rx.event
    @needs(actions.AUDIT_READ)
    async def apply_filter(self, payload: dict[str, Any]) -> None:
        form = AuditFilterForm.read(payload)
        filter_values = {name: value for name, value in form.model_dump().items() if value}
        await self._apply_filter(form.to_filter(), filter_values)

    @rx.event
    @needs(actions.AUDIT_READ)
    async def clear_filter(self) -> None:
        await self._apply_filter(AuditFilter(), {})

    @rx.event
    @needs(actions.AUDIT_READ)
    async def verify_chain(self) -> EventSpec:
        """From where it is verified already."""
        return await self._verify(from_start=False)

    @rx.event
    @needs(actions.AUDIT_READ)
    async def verify_whole_chain(self) -> EventSpec:
        return await self._verify(from_start=True)

    async def _verify(self, *, from_start: bool) -> EventSpec:
        async with self._ctx() as ctx:
            verification = await audit_reader.verify_audit_log(ctx, from_start=from_start)
            chain = await audit_reader.get_chain_status(ctx)
        self._show_chain(chain)
        if verification.is_running:
            return rx.toast.info(
                "Verification is running",
                description="It continues when you leave this page. The progress updates automatically.",
            )
        if verification.is_intact:
            return rx.toast.success(
                "Audit log verified",
                description=f"{plural(verification.verified_count, 'event')} verified. The log is intact.",
            )
        return rx.toast.error("Audit log verification failed", description=broken_text(verification))


def progress_text(verification: LogVerification) -> str:
    return (
        f"{verification.percent}% done: {verification.checked_count:,} of "
        f"{plural(verification.total_count, 'event')} checked."
    )


def intact_text(verification: LogVerification) -> str:
    verified = f"Verified up to event {verification.verified_count:,}"
    return f"{verified}, " if verification.verified_at else f"{verified}."


def broken_text(verification: LogVerification) -> str:
    place = f"event {verification.broken_at:,}" if verification.broken_at else verification.broken_id
    return f"Verification failed at {place}. {verification.explanation} Contact support."


def audit_filter() -> rx.Component:
    action = rx.el.select(
        *[rx.el.option(label, value=value) for value, label in action_choices()],
        id="action",
        name="action",
        class_name="input",
    )
    fields = [
        form_field("Actor", text_input("actor", placeholder="Name or id", max_length=120), id="actor"),
        form_field("Action", action, id="action"),
        form_field("Object", text_input("object", placeholder="mem_…", max_length=120), id="object"),
        form_field("Request", text_input("request", placeholder="req_…", max_length=120), id="request"),
        form_field("From", text_input("since", type="date"), id="since"),
        form_field("Until", text_input("until", type="date"), id="until"),
    ]
    return filter_form(
        *fields,
        is_filtered=AuditState.filtered,
        on_apply=AuditState.apply_filter,
        on_clear=AuditState.clear_filter,
        test_id="audit-filter",
    )


def events_panel() -> rx.Component:
    no_events = rx.cond(
        AuditState.filtered,
        empty_state("No events match", "Change the dates or clear a field.", glyph="search-x"),
        empty_state(
            "No activity yet",
            "Changes to invitations, roles and settings appear here.",
            glyph="scroll-text",
        ),
    )
    event_table = rx.el.div(event_list(AuditState.rows), list_pager(AuditState), class_name="hull-foot")
    content = rx.cond(has_items(AuditState.rows), event_table, panel(no_events, name="Events"))
    return rx.cond(AuditState.loaded, content, panel(skeleton_rows(6), name="Events"))


@rx.page(route="/t/[tenant]/audit", title="Audit log · Bulkhead", on_load=AuditState.load)
def audit_page() -> rx.Component:
    check = button(
        "Verify audit log",
        glyph="link",
        on_click=AuditState.verify_chain,
        data_once="true",
        data_testid="verify",
    )
    check_all = button(
        "Verify from the first event",
        kind="quiet",
        on_click=AuditState.verify_whole_chain,
        data_once="true",
        data_testid="verify-all",
    )
    chain = chain_status(
        chain_text=AuditState.chain_text,
        chain_at=AuditState.chain_at,
        tone=AuditState.verification_tone,
        badge_text=AuditState.verification_badge,
        text=AuditState.verification_text,
        verified_at=AuditState.verified_at,
    )
    return page(
        page_header(
            "Audit log",
            description="This log can’t be edited or deleted. Dates are in UTC.",
            actions=[
                export_menu(AuditState),
                check,
            ],
        ),
        rx.el.div(
            audit_filter(),
            rx.cond(AuditState.loaded, rx.el.div(chain, check_all, class_name="row wrap")),
            class_name="section",
        ),
        export_list(AuditState),
        events_panel(),
        current="Audit log",
        load=AuditState.load,
    )
