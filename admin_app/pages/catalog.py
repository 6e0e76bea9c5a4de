"""/catalog: plans and add-ons. A draft is changed, its effect on every tenant looked at, then it is published."""

from datetime import UTC, datetime
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from admin_app import catalogue, words
from admin_app.catalogue import CatalogItemRow, CompareRow, DraftFields, ImpactRow, PlanVersionRow
from admin_app.catalogue_parts import addon_table, draft_form, impact_panel, plan_comparison, versions_panel
from admin_app.frame import page
from admin_app.shell import PageState, guard_control, is_allowed
from shared.access import actions
from shared.backoffice import catalog_drafts
from shared.backoffice import impact as blast_radius
from shared.backoffice.catalog_drafts import CatalogItem, OperatorCatalog
from shared.backoffice.impact import DraftImpact, VersionUsage
from shared.core.context import OperatorCtx
from shared.core.errors import Conflict, NotFound
from shared.core.stated_reason import MAX_REASON_LENGTH
from shared.entitlements import plan_content
from shared.entitlements.limits import LIMITS
from shared.entitlements.plan_content import PlanContent
from shared.ui.authorize import needs
from shared.ui.banners import banner, empty_state, skeleton_rows
from shared.ui.controls import button, dialog, form_field, radio_cards, text_input
from shared.ui.decision_trace import Change, change_list
from shared.ui.forms import Form, parse_choice, parse_id
from shared.ui.panels import panel, small
from shared.ui.shell import link, page_header
from shared.ui.tables import has_items

TABS = {"plans": "Plans", "addons": "Add-ons", "own": "For one tenant", "retired": "Retired"}
DIALOGS = ("create", "discard", "publish", "retire")
KIND_CHOICES = [
    ("plan", "Plan", "A tenant has one. It says which features and how much of everything."),
    ("addon", "Add-on", "Comes on top of any plan, also several times. It only adds."),
]
ShortText = Annotated[str, StringConstraints(max_length=200)]


class ReasonForm(Form):
    reason: Annotated[str, StringConstraints(min_length=1, max_length=MAX_REASON_LENGTH)]


class EmptyForm(Form):
    """A dialog that only confirms."""


class CreatePlanForm(Form):
    kind: str
    name: ShortText
    key: ShortText
    sentence: ShortText = ""
    tenant: ShortText = ""


