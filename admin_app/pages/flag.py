"""/flags/[flag]: one flag. Its rules and what other rules would do, the kill switch, whom it is on for, its history."""

import json
from datetime import date
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from admin_app import words
from admin_app.frame import page
from admin_app.pages.flag_rows import (
    ExposedRow,
    FlagHeader,
    FlagImpactView,
    FlagMetrics,
    FlagSwitchForm,
    FlagVersionRow,
    MoveCleanupForm,
    ReasonForm,
    RuleForm,
    RuleRow,
    exposed_row,
    flag_header,
    flag_impact_view,
    flag_metrics,
    rule_rows,
    version_rows,
)
from admin_app.pages.flags import parse_day
from admin_app.shell import PageState, guard_control, is_allowed
from shared.access import actions
from shared.backoffice import flag_admin, flag_exposure
from shared.core.context import OperatorCtx
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.stated_reason import MAX_REASON_LENGTH
from shared.entitlements import flag_rules
from shared.entitlements.assignments import TRAITS
from shared.entitlements.flag_evaluation import RULE_KINDS
from shared.ui.authorize import needs
from shared.ui.banners import banner, empty_state, local_time, skeleton_block, skeleton_rows
from shared.ui.controls import button, dialog, form_field, icon, icon_button, menu, text_input
from shared.ui.forms import parse_choice
from shared.ui.panels import panel, small, stat, stat_grid, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, avatar, badge, data_table, has_items, pager, table_row

EXPOSED_COLUMNS = [
    Column("Tenant"),
    Column("Why", hidden_on_phone=True),
    Column("Decisions", align_end=True, hidden_on_phone=True),
    Column("Errors", align_end=True),
]
RULE_KIND_CHOICES = [
    ("everyone", "Everyone"),
    ("percentage", "A share of all tenants"),
    ("plan", "Plans"),
    ("beta", "Tenants that try things first"),
    ("internal", "Our own tenants"),
    ("allowed", "Tenants let in one by one"),
    ("cohort", "Cohorts"),
    ("industry", "Industries"),
    ("region", "Regions"),
]
DIALOGS = ("", "save", "kill", "revive", "move", "retire")
PAGE_SIZE = 25


