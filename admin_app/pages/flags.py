"""/flags: all flags with their exposure, overdue ones first, and a form to create one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app import labels
from admin_app.frame import page
from admin_app.shell import PageState, guard_control
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import flag_admin, flag_exposure
from shared.backoffice.reasons import state_reason
from shared.core.errors import Invalid
from shared.entitlements.features import FEATURES
from shared.ui.authorize import needs
from shared.ui.banners import banner, empty_state, skeleton_rows
from shared.ui.controls import button, dialog_field, text_input
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import OPERATOR_AUDIT_HINT, ReasonText, dialog_opener, form_dialog, reason_field
from shared.ui.forms import Form
from shared.ui.panels import panel, small
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

COLUMNS = [
    Column("Flag"),
    Column("State"),
    Column("Owner", hidden_on_phone=True),
    Column("Remove by", hidden_on_phone=True),
    Column("Exposed", align_end=True),
]
FEATURE_CHOICES = [("", "No feature"), *((feature.key, feature.title) for feature in FEATURES.values())]


class CreateFlagForm(Form):
    """Fields of a new flag. The service checks lengths and that the date is in the future."""

    key: str
    title: str
    sentence: str
    owner: str
    cleanup_by: str
    required_feature: str = ""
    reason: ReasonText


@dataclass(frozen=True, kw_only=True)
class FlagRow:
    key: str
    title: str
    owner: str
    state: str
    tone: str
    cleanup_by: str
    stale: bool
    advice: str
    exposed: str
    total_text: str


def flag_row(flag: flag_admin.FlagSummary, counts: flag_exposure.FlagCounts) -> FlagRow:
    state, tone = labels.flag_badge(flag)
    return FlagRow(
        key=flag.key,
        title=flag.row.title,
        owner=flag.row.owner,
        state=state,
        tone=tone,
        cleanup_by=f"{flag.row.cleanup_by:%-d %B %Y}",
        stale=flag.is_overdue,
        advice=cleanup_advice(flag) if flag.is_overdue else "",
        exposed=f"{counts.enabled_tenants.get(flag.key, 0):,}",
        total_text=f"of {counts.total_tenants:,}",
    )


def cleanup_advice(flag: flag_admin.FlagSummary) -> str:
    """What to do about a stale flag."""
    if flag.is_in_code:
        return "Remove it from the code and retire it, or change the date."
    return "The code no longer uses it. Retire it."


def parse_day(text: str) -> date:
    """The date in a date field. Raises Invalid."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(
            "This isn’t a date.", "Choose one, as in 2027-03-31.", fields={"cleanup_by": "Not a date"}
        ) from None


