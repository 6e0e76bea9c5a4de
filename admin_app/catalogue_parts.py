"""How plans, drafts and effects are drawn. Told everything it shows; knows no state."""

from typing import Any

import reflex as rx

from admin_app.catalogue import slug, unit
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.ui.feedback import empty, when
from shared.ui.form import button, choices, field, icon, icon_button, text_input
from shared.ui.hull import cells, hull, small, strong, two
from shared.ui.shell import link
from shared.ui.table import Column, badge, data_table, row, some

LISTED = [
    Column("Name"),
    Column("Gives", less=True),
    Column("Version"),
    Column("In force since", less=True),
    Column("Tenants", end=True),
    Column("Actions", end=True, hidden=True),
]
OWN = [LISTED[0], Column("Tenant", less=True), *LISTED[2:]]
VERSIONS = [
    Column("Version"),
    Column("State"),
    Column("In force since", less=True),
    Column("Existing tenants", less=True),
    Column("Published", less=True),
    Column("Tenants", end=True),
]
MODES = (("hard", "Refuse above it"), ("soft", "Warn above it"), ("unlimited", "Unlimited"))
MOVES = [
    ("stay", "Stay where they are", "Only who chooses it from then on gets this version."),
    ("move", "Move to this version", "Everybody on an earlier version of it has this one from then on."),
]


def name_button(one: Any, choose: Any, chosen: Any) -> rx.Component:
    return rx.el.button(
        one.name,
        class_name="link",
        type="button",
        aria_expanded=rx.cond(chosen == one.id, "true", "false"),
        title="Show the versions",
        on_click=choose(one.id),
    )


def state_of(one: Any) -> rx.Component:
    return rx.fragment(
        rx.cond(one.draft != "", badge("Draft", "wait")),
        rx.cond(one.retired, badge("Retired", "idle")),
    )


def comparison(
    plans: Any, limits: Any, features: Any, choose: Any, chosen: Any, draft_button: Any
) -> rx.Component:
    """Plans beside each other, from the least to the most."""

    def plan(one: Any) -> rx.Component:
        version = rx.el.span(
            one.version, rx.cond(one.coming != "", rx.fragment(", ", one.coming)), class_name="small muted"
        )
        words = rx.el.div(name_button(one, choose, chosen), version)
        return rx.el.th(
            rx.el.div(words, draft_button(one), class_name="plan-head"), scope="col", class_name="end"
        )

    def line(title: str, cell: Any) -> rx.Component:
        found = rx.foreach(plans, lambda one: rx.el.td(cell(one), class_name="end num"))
        return rx.el.tr(rx.el.th(title, scope="row"), found)

    def compared(one: Any) -> rx.Component:
        def cell(each: Any) -> rx.Component:
            yes = rx.el.span(icon("check"), rx.el.span("Yes", class_name="sr"), class_name="yes")
            amount = rx.fragment(each.value, rx.cond(each.said != "", rx.el.div(small(each.said))))
            return rx.el.td(
                rx.match(each.value, ("yes", yes), ("", dash("No")), amount), class_name="end num"
            )

        title = rx.fragment(one.title, rx.cond(one.unit != "", rx.fragment(" ", small(one.unit))))
        return rx.el.tr(rx.el.th(title, scope="row"), rx.foreach(one.cells, cell))

    def group(title: str) -> rx.Component:
        blank = rx.foreach(plans, lambda _: rx.el.td())
        return rx.el.tr(rx.el.th(title, scope="rowgroup"), blank, class_name="group")

    def since(one: Any) -> rx.Component:
        return rx.cond(one.since != "", when(one.since, "", "day"), dash("Not in force"))

    def tenants(one: Any) -> rx.Component:
        return rx.fragment(one.tenants, rx.cond(one.earlier != "", rx.el.div(small(one.earlier))))

    head = rx.el.thead(
        rx.el.tr(rx.el.th(rx.el.span("What it gives", class_name="sr"), scope="col"), rx.foreach(plans, plan))
    )
    body = rx.el.tbody(
        line("In force since", since),
        line("Tenants that have it", tenants),
        line("Trial", lambda one: rx.cond(one.trial != "", one.trial, dash("None"))),
        group("Limits"),
        rx.foreach(limits, compared),
        group("Features"),
        rx.foreach(features, compared),
    )
    table = rx.el.table(
        rx.el.caption("Plans", class_name="sr"), head, body, class_name="matrix", data_testid="plans"
    )
    return rx.el.div(table, class_name="scroll", tab_index=0, role="region", aria_label="Plans, side by side")


