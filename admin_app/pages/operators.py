"""/operators: who runs the platform, and with which role. They are created on the command line."""

from dataclasses import dataclass
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from admin_app.frame import page
from admin_app.shell import PageState, may
from shared.access import actions
from shared.access.roles import OPERATOR_ROLES
from shared.core.ctx import OperatorCtx
from shared.identity import operators as service
from shared.identity.models import Operator
from shared.tenancy.entry import LONGEST_REASON
from shared.ui.feedback import skeleton_rows, when
from shared.ui.form import choices, dialog, field, icon, icon_button, menu, text_input
from shared.ui.form_model import Form, a_word, an_id
from shared.ui.gate import needs
from shared.ui.hull import hull
from shared.ui.shell import head
from shared.ui.table import TONE, Column, badge, data_table, initials, person, row

COLUMNS = [
    Column("Name"),
    Column("Role", less=True),
    Column("Status"),
    Column("Since", less=True),
    Column("Actions", end=True, hidden=True),
]
DIALOGS = ("role", "disable", "enable", "reset")
SHOWN_FOR = 300_000  # milliseconds: a new password is read out to somebody, or copied
ROLES = [(role.key, role.name, role.sentence) for role in OPERATOR_ROLES.values()]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_REASON)]


class ReasonForm(Form):
    reason: Reason


class RoleForm(Form):
    role: str
    reason: Reason


@dataclass(frozen=True)
class OperatorRow:
    id: str = ""
    name: str = ""
    email: str = ""
    initials: str = ""
    role: str = ""  # key
    role_name: str = ""
    status: str = ""
    tone: str = ""
    active: bool = True
    you: bool = False
    created_at: str = ""


def operator_row(octx: OperatorCtx, one: Operator) -> OperatorRow:
    status = "Active" if one.disabled_at is None else "Disabled"
    return OperatorRow(
        one.id,
        one.name,
        one.email,
        initials(one.name),
        one.role,
        OPERATOR_ROLES[one.role].name,
        status,
        TONE[status],
        one.disabled_at is None,
        one.id == octx.actor.id,
        one.created_at.isoformat(),
    )


