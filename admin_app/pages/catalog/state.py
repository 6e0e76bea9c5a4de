"""State of /catalog: the list, the open draft and its impact."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app.pages.catalog import forms, impact_rows, rows
from admin_app.pages.catalog.forms import CreatePlanForm, DraftFields
from admin_app.pages.catalog.impact_rows import ImpactView
from admin_app.pages.catalog.rows import CatalogItemRow, CompareRow, PlanVersionRow
from admin_app.shell import PageState
from admin_app.submissions import describe_outcome
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import approvals, catalog_drafts, impact
from shared.backoffice.approved_changes import DraftPublication
from shared.backoffice.catalog_drafts import OperatorCatalog
from shared.backoffice.impact import DraftImpact, VersionUsage
from shared.backoffice.reasons import state_reason
from shared.core.context import OperatorCtx
from shared.core.errors import Conflict, NotFound
from shared.entitlements import plan_content
from shared.entitlements.limits import LIMITS
from shared.entitlements.plan_content import PlanContent
from shared.ui.authorize import needs
from shared.ui.decision_trace import Change
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import EmptyForm, ReasonForm
from shared.ui.forms import parse_choice, parse_id

TABS = {"plans": "Plans", "addons": "Add-ons", "own": "For one tenant", "retired": "Retired"}


class CatalogState(DialogState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_CATALOG_READ
    dialogs: ClassVar[Sequence[str]] = ("create", "discard", "publish", "retire")
    loaded: bool = False
    view: str = ""  # "" for the list, "edit" for a draft, "effect" for its impact
    tab: str = "plans"
    plans: list[CatalogItemRow] = []
    addons: list[CatalogItemRow] = []
    tenant_offers: list[CatalogItemRow] = []
    retired: list[CatalogItemRow] = []
    limits: list[CompareRow] = []
    features: list[CompareRow] = []
    selected_item: CatalogItemRow = CatalogItemRow()
    versions: list[PlanVersionRow] = []
    # the open draft as of its opening; input stays in the browser
    title: str = ""
    _version_title: str = ""  # of the version that the draft becomes
    is_plan: bool = True
    feature_names: list[str] = []
    amounts: dict[str, str] = {}
    modes: dict[str, str] = {}
    trial_days: str = "0"
    flags: list[tuple[str, str, bool]] = []  # key, title, seeded
    moves: str = "stay"
    effective_on: str = ""
    form_key: str = "0"  # changes when another operator's content replaces the input
    conflict_text: str = ""
    saved_changes: list[Change] = []
    impact: ImpactView = ImpactView()
    stale_text: str = ""
    _draft_id: str = ""
    _revision: int = 0
    _base_content: PlanContent = PlanContent()
    _impact_digest: str = ""
    _effective_at: datetime | None = None

    @rx.event
    @needs(actions.OP_CATALOG_READ, page=True)
    async def load(self) -> None:
        """Runs again whenever the catalog changes; an open form keeps its input."""
        async with self._open_page(CatalogState.load, "catalog") as octx:
            await self._read(octx)
            if self.view:
                await self._check_conflict(octx)

    async def _read(self, octx: OperatorCtx) -> None:
        stock, holders = (
            await catalog_drafts.list_catalog(octx),
            await impact.count_tenants_by_version(octx),
        )
        self._show(stock, holders)

    def _show(self, stock: OperatorCatalog, holders: VersionUsage) -> None:
        at = datetime.now(UTC)
        lists = rows.catalog_lists(stock, holders, at)
        self.plans, self.addons = lists.plans, lists.addons
        self.tenant_offers, self.retired = lists.tenant_offers, lists.retired
        self.limits, self.features = lists.limits, lists.features
        self.selected_item = lists.find(self.selected_item.id)
        self.versions = rows.plan_version_rows(stock, holders, self.selected_item.id, at)
        self.loaded = True

    async def _check_conflict(self, octx: OperatorCtx) -> None:
        """Whether the draft is still the one that was opened; else who changed it, and what."""
        try:
            plan, draft = await catalog_drafts.get_draft(octx, self._draft_id)
        except NotFound as error:
            self.conflict_text, self.saved_changes, self.stale_text = error.detail, [], error.detail
            return
        if draft.status == "published":
            message = f"{draft.published_by} published version {draft.number} of {plan.name}."
            self.conflict_text, self.saved_changes, self.stale_text = message, [], message
        elif draft.revision != self._revision:
            self.conflict_text = f"{draft.changed_by} changed this draft while you had it open."
            self.saved_changes = forms.list_changes(self._base_content, plan_content.from_version(draft))
            self.stale_text = self.conflict_text

    @rx.event
    @needs(actions.OP_CATALOG_READ)
    async def choose_tab(self, tab: str) -> None:
        self.tab, self.selected_item, self.versions = parse_choice(tab, TABS), CatalogItemRow(), []

    @rx.event
    @needs(actions.OP_CATALOG_READ)
    async def choose_plan(self, plan_id: str) -> None:
        clicked_id = parse_id("pln", plan_id)
        self.selected_item = (
            CatalogItemRow() if self.selected_item.id == clicked_id else CatalogItemRow(id=clicked_id)
        )
        async with self._ctx() as octx:
            await self._read(octx)

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def create_draft(self, payload: dict[str, Any]) -> None:
        form = CreatePlanForm.read(payload)
        tenant = parse_id("ten", form.tenant) if form.tenant else None
        async with self._ctx() as octx:
            draft = await catalog_drafts.create_plan(
                octx, form.kind, form.key, form.name, form.sentence, for_tenant=tenant
            )
            await self._open_editor(octx, draft.id)
        self._close_dialog()

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def open_draft(self, plan_id: str) -> None:
        async with self._ctx() as octx:
            draft = await catalog_drafts.open_draft(octx, parse_id("pln", plan_id))
            await self._open_editor(octx, draft.id)

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def edit_draft(self, version_id: str) -> None:
        async with self._ctx() as octx:
            await self._open_editor(octx, parse_id("plv", version_id))

    async def _open_editor(self, octx: OperatorCtx, version_id: str) -> None:
        """Opens the form with the saved content."""
        plan, draft = await catalog_drafts.get_draft(octx, version_id)
        if draft.status != "draft":
            raise Conflict(f"This version of {plan.name} is published.", "Open a new draft.")
        stock = await catalog_drafts.list_catalog(octx)
        self._fill_form(plan_content.from_version(draft), draft.revision)
        self.flags = [(flag.key, flag.title, flag.key in draft.flags) for flag in stock.flags]
        if self._draft_id != draft.id:
            self.moves, self.effective_on = "stay", ""
        self._draft_id, self.is_plan = draft.id, plan.kind == "plan"
        self.title = f"{plan.name}, draft of version {draft.number}"
        self._version_title = f"{plan.name}, version {draft.number}"
        self.view = "edit"

    def _fill_form(self, content: PlanContent, revision: int) -> None:
        self._base_content, self._revision = content, revision
        self.feature_names, self.trial_days = sorted(content.features), str(content.trial_days)
        fields = {name: forms.limit_inputs(content.limits.get(name)) for name in LIMITS}
        self.amounts = {name: amount for name, (amount, _) in fields.items()}
        self.modes = {name: mode for name, (_, mode) in fields.items()}
        self.conflict_text, self.saved_changes, self.stale_text = "", [], ""
        self.form_key = str(int(self.form_key) + 1)

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def toggle_flag(self, key: str) -> None:
        toggled_key = parse_choice(key, {flag_key for flag_key, _, _ in self.flags})
        self.flags = [
            (flag_key, title, on != (flag_key == toggled_key)) for flag_key, title, on in self.flags
        ]

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def preview_impact(self, payload: dict[str, Any]) -> EventSpec | None:
        """Saves the draft and shows its impact. On a conflict with another operator the input is kept."""
        form = DraftFields.read(payload)
        content = forms.parse_content(form, [key for key, _, on in self.flags if on])
        effective_at, moves = forms.parse_effective_date(form), form.model_dump()["moves"]
        try:
            async with self._ctx() as octx:
                draft = await catalog_drafts.save_draft(octx, self._draft_id, self._revision, content)
                draft_impact = await catalog_drafts.simulate_draft(
                    octx, draft.id, draft.revision, moves=moves == "move", effective_at=effective_at
                )
        except (Conflict, NotFound):
            async with self._ctx() as octx:
                await self._check_conflict(octx)
            if not self.conflict_text:
                raise
            return rx.scroll_to("conflict")
        self._fill_form(content, draft_impact.revision)
        self.moves, self.effective_on = moves, form.model_dump()["effective_on"]
        self._show_impact(draft_impact, effective_at)
        return None

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def refresh_impact(self) -> None:
        async with self._ctx() as octx:
            draft_impact = await catalog_drafts.simulate_draft(
                octx,
                self._draft_id,
                self._revision,
                moves=self.moves == "move",
                effective_at=self._effective_at,
            )
        self._show_impact(draft_impact, self._effective_at)

    def _show_impact(self, draft_impact: DraftImpact, effective_at: datetime | None) -> None:
        self._impact_digest, self._effective_at = draft_impact.digest, effective_at
        self.impact = impact_rows.impact_view(draft_impact.report, effective_at, moves=self.moves == "move")
        self.stale_text, self.view = "", "effect"

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def keep_my_changes(self) -> None:
        """Keeps the input, which replaces the other operator's changes at the next save."""
        async with self._ctx() as octx:
            _, draft = await catalog_drafts.get_draft(octx, self._draft_id)
        self._base_content, self._revision = plan_content.from_version(draft), draft.revision
        self.conflict_text, self.saved_changes, self.stale_text = "", [], ""

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def take_saved_draft(self) -> None:
        async with self._ctx() as octx:
            await self._open_editor(octx, self._draft_id)

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def show_draft(self) -> None:
        self.view = "edit"

    @rx.event
    @needs(actions.OP_CATALOG_READ)
    async def show_list(self) -> None:
        self.view, self.conflict_text, self.saved_changes, self.stale_text = "", "", [], ""

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def discard_draft(self, payload: dict[str, Any]) -> EventSpec:
        EmptyForm.read(payload)
        async with self._change_page() as octx:
            await catalog_drafts.discard_draft(octx, self._draft_id, self._revision)
            await self._read(octx)
        return self._finish("Draft discarded.", "Published versions aren’t affected.")

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def publish_draft(self, payload: dict[str, Any]) -> EventSpec | None:
        form = ReasonForm.read(payload)
        try:
            async with self._change_page() as octx:
                publication = DraftPublication(
                    draft_id=self._draft_id,
                    revision=self._revision,
                    effective_at=self._effective_at,
                    moves=self.moves == "move",
                    confirmed_digest=self._impact_digest,
                )
                reason = state_reason(octx, form.reason)
                submission = await approvals.submit(octx, actions.OP_CATALOG_PUBLISH, publication, reason)
                await self._read(octx)
        except Conflict as conflict:
            self._close_dialog()
            self.stale_text = conflict.detail
            return None
        outcome = f"Published {self._version_title}.", f"In force {self.impact.effective_text}."
        return self._finish(*describe_outcome(submission, *outcome))

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def retire_plan(self, payload: dict[str, Any]) -> EventSpec:
        form, name = ReasonForm.read(payload), self.selected_item.name
        async with self._change_page() as octx:
            await catalog_drafts.retire_plan(
                octx, parse_id("pln", self.selected_item.id), state_reason(octx, form.reason)
            )
            await self._read(octx)
        return self._finish(f"Retired {name}.", "Tenants that have it keep it.")

    def _finish(self, title: str, detail: str) -> EventSpec:
        self._close_dialog()
        self.view, self.conflict_text, self.saved_changes, self.stale_text = "", "", [], ""
        self._draft_id = ""
        return rx.toast.success(title, description=detail)
