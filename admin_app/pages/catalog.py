"""/catalog: plans and add-ons. A draft is changed, its effect on every tenant looked at, then it is published."""

from datetime import UTC, datetime
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from admin_app import catalogue, words
from admin_app.catalogue import CompareRow, DraftFields, EffectRow, ItemRow, VersionRow
from admin_app.catalogue_parts import (
    addon_table,
    comparison,
    draft_form,
    effect_panel,
    versions_panel,
)
from admin_app.frame import page
from admin_app.shell import PageState, allowed, may
from shared.access import actions
from shared.core.ctx import OperatorCtx
from shared.core.errors import Conflict, NotFound
from shared.entitlements import contents, drafts
from shared.entitlements.contents import Content
from shared.entitlements.drafts import Item, Stock
from shared.entitlements.limits import LIMITS
from shared.tenancy import blast_radius
from shared.tenancy.blast_radius import Holders, Look
from shared.tenancy.entry import LONGEST_REASON
from shared.ui.feedback import banner, empty, skeleton_rows
from shared.ui.form import button, choices, dialog, field, text_input
from shared.ui.form_model import Form, a_word, an_id
from shared.ui.gate import needs
from shared.ui.hull import hull, small
from shared.ui.shell import head, link
from shared.ui.table import some
from shared.ui.why import Change, diff

TABS = {"plans": "Plans", "addons": "Add-ons", "own": "For one tenant", "retired": "Retired"}
DIALOGS = ("create", "discard", "publish", "retire")
KINDS = [
    ("plan", "Plan", "A tenant has one. It says which features and how much of everything."),
    ("addon", "Add-on", "Comes on top of any plan, also several times. It only adds."),
]
Line = Annotated[str, StringConstraints(max_length=200)]


class ReasonForm(Form):
    reason: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_REASON)]


class NoForm(Form):
    """A dialog that only confirms."""


class CreateForm(Form):
    kind: str
    name: Line
    key: Line
    sentence: Line = ""
    tenant: Line = ""


