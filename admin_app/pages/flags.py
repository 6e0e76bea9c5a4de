"""/flags: every flag, whom it is on for, and which ones should have been gone by now. Here they are made, too."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from admin_app import words
from admin_app.frame import page
from admin_app.shell import PageState, allowed
from shared.access import actions
from shared.core.errors import Invalid
from shared.entitlements import rollouts
from shared.entitlements.features import FEATURES
from shared.tenancy import exposure
from shared.tenancy.entry import LONGEST_REASON
from shared.ui.feedback import banner, empty, skeleton_rows
from shared.ui.form import button, dialog, field, text_input
from shared.ui.form_model import Form
from shared.ui.gate import needs
from shared.ui.hull import hull, small
from shared.ui.shell import head, link
from shared.ui.table import Column, badge, data_table, row, some

COLUMNS = [
    Column("Flag"),
    Column("State"),
    Column("Owner", less=True),
    Column("Clean up by", less=True),
    Column("Exposed", end=True),
]
REQUIRED = [("", "Nothing"), *((one.key, one.title) for one in FEATURES.values())]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_REASON)]


class CreateForm(Form):
    """Of a new flag. How long each may be, and that the date lies ahead, says the service."""

    key: str
    title: str
    sentence: str
    owner: str
    cleanup_by: str
    required_feature: str = ""
    reason: Reason


@dataclass(frozen=True)
class FlagRow:
    key: str
    title: str
    owner: str
    state: str
    tone: str
    cleanup_by: str
    stale: bool
    to_do: str
    exposed: str
    of: str


def flag_row(one: rollouts.Known, counts: exposure.Counts) -> FlagRow:
    state, tone = words.flag_state(one)
    return FlagRow(
        one.key,
        one.row.title,
        one.row.owner,
        state,
        tone,
        f"{one.row.cleanup_by:%-d %B %Y}",
        one.stale,
        to_do(one) if one.stale else "",
        f"{counts.on.get(one.key, 0):,}",
        f"of {counts.of:,}",
    )


def to_do(one: rollouts.Known) -> str:
    """About a stale one."""
    if one.in_code:
        return "Take it out of the code, then retire it; or move the date."
    return "The code no longer asks for it. Retire it."


def a_day(text: str) -> date:
    """Of a date field. Raises Invalid."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(
            "This is not a day.", "Choose one, as in 2027-03-31.", fields={"cleanup_by": "Not a day"}
        ) from None


