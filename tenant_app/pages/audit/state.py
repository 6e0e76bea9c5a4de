"""State of /t/[tenant]/audit. The address has the filter, so that a link repeats what is shown."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from shared.access import actions
from shared.access.actions import Action
from shared.access.file_kinds import ExportKind
from shared.audit import filters
from shared.audit.audit_filter import AuditFilter
from shared.audit.event_types import AuditAction, AuditResult
from shared.audit.verification import ChainStatus, LogVerification
from shared.core.context import Ctx
from shared.core.plurals import plural
from shared.evidence.signed_exports import SIGNED_AUDIT_LOG
from shared.files import exports
from shared.files.exports import ExportView
from shared.files.models import ExportFormat
from shared.tenancy import audit_reader
from shared.tenancy.audit_reader import AuditLogView
from shared.tenancy.exports import AUDIT_LOG
from shared.ui.audit_list import AuditFilterForm, EventRow, event_rows
from shared.ui.authorize import needs
from shared.ui.forms import parse_choice
from shared.ui.list_state import ListState
from tenant_app.exports import ExportsState
from tenant_app.shell import PageState, decision_path

PAGE_SIZE = 50
TOPICS = (
    "members",
    "invitations",
    "checklist",
    "provisioning",
    "roles",
    "settings",
    audit_reader.VERIFICATION_TOPIC,
)  # topics whose changes are recorded, and the progress of a verification


def audit_path(slug: str, values: Mapping[str, str]) -> str:
    """The address of the log with this filter."""
    return f"/t/{slug}/audit{filters.build_query(values)}"


class AuditState(ExportsState, ListState, PageState):
    reads: ClassVar[Action] = actions.AUDIT_READ
    export_kind: ClassVar[ExportKind] = AUDIT_LOG
    loaded: bool = False
    rows: list[EventRow] = []
    filtered: bool = False
    filter_values: dict[str, str] = dict.fromkeys(filters.FIELDS, "")  # as the form shows them
    looks_url: str = ""
    denied_url: str = ""
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
        self._apply_address()
        async with self._open_page(AuditState.load, *TOPICS, own_topics=("exports",)) as ctx:
            view, export_views = await self._read(ctx), await self._read_exports(ctx)
        self._show(view, ctx.slug)
        self._show_exports(export_views)

    def _export_filter(self) -> Mapping[str, str]:
        return {name: value for name, value in self.filter_values.items() if value}

    def _apply_address(self) -> None:
        """Raises Invalid for an address that isn't a filter. The list begins at its first page where the filter differs."""
        values = filters.read_query(dict(self.router.url.query_parameters))
        event_filter = filters.parse_filter(values)
        if event_filter != self._filter:
            self._cursors = []
        self._filter = event_filter
        self.filter_values = {name: values.get(name, "") for name in filters.FIELDS}

    async def _read_exports(self, ctx: Ctx) -> Sequence[ExportView]:
        """Signed ones too, the newest first."""
        signed = await exports.list_recent(ctx, SIGNED_AUDIT_LOG.name)
        views = [*await super()._read_exports(ctx), *signed]
        return sorted(views, key=lambda view: view.created_at, reverse=True)

    @rx.event
    @needs(actions.AUDIT_EXPORT)
    async def start_signed_export(self, export_format: str) -> EventSpec:
        """Of all events between the dates of the filter: the chain has no gap, so nothing else filters it."""
        dates = {name: self.filter_values[name] for name in SIGNED_AUDIT_LOG.source.filter_fields}
        async with self._quiet_ctx() as ctx:
            chosen_format = parse_choice(export_format, list(ExportFormat))
            await exports.begin(ctx, SIGNED_AUDIT_LOG.name, chosen_format, dates)
            views = await self._read_exports(ctx)
        self._show_exports(views)
        return rx.toast.info(
            "Signed export started", description="It has all events between the dates of your filter."
        )

    async def _read(self, ctx: Ctx) -> AuditLogView:
        return await audit_reader.view_audit_log(ctx, self._filter, after=self._cursor(), limit=PAGE_SIZE)

    def _show(self, view: AuditLogView, slug: str) -> None:
        self.rows = event_rows(
            view.events.rows,
            decision_ids=view.decision_ids,
            decision_url=lambda decision_id: decision_path(slug, decision_id),
            list_path=audit_path(slug, {}),
        )
        self.looks_url = audit_path(slug, {"action": AuditAction.OPERATOR_LOOKED})
        self.denied_url = audit_path(slug, {"result": AuditResult.DENIED})
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

    @rx.event
    @needs(actions.AUDIT_READ)
    async def apply_filter(self, payload: dict[str, Any]) -> Any:
        """Puts the filter into the address. Raises Invalid."""
        form = AuditFilterForm.read(payload)
        event_filter = form.to_filter()
        if event_filter == self._filter:
            return AuditState.load
        return rx.redirect(audit_path(self._slug(), form.model_dump()))

    @rx.event
    @needs(actions.AUDIT_READ)
    async def clear_filter(self) -> Any:
        return rx.redirect(audit_path(self._slug(), {}))

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
