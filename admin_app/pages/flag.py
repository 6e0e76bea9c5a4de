"""/flags/[flag]: one flag. Its rules and what other rules would do, the kill switch, whom it is on for, its history."""

import json
from datetime import date
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from admin_app import words
from admin_app.frame import page
from admin_app.pages.flag_rows import (
    EffectRow,
    ExposedRow,
    Figures,
    Head,
    MoveForm,
    ReasonForm,
    RuleForm,
    RuleRow,
    SwitchForm,
    VersionRow,
    effect_row,
    exposed_row,
    figures,
    rule_rows,
    shown_head,
    version_rows,
)
from admin_app.pages.flags import a_day
from admin_app.shell import PageState, allowed, may
from shared.access import actions
from shared.core.ctx import OperatorCtx
from shared.core.errors import Conflict, Invalid, NotFound
from shared.entitlements import rollouts, rules
from shared.entitlements.holdings import TRAITS
from shared.entitlements.rollout import KINDS
from shared.tenancy import exposure
from shared.tenancy.entry import LONGEST_REASON
from shared.ui.feedback import banner, bone, empty, skeleton_rows, when
from shared.ui.form import button, dialog, field, icon, icon_button, menu, text_input
from shared.ui.form_model import a_word
from shared.ui.gate import needs
from shared.ui.hull import cells, fact, hull, small, two
from shared.ui.shell import head, link
from shared.ui.table import Column, avatar, badge, data_table, pager, row, some