class FlagsState(PageState):
    loaded: bool = False
    rows: list[FlagRow] = []
    stale: str = ""  # how many of them, in words
    creating: bool = False

    @rx.event
    @needs(actions.OP_FLAG_READ, page=True)
    async def load(self) -> None:
        async with self._open(FlagsState.load, rollouts.TOPIC, "tenant") as octx:
            found = await rollouts.list_flags(octx)
            counts = await exposure.counts(octx)
        self.rows = [flag_row(one, counts) for one in found]
        stale = sum(one.stale for one in found)
        self.stale = words.some_of(stale, "flag is", "flags are") if stale else ""
        self.loaded = True

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def ask(self) -> None:
        self.creating = True

    @rx.event
    @needs(actions.OP_FLAG_READ)
    async def dismiss(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.creating = False

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def create(self, payload: dict[str, Any]) -> list[EventSpec]:
        form = CreateForm.read(payload)
        day = a_day(form.cleanup_by) if form.cleanup_by else None
        async with self._ctx() as octx:
            await rollouts.create(
                *(octx, form.key, form.title, form.sentence, form.owner, day, form.reason),
                required_feature=form.required_feature,
            )
        self.creating = False
        said = rx.toast.success(
            f"Created {form.key}.", description="It is off for everybody until it has rules."
        )
        return [rx.redirect(f"/flags/{form.key}"), said]


def flag_line(one: FlagRow) -> rx.Component:
    name = rx.el.div(
        link(one.title, f"/flags/{one.key}", class_name="strong"),
        rx.el.code(one.key, class_name="mono muted cut-anywhere"),
        small(one.owner, " · ", one.cleanup_by, class_name="only-small"),
        rx.cond(one.to_do != "", small(one.to_do)),
        class_name="two",
    )
    states = rx.el.span(
        badge(one.state, one.tone),
        rx.cond(one.stale, badge("Stale")),
        class_name="row wrap",
    )
    day = rx.cond(one.stale, rx.el.span(one.cleanup_by, class_name="down nowrap"), one.cleanup_by)
    exposed = rx.fragment(one.exposed, " ", small(one.of))
    return row(COLUMNS, name, states, one.owner, day, exposed)


def creating() -> rx.Component:
    required = rx.el.select(
        *[rx.el.option(label, value=value) for value, label in REQUIRED],
        id="required_feature",
        name="required_feature",
        class_name="input",
        aria_describedby="required_feature-note",
    )
    fields = [
        field(
            "Key",
            text_input(
                "key",
                noted=True,
                required=True,
                max_length=40,
                auto_complete="off",
                placeholder="new_reports",
            ),
            id="key",
            hint="As the code will ask for it. It is never used for anything else.",
        ),
        field(
            "Title",
            text_input("title", required=True, max_length=60, auto_complete="off", placeholder="New reports"),
            id="title",
        ),
        field(
            "What it opens",
            text_input(
                "sentence",
                required=True,
                max_length=200,
                auto_complete="off",
                placeholder="Reports by department.",
            ),
            id="sentence",
        ),
        field(
            "Owner",
            text_input("owner", noted=True, required=True, max_length=60, auto_complete="off"),
            id="owner",
            hint="The team that answers for it.",
        ),
        field(
            "Clean up by",
            text_input("cleanup_by", type="date", noted=True, required=True),
            id="cleanup_by",
            hint="After that day it is stale and stands on top of the list.",
        ),
        field(
            "Requires",
            required,
            id="required_feature",
            hint="Off, whatever its rules say, for tenants whose plan does not include this.",
        ),
        field(
            "Reason",
            text_input(
                "create-reason",
                name="reason",
                noted=True,
                required=True,
                max_length=LONGEST_REASON,
                auto_complete="off",
            ),
            id="create-reason",
            hint="It stands in the operators' trail.",
        ),
    ]
    return dialog(
        None,
        "Create a flag",
        "A flag is temporary: somebody answers for it, and there is a day on which it is gone.",
        *fields,
        confirm="Create flag",
        submit=FlagsState.create,
        open=FlagsState.creating,
        on_open_change=FlagsState.dismiss,
        test_id="create-form",
    )


@rx.page(route="/flags", title="Flags · Operator", on_load=FlagsState.load)
def flags() -> rx.Component:
    make = allowed(
        actions.OP_FLAG_WRITE,
        button("Create flag", kind="primary", glyph="plus", on_click=FlagsState.ask, data_testid="create"),
        "Create flag",
        glyph="plus",
    )
    late = rx.cond(
        FlagsState.stale != "",
        banner(
            rx.fragment(
                rx.el.b(FlagsState.stale, " past the clean-up date. "),
                "Take it out of the code and retire it, or move the date and say why.",
            ),
            tone="warn",
            glyph="clock-alert",
        ),
    )
    table = data_table("Flags", COLUMNS, rx.foreach(FlagsState.rows, flag_line), test_id="flags")
    nothing = empty("No flags yet", "Create one to open something new step by step.", glyph="flag")
    found = rx.cond(some(FlagsState.rows), table, nothing)
    return page(
        head(
            "Flags",
            said="What is opened step by step, and can be closed at once.",
            actions=[make],
        ),
        hull(rx.cond(FlagsState.loaded, found, skeleton_rows(3)), name="Flags"),
        creating(),
        current="Flags",
        load=FlagsState.load,
        banner=late,
    )