class CatalogState(PageState):
    loaded: bool = False
    view: str = ""  # "" for the list, "edit" for a draft, "effect" for what it would do
    tab: str = "plans"
    plans: list[CatalogItemRow] = []
    addons: list[CatalogItemRow] = []
    tenant_offers: list[CatalogItemRow] = []
    retired: list[CatalogItemRow] = []
    limits: list[CompareRow] = []
    features: list[CompareRow] = []
    selected_item: CatalogItemRow = CatalogItemRow()
    versions: list[PlanVersionRow] = []
    dialog: str = ""
    # the open draft, as it was when it was opened: what is typed stays in the browser
    title: str = ""
    is_plan: bool = True
    feature_names: list[str] = []
    amounts: dict[str, str] = {}
    modes: dict[str, str] = {}
    trial_days: str = "0"
    flags: list[tuple[str, str, bool]] = []  # key, title, seeded
    moves: str = "stay"
    effective_on: str = ""
    form_key: str = "0"  # another one when what is typed gives way to somebody else's
    conflict_text: str = ""
    saved_changes: list[Change] = []
    # its effect
    impact_figures: list[tuple[str, str]] = []  # number, what it counts
    gains: list[ImpactRow] = []
    losses: list[ImpactRow] = []
    over_limit: list[ImpactRow] = []
    changed_decisions: list[ImpactRow] = []
    has_no_impact: bool = False
    tenants_checked: str = ""
    effective_text: str = ""
    moves_text: str = ""
    stale_text: str = ""
    _draft_id: str = ""
    _revision: int = 0
    _base_content: PlanContent = PlanContent()
    _impact_digest: str = ""
    _effective_at: datetime | None = None

    @rx.event
    @needs(actions.OP_CATALOG_READ, page=True)
    async def load(self) -> None:
        """Also whenever somebody changes the catalogue: an open form keeps what is typed into it."""
        async with self._open_page(CatalogState.load, "catalog") as octx:
            await self._read(octx)
            if self.view:
                await self._check_conflict(octx)

    async def _read(self, octx: OperatorCtx) -> None:
        stock, holders = (
            await catalog_drafts.list_catalog(octx),
            await blast_radius.count_tenants_by_version(octx),
        )
        self._show(stock, holders)

    def _show(self, stock: OperatorCatalog, holders: VersionUsage) -> None:
        at, by_version = datetime.now(UTC), holders.tenants_by_version

        def rows(items: list[CatalogItem]) -> list[CatalogItemRow]:
            return [catalogue.item_row(item, by_version, holders.tenant_names, at) for item in items]

        offered = [item for item in stock.items if item.plan.retired_at is None]
        public = [item for item in offered if item.plan.for_tenant is None]
        plans = [item for item in public if item.plan.kind == "plan"]
        self.plans, (self.limits, self.features) = rows(plans), catalogue.compare_rows(plans, at)
        self.addons = rows([item for item in public if item.plan.kind == "addon"])
        self.tenant_offers = rows([item for item in offered if item.plan.for_tenant is not None])
        self.retired = rows([item for item in stock.items if item.plan.retired_at is not None])
        by_id = {item.plan.id: item for item in stock.items}
        self.selected_item = next(
            (
                row
                for row in (*self.plans, *self.addons, *self.tenant_offers, *self.retired)
                if row.id == self.selected_item.id
            ),
            CatalogItemRow(),
        )
        item = by_id.get(self.selected_item.id)
        self.versions = (
            [
                catalogue.plan_version_row(version, item, by_version, at)
                for version in reversed(item.published)
            ]
            if item
            else []
        )
        self.loaded = True

    async def _check_conflict(self, octx: OperatorCtx) -> None:
        """Whether the draft is still the one that was opened; else who changed it, and what."""
        try:
            plan, draft = await catalog_drafts.get_draft(octx, self._draft_id)
        except NotFound as error:
            self.conflict_text, self.saved_changes, self.stale_text = error.detail, [], error.detail
            return
        if draft.status == "published":
            message = f"{draft.published_by} has published version {draft.number} of {plan.name}."
            self.conflict_text, self.saved_changes, self.stale_text = message, [], message
        elif draft.revision != self._revision:
            self.conflict_text = f"{draft.changed_by} has changed this draft while you had it open."
            self.saved_changes = catalogue.list_changes(self._base_content, plan_content.from_version(draft))
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
    @needs(actions.OP_CATALOG_READ)
    async def open_dialog(self, dialog: str) -> None:
        self.dialog = parse_choice(dialog, DIALOGS)

    @rx.event
    @needs(actions.OP_CATALOG_READ)
    async def close_dialog(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

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
        self.dialog = ""

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
        """The form, filled with what is saved."""
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
        self.view = "edit"

    def _fill_form(self, content: PlanContent, revision: int) -> None:
        self._base_content, self._revision = content, revision
        self.feature_names, self.trial_days = sorted(content.features), str(content.trial_days)
        fields = {name: catalogue.limit_inputs(content.limits.get(name)) for name in LIMITS}
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
        """Saves the draft and shows what it would do. Where somebody was faster, nothing of what is typed is lost."""
        form = DraftFields.read(payload)
        content = catalogue.parse_content(form, [key for key, _, on in self.flags if on])
        effective_at, moves = catalogue.parse_effective_date(form), form.model_dump()["moves"]
        try:
            async with self._ctx() as octx:
                draft = await catalog_drafts.save_draft(octx, self._draft_id, self._revision, content)
                impact = await blast_radius.simulate_draft(
                    octx, draft.id, draft.revision, moves=moves == "move", effective_at=effective_at
                )
        except (Conflict, NotFound):
            async with self._ctx() as octx:
                await self._check_conflict(octx)
            if not self.conflict_text:
                raise
            return rx.scroll_to("conflict")
        self._fill_form(content, impact.revision)
        self.moves, self.effective_on = moves, form.model_dump()["effective_on"]
        self._show_impact(impact, effective_at)
        return None

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def refresh_impact(self) -> None:
        async with self._ctx() as octx:
            impact = await blast_radius.simulate_draft(
                octx,
                self._draft_id,
                self._revision,
                moves=self.moves == "move",
                effective_at=self._effective_at,
            )
        self._show_impact(impact, self._effective_at)

    def _show_impact(self, impact: DraftImpact, effective_at: datetime | None) -> None:
        report = impact.report
        self._impact_digest, self._effective_at = impact.digest, effective_at
        self.impact_figures = [
            (f"{report.exceeding_tenants:,}", "Tenants going over a limit"),
            (f"{report.losing_tenants:,}", "Tenants that lose"),
            (f"{report.newly_refused + report.newly_allowed:,}", "Decisions that would turn"),
            (f"{report.gaining_tenants:,}", "Tenants that gain"),
        ]
        self.gains = [catalogue.shift_row(shift) for shift in report.gains]
        self.losses = [catalogue.shift_row(shift) for shift in report.losses]
        self.over_limit = [catalogue.shift_row(shift, over=True) for shift in report.exceeded_limits]
        self.changed_decisions = [catalogue.flip_row(flip) for flip in report.decision_changes]
        self.has_no_impact = report.is_empty
        self.tenants_checked = words.plural(report.compared_tenants, "tenant", "tenants")
        self.effective_text = f"on {effective_at:%-d %B %Y}, 00:00 UTC" if effective_at else "at once"
        self.moves_text = (
            "Tenants on earlier versions move to it."
            if self.moves == "move"
            else "Tenants on earlier versions stay where they are."
        )
        self.stale_text, self.view = "", "effect"

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def keep_my_changes(self) -> None:
        """What is typed replaces what the other one saved, at the next save."""
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
        async with self._ctx() as octx:
            await catalog_drafts.discard_draft(octx, self._draft_id, self._revision)
            await self._read(octx)
        return self._finish("Discarded the draft.", "What is published stays as it is.")

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def publish_draft(self, payload: dict[str, Any]) -> EventSpec | None:
        form = ReasonForm.read(payload)
        try:
            async with self._ctx() as octx:
                await blast_radius.publish(
                    octx,
                    self._draft_id,
                    self._revision,
                    form.reason,
                    self._effective_at,
                    self.moves == "move",
                    self._impact_digest,
                )
                await self._read(octx)
        except Conflict as conflict:
            self.dialog, self.stale_text = "", conflict.detail
            return None
        return self._finish(
            f"Published {self.title.replace('draft of ', '')}.", f"In force {self.effective_text}."
        )

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def retire_plan(self, payload: dict[str, Any]) -> EventSpec:
        form, name = ReasonForm.read(payload), self.selected_item.name
        async with self._ctx() as octx:
            await catalog_drafts.retire_plan(octx, parse_id("pln", self.selected_item.id), form.reason)
            await self._read(octx)
        return self._finish(f"Retired {name}.", "Who has it keeps it.")

    def _finish(self, title: str, detail: str) -> EventSpec:
        self.dialog, self.view, self.conflict_text, self.saved_changes, self.stale_text = "", "", "", [], ""
        self._draft_id = ""
        return rx.toast.success(title, description=detail)


# ── the list ─────────────────────────────────────────────────────────────────────────────────────────────────────


def draft_button(item: Any) -> rx.Component:
    """Opens the draft there is, or a new one."""
    edit_button = button(
        "Edit draft",
        on_click=CatalogState.edit_draft(item.draft_id),
        aria_label=f"Edit the draft of {item.name}",
    )
    new_button = button(
        "New draft", on_click=CatalogState.open_draft(item.id), aria_label=f"New draft of {item.name}"
    )
    return rx.cond(
        is_allowed(actions.OP_CATALOG_WRITE) & ~item.retired,
        rx.cond(item.draft != "", edit_button, new_button),
    )


def items_panel(rows: Any, name: str, title: str, sentence: str, *, tenant: bool = False) -> rx.Component:
    table = addon_table(
        rows, name, CatalogState.choose_plan, CatalogState.selected_item.id, draft_button, tenant=tenant
    )
    no_items = empty_state(title, sentence, glyph="package")
    return panel(
        rx.cond(CatalogState.loaded, rx.cond(has_items(rows), table, no_items), skeleton_rows(3)), name=name
    )


def plans_tab() -> rx.Component:
    table = plan_comparison(
        CatalogState.plans,
        CatalogState.limits,
        CatalogState.features,
        CatalogState.choose_plan,
        CatalogState.selected_item.id,
        draft_button,
    )
    return panel(rx.cond(CatalogState.loaded, table, skeleton_rows(9)), name="Plans")


def selected_panel() -> rx.Component:
    retire = rx.cond(
        is_allowed(actions.OP_CATALOG_WRITE) & ~CatalogState.selected_item.retired,
        button("Retire", kind="danger", glyph="archive", on_click=CatalogState.open_dialog("retire")),
    )
    panel_actions = rx.fragment(link("Prices", "/prices", class_name="small"), retire)
    return rx.cond(
        CatalogState.selected_item.name != "",
        versions_panel(
            CatalogState.selected_item, CatalogState.versions, panel_actions, CatalogState.choose_plan
        ),
    )


def list_view() -> rx.Component:
    contents_ = {
        "plans": plans_tab(),
        "addons": items_panel(
            CatalogState.addons,
            "Add-ons",
            "There are no add-ons",
            "Create one for what comes on top of a plan.",
        ),
        "own": items_panel(
            CatalogState.tenant_offers,
            "Offered to one tenant",
            "Everything is offered to everybody",
            "A plan or add-on that was agreed with one tenant would stand here. No other tenant sees it.",
            tenant=True,
        ),
        "retired": items_panel(
            CatalogState.retired,
            "Retired",
            "Nothing is retired",
            "What is no longer offered would stand here.",
        ),
    }
    return rx.tabs.root(
        rx.tabs.list(*[rx.tabs.trigger(name, value=key) for key, name in TABS.items()], aria_label="Catalog"),
        *[
            rx.tabs.content(rx.el.div(selected_panel(), contents_[key], class_name="stack"), value=key)
            for key in TABS
        ],
        value=CatalogState.tab,
        on_change=CatalogState.choose_tab,
    )


# ── the draft and its effect ─────────────────────────────────────────────────────────────────────────────────────


def conflict_panel() -> rx.Component:
    resolution = rx.cond(
        has_items(CatalogState.saved_changes),
        rx.fragment(
            rx.el.h3("What they changed"),
            change_list(CatalogState.saved_changes),
            small("What you typed still stands below. Saved over theirs, yours replaces all of it."),
            rx.el.div(
                button("Go on with mine", on_click=CatalogState.keep_my_changes),
                button("Take theirs", on_click=CatalogState.take_saved_draft),
                class_name="row wrap",
            ),
        ),
        small("What you typed still stands below, but it cannot be saved here any more."),
    )
    return rx.cond(
        CatalogState.conflict_text != "",
        rx.el.section(
            rx.el.div(rx.el.h2(CatalogState.conflict_text), resolution, class_name="body", role="alert"),
            class_name="hull",
            id="conflict",
            aria_label="Conflict",
            data_testid="conflict",
        ),
    )


def edit_view() -> rx.Component:
    form = draft_form(
        CatalogState.is_plan,
        CatalogState.feature_names,
        CatalogState.amounts,
        CatalogState.modes,
        CatalogState.trial_days,
        CatalogState.flags,
        CatalogState.moves,
        CatalogState.effective_on,
        CatalogState.toggle_flag,
        CatalogState.preview_impact,
        key=CatalogState.form_key,
    )
    return rx.fragment(conflict_panel(), form)


def impact_view() -> rx.Component:
    stale = rx.cond(
        CatalogState.stale_text != "",
        rx.el.div(
            banner(
                rx.fragment(rx.el.b(CatalogState.stale_text), " What you see below may not hold any more."),
                tone="warn",
                glyph="triangle-alert",
                action=rx.cond(
                    CatalogState.conflict_text != "",
                    button("Back to the draft", on_click=CatalogState.show_draft),
                    button("Look again", on_click=CatalogState.refresh_impact),
                ),
            ),
            data_testid="stale",
        ),
    )
    panel = impact_panel(
        CatalogState.impact_figures,
        CatalogState.gains,
        CatalogState.losses,
        CatalogState.over_limit,
        CatalogState.changed_decisions,
        CatalogState.has_no_impact,
    )
    return rx.fragment(stale, panel)


def reason_field(name: str) -> rx.Component:
    control = text_input(
        f"{name}-reason",
        name="reason",
        has_note=True,
        required=True,
        max_length=MAX_REASON_LENGTH,
        auto_complete="off",
    )
    return form_field("Reason", control, id=f"{name}-reason", hint="It stands in the operators' trail.")


def catalog_dialog(
    name: str, title: Any, sentence: Any, *children: rx.Component, **props: Any
) -> rx.Component:
    return dialog(
        None,
        title,
        sentence,
        *children,
        open=CatalogState.dialog == name,
        on_open_change=CatalogState.close_dialog,
        test_id=f"{name}-form",
        **props,
    )


def catalog_dialogs() -> rx.Component:
    def text(name: str, label: str, hint: str = "", **props: Any) -> rx.Component:
        control = text_input(f"create-{name}", name=name, has_note=bool(hint), auto_complete="off", **props)
        return form_field(label, control, id=f"create-{name}", hint=hint)

    create = catalog_dialog(
        "create",
        "New plan or add-on",
        "It begins as an empty draft. Nobody is offered it before you publish it.",
        radio_cards("What is it?", "kind", KIND_CHOICES, value="plan"),
        text("name", "Name", required=True, max_length=catalog_drafts.MAX_NAME_LENGTH),
        text("key", "Key", "Small letters, digits, - and _. It never changes.", required=True, max_length=40),
        text("sentence", "For whom it is", "Customers read it beside the name.", max_length=200),
        text(
            "tenant", "Id of a tenant", "Only this tenant is offered it. Empty: everybody is.", max_length=40
        ),
        confirm="Create draft",
        submit=CatalogState.create_draft,
    )
    discard = catalog_dialog(
        "discard",
        f"Discard {CatalogState.title}",
        "What is in it is gone. What is published stays as it is.",
        confirm="Discard",
        submit=CatalogState.discard_draft,
        kind="danger-fill",
    )
    publish = catalog_dialog(
        "publish",
        f"Publish {CatalogState.title}",
        rx.fragment(
            "In force ",
            CatalogState.effective_text,
            ". ",
            CatalogState.moves_text,
            " A published version never changes.",
        ),
        reason_field("publish"),
        confirm="Publish",
        submit=CatalogState.publish_draft,
    )
    retire = catalog_dialog(
        "retire",
        f"Retire {CatalogState.selected_item.name}",
        "It is offered to nobody any more. Who has it keeps it.",
        reason_field("retire"),
        confirm="Retire",
        submit=CatalogState.retire_plan,
        kind="danger-fill",
    )
    return rx.fragment(create, discard, publish, retire)


def catalog_header() -> rx.Component:
    new = guard_control(
        actions.OP_CATALOG_WRITE,
        button(
            "New plan or add-on",
            kind="primary",
            glyph="plus",
            on_click=CatalogState.open_dialog("create"),
            data_testid="create",
        ),
        "New plan or add-on",
        glyph="plus",
    )
    list_header = page_header(
        "Catalog",
        description="What plans and add-ons give. What is published never changes: a new version replaces it.",
        actions=[new],
    )

    def crumbs(*more: rx.Component) -> rx.Component:
        first = rx.el.button("Catalog", class_name="link", type="button", on_click=CatalogState.show_list)
        return rx.el.nav(first, *more, class_name="crumbs", aria_label="You are here")

    slash = rx.el.span("/", aria_hidden="true")
    discard = button("Discard", kind="danger", glyph="trash-2", on_click=CatalogState.open_dialog("discard"))
    edit_header = page_header(
        CatalogState.title,
        breadcrumbs=crumbs(slash, rx.el.span("Draft", aria_current="page")),
        description="Nobody is offered a draft. Saving it changes nothing for any tenant.",
        actions=[discard],
    )
    draft_link = rx.el.button("Draft", class_name="link", type="button", on_click=CatalogState.show_draft)
    publish = button(
        "Publish",
        kind="primary",
        on_click=CatalogState.open_dialog("publish"),
        disabled=CatalogState.stale_text != "",
        data_testid="publish",
    )
    impact_header = page_header(
        f"Effect of {CatalogState.title}",
        breadcrumbs=crumbs(slash, draft_link, slash, rx.el.span("Effect", aria_current="page")),
        description=rx.fragment(
            "In force ",
            CatalogState.effective_text,
            ". ",
            CatalogState.moves_text,
            " Looked at ",
            CatalogState.tenants_checked,
            ".",
        ),
        actions=[button("Back to the draft", on_click=CatalogState.show_draft), publish],
    )
    return switch_view(edit_header, impact_header, list_header)


def switch_view(edit: rx.Component, effect: rx.Component, listing: rx.Component) -> rx.Component:
    return rx.cond(CatalogState.view == "edit", edit, rx.cond(CatalogState.view == "effect", effect, listing))


@rx.page(route="/catalog", title="Catalog · Operator", on_load=CatalogState.load)
def catalog_page() -> rx.Component:
    shown = switch_view(edit_view(), impact_view(), list_view())
    return page(catalog_header(), shown, catalog_dialogs(), current="Catalog", load=CatalogState.load)