class FlagPageState(PageState):
    loaded: bool = False
    header: FlagHeader = FlagHeader()
    metrics: FlagMetrics = FlagMetrics()
    rules: list[RuleRow] = []
    versions: list[FlagVersionRow] = []
    exposed: list[ExposedRow] = []
    count_text: str = ""
    has_next: bool = False
    has_previous: bool = False
    is_editing: bool = False
    is_draft_outdated: bool = False  # somebody changed it while it was edited here
    draft_rules: list[RuleRow] = []
    kind: str = "everyone"
    form_number: int = 0  # a new form for every rule
    value_choices: list[tuple[str, str]] = []  # that a rule of this kind may name
    impact: FlagImpactView = FlagImpactView()
    dialog: str = ""
    _version_number: int = 0  # of the version that is shown
    _draft_version: int = 0  # of the version that the draft began with
    # As text, because what Reflex hands out of a list is no list to those who check strictly.
    _rules_json: str = "[]"
    _draft_json: str = "[]"  # one rule per value
    _plan_names: dict[str, str] = {}
    _cursors: list[str] = []
    _next_cursor: str = ""

    def _key_from_path(self) -> str:
        """From the address: a wish. Raises NotFound for what cannot be a key."""
        key = self.router.url.path.strip("/").partition("/")[2]
        if flag_admin.KEY_PATTERN.fullmatch(key) is None:
            raise NotFound("There is no such flag.", "Choose one from the list.")
        return key

    def _shown_key(self) -> str:
        """The same, of the flag that whoever clicks has before their eyes. Raises NotFound, Conflict."""
        key = self._key_from_path()
        if self.header.key != key:
            raise Conflict("This page shows another flag.", "Reload the page.")
        return key

    @rx.event
    @needs(actions.OP_FLAG_READ, page=True)
    async def load(self) -> None:
        key = self._key_from_path()
        if self.header.key != key:
            self._clear_page()
        async with self._open_page(FlagPageState.load, flag_admin.TOPIC, "tenant") as octx:
            page_data = await self._read(octx, key, self._cursors)
        self._show(*page_data)

    def _clear_page(self) -> None:
        """Another flag's page: nothing of the last one stays."""
        self.loaded, self.header, self.dialog, self._cursors = False, FlagHeader(), "", []
        self._stop_editing()

    async def _read(
        self, octx: OperatorCtx, key: str, cursors: list[str]
    ) -> tuple[flag_admin.FlagDetail, flag_exposure.FlagReach, list[str]]:
        flag_history = await flag_admin.get_flag(octx, key)
        after = cursors[-1] if cursors else ""
        return (
            flag_history,
            await flag_exposure.get_flag_reach(octx, key, after=after, limit=PAGE_SIZE),
            cursors,
        )

    def _show(
        self, flag_history: flag_admin.FlagDetail, reach: flag_exposure.FlagReach, cursors: list[str]
    ) -> None:
        version = flag_history.versions[0]
        self.header, self.metrics = flag_header(flag_history), flag_metrics(reach)
        self.rules, self.versions = rule_rows(version.rules), version_rows(flag_history.versions)
        self._version_number, self._rules_json = version.number, json.dumps(version.rules)
        self._plan_names = dict(flag_history.plans)
        self.exposed = [exposed_row(tenant) for tenant in reach.rows]
        self._cursors, self._next_cursor = cursors, reach.after
        self.has_next, self.has_previous = bool(reach.after), bool(cursors)
        first = PAGE_SIZE * len(cursors)
        self.count_text = (
            f"{first + 1:,}–{first + len(reach.rows):,} of {reach.exposed.tenants:,}"
            if reach.after or first
            else words.plural(len(reach.rows), "tenant", "tenants")
        )
        self.is_draft_outdated = self.is_editing and self._draft_version != version.number
        self.loaded = True

    async def _reload(self, cursors: list[str]) -> None:
        async with self._ctx() as octx:
            page_data = await self._read(octx, self._key_from_path(), cursors)
        self._show(*page_data)

    @rx.event
    @needs(actions.OP_FLAG_READ)
    async def next_page(self) -> None:
        if self._next_cursor:
            await self._reload([*self._cursors, self._next_cursor])

    @rx.event
    @needs(actions.OP_FLAG_READ)
    async def previous_page(self) -> None:
        await self._reload(self._cursors[:-1])

    # rules

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def edit_rules(self) -> None:
        self._shown_key()
        self.is_editing, self.is_draft_outdated, self._draft_version = True, False, self._version_number
        self._set_draft(flag_rules.split_rules(json.loads(self._rules_json)))

    @rx.event
    @needs(actions.OP_FLAG_READ)
    async def cancel_editing(self) -> None:
        self._stop_editing()

    def _stop_editing(self) -> None:
        self.is_editing, self.is_draft_outdated, self.kind, self.value_choices = False, False, "everyone", []
        self._set_draft([])

    def _set_draft(self, rules_draft: list[dict[str, Any]]) -> None:
        self._draft_json, self.draft_rules = json.dumps(rules_draft), rule_rows(rules_draft)

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def choose_kind(self, kind: str) -> None:
        self.kind = parse_choice(kind, RULE_KINDS)
        value_pairs = (
            list(self._plan_names.items())
            if kind == "plan"
            else [(trait_value, trait_value) for trait_value in TRAITS.get(kind, ())]
        )
        self.value_choices = [(value, label.replace("_", " ")) for value, label in value_pairs]

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def add_rule(self, payload: dict[str, Any]) -> EventSpec:
        form = RuleForm.read(payload)
        (rule,) = flag_rules.parse_rules([form.to_rule()], self._plan_names)
        times = (rule.get("starts_at"), rule.get("ends_at"))
        remaining = [
            draft_rule
            for draft_rule in json.loads(self._draft_json)
            if rule["kind"] != "percentage"
            or (draft_rule["kind"], draft_rule.get("starts_at"), draft_rule.get("ends_at"))
            != ("percentage", *times)
        ]  # one share at a time: another one replaces it
        if rule in remaining:
            raise Invalid("This rule stands there already.", "Add another one, or review the change.")
        self._set_draft([*remaining, rule])
        self.form_number += 1
        return rx.set_focus("kind")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def remove_rule(self, place: str) -> None:
        removed_index = int(parse_choice(place, [rule_row.index for rule_row in self.draft_rules]))
        self._set_draft(
            [draft_rule for at, draft_rule in enumerate(json.loads(self._draft_json)) if at != removed_index]
        )

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def preview_rules(self) -> None:
        """What it would do, before it is done."""
        await self._preview_impact(flag_rules.merge_rules(json.loads(self._draft_json)))
        self.dialog = "save"

    async def _preview_impact(self, new_rules: list[dict[str, Any]]) -> None:
        async with self._ctx() as octx:
            effect = await flag_exposure.simulate_rules(octx, self._shown_key(), new_rules)
        self.impact = flag_impact_view(effect)

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def save_rules(self, payload: dict[str, Any]) -> EventSpec:
        form, key = ReasonForm.read(payload), self._shown_key()
        async with self._ctx() as octx:
            new_rules = flag_rules.merge_rules(json.loads(self._draft_json))
            await flag_admin.change_rules(octx, key, self._draft_version, new_rules, form.reason)
            page_data = await self._read(octx, key, [])
        self._stop_editing()
        killed_note = "It stays killed until somebody revives it."
        return self._finish(
            page_data,
            "Changed the rules.",
            killed_note if page_data[0].flag.version.killed else "They count from now on.",
        )

    # switches

    @rx.event
    @needs(actions.OP_FLAG_READ)
    async def open_dialog(self, dialog: str) -> None:
        name = parse_choice(dialog, DIALOGS)
        if name == "revive":
            await self._preview_impact(json.loads(self._rules_json))
        self.dialog = name

    @rx.event
    @needs(actions.OP_FLAG_READ)
    async def close_dialog(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def kill_flag(self, payload: dict[str, Any]) -> EventSpec:
        form, key = FlagSwitchForm.read(payload), self._confirmed_key(payload)
        async with self._ctx() as octx:
            await flag_admin.kill_flag(octx, key, form.reason)
            page_data = await self._read(octx, key, [])
        return self._finish(page_data, f"Killed {key}.", "It is off for everybody. Its rules stay for later.")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def revive_flag(self, payload: dict[str, Any]) -> EventSpec:
        form, key = FlagSwitchForm.read(payload), self._confirmed_key(payload)
        async with self._ctx() as octx:
            await flag_admin.revive_flag(octx, key, self._version_number, form.reason)
            page_data = await self._read(octx, key, [])
        return self._finish(page_data, f"Revived {key}.", "It is on again for those its rules are about.")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def move_cleanup(self, payload: dict[str, Any]) -> EventSpec:
        form, key = MoveCleanupForm.read(payload), self._shown_key()
        new_date = parse_day(form.cleanup_by) if form.cleanup_by else None
        async with self._ctx() as octx:
            previous_date = date.fromisoformat(self.header.cleanup_iso)
            await flag_admin.change_cleanup_date(octx, key, previous_date, new_date, form.reason)
            page_data = await self._read(octx, key, self._cursors)
        return self._finish(page_data, "Moved the clean-up date.", "Its owner answers for the new one.")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def retire_flag(self, payload: dict[str, Any]) -> EventSpec:
        form, key = FlagSwitchForm.read(payload), self._confirmed_key(payload)
        async with self._ctx() as octx:
            await flag_admin.retire_flag(octx, key, form.reason)
            page_data = await self._read(octx, key, [])
        self._stop_editing()
        return self._finish(
            page_data, f"Retired {key}.", "It is off for everybody, and its key is not used again."
        )

    def _confirmed_key(self, payload: dict[str, Any]) -> str:
        """The key of this page, typed by whoever switches it. Raises Invalid."""
        key = self._shown_key()
        if FlagSwitchForm.read(payload).confirm != key:
            raise Invalid(
                f"This is not the key {key}.",
                "Type it exactly as it is written above.",
                fields={"confirm": "Not the key"},
            )
        return key

    def _finish(self, page_data: tuple[Any, ...], title: str, detail: str) -> EventSpec:
        self._show(*page_data)
        self.dialog = ""
        return rx.toast.success(title, description=detail)


def metrics_panel() -> rx.Component:
    metrics = FlagPageState.metrics
    facts = stat_grid(
        stat("On for", metrics.exposed, metrics.exposed_note),
        stat("Errors where it is on", metrics.errors, metrics.errors_note),
        stat("Errors where it is off", metrics.errors_elsewhere, metrics.errors_elsewhere_note),
        stat("Refused because it is off", metrics.refusals, "times"),
    )
    content = rx.cond(FlagPageState.loaded, facts, skeleton_rows(1))
    return panel(content, title="How it fares", aside=small("Errors per 1,000 decisions, 7 days"))


def rule_list() -> rx.Component:
    def line(rule: RuleRow) -> rx.Component:
        return rx.el.li(rx.el.span("On for ", rule.text, class_name="grow cut-anywhere"))

    no_rules = empty_state("Off for everybody", "No rule lets anybody in yet.", glyph="flag-off")
    rule_items = rx.el.ul(rx.foreach(FlagPageState.rules, line), class_name="list", data_testid="rules")
    killed_note = rx.cond(
        FlagPageState.header.killed,
        rx.el.p(
            "Nobody has it while it is killed. Reviving it brings these back.", class_name="body muted ruled"
        ),
    )
    return rx.cond(has_items(FlagPageState.rules), rx.fragment(rule_items, killed_note), no_rules)


def rule_editor() -> rx.Component:
    def line(rule: RuleRow) -> rx.Component:
        remove_button = icon_button(
            f"Remove {rule.text}", "x", on_click=FlagPageState.remove_rule(rule.index)
        )
        return rx.el.li(rx.el.span("On for ", rule.text, class_name="grow cut-anywhere"), remove_button)

    no_rules = rx.el.p("Nobody: without a rule it is off for everybody.", class_name="body muted")
    rule_items = rx.el.ul(rx.foreach(FlagPageState.draft_rules, line), class_name="list", data_testid="draft")
    outdated_banner = rx.cond(
        FlagPageState.is_draft_outdated,
        banner(
            "Somebody else has changed this flag since you began. Cancel and start again from what it is now.",
            tone="warn",
            glyph="git-compare",
        ),
    )
    return rx.fragment(
        outdated_banner,
        rx.cond(has_items(FlagPageState.draft_rules), rule_items, no_rules),
        rx.el.div(rule_form(), class_name="body ruled"),
        rx.el.div(
            rx.el.span(small("On for whoever one of these is about.", class_name="less"), class_name="grow"),
            button("Cancel", on_click=FlagPageState.cancel_editing),
            button(
                "Review change", kind="primary", on_click=FlagPageState.preview_rules, data_testid="review"
            ),
            class_name="foot",
        ),
    )


def rule_form() -> rx.Component:
    kind = rx.el.select(
        *[rx.el.option(label, value=value) for value, label in RULE_KIND_CHOICES],
        id="kind",
        name="kind",
        class_name="input",
        default_value=FlagPageState.kind,  # uncontrolled: what is chosen stays while the server is on its way
        on_change=FlagPageState.choose_kind,
    )
    # Not always there, so that Reflex must not know their ids: it would send them as fields without a value.
    value = rx.el.select(
        rx.foreach(FlagPageState.value_choices, lambda option: rx.el.option(option[1], value=option[0])),
        custom_attrs={"id": "rule-value"},
        name="value",
        class_name="input",
    )
    percent = text_input(
        "rule-percent", name="percent", type="number", min="0", max="100", step="0.01", required=True
    )
    fields = [
        form_field("Who", kind, id="kind"),
        rx.cond(has_items(FlagPageState.value_choices), form_field("Which", value, id="rule-value")),
        rx.cond(
            FlagPageState.kind == "percentage",
            form_field("Percent of all tenants", percent, id="rule-percent"),
        ),
        form_field("From (UTC)", text_input("starts_at", type="datetime-local"), id="starts_at"),
        form_field("Until (UTC)", text_input("ends_at", type="datetime-local"), id="ends_at"),
        rx.el.div(button("Add rule", type="submit", glyph="plus"), class_name="row"),
    ]
    return rx.form(
        rx.el.div(*fields, class_name="filters", data_few="true"),
        on_submit=FlagPageState.add_rule,
        key=f"rule-{FlagPageState.form_number}",
        data_testid="rule-form",
    )


def rules_panel() -> rx.Component:
    change = rx.cond(
        is_allowed(actions.OP_FLAG_WRITE)
        & ~FlagPageState.is_editing
        & ~FlagPageState.header.retired
        & FlagPageState.loaded,
        button("Change rules", glyph="pencil", on_click=FlagPageState.edit_rules, data_testid="edit"),
    )
    content = rx.cond(FlagPageState.is_editing, rule_editor(), rule_list())
    return panel(rx.cond(FlagPageState.loaded, content, skeleton_rows(2)), title="Rules", aside=change)


def exposed_panel() -> rx.Component:
    def line(tenant: ExposedRow) -> rx.Component:
        name = text_with_note(
            link(tenant.name, f"/tenants/{tenant.id}", class_name="strong"),
            small(tenant.plan, rx.el.span(" · ", tenant.reason, class_name="only-small")),
        )
        errors = rx.el.span(tenant.errors, class_name=rx.cond(tenant.has_errors, "down", "muted"))
        return table_row(EXPOSED_COLUMNS, name, tenant.reason, tenant.decisions, errors)

    foot = pager(
        FlagPageState.count_text,
        on_next=FlagPageState.next_page,
        on_previous=FlagPageState.previous_page,
        has_next=FlagPageState.has_next,
        has_previous=FlagPageState.has_previous,
        labels=("Previous", "Next"),
    )
    table = data_table(
        "Tenants it is on for",
        EXPOSED_COLUMNS,
        rx.foreach(FlagPageState.exposed, line),
        footer=foot,
        test_id="exposed",
    )
    no_tenants = empty_state(
        "Nobody has it", "Tenants that it is on for would stand here.", glyph="building-2"
    )
    content = rx.cond(has_items(FlagPageState.exposed), table, no_tenants)
    return panel(
        rx.cond(FlagPageState.loaded, content, skeleton_rows(3)),
        title="Tenants it is on for",
        aside=small("Decisions and errors of 7 days"),
    )


def history_panel() -> rx.Component:
    def line(version: FlagVersionRow) -> rx.Component:
        return rx.el.li(
            avatar(version.initials),
            rx.el.span(rx.el.b(version.author, class_name="strong"), " ", version.action_text),
            local_time(version.at, "", "moment"),
            small(
                version.rules_text,
                " Reason: ",
                version.reason,
                " · version ",
                version.number,
                class_name="cut-anywhere",
            ),
            class_name="event",
        )

    version_list = rx.el.ol(rx.foreach(FlagPageState.versions, line), data_testid="versions")
    return panel(rx.cond(FlagPageState.loaded, version_list, skeleton_rows(2)), title="History")


def flag_dialog(name: str, title: Any, sentence: Any, *children: Any, **props: Any) -> rx.Component:
    return dialog(
        None,
        title,
        sentence,
        *children,
        reason_field(name),
        open=FlagPageState.dialog == name,
        on_open_change=FlagPageState.close_dialog,
        test_id=f"{name}-form",
        **props,
    )


def reason_field(name: str) -> rx.Component:
    control = text_input(
        f"{name}-reason",
        name="reason",
        has_note=True,
        required=True,
        max_length=MAX_REASON_LENGTH,
        auto_complete="off",
    )
    return form_field(
        "Reason", control, id=f"{name}-reason", hint="It stands in the history and the operators' trail."
    )


def confirm_field(form_name: str) -> rx.Component:
    control = text_input(f"{form_name}-confirm", name="confirm", required=True, auto_complete="off")
    label = rx.fragment("Type ", rx.el.b(FlagPageState.header.key), " to confirm")
    return form_field(label, control, id=f"{form_name}-confirm")


def impact_box() -> rx.Component:
    """Who gets it and who loses it, before anybody does."""
    impact = FlagPageState.impact

    def side(count: Any, names: Any, tone: str) -> rx.Component:
        return rx.cond(
            count != "",
            rx.el.li(
                text_with_note(rx.el.span(count, class_name=tone), small(names, class_name="cut-anywhere"))
            ),
        )

    return rx.el.section(
        rx.el.div(
            rx.el.span("On for", class_name="label"),
            rx.el.p(
                impact.before,
                " ",
                icon("arrow-right"),
                " ",
                impact.after,
                " ",
                rx.el.small("of ", impact.total_text),
                class_name="figure row",
            ),
            class_name="body",
        ),
        rx.cond(
            impact.is_empty,
            rx.el.p("No tenant gets it and none loses it now.", class_name="body muted ruled"),
            rx.el.ul(
                side(impact.gains_text, impact.gained_names, "up"),
                side(impact.losses_text, impact.lost_names, "down"),
                class_name="list ruled",
            ),
        ),
        class_name="hull",
        aria_label="Effect",
        data_testid="effect",
    )


def flag_dialogs() -> rx.Component:
    header = FlagPageState.header
    killed_note = rx.cond(header.killed, " It stays killed; this is what reviving it would then do.", "")
    save = flag_dialog(
        "save",
        "Save these rules?",
        rx.fragment("They count in every process from the moment they are saved.", killed_note),
        impact_box(),
        confirm="Save rules",
        submit=FlagPageState.save_rules,
    )
    kill = flag_dialog(
        "kill",
        f"Kill {header.title}",
        rx.fragment(
            "It is off at once for all it is on for (",
            FlagPageState.metrics.exposed,
            "). Its rules stay, so that it can be revived.",
        ),
        confirm_field("kill"),
        confirm="Kill",
        submit=FlagPageState.kill_flag,
        kind="danger-fill",
    )
    revive = flag_dialog(
        "revive",
        f"Revive {header.title}",
        "With the rules it has. This is what it does:",
        impact_box(),
        confirm_field("revive"),
        confirm="Revive",
        submit=FlagPageState.revive_flag,
    )
    move = flag_dialog(
        "move",
        "Move the clean-up date",
        f"{header.owner} answers for it until then.",
        form_field(
            "Clean up by",
            text_input("cleanup_by", type="date", required=True, default_value=header.cleanup_iso),
            id="cleanup_by",
        ),
        confirm="Move date",
        submit=FlagPageState.move_cleanup,
    )
    retire = flag_dialog(
        "retire",
        f"Retire {header.title}",
        "For good: it is off for everybody and its key is never used again.",
        confirm_field("retire"),
        confirm="Retire",
        submit=FlagPageState.retire_flag,
        kind="danger-fill",
    )
    return rx.fragment(save, kill, revive, move, retire)


def header_actions() -> rx.Component:
    header = FlagPageState.header
    kill = button(
        "Kill",
        kind="danger",
        glyph="power-off",
        on_click=FlagPageState.open_dialog("kill"),
        data_testid="kill",
    )
    revive = button(
        "Revive",
        kind="primary",
        glyph="power",
        on_click=FlagPageState.open_dialog("revive"),
        data_testid="revive",
    )
    retire = rx.cond(
        header.in_code,
        rx.menu.item(icon("archive"), "Retire: the code still asks for it", disabled=True),
        rx.menu.item(
            icon("archive"), "Retire", on_select=FlagPageState.open_dialog("retire"), color_scheme="red"
        ),
    )
    more_menu = menu(
        icon_button("More", "ellipsis"),
        rx.menu.item(
            icon("calendar-clock"), "Move clean-up date", on_select=FlagPageState.open_dialog("move")
        ),
        retire,
        align="end",
    )
    shown = rx.fragment(
        rx.cond(is_allowed(actions.OP_FLAG_WRITE), more_menu),
        guard_control(actions.OP_FLAG_WRITE, rx.cond(header.killed, revive, kill), "Kill", glyph="power-off"),
    )
    return rx.cond(FlagPageState.loaded & ~header.retired, shown)


def flag_page_header() -> rx.Component:
    header = FlagPageState.header
    crumbs = rx.el.nav(
        link("Flags", "/flags", class_name=""),
        rx.el.span("/", aria_hidden="true"),
        rx.el.span(header.title, aria_current="page"),
        class_name="crumbs",
        aria_label="You are here",
    )
    facts = rx.cond(
        FlagPageState.loaded,
        rx.fragment(
            rx.el.span(header.sentence),
            rx.el.span("Owner ", header.owner),
            rx.el.span("Clean up by ", header.cleanup_by),
            rx.cond(header.requires != "", rx.el.span("Requires ", header.requires)),
            rx.el.code(header.key, class_name="mono"),
        ),
        skeleton_block("240px"),
    )
    badges = rx.cond(
        FlagPageState.loaded,
        rx.fragment(badge(header.state, header.tone), rx.cond(header.stale, badge("Stale"))),
    )
    title = rx.cond(FlagPageState.loaded, header.title, skeleton_block("160px", "24px"))
    return page_header(
        title, breadcrumbs=crumbs, badges=badges, description=facts, actions=[header_actions()]
    )


def flag_notice() -> rx.Component:
    """The one thing that matters most about it now."""
    header = FlagPageState.header
    killed_banner = banner(
        rx.fragment(rx.el.b("Killed. "), header.killed_text), tone="bad", glyph="power-off"
    )
    overdue_text = rx.fragment(rx.el.b("Should be gone since ", header.cleanup_by, ". "), header.advice)
    stale_banner = banner(overdue_text, tone="warn", glyph="clock-alert")
    return rx.cond(header.killed, killed_banner, rx.cond(header.stale, stale_banner))


@rx.page(route="/flags/[flag]", title="Flag · Operator", on_load=FlagPageState.load)
def flag_page() -> rx.Component:
    return page(
        flag_page_header(),
        rules_panel(),
        metrics_panel(),
        exposed_panel(),
        history_panel(),
        flag_dialogs(),
        current="Flags",
        load=FlagPageState.load,
        banner=flag_notice(),
    )