class OperatorsState(PageState):
    loaded: bool = False
    rows: list[OperatorRow] = []
    dialog: str = ""
    subject: OperatorRow = OperatorRow()

    @rx.event
    @needs(actions.OP_OPERATOR_READ, page=True)
    async def load(self) -> None:
        async with self._open(OperatorsState.load) as octx:
            await self._read(octx)

    async def _read(self, octx: OperatorCtx) -> None:
        self.rows = [operator_row(octx, one) for one in await service.list_operators(octx)]
        self.loaded = True

    @rx.event
    @needs(actions.OP_OPERATOR_MANAGE)
    async def ask(self, dialog: str, operator_id: str) -> None:
        rows = {one.id: one for one in self.rows}
        self.subject = rows.get(an_id("opr", operator_id), OperatorRow())
        self.dialog = a_word(dialog, DIALOGS)

    @rx.event
    @needs(actions.OP_OPERATOR_READ)
    async def dismiss(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.OP_OPERATOR_MANAGE)
    async def set_role(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = RoleForm.read(payload), self.subject
        async with self._ctx() as octx:
            await service.set_role(octx, an_id("opr", subject.id), form.role, reason=form.reason)
            await self._read(octx)
        return self._done(f"Changed the role of {subject.name}.", "It counts from their next click.")

    @rx.event
    @needs(actions.OP_OPERATOR_MANAGE)
    async def disable(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ReasonForm.read(payload), self.subject
        async with self._ctx() as octx:
            await service.disable(octx, an_id("opr", subject.id), reason=form.reason)
            await self._read(octx)
        return self._done(f"Disabled {subject.name}.", "Their sessions have ended.")

    @rx.event
    @needs(actions.OP_OPERATOR_MANAGE)
    async def enable(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ReasonForm.read(payload), self.subject
        async with self._ctx() as octx:
            await service.enable(octx, an_id("opr", subject.id), reason=form.reason)
            await self._read(octx)
        return self._done(f"Enabled {subject.name}.", "They may sign in again, with the role they had.")

    @rx.event
    @needs(actions.OP_OPERATOR_MANAGE)
    async def reset_access(self, payload: dict[str, Any]) -> EventSpec:
        """The new password goes to the browser and into no state: nothing of it is left here."""
        form, subject = ReasonForm.read(payload), self.subject
        async with self._ctx() as octx:
            made = await service.reset_access(octx, an_id("opr", subject.id), reason=form.reason)
            await self._read(octx)
        self.dialog = ""
        said = f"New password, shown once: {made.password}. They enrol a second factor with it."
        return rx.toast.success(
            f"Reset the access of {subject.name}.", description=said, duration=SHOWN_FOR, close_button=True
        )

    def _done(self, said: str, then: str) -> EventSpec:
        self.dialog = ""
        return rx.toast.success(said, description=then)


def operator_line(one: OperatorRow) -> rx.Component:
    def item(glyph: str, label: str, kind: str, **props: Any) -> rx.Component:
        return rx.menu.item(icon(glyph), label, on_select=OperatorsState.ask(kind, one.id), **props)

    change = menu(
        icon_button(f"Actions for {one.name}", "ellipsis"),
        item("user-cog", "Change role", "role"),
        rx.cond(~one.you, item("key-round", "Reset access", "reset")),
        rx.cond(
            one.active,
            item("user-x", "Disable", "disable", color_scheme="red"),
            item("user-check", "Enable", "enable"),
        ),
        align="end",
    )
    name = rx.fragment(one.name, rx.cond(one.you, rx.el.span(" (you)", class_name="muted")))
    return row(
        COLUMNS,
        person(name, one.email, one.initials, one.role_name),
        one.role_name,
        badge(one.status, one.tone),
        when(one.created_at, "", "day"),
        rx.cond(may(actions.OP_OPERATOR_MANAGE), change),
    )


def about(which: str, title: Any, sentence: Any, *children: rx.Component, **props: Any) -> rx.Component:
    reason = text_input(
        f"{which}-reason",
        name="reason",
        noted=True,
        required=True,
        max_length=LONGEST_REASON,
        auto_complete="off",
    )
    why = field("Reason", reason, id=f"{which}-reason", hint="It stands in the operators' trail.")
    return dialog(
        None,
        title,
        sentence,
        *children,
        why,
        open=OperatorsState.dialog == which,
        on_open_change=OperatorsState.dismiss,
        test_id=f"{which}-form",
        **props,
    )


def dialogs() -> rx.Component:
    name = OperatorsState.subject.name
    return rx.fragment(
        about(
            "role",
            f"Change the role of {name}",
            "It counts from their next click.",
            choices("Role", "role", ROLES, value=OperatorsState.subject.role),
            confirm="Change role",
            submit=OperatorsState.set_role,
        ),
        about(
            "disable",
            f"Disable {name}",
            "Their sessions end at once and they cannot sign in. What they did stays in the trail.",
            confirm="Disable",
            submit=OperatorsState.disable,
            kind="danger-fill",
        ),
        about(
            "enable",
            f"Enable {name}",
            "They may sign in again with the role and the second factor they had.",
            confirm="Enable",
            submit=OperatorsState.enable,
        ),
        about(
            "reset",
            f"Reset the access of {name}",
            "For a lost password or device. Their sessions end at once, password and second factor stop working, and"
            " you are shown a new password, once.",
            confirm="Reset access",
            submit=OperatorsState.reset_access,
            kind="danger-fill",
        ),
    )


@rx.page(route="/operators", title="Operators · Operator", on_load=OperatorsState.load)
def operators() -> rx.Component:
    table = data_table(
        "Operators", COLUMNS, rx.foreach(OperatorsState.rows, operator_line), test_id="operators"
    )
    said = rx.fragment(
        "Everybody signs in with a second factor. A new one begins on the command line: ",
        rx.el.code("bulkhead operator create", class_name="mono"),
    )
    return page(
        head("Operators", said=said),
        hull(rx.cond(OperatorsState.loaded, table, skeleton_rows(2)), name="Operators"),
        dialogs(),
        current="Operators",
        load=OperatorsState.load,
    )