EXPOSED = [
    Column("Tenant"),
    Column("Why", less=True),
    Column("Decisions", end=True, less=True),
    Column("Errors", end=True),
]
CHOICES = [
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
PAGE = 25


class OneFlagState(PageState):
    loaded: bool = False
    one: Head = Head()
    figures: Figures = Figures()
    rules: list[RuleRow] = []
    versions: list[VersionRow] = []
    exposed: list[ExposedRow] = []
    said: str = ""
    has_next: bool = False
    has_previous: bool = False
    editing: bool = False
    overtaken: bool = False  # somebody changed it while it was edited here
    draft: list[RuleRow] = []
    kind: str = "everyone"
    added: int = 0  # a new form for every rule
    values: list[tuple[str, str]] = []  # that a rule of this kind may name
    effect: EffectRow = EffectRow()
    dialog: str = ""
    _number: int = 0  # of the version that is shown
    _since: int = 0  # of the version that the draft began with
    # As text, because what Reflex hands out of a list is no list to those who check strictly.
    _stored: str = "[]"
    _drafted: str = "[]"  # one rule per value
    _plans: dict[str, str] = {}
    _cursors: list[str] = []
    _next: str = ""

    def _key(self) -> str:
        """From the address: a wish. Raises NotFound for what cannot be a key."""
        key = self.router.url.path.strip("/").partition("/")[2]
        if rollouts.KEY.fullmatch(key) is None:
            raise NotFound("There is no such flag.", "Choose one from the list.")
        return key

    def _shown(self) -> str:
        """The same, of the flag that whoever clicks has before their eyes. Raises NotFound, Conflict."""
        key = self._key()
        if self.one.key != key:
            raise Conflict("This page shows another flag.", "Reload the page.")
        return key

    @rx.event
    @needs(actions.OP_FLAG_READ, page=True)
    async def load(self) -> None:
        key = self._key()
        if self.one.key != key:
            self._forget()
        async with self._open(OneFlagState.load, rollouts.TOPIC, "tenant") as octx:
            found = await self._read(octx, key, self._cursors)
        self._show(*found)

    def _forget(self) -> None:
        """Another flag's page: nothing of the last one stays."""
        self.loaded, self.one, self.dialog, self._cursors = False, Head(), "", []
        self._stop_editing()

    async def _read(
        self, octx: OperatorCtx, key: str, cursors: list[str]
    ) -> tuple[rollouts.History, exposure.Reach, list[str]]:
        found = await rollouts.get(octx, key)
        after = cursors[-1] if cursors else ""
        return found, await exposure.of_flag(octx, key, after=after, limit=PAGE), cursors

    def _show(self, found: rollouts.History, reach: exposure.Reach, cursors: list[str]) -> None:
        version = found.versions[0]
        self.one, self.figures = shown_head(found), figures(reach)
        self.rules, self.versions = rule_rows(version.rules), version_rows(found.versions)
        self._number, self._stored = version.number, json.dumps(version.rules)
        self._plans = dict(found.plans)
        self.exposed = [exposed_row(one) for one in reach.rows]
        self._cursors, self._next = cursors, reach.after
        self.has_next, self.has_previous = bool(reach.after), bool(cursors)
        first = PAGE * len(cursors)
        self.said = (
            f"{first + 1:,}–{first + len(reach.rows):,} of {reach.exposed.tenants:,}"
            if reach.after or first
            else words.some_of(len(reach.rows), "tenant", "tenants")
        )
        self.overtaken = self.editing and self._since != version.number
        self.loaded = True

    async def _turn(self, cursors: list[str]) -> None:
        async with self._ctx() as octx:
            found = await self._read(octx, self._key(), cursors)
        self._show(*found)

    @rx.event
    @needs(actions.OP_FLAG_READ)
    async def next(self) -> None:
        if self._next:
            await self._turn([*self._cursors, self._next])

    @rx.event
    @needs(actions.OP_FLAG_READ)
    async def previous(self) -> None:
        await self._turn(self._cursors[:-1])

    # rules

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def edit(self) -> None:
        self._shown()
        self.editing, self.overtaken, self._since = True, False, self._number
        self._say(rules.single(json.loads(self._stored)))

    @rx.event
    @needs(actions.OP_FLAG_READ)
    async def cancel(self) -> None:
        self._stop_editing()

    def _stop_editing(self) -> None:
        self.editing, self.overtaken, self.kind, self.values = False, False, "everyone", []
        self._say([])

    def _say(self, drafted: list[dict[str, Any]]) -> None:
        self._drafted, self.draft = json.dumps(drafted), rule_rows(drafted)

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def choose_kind(self, kind: str) -> None:
        self.kind = a_word(kind, KINDS)
        named = list(self._plans.items()) if kind == "plan" else [(one, one) for one in TRAITS.get(kind, ())]
        self.values = [(value, label.replace("_", " ")) for value, label in named]

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def add(self, payload: dict[str, Any]) -> EventSpec:
        form = RuleForm.read(payload)
        (rule,) = rules.read([form.rule()], self._plans)
        times = (rule.get("starts_at"), rule.get("ends_at"))
        kept = [
            one
            for one in json.loads(self._drafted)
            if rule["kind"] != "percentage"
            or (one["kind"], one.get("starts_at"), one.get("ends_at")) != ("percentage", *times)
        ]  # one share at a time: another one replaces it
        if rule in kept:
            raise Invalid("This rule stands there already.", "Add another one, or review the change.")
        self._say([*kept, rule])
        self.added += 1
        return rx.set_focus("kind")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def remove(self, place: str) -> None:
        gone = int(a_word(place, [one.place for one in self.draft]))
        self._say([one for at, one in enumerate(json.loads(self._drafted)) if at != gone])

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def review(self) -> None:
        """What it would do, before it is done."""
        await self._weigh(rules.merged(json.loads(self._drafted)))
        self.dialog = "save"

    async def _weigh(self, wanted: list[dict[str, Any]]) -> None:
        async with self._ctx() as octx:
            effect = await exposure.simulate(octx, self._shown(), wanted)
        self.effect = effect_row(effect)

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def save(self, payload: dict[str, Any]) -> EventSpec:
        form, key = ReasonForm.read(payload), self._shown()
        async with self._ctx() as octx:
            wanted = rules.merged(json.loads(self._drafted))
            await rollouts.change_rules(octx, key, self._since, wanted, form.reason)
            found = await self._read(octx, key, [])
        self._stop_editing()
        killed = "It stays killed until somebody revives it."
        return self._done(
            found, "Changed the rules.", killed if found[0].flag.version.killed else "They count from now on."
        )

    # switches

    @rx.event
    @needs(actions.OP_FLAG_READ)
    async def ask(self, dialog: str) -> None:
        wanted = a_word(dialog, DIALOGS)
        if wanted == "revive":
            await self._weigh(json.loads(self._stored))
        self.dialog = wanted

    @rx.event
    @needs(actions.OP_FLAG_READ)
    async def dismiss(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def kill(self, payload: dict[str, Any]) -> EventSpec:
        form, key = SwitchForm.read(payload), self._confirmed(payload)
        async with self._ctx() as octx:
            await rollouts.kill(octx, key, form.reason)
            found = await self._read(octx, key, [])
        return self._done(found, f"Killed {key}.", "It is off for everybody. Its rules stay for later.")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def revive(self, payload: dict[str, Any]) -> EventSpec:
        form, key = SwitchForm.read(payload), self._confirmed(payload)
        async with self._ctx() as octx:
            await rollouts.revive(octx, key, self._number, form.reason)
            found = await self._read(octx, key, [])
        return self._done(found, f"Revived {key}.", "It is on again for those its rules are about.")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def move(self, payload: dict[str, Any]) -> EventSpec:
        form, key = MoveForm.read(payload), self._shown()
        wanted = a_day(form.cleanup_by) if form.cleanup_by else None
        async with self._ctx() as octx:
            was = date.fromisoformat(self.one.cleanup_iso)
            await rollouts.move_cleanup(octx, key, was, wanted, form.reason)
            found = await self._read(octx, key, self._cursors)
        return self._done(found, "Moved the clean-up date.", "Its owner answers for the new one.")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def retire(self, payload: dict[str, Any]) -> EventSpec:
        form, key = SwitchForm.read(payload), self._confirmed(payload)
        async with self._ctx() as octx:
            await rollouts.retire(octx, key, form.reason)
            found = await self._read(octx, key, [])
        self._stop_editing()
        return self._done(found, f"Retired {key}.", "It is off for everybody, and its key is not used again.")

    def _confirmed(self, payload: dict[str, Any]) -> str:
        """The key of this page, typed by whoever switches it. Raises Invalid."""
        key = self._shown()
        if SwitchForm.read(payload).confirm != key:
            raise Invalid(
                f"This is not the key {key}.",
                "Type it exactly as it is written above.",
                fields={"confirm": "Not the key"},
            )
        return key

    def _done(self, found: tuple[Any, ...], said: str, then: str) -> EventSpec:
        self._show(*found)
        self.dialog = ""
        return rx.toast.success(said, description=then)


def figures_hull() -> rx.Component:
    found = OneFlagState.figures
    facts = cells(
        fact("On for", found.exposed, found.of),
        fact("Errors where it is on", found.errors, found.errors_of),
        fact("Errors where it is off", found.others, found.others_of),
        fact("Refused because it is off", found.refused, "times"),
    )
    shown = rx.cond(OneFlagState.loaded, facts, skeleton_rows(1))
    return hull(shown, title="How it fares", aside=small("Errors per 1,000 decisions, 7 days"))


def rule_list() -> rx.Component:
    def line(one: RuleRow) -> rx.Component:
        return rx.el.li(rx.el.span("On for ", one.said, class_name="grow cut-anywhere"))

    nothing = empty("Off for everybody", "No rule lets anybody in yet.", glyph="flag-off")
    listed = rx.el.ul(rx.foreach(OneFlagState.rules, line), class_name="list", data_testid="rules")
    later = rx.cond(
        OneFlagState.one.killed,
        rx.el.p(
            "Nobody has it while it is killed. Reviving it brings these back.", class_name="body muted ruled"
        ),
    )
    return rx.cond(some(OneFlagState.rules), rx.fragment(listed, later), nothing)


def editor() -> rx.Component:
    def line(one: RuleRow) -> rx.Component:
        gone = icon_button(f"Remove {one.said}", "x", on_click=OneFlagState.remove(one.place))
        return rx.el.li(rx.el.span("On for ", one.said, class_name="grow cut-anywhere"), gone)

    nothing = rx.el.p("Nobody: without a rule it is off for everybody.", class_name="body muted")
    listed = rx.el.ul(rx.foreach(OneFlagState.draft, line), class_name="list", data_testid="draft")
    overtaken = rx.cond(
        OneFlagState.overtaken,
        banner(
            "Somebody else has changed this flag since you began. Cancel and start again from what it is now.",
            tone="warn",
            glyph="git-compare",
        ),
    )
    return rx.fragment(
        overtaken,
        rx.cond(some(OneFlagState.draft), listed, nothing),
        rx.el.div(adding(), class_name="body ruled"),
        rx.el.div(
            rx.el.span(small("On for whoever one of these is about.", class_name="less"), class_name="grow"),
            button("Cancel", on_click=OneFlagState.cancel),
            button("Review change", kind="primary", on_click=OneFlagState.review, data_testid="review"),
            class_name="foot",
        ),
    )


def adding() -> rx.Component:
    kind = rx.el.select(
        *[rx.el.option(label, value=value) for value, label in CHOICES],
        id="kind",
        name="kind",
        class_name="input",
        default_value=OneFlagState.kind,  # uncontrolled: what is chosen stays while the server is on its way
        on_change=OneFlagState.choose_kind,
    )
    # Not always there, so that Reflex must not know their ids: it would send them as fields without a value.
    value = rx.el.select(
        rx.foreach(OneFlagState.values, lambda one: rx.el.option(one[1], value=one[0])),
        custom_attrs={"id": "rule-value"},
        name="value",
        class_name="input",
    )
    percent = text_input(
        "rule-percent", name="percent", type="number", min="0", max="100", step="0.01", required=True
    )
    fields = [
        field("Who", kind, id="kind"),
        rx.cond(some(OneFlagState.values), field("Which", value, id="rule-value")),
        rx.cond(
            OneFlagState.kind == "percentage", field("Percent of all tenants", percent, id="rule-percent")
        ),
        field("From (UTC)", text_input("starts_at", type="datetime-local"), id="starts_at"),
        field("Until (UTC)", text_input("ends_at", type="datetime-local"), id="ends_at"),
        rx.el.div(button("Add rule", type="submit", glyph="plus"), class_name="row"),
    ]
    return rx.form(
        rx.el.div(*fields, class_name="filters", data_few="true"),
        on_submit=OneFlagState.add,
        key=f"rule-{OneFlagState.added}",
        data_testid="rule-form",
    )


def rules_hull() -> rx.Component:
    change = rx.cond(
        may(actions.OP_FLAG_WRITE) & ~OneFlagState.editing & ~OneFlagState.one.retired & OneFlagState.loaded,
        button("Change rules", glyph="pencil", on_click=OneFlagState.edit, data_testid="edit"),
    )
    shown = rx.cond(OneFlagState.editing, editor(), rule_list())
    return hull(rx.cond(OneFlagState.loaded, shown, skeleton_rows(2)), title="Rules", aside=change)


def exposed_hull() -> rx.Component:
    def line(one: ExposedRow) -> rx.Component:
        name = two(
            link(one.name, f"/tenants/{one.id}", class_name="strong"),
            small(one.plan, rx.el.span(" · ", one.why, class_name="only-small")),
        )
        errors = rx.el.span(one.errors, class_name=rx.cond(one.bad, "down", "muted"))
        return row(EXPOSED, name, one.why, one.decisions, errors)

    foot = pager(
        OneFlagState.said,
        older=OneFlagState.next,
        newer=OneFlagState.previous,
        has_older=OneFlagState.has_next,
        has_newer=OneFlagState.has_previous,
        words=("Previous", "Next"),
    )
    table = data_table(
        "Tenants it is on for",
        EXPOSED,
        rx.foreach(OneFlagState.exposed, line),
        foot=foot,
        test_id="exposed",
    )
    nobody = empty("Nobody has it", "Tenants that it is on for would stand here.", glyph="building-2")
    found = rx.cond(some(OneFlagState.exposed), table, nobody)
    return hull(
        rx.cond(OneFlagState.loaded, found, skeleton_rows(3)),
        title="Tenants it is on for",
        aside=small("Decisions and errors of 7 days"),
    )


def history() -> rx.Component:
    def line(one: VersionRow) -> rx.Component:
        return rx.el.li(
            avatar(one.initials),
            rx.el.span(rx.el.b(one.by, class_name="strong"), " ", one.did),
            when(one.at, "", "moment"),
            small(one.said, " Reason: ", one.reason, " · version ", one.number, class_name="cut-anywhere"),
            class_name="event",
        )

    listed = rx.el.ol(rx.foreach(OneFlagState.versions, line), data_testid="versions")
    return hull(rx.cond(OneFlagState.loaded, listed, skeleton_rows(2)), title="History")


def about(which: str, title: Any, sentence: Any, *children: Any, **props: Any) -> rx.Component:
    return dialog(
        None,
        title,
        sentence,
        *children,
        reason_field(which),
        open=OneFlagState.dialog == which,
        on_open_change=OneFlagState.dismiss,
        test_id=f"{which}-form",
        **props,
    )


def reason_field(which: str) -> rx.Component:
    control = text_input(
        f"{which}-reason",
        name="reason",
        noted=True,
        required=True,
        max_length=LONGEST_REASON,
        auto_complete="off",
    )
    return field(
        "Reason", control, id=f"{which}-reason", hint="It stands in the history and the operators' trail."
    )


def confirm_field(which: str) -> rx.Component:
    control = text_input(f"{which}-confirm", name="confirm", required=True, auto_complete="off")
    label = rx.fragment("Type ", rx.el.b(OneFlagState.one.key), " to confirm")
    return field(label, control, id=f"{which}-confirm")


def effect() -> rx.Component:
    """Who gets it and who loses it, before anybody does."""
    found = OneFlagState.effect

    def side(count: Any, names: Any, tone: str) -> rx.Component:
        return rx.cond(
            count != "",
            rx.el.li(two(rx.el.span(count, class_name=tone), small(names, class_name="cut-anywhere"))),
        )

    return rx.el.section(
        rx.el.div(
            rx.el.span("On for", class_name="label"),
            rx.el.p(
                found.before,
                " ",
                icon("arrow-right"),
                " ",
                found.after,
                " ",
                rx.el.small("of ", found.of),
                class_name="figure row",
            ),
            class_name="body",
        ),
        rx.cond(
            found.nothing,
            rx.el.p("No tenant gets it and none loses it now.", class_name="body muted ruled"),
            rx.el.ul(
                side(found.gains, found.gained, "up"),
                side(found.losses, found.lost, "down"),
                class_name="list ruled",
            ),
        ),
        class_name="hull",
        aria_label="Effect",
        data_testid="effect",
    )


def dialogs() -> rx.Component:
    one = OneFlagState.one
    killed = rx.cond(one.killed, " It stays killed; this is what reviving it would then do.", "")
    save = about(
        "save",
        "Save these rules?",
        rx.fragment("They count in every process from the moment they are saved.", killed),
        effect(),
        confirm="Save rules",
        submit=OneFlagState.save,
    )
    kill = about(
        "kill",
        f"Kill {one.title}",
        rx.fragment(
            "It is off at once for all it is on for (",
            OneFlagState.figures.exposed,
            "). Its rules stay, so that it can be revived.",
        ),
        confirm_field("kill"),
        confirm="Kill",
        submit=OneFlagState.kill,
        kind="danger-fill",
    )
    revive = about(
        "revive",
        f"Revive {one.title}",
        "With the rules it has. This is what it does:",
        effect(),
        confirm_field("revive"),
        confirm="Revive",
        submit=OneFlagState.revive,
    )
    move = about(
        "move",
        "Move the clean-up date",
        f"{one.owner} answers for it until then.",
        field(
            "Clean up by",
            text_input("cleanup_by", type="date", required=True, default_value=one.cleanup_iso),
            id="cleanup_by",
        ),
        confirm="Move date",
        submit=OneFlagState.move,
    )
    retire = about(
        "retire",
        f"Retire {one.title}",
        "For good: it is off for everybody and its key is never used again.",
        confirm_field("retire"),
        confirm="Retire",
        submit=OneFlagState.retire,
        kind="danger-fill",
    )
    return rx.fragment(save, kill, revive, move, retire)


def switches() -> rx.Component:
    one = OneFlagState.one
    kill = button(
        "Kill", kind="danger", glyph="power-off", on_click=OneFlagState.ask("kill"), data_testid="kill"
    )
    revive = button(
        "Revive", kind="primary", glyph="power", on_click=OneFlagState.ask("revive"), data_testid="revive"
    )
    retire = rx.cond(
        one.in_code,
        rx.menu.item(icon("archive"), "Retire: the code still asks for it", disabled=True),
        rx.menu.item(icon("archive"), "Retire", on_select=OneFlagState.ask("retire"), color_scheme="red"),
    )
    more = menu(
        icon_button("More", "ellipsis"),
        rx.menu.item(icon("calendar-clock"), "Move clean-up date", on_select=OneFlagState.ask("move")),
        retire,
        align="end",
    )
    shown = rx.fragment(
        rx.cond(may(actions.OP_FLAG_WRITE), more),
        allowed(actions.OP_FLAG_WRITE, rx.cond(one.killed, revive, kill), "Kill", glyph="power-off"),
    )
    return rx.cond(OneFlagState.loaded & ~one.retired, shown)


def heading() -> rx.Component:
    one = OneFlagState.one
    crumbs = rx.el.nav(
        link("Flags", "/flags", class_name=""),
        rx.el.span("/", aria_hidden="true"),
        rx.el.span(one.title, aria_current="page"),
        class_name="crumbs",
        aria_label="You are here",
    )
    facts = rx.cond(
        OneFlagState.loaded,
        rx.fragment(
            rx.el.span(one.sentence),
            rx.el.span("Owner ", one.owner),
            rx.el.span("Clean up by ", one.cleanup_by),
            rx.cond(one.requires != "", rx.el.span("Requires ", one.requires)),
            rx.el.code(one.key, class_name="mono"),
        ),
        bone("240px"),
    )
    states = rx.cond(
        OneFlagState.loaded,
        rx.fragment(badge(one.state, one.tone), rx.cond(one.stale, badge("Stale"))),
    )
    title = rx.cond(OneFlagState.loaded, one.title, bone("160px", "24px"))
    return head(title, above=crumbs, beside=states, said=facts, actions=[switches()])


def notice() -> rx.Component:
    """The one thing that matters most about it now."""
    one = OneFlagState.one
    killed = banner(rx.fragment(rx.el.b("Killed. "), one.killed_said), tone="bad", glyph="power-off")
    late = rx.fragment(rx.el.b("Should be gone since ", one.cleanup_by, ". "), one.to_do)
    stale = banner(late, tone="warn", glyph="clock-alert")
    return rx.cond(one.killed, killed, rx.cond(one.stale, stale))


@rx.page(route="/flags/[flag]", title="Flag · Operator", on_load=OneFlagState.load)
def flag() -> rx.Component:
    return page(
        heading(),
        rules_hull(),
        figures_hull(),
        exposed_hull(),
        history(),
        dialogs(),
        current="Flags",
        load=OneFlagState.load,
        banner=notice(),
    )