class FlagsState(DialogState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_FLAG_READ
    opens_dialogs: ClassVar[OperatorAction] = actions.OP_FLAG_WRITE
    dialogs: ClassVar[Sequence[str]] = ("create",)
    loaded: bool = False
    rows: list[FlagRow] = []
    stale_text: str = ""  # how many of them, in words

    @rx.event
    @needs(actions.OP_FLAG_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(FlagsState.load, flag_admin.TOPIC, "tenant") as octx:
            flags = await flag_admin.list_flags(octx)
            counts = await flag_exposure.count_exposed_tenants(octx)
        self.rows = [flag_row(flag, counts) for flag in flags]
        stale = sum(flag.is_overdue for flag in flags)
        self.stale_text = labels.plural(stale, "flag is", "flags are") if stale else ""
        self.loaded = True

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def create_flag(self, payload: dict[str, Any]) -> list[EventSpec]:
        form = CreateFlagForm.read(payload)
        day = parse_day(form.cleanup_by) if form.cleanup_by else None
        async with self._quiet_ctx() as octx:
            await flag_admin.create_flag(
                *(
                    octx,
                    form.key,
                    form.title,
                    form.sentence,
                    form.owner,
                    day,
                    state_reason(octx, form.reason),
                ),
                required_feature=form.required_feature,
            )
        self._close_dialog()
        success = rx.toast.success(
            f"Created {form.key}.", description="It’s off for everyone until it has rules."
        )
        return [rx.redirect(f"/flags/{form.key}"), success]


def flag_line(flag: FlagRow) -> rx.Component:
    name = rx.el.div(
        link(flag.title, f"/flags/{flag.key}", class_name="strong"),
        rx.el.code(flag.key, class_name="mono muted cut-anywhere"),
        small(flag.owner, " · ", flag.cleanup_by, class_name="only-small"),
        rx.cond(flag.advice != "", small(flag.advice)),
        class_name="two",
    )
    states = rx.el.span(
        badge(flag.state, flag.tone),
        rx.cond(flag.stale, badge("Stale")),
        class_name="row wrap",
    )
    day = rx.cond(flag.stale, rx.el.span(flag.cleanup_by, class_name="down nowrap"), flag.cleanup_by)
    exposed = rx.fragment(flag.exposed, " ", small(flag.total_text))
    return table_row(COLUMNS, name, states, flag.owner, day, exposed)


def create_dialog() -> rx.Component:
    return form_dialog(
        FlagsState,
        "create",
        "Create a flag",
        "Flags are temporary: each has an owner and a date by which it is removed.",
        *description_fields(),
        *ownership_fields(),
        reason_field("create", OPERATOR_AUDIT_HINT),
        confirm="Create flag",
        submit=FlagsState.create_flag,
    )


def description_fields() -> list[rx.Component]:
    key_input = text_input(
        "key", required=True, max_length=40, auto_complete="off", placeholder="new_reports"
    )
    title_input = text_input(
        "title", required=True, max_length=60, auto_complete="off", placeholder="New reports"
    )
    description_input = text_input(
        "sentence", required=True, max_length=200, auto_complete="off", placeholder="Reports by department."
    )
    return [
        dialog_field("Key", key_input, id="key", hint="The name in the code. It can’t be used again."),
        dialog_field("Title", title_input, id="title"),
        dialog_field("Description", description_input, id="sentence"),
    ]


def ownership_fields() -> list[rx.Component]:
    owner_input = text_input("owner", required=True, max_length=60, auto_complete="off")
    date_input = text_input("cleanup_by", type="date", required=True)
    feature_select = rx.el.select(
        *[rx.el.option(label, value=value) for value, label in FEATURE_CHOICES],
        id="required_feature",
        name="required_feature",
        class_name="input",
    )
    return [
        dialog_field("Owner", owner_input, id="owner", hint="The team that is responsible for the flag."),
        dialog_field("Remove by", date_input, id="cleanup_by", hint="Overdue flags are listed first."),
        dialog_field(
            "Requires",
            feature_select,
            id="required_feature",
            hint="Always off for tenants whose plan doesn’t include this feature.",
        ),
    ]


@rx.page(route="/flags", title="Flags · Operator", on_load=FlagsState.load)
def flags_page() -> rx.Component:
    create_button = guard_control(
        actions.OP_FLAG_WRITE,
        button(
            "Create flag",
            kind="primary",
            glyph="plus",
            **dialog_opener(FlagsState, "create"),
            data_testid="create",
        ),
        "Create flag",
        glyph="plus",
    )
    overdue_banner = rx.cond(
        FlagsState.stale_text != "",
        banner(
            rx.fragment(
                rx.el.b(FlagsState.stale_text, " overdue. "),
                "Remove it from the code and retire it, or change the date and give a reason.",
            ),
            tone="warn",
            glyph="clock-alert",
        ),
    )
    table = data_table("Flags", COLUMNS, rx.foreach(FlagsState.rows, flag_line), test_id="flags")
    no_flags = empty_state("No flags yet", "Create a flag to roll out a feature gradually.", glyph="flag")
    content = rx.cond(has_items(FlagsState.rows), table, no_flags)
    return page(
        page_header(
            "Flags",
            description="Gradual rollouts with a kill switch.",
            actions=[create_button],
        ),
        panel(rx.cond(FlagsState.loaded, content, skeleton_rows(3)), name="Flags"),
        create_dialog(),
        current="Flags",
        load=FlagsState.load,
        banner=overdue_banner,
    )