def dash(said: str) -> rx.Component:
    line = rx.el.span("–", aria_hidden="true")
    return rx.el.span(line, rx.el.span(said, class_name="sr"), class_name="muted")


def addon_table(
    rows: Any, name: str, choose: Any, chosen: Any, draft_button: Any, *, tenant: bool
) -> rx.Component:
    columns = OWN if tenant else LISTED

    def line(one: Any) -> rx.Component:
        title = rx.el.div(name_button(one, choose, chosen), state_of(one), class_name="row wrap")
        second = small(one.kind, rx.cond(one.sentence != "", rx.fragment(" · ", one.sentence)))
        whose = link(one.tenant, f"/tenants/{one.tenant_id}")
        gives = rx.cond(one.gives != "", one.gives, rx.el.span("Nothing yet", class_name="muted"))
        if tenant:
            second = rx.fragment(second, rx.el.span(whose, class_name="small only-small"))
        since = rx.cond(one.since != "", when(one.since, "", "day"), rx.el.span("–", class_name="muted"))
        return row(
            columns,
            two(title, second),
            whose if tenant else gives,
            two(rx.el.span(one.version), rx.cond(one.coming != "", small(one.coming))),
            since,
            two(rx.el.span(one.tenants), rx.cond(one.earlier != "", small(one.earlier))),
            draft_button(one),
        )

    return data_table(name, columns, rx.foreach(rows, line), test_id="own" if tenant else "addons")


def versions_panel(chosen: Any, versions: Any, retire: rx.Component, choose: Any) -> rx.Component:
    def line(one: Any) -> rx.Component:
        return row(
            VERSIONS,
            one.number,
            badge(one.state, one.tone),
            when(one.since, "", "day"),
            rx.cond(one.moves != "", one.moves, dash("Nobody had an earlier one")),
            small(one.published),
            one.tenants,
        )

    table = data_table(f"Versions of {chosen.name}", VERSIONS, rx.foreach(versions, line), test_id="versions")
    nothing = empty(
        "Nothing is published yet", "Edit its draft, look at the effect, publish it.", glyph="file-pen"
    )
    close = icon_button("Close the versions", "x", on_click=choose(chosen.id))
    bar = rx.el.div(rx.el.h2(f"Versions of {chosen.name}"), retire, close, class_name="bar")
    return rx.el.section(
        bar,
        rx.cond(some(versions), table, nothing),
        class_name="hull",
        aria_label=f"Versions of {chosen.name}",
    )


# ── a draft ──────────────────────────────────────────────────────────────────────────────────────────────────────


