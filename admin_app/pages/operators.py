"""/operators: who runs the platform, and with which role. They are created on the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app.frame import page
from admin_app.shell import PageState, is_allowed
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.access.roles import OPERATOR_ROLES
from shared.backoffice import operators
from shared.backoffice.reasons import state_reason
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.identity.models import Operator
from shared.ui.authorize import needs
from shared.ui.banners import local_time, skeleton_rows
from shared.ui.controls import icon, icon_button, menu, radio_cards
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import OPERATOR_AUDIT_HINT, ReasonForm, ReasonText, form_dialog, reason_field
from shared.ui.forms import VersionedForm, parse_id
from shared.ui.panels import panel
from shared.ui.shell import page_header
from shared.ui.tables import TONE_BY_LABEL, Column, badge, data_table, initials_of, person_cell, table_row

COLUMNS = [
    Column("Name"),
    Column("Role", hidden_on_phone=True),
    Column("Status"),
    Column("Since", hidden_on_phone=True),
    Column("Actions", align_end=True, label_hidden=True),
]
PASSWORD_TOAST_MILLISECONDS = 300_000  # time to copy a new password
ROLE_CHOICES = [(role.key, role.name, role.sentence) for role in OPERATOR_ROLES.values()]


class OperatorRoleForm(VersionedForm):
    role: str
    reason: ReasonText


@dataclass(frozen=True, kw_only=True)
class OperatorRow:
    id: str = ""
    name: str = ""
    email: str = ""
    initials: str = ""
    role: str = ""  # key
    role_name: str = ""
    status: str = ""
    tone: str = ""
    is_active: bool = True
    is_you: bool = False
    created_at: str = ""
    version: int = 1


def operator_row(octx: OperatorCtx, operator: Operator) -> OperatorRow:
    status = "Active" if operator.disabled_at is None else "Disabled"
    return OperatorRow(
        id=operator.id,
        name=operator.name,
        email=operator.email,
        initials=initials_of(operator.name),
        role=operator.role,
        role_name=OPERATOR_ROLES[operator.role].name,
        status=status,
        tone=TONE_BY_LABEL[status],
        is_active=operator.disabled_at is None,
        is_you=operator.id == octx.actor.id,
        created_at=operator.created_at.isoformat(),
        version=operator.version,
    )


class OperatorsState(DialogState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_OPERATOR_READ
    opens_dialogs: ClassVar[OperatorAction] = actions.OP_OPERATOR_MANAGE
    row_dialogs: ClassVar[Sequence[str]] = ("role", "disable", "enable", "reset")
    loaded: bool = False
    rows: list[OperatorRow] = []
    subject: OperatorRow = OperatorRow()

    @rx.event
    @needs(actions.OP_OPERATOR_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(OperatorsState.load) as octx:
            await self._read(octx)

    async def _read(self, octx: OperatorCtx) -> None:
        self.rows = [operator_row(octx, operator) for operator in await operators.list_operators(octx)]
        self.loaded = True

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:  # noqa: ARG002  all are about an operator
        rows = {operator.id: operator for operator in self.rows}
        if parse_id("opr", row_id) not in rows:
            raise Invalid("This operator is no longer in the list.", "Reload the page.")
        self.subject = rows[row_id]

    @rx.event
    @needs(actions.OP_OPERATOR_MANAGE)
    async def change_role(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = OperatorRoleForm.read(payload), self.subject
        async with self._ctx() as octx:
            await operators.set_role(
                octx,
                parse_id("opr", subject.id),
                form.role,
                version=form.row_version,
                reason=state_reason(octx, form.reason),
            )
            await self._read(octx)
        return self._finish(f"Changed the role of {subject.name}.", "Takes effect immediately.")

    @rx.event
    @needs(actions.OP_OPERATOR_MANAGE)
    async def disable_operator(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ReasonForm.read(payload), self.subject
        async with self._ctx() as octx:
            await operators.disable(octx, parse_id("opr", subject.id), reason=state_reason(octx, form.reason))
            await self._read(octx)
        return self._finish(f"Disabled {subject.name}.", "They’ve been signed out.")

    @rx.event
    @needs(actions.OP_OPERATOR_MANAGE)
    async def enable_operator(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ReasonForm.read(payload), self.subject
        async with self._ctx() as octx:
            await operators.enable(octx, parse_id("opr", subject.id), reason=state_reason(octx, form.reason))
            await self._read(octx)
        return self._finish(f"Enabled {subject.name}.", "They can sign in again with their previous role.")

    @rx.event
    @needs(actions.OP_OPERATOR_MANAGE)
    async def reset_access(self, payload: dict[str, Any]) -> EventSpec:
        """Sends the new password to the browser without storing it in the state."""
        form, subject = ReasonForm.read(payload), self.subject
        async with self._ctx() as octx:
            credentials = await operators.reset_access(
                octx, parse_id("opr", subject.id), reason=state_reason(octx, form.reason)
            )
            await self._read(octx)
        self._close_dialog()
        description = f"New password, shown once: {credentials.password}. They set up a new second factor when they sign in."
        return rx.toast.success(
            f"Reset the access of {subject.name}.",
            description=description,
            duration=PASSWORD_TOAST_MILLISECONDS,
            close_button=True,
        )

    def _finish(self, title: str, detail: str) -> EventSpec:
        self._close_dialog()
        return rx.toast.success(title, description=detail)


def operator_line(operator: OperatorRow) -> rx.Component:
    def item(glyph: str, label: str, kind: str, **props: Any) -> rx.Component:
        return rx.menu.item(
            icon(glyph), label, on_select=OperatorsState.open_dialog(kind, operator.id), **props
        )

    change = menu(
        icon_button(f"Actions for {operator.name}", "ellipsis"),
        item("user-cog", "Change role", "role"),
        rx.cond(~operator.is_you, item("key-round", "Reset access", "reset")),
        rx.cond(
            operator.is_active,
            item("user-x", "Disable", "disable", color_scheme="red"),
            item("user-check", "Enable", "enable"),
        ),
        align="end",
    )
    name = rx.fragment(operator.name, rx.cond(operator.is_you, rx.el.span(" (you)", class_name="muted")))
    return table_row(
        COLUMNS,
        person_cell(name, operator.email, operator.initials, operator.role_name),
        operator.role_name,
        badge(operator.status, operator.tone),
        local_time(operator.created_at, "", "day"),
        rx.cond(is_allowed(actions.OP_OPERATOR_MANAGE), change),
    )


def operator_dialog(
    name: str, title: Any, sentence: Any, *children: rx.Component, **props: Any
) -> rx.Component:
    return form_dialog(
        OperatorsState,
        name,
        title,
        sentence,
        *children,
        reason_field(name, OPERATOR_AUDIT_HINT),
        **props,
    )


def operator_dialogs() -> rx.Component:
    name = OperatorsState.subject.name
    return rx.fragment(
        operator_dialog(
            "role",
            f"Change the role of {name}",
            "Takes effect immediately.",
            radio_cards("Role", "role", ROLE_CHOICES, value=OperatorsState.subject.role),
            confirm="Change role",
            submit=OperatorsState.change_role,
            version=OperatorsState.subject.version,
        ),
        operator_dialog(
            "disable",
            f"Disable {name}",
            "They’re signed out immediately and can’t sign in. Their activity stays in the audit log.",
            confirm="Disable",
            submit=OperatorsState.disable_operator,
            kind="danger-fill",
        ),
        operator_dialog(
            "enable",
            f"Enable {name}",
            "They can sign in again with their previous role and second factor.",
            confirm="Enable",
            submit=OperatorsState.enable_operator,
        ),
        operator_dialog(
            "reset",
            f"Reset the access of {name}",
            "For a lost password or device. They’re signed out, and their password and second factor stop working."
            " You see a new password once.",
            confirm="Reset access",
            submit=OperatorsState.reset_access,
            kind="danger-fill",
        ),
    )


@rx.page(route="/operators", title="Operators · Operator", on_load=OperatorsState.load)
def operators_page() -> rx.Component:
    table = data_table(
        "Operators", COLUMNS, rx.foreach(OperatorsState.rows, operator_line), test_id="operators"
    )
    description = rx.fragment(
        "Two-factor is required. Add operators with: ",
        rx.el.code("bulkhead operator create", class_name="mono"),
    )
    return page(
        page_header("Operators", description=description),
        panel(rx.cond(OperatorsState.loaded, table, skeleton_rows(2)), name="Operators"),
        operator_dialogs(),
        current="Operators",
        load=OperatorsState.load,
    )