class CatalogState(PageState):
    loaded: bool = False
    view: str = ""  # "" for the list, "edit" for a draft, "effect" for what it would do
    tab: str = "plans"
    plans: list[ItemRow] = []
    addons: list[ItemRow] = []
    own: list[ItemRow] = []
    retired: list[ItemRow] = []
    limits: list[CompareRow] = []
    features: list[CompareRow] = []
    chosen: ItemRow = ItemRow()
    versions: list[VersionRow] = []
    dialog: str = ""
    # the open draft, as it was when it was opened: what is typed stays in the browser
    title: str = ""
    is_plan: bool = True
    has: list[str] = []
    amounts: dict[str, str] = {}
    modes: dict[str, str] = {}
    trial_days: str = "0"
    flags: list[tuple[str, str, bool]] = []  # key, title, seeded
    moves: str = "stay"
    effective_on: str = ""
    form: str = "0"  # another one when what is typed gives way to somebody else's
    conflict: str = ""
    theirs: list[Change] = []
    # its effect
    figures: list[tuple[str, str]] = []  # number, what it counts
    gains: list[EffectRow] = []
    losses: list[EffectRow] = []
    over: list[EffectRow] = []
    flips: list[EffectRow] = []
    nobody: bool = False
    looked_at: str = ""
    when_said: str = ""
    moves_said: str = ""
    stale: str = ""
    _draft: str = ""
    _revision: int = 0
    _base: Content = Content()
    _digest: str = ""
    _effective_at: datetime | None = None

    @rx.event
    @needs(actions.OP_CATALOG_READ, page=True)
    async def load(self) -> None:
        """Also whenever somebody changes the catalogue: an open form keeps what is typed into it."""
        async with self._open(CatalogState.load, "catalog") as octx:
            await self._read(octx)
            if self.view:
                await self._compare(octx)

    async def _read(self, octx: OperatorCtx) -> None:
        stock, holders = await drafts.list_all(octx), await blast_radius.count_holders(octx)
        self._show(stock, holders)

    def _show(self, stock: Stock, holders: Holders) -> None:
        at, by_version = datetime.now(UTC), holders.by_version

        def rows(items: list[Item]) -> list[ItemRow]:
            return [catalogue.item_row(one, by_version, holders.names, at) for one in items]

        kept = [one for one in stock.items if one.plan.retired_at is None]
        everybody = [one for one in kept if one.plan.for_tenant is None]
        plans = [one for one in everybody if one.plan.kind == "plan"]
        self.plans, (self.limits, self.features) = rows(plans), catalogue.compared(plans, at)
        self.addons = rows([one for one in everybody if one.plan.kind == "addon"])
        self.own = rows([one for one in kept if one.plan.for_tenant is not None])
        self.retired = rows([one for one in stock.items if one.plan.retired_at is not None])
        by_id = {one.plan.id: one for one in stock.items}
        self.chosen = next(
            (
                one
                for one in (*self.plans, *self.addons, *self.own, *self.retired)
                if one.id == self.chosen.id
            ),
            ItemRow(),
        )
        item = by_id.get(self.chosen.id)
        self.versions = (
            [catalogue.version_row(one, item, by_version, at) for one in reversed(item.published)]
            if item
            else []
        )
        self.loaded = True

    async def _compare(self, octx: OperatorCtx) -> None:
        """Whether the draft is still the one that was opened; else who changed it, and what."""
        try:
            plan, draft = await drafts.get(octx, self._draft)
        except NotFound as gone:
            self.conflict, self.theirs, self.stale = gone.detail, [], gone.detail
            return
        if draft.status == "published":
            said = f"{draft.published_by} has published version {draft.number} of {plan.name}."
            self.conflict, self.theirs, self.stale = said, [], said
        elif draft.revision != self._revision:
            self.conflict = f"{draft.changed_by} has changed this draft while you had it open."
            self.theirs = catalogue.changed(self._base, contents.of(draft))
            self.stale = self.conflict

    @rx.event
    @needs(actions.OP_CATALOG_READ)
    async def choose_tab(self, tab: str) -> None:
        self.tab, self.chosen, self.versions = a_word(tab, TABS), ItemRow(), []

    @rx.event
    @needs(actions.OP_CATALOG_READ)
    async def choose(self, plan_id: str) -> None:
        wanted = an_id("pln", plan_id)
        self.chosen = ItemRow() if self.chosen.id == wanted else ItemRow(id=wanted)
        async with self._ctx() as octx:
            await self._read(octx)

    @rx.event
    @needs(actions.OP_CATALOG_READ)
    async def ask(self, dialog: str) -> None:
        self.dialog = a_word(dialog, DIALOGS)

    @rx.event
    @needs(actions.OP_CATALOG_READ)
    async def dismiss(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def create(self, payload: dict[str, Any]) -> None:
        form = CreateForm.read(payload)
        tenant = an_id("ten", form.tenant) if form.tenant else None
        async with self._ctx() as octx:
            draft = await drafts.create(
                octx, form.kind, form.key, form.name, form.sentence, for_tenant=tenant
            )
            await self._enter(octx, draft.id)
        self.dialog = ""

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def open_draft(self, plan_id: str) -> None:
        async with self._ctx() as octx:
            draft = await drafts.open_draft(octx, an_id("pln", plan_id))
            await self._enter(octx, draft.id)

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def edit(self, version_id: str) -> None:
        async with self._ctx() as octx:
            await self._enter(octx, an_id("plv", version_id))

    async def _enter(self, octx: OperatorCtx, version_id: str) -> None:
        """The form, filled with what is saved."""
        plan, draft = await drafts.get(octx, version_id)
        if draft.status != "draft":
            raise Conflict(f"This version of {plan.name} is published.", "Open a new draft.")
        stock = await drafts.list_all(octx)
        self._take(contents.of(draft), draft.revision)
        self.flags = [(one.key, one.title, one.key in draft.flags) for one in stock.flags]
        if self._draft != draft.id:
            self.moves, self.effective_on = "stay", ""
        self._draft, self.is_plan = draft.id, plan.kind == "plan"
        self.title = f"{plan.name}, draft of version {draft.number}"
        self.view = "edit"

    def _take(self, content: Content, revision: int) -> None:
        self._base, self._revision = content, revision
        self.has, self.trial_days = sorted(content.features), str(content.trial_days)
        fields = {name: catalogue.typed(content.limits.get(name)) for name in LIMITS}
        self.amounts = {name: amount for name, (amount, _) in fields.items()}
        self.modes = {name: mode for name, (_, mode) in fields.items()}
        self.conflict, self.theirs, self.stale = "", [], ""
        self.form = str(int(self.form) + 1)

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def toggle_flag(self, key: str) -> None:
        wanted = a_word(key, {one for one, _, _ in self.flags})
        self.flags = [(one, title, on != (one == wanted)) for one, title, on in self.flags]

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def look(self, payload: dict[str, Any]) -> EventSpec | None:
        """Saves the draft and shows what it would do. Where somebody was faster, nothing of what is typed is lost."""
        form = DraftFields.read(payload)
        content = catalogue.content_of(form, [key for key, _, on in self.flags if on])
        effective_at, moves = catalogue.date_of(form), form.model_dump()["moves"]
        try:
            async with self._ctx() as octx:
                draft = await drafts.save(octx, self._draft, self._revision, content)
                seen = await blast_radius.look(
                    octx, draft.id, draft.revision, moves=moves == "move", effective_at=effective_at
                )
        except (Conflict, NotFound):
            async with self._ctx() as octx:
                await self._compare(octx)
            if not self.conflict:
                raise
            return rx.scroll_to("conflict")
        self._take(content, seen.revision)
        self.moves, self.effective_on = moves, form.model_dump()["effective_on"]
        self._effect(seen, effective_at)
        return None

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def look_again(self) -> None:
        async with self._ctx() as octx:
            seen = await blast_radius.look(
                octx,
                self._draft,
                self._revision,
                moves=self.moves == "move",
                effective_at=self._effective_at,
            )
        self._effect(seen, self._effective_at)

    def _effect(self, seen: Look, effective_at: datetime | None) -> None:
        report = seen.report
        self._digest, self._effective_at = seen.digest, effective_at
        self.figures = [
            (f"{report.exceeding:,}", "Tenants going over a limit"),
            (f"{report.losing:,}", "Tenants that lose"),
            (f"{report.to_refused + report.to_allowed:,}", "Decisions that would turn"),
            (f"{report.gaining:,}", "Tenants that gain"),
        ]
        self.gains = [catalogue.shift_row(one) for one in report.gains]
        self.losses = [catalogue.shift_row(one) for one in report.losses]
        self.over = [catalogue.shift_row(one, over=True) for one in report.over]
        self.flips = [catalogue.flip_row(one) for one in report.flips]
        self.nobody = report.nobody
        self.looked_at = words.some_of(report.looked_at, "tenant", "tenants")
        self.when_said = f"on {effective_at:%-d %B %Y}, 00:00 UTC" if effective_at else "at once"
        self.moves_said = (
            "Tenants on earlier versions move to it."
            if self.moves == "move"
            else "Tenants on earlier versions stay where they are."
        )
        self.stale, self.view = "", "effect"

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def keep_mine(self) -> None:
        """What is typed replaces what the other one saved, at the next save."""
        async with self._ctx() as octx:
            _, draft = await drafts.get(octx, self._draft)
        self._base, self._revision = contents.of(draft), draft.revision
        self.conflict, self.theirs, self.stale = "", [], ""

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def take_theirs(self) -> None:
        async with self._ctx() as octx:
            await self._enter(octx, self._draft)

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def back_to_draft(self) -> None:
        self.view = "edit"

    @rx.event
    @needs(actions.OP_CATALOG_READ)
    async def back_to_list(self) -> None:
        self.view, self.conflict, self.theirs, self.stale = "", "", [], ""

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def discard(self, payload: dict[str, Any]) -> EventSpec:
        NoForm.read(payload)
        async with self._ctx() as octx:
            await drafts.discard(octx, self._draft, self._revision)
            await self._read(octx)
        return self._done("Discarded the draft.", "What is published stays as it is.")

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def publish(self, payload: dict[str, Any]) -> EventSpec | None:
        form = ReasonForm.read(payload)
        try:
            async with self._ctx() as octx:
                await blast_radius.publish(
                    octx,
                    self._draft,
                    self._revision,
                    form.reason,
                    self._effective_at,
                    self.moves == "move",
                    self._digest,
                )
                await self._read(octx)
        except Conflict as conflict:
            self.dialog, self.stale = "", conflict.detail
            return None
        return self._done(f"Published {self.title.replace('draft of ', '')}.", f"In force {self.when_said}.")

    @rx.event
    @needs(actions.OP_CATALOG_WRITE)
    async def retire(self, payload: dict[str, Any]) -> EventSpec:
        form, name = ReasonForm.read(payload), self.chosen.name
        async with self._ctx() as octx:
            await drafts.retire(octx, an_id("pln", self.chosen.id), form.reason)
            await self._read(octx)
        return self._done(f"Retired {name}.", "Who has it keeps it.")

    def _done(self, said: str, then: str) -> EventSpec:
        self.dialog, self.view, self.conflict, self.theirs, self.stale = "", "", "", [], ""
        self._draft = ""
        return rx.toast.success(said, description=then)


# ── the list ─────────────────────────────────────────────────────────────────────────────────────────────────────


def draft_button(one: Any) -> rx.Component:
    """Opens the draft there is, or a new one."""
    go_on = button(
        "Edit draft", on_click=CatalogState.edit(one.draft), aria_label=f"Edit the draft of {one.name}"
    )
    begin = button(
        "New draft", on_click=CatalogState.open_draft(one.id), aria_label=f"New draft of {one.name}"
    )
    return rx.cond(may(actions.OP_CATALOG_WRITE) & ~one.retired, rx.cond(one.draft != "", go_on, begin))


def listed(rows: Any, name: str, title: str, sentence: str, *, tenant: bool = False) -> rx.Component:
    table = addon_table(rows, name, CatalogState.choose, CatalogState.chosen.id, draft_button, tenant=tenant)
    nothing = empty(title, sentence, glyph="package")
    return hull(
        rx.cond(CatalogState.loaded, rx.cond(some(rows), table, nothing), skeleton_rows(3)), name=name
    )


def plans_tab() -> rx.Component:
    table = comparison(
        CatalogState.plans,
        CatalogState.limits,
        CatalogState.features,
        CatalogState.choose,
        CatalogState.chosen.id,
        draft_button,
    )
    return hull(rx.cond(CatalogState.loaded, table, skeleton_rows(9)), name="Plans")


def chosen_panel() -> rx.Component:
    retire = rx.cond(
        may(actions.OP_CATALOG_WRITE) & ~CatalogState.chosen.retired,
        button("Retire", kind="danger", glyph="archive", on_click=CatalogState.ask("retire")),
    )
    acts = rx.fragment(link("Prices", "/prices", class_name="small"), retire)
    return rx.cond(
        CatalogState.chosen.name != "",
        versions_panel(CatalogState.chosen, CatalogState.versions, acts, CatalogState.choose),
    )


def list_view() -> rx.Component:
    contents_ = {
        "plans": plans_tab(),
        "addons": listed(
            CatalogState.addons,
            "Add-ons",
            "There are no add-ons",
            "Create one for what comes on top of a plan.",
        ),
        "own": listed(
            CatalogState.own,
            "Offered to one tenant",
            "Everything is offered to everybody",
            "A plan or add-on that was agreed with one tenant would stand here. No other tenant sees it.",
            tenant=True,
        ),
        "retired": listed(
            CatalogState.retired,
            "Retired",
            "Nothing is retired",
            "What is no longer offered would stand here.",
        ),
    }
    return rx.tabs.root(
        rx.tabs.list(*[rx.tabs.trigger(name, value=key) for key, name in TABS.items()], aria_label="Catalog"),
        *[
            rx.tabs.content(rx.el.div(chosen_panel(), contents_[key], class_name="stack"), value=key)
            for key in TABS
        ],
        value=CatalogState.tab,
        on_change=CatalogState.choose_tab,
    )


# ── the draft and its effect ─────────────────────────────────────────────────────────────────────────────────────


def conflict_box() -> rx.Component:
    theirs = rx.cond(
        some(CatalogState.theirs),
        rx.fragment(
            rx.el.h3("What they changed"),
            diff(CatalogState.theirs),
            small("What you typed still stands below. Saved over theirs, yours replaces all of it."),
            rx.el.div(
                button("Go on with mine", on_click=CatalogState.keep_mine),
                button("Take theirs", on_click=CatalogState.take_theirs),
                class_name="row wrap",
            ),
        ),
        small("What you typed still stands below, but it cannot be saved here any more."),
    )
    return rx.cond(
        CatalogState.conflict != "",
        rx.el.section(
            rx.el.div(rx.el.h2(CatalogState.conflict), theirs, class_name="body", role="alert"),
            class_name="hull",
            id="conflict",
            aria_label="Conflict",
            data_testid="conflict",
        ),
    )


def edit_view() -> rx.Component:
    form = draft_form(
        CatalogState.is_plan,
        CatalogState.has,
        CatalogState.amounts,
        CatalogState.modes,
        CatalogState.trial_days,
        CatalogState.flags,
        CatalogState.moves,
        CatalogState.effective_on,
        CatalogState.toggle_flag,
        CatalogState.look,
        key=CatalogState.form,
    )
    return rx.fragment(conflict_box(), form)


def effect_view() -> rx.Component:
    stale = rx.cond(
        CatalogState.stale != "",
        rx.el.div(
            banner(
                rx.fragment(rx.el.b(CatalogState.stale), " What you see below may not hold any more."),
                tone="warn",
                glyph="triangle-alert",
                action=rx.cond(
                    CatalogState.conflict != "",
                    button("Back to the draft", on_click=CatalogState.back_to_draft),
                    button("Look again", on_click=CatalogState.look_again),
                ),
            ),
            data_testid="stale",
        ),
    )
    panel = effect_panel(
        CatalogState.figures,
        CatalogState.gains,
        CatalogState.losses,
        CatalogState.over,
        CatalogState.flips,
        CatalogState.nobody,
    )
    return rx.fragment(stale, panel)


def reason_field(which: str) -> rx.Component:
    control = text_input(
        f"{which}-reason",
        name="reason",
        noted=True,
        required=True,
        max_length=LONGEST_REASON,
        auto_complete="off",
    )
    return field("Reason", control, id=f"{which}-reason", hint="It stands in the operators' trail.")


def about(which: str, title: Any, sentence: Any, *children: rx.Component, **props: Any) -> rx.Component:
    return dialog(
        None,
        title,
        sentence,
        *children,
        open=CatalogState.dialog == which,
        on_open_change=CatalogState.dismiss,
        test_id=f"{which}-form",
        **props,
    )


def dialogs() -> rx.Component:
    def text(name: str, label: str, hint: str = "", **props: Any) -> rx.Component:
        control = text_input(f"create-{name}", name=name, noted=bool(hint), auto_complete="off", **props)
        return field(label, control, id=f"create-{name}", hint=hint)

    create = about(
        "create",
        "New plan or add-on",
        "It begins as an empty draft. Nobody is offered it before you publish it.",
        choices("What is it?", "kind", KINDS, value="plan"),
        text("name", "Name", required=True, max_length=drafts.LONGEST_NAME),
        text("key", "Key", "Small letters, digits, - and _. It never changes.", required=True, max_length=40),
        text("sentence", "For whom it is", "Customers read it beside the name.", max_length=200),
        text(
            "tenant", "Id of a tenant", "Only this tenant is offered it. Empty: everybody is.", max_length=40
        ),
        confirm="Create draft",
        submit=CatalogState.create,
    )
    discard = about(
        "discard",
        f"Discard {CatalogState.title}",
        "What is in it is gone. What is published stays as it is.",
        confirm="Discard",
        submit=CatalogState.discard,
        kind="danger-fill",
    )
    publish = about(
        "publish",
        f"Publish {CatalogState.title}",
        rx.fragment(
            "In force ",
            CatalogState.when_said,
            ". ",
            CatalogState.moves_said,
            " A published version never changes.",
        ),
        reason_field("publish"),
        confirm="Publish",
        submit=CatalogState.publish,
    )
    retire = about(
        "retire",
        f"Retire {CatalogState.chosen.name}",
        "It is offered to nobody any more. Who has it keeps it.",
        reason_field("retire"),
        confirm="Retire",
        submit=CatalogState.retire,
        kind="danger-fill",
    )
    return rx.fragment(create, discard, publish, retire)


def heading() -> rx.Component:
    new = allowed(
        actions.OP_CATALOG_WRITE,
        button(
            "New plan or add-on",
            kind="primary",
            glyph="plus",
            on_click=CatalogState.ask("create"),
            data_testid="create",
        ),
        "New plan or add-on",
        glyph="plus",
    )
    listing = head(
        "Catalog",
        said="What plans and add-ons give. What is published never changes: a new version replaces it.",
        actions=[new],
    )

    def crumbs(*more: rx.Component) -> rx.Component:
        first = rx.el.button("Catalog", class_name="link", type="button", on_click=CatalogState.back_to_list)
        return rx.el.nav(first, *more, class_name="crumbs", aria_label="You are here")

    slash = rx.el.span("/", aria_hidden="true")
    discard = button("Discard", kind="danger", glyph="trash-2", on_click=CatalogState.ask("discard"))
    editing = head(
        CatalogState.title,
        above=crumbs(slash, rx.el.span("Draft", aria_current="page")),
        said="Nobody is offered a draft. Saving it changes nothing for any tenant.",
        actions=[discard],
    )
    to_draft = rx.el.button("Draft", class_name="link", type="button", on_click=CatalogState.back_to_draft)
    publish = button(
        "Publish",
        kind="primary",
        on_click=CatalogState.ask("publish"),
        disabled=CatalogState.stale != "",
        data_testid="publish",
    )
    effect = head(
        f"Effect of {CatalogState.title}",
        above=crumbs(slash, to_draft, slash, rx.el.span("Effect", aria_current="page")),
        said=rx.fragment(
            "In force ",
            CatalogState.when_said,
            ". ",
            CatalogState.moves_said,
            " Looked at ",
            CatalogState.looked_at,
            ".",
        ),
        actions=[button("Back to the draft", on_click=CatalogState.back_to_draft), publish],
    )
    return by_view(editing, effect, listing)


def by_view(edit: rx.Component, effect: rx.Component, listing: rx.Component) -> rx.Component:
    return rx.cond(CatalogState.view == "edit", edit, rx.cond(CatalogState.view == "effect", effect, listing))


@rx.page(route="/catalog", title="Catalog · Operator", on_load=CatalogState.load)
def catalog() -> rx.Component:
    shown = by_view(edit_view(), effect_view(), list_view())
    return page(heading(), shown, dialogs(), current="Catalog", load=CatalogState.load)