def draft_form(
    is_plan: Any,
    has: Any,
    amounts: Any,
    modes: Any,
    trial_days: Any,
    flags: Any,
    moves: Any,
    effective_on: Any,
    toggle_flag: Any,
    submit: Any,
    *,
    key: Any,
) -> rx.Component:
    """Native fields, so that what is typed belongs to the browser until it is sent. `key`: another one fills it anew."""

    def limit(name: str) -> rx.Component:
        kind = LIMITS[name]
        options = [
            rx.cond(is_plan, rx.el.option(label, value=mode))
            if mode == "soft"
            else rx.el.option(label, value=mode)
            for mode, label in MODES
        ]
        mode = rx.el.select(
            *options,
            name=f"mode_{name}",
            default_value=modes[name],
            class_name="input",
            aria_label=f"{kind.title}: what happens above the limit",
        )
        amount = rx.el.input(
            name=f"limit_{name}",
            default_value=amounts[name],
            input_mode="numeric",
            auto_complete="off",
            max_length=20,
            class_name="input amount-of",
            aria_label=f"{kind.title}: amount",
            placeholder=rx.cond(is_plan, "0", "none"),
        )
        return rx.el.li(two(rx.el.h3(kind.title), small(unit(kind))), amount, mode, class_name="amounts")

    def feature(name: str) -> rx.Component:
        one = FEATURES[name]
        box = rx.el.input(
            type="checkbox",
            name=f"feature_{slug(name)}",
            value="on",
            default_checked=has.contains(name),
            aria_label=one.title,
        )
        return rx.el.label(box, strong(one.title), small(one.does), class_name="check")

    def flag(one: Any) -> rx.Component:
        box = rx.el.input(
            type="checkbox", checked=one[2], on_change=lambda _: toggle_flag(one[0]), aria_label=one[1]
        )
        return rx.el.label(box, strong(one[1]), small(one[0]), class_name="check")

    limits = hull(
        rx.el.ul(*[limit(name) for name in LIMITS], class_name="list"),
        title="Limits",
        aside=small(
            rx.cond(is_plan, "How much of each", "How much is added to the plan's; empty for nothing")
        ),
    )
    features = hull(
        rx.el.div(*[feature(name) for name in FEATURES], class_name="checks"), title="Features", body=True
    )
    trial = text_input(
        "trial_days", type="number", min="0", max="365", step="1", default_value=trial_days, noted=True
    )
    only_plans = rx.cond(
        is_plan,
        hull(
            rx.el.div(
                field("Trial", trial, id="trial_days", hint="Days without paying, 0 to 365."),
                class_name="checks",
            ),
            rx.el.fieldset(
                rx.el.legend("Flags it switches on", class_name="legend"),
                rx.cond(
                    some(flags),
                    rx.el.div(rx.foreach(flags, flag), class_name="checks"),
                    small("There are no flags."),
                ),
            ),
            title="Trial and flags",
            body=True,
        ),
    )
    date = text_input("effective_on", type="date", default_value=effective_on, noted=True)
    publishing = hull(
        choices("Tenants on an earlier version", "moves", MOVES, value=moves),
        rx.el.div(
            field("In force from", date, id="effective_on", hint="00:00 UTC of that day. Empty: at once."),
            class_name="checks",
        ),
        title="When it is published",
        body=True,
    )
    foot = rx.el.div(
        small("The draft is saved. Nothing changes for any tenant before you publish it.", class_name="grow"),
        button("Look at the effect", kind="primary", glyph="radar", type="submit", data_testid="look"),
        class_name="row wrap",
    )
    return rx.form(
        limits,
        features,
        only_plans,
        publishing,
        foot,
        on_submit=submit,
        class_name="stack",
        data_testid="draft",
        key=key,
    )


# ── the effect ───────────────────────────────────────────────────────────────────────────────────────────────────


def effect_panel(figures: Any, gains: Any, losses: Any, over: Any, flips: Any, nobody: Any) -> rx.Component:
    def figure(place: int) -> rx.Component:
        one = figures[place]
        return rx.el.div(
            rx.el.h2(one[1], class_name="label"), rx.el.p(one[0], class_name="figure"), class_name="stat"
        )

    quiet = hull(
        empty(
            "Nobody would notice",
            "No tenant gains or loses anything, goes over a limit, or would have been answered differently.",
            glyph="circle-check",
        ),
        name="Effect",
    )
    found = rx.fragment(
        hull(cells(*[figure(place) for place in range(4)]), name="In figures"),
        effect_list("Go over a limit", "Nothing is taken away from them; they cannot add more.", over),
        effect_list("Lose", "Cleaning up stays possible.", losses),
        effect_list(
            "Decisions of the last 30 days that would turn", "Asked again, as things are now.", flips
        ),
        effect_list("Gain", "", gains),
    )
    return rx.el.div(rx.cond(nobody, quiet, found), class_name="stack", data_testid="effect")


def effect_list(title: str, said: str, rows: Any) -> rx.Component:
    def name(one: Any) -> rx.Component:
        said = rx.cond(one.said != "", rx.el.span(", ", one.said, class_name="muted"))
        return rx.el.span(link(one.name, f"/tenants/{one.id}"), said)

    def line(one: Any) -> rx.Component:
        few = rx.el.div(rx.foreach(one.few, name), class_name="names small")
        rest = rx.cond(
            one.rest.length() > 0,
            rx.el.details(
                rx.el.summary(one.unfold),
                rx.el.div(rx.foreach(one.rest, name), small(one.more), class_name="names"),
                class_name="names small muted",
            ),
        )
        words = rx.el.div(
            rx.el.h3(one.title), rx.cond(one.said != "", small(one.said)), few, rest, class_name="two"
        )
        return rx.el.li(words, rx.el.span(one.count, class_name="num strong amount"))

    rows_ = rx.el.ul(rx.foreach(rows, line), class_name="list")
    return rx.cond(
        some(rows), hull(rows_, title=title, aside=small(said, class_name="less") if said else None)
    )
