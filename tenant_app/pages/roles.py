"""/t/[tenant]/roles: what each role may do, written from the registry that decides, and the tenant's own ones."""

from dataclasses import dataclass, field
from typing import Any, Literal

import reflex as rx
from pydantic import create_model
from reflex.event import EventSpec

from shared.access import actions, policy
from shared.access.actions import ACTIONS
from shared.access.decision import holds
from shared.access.permissions import Permission
from shared.access.roles import OF_EVERY_ROLE, OF_OWNERS, ROLES, may_grant
from shared.core.ctx import Ctx
from shared.core.errors import Invalid
from shared.tenancy import roles
from shared.ui.feedback import skeleton_rows
from shared.ui.form import button, checks, dialog, icon, text_input
from shared.ui.form import field as labelled
from shared.ui.form_model import Form, a_word, an_id
from shared.ui.gate import needs
from shared.ui.hull import hull, small, titled, two
from shared.ui.shell import head, link
from shared.ui.table import badge
from tenant_app.frame import page
from tenant_app.nav import href
from tenant_app.shell import PageState, allowed

GROUPS = {  # noun of a permission: what the editor calls the group
    "member": "People",
    "role": "Roles",
    "settings": "Organisation",
    "owner": "Organisation",
    "access": "Insight",
    "audit": "Insight",
    "report": "Insight",
    "billing": "Billing",
}
DIALOGS = ("create", "change", "delete")
NOT_YOURS = "You do not hold this yourself, so you cannot give it."
OWNERS_ONLY = "Only owners can do this; it is in no other role."


def words(permission: Permission) -> str:
    """What the actions that ask for it say, the one it is named after first; "" while none does."""
    asking = [one for one in ACTIONS.values() if one.permission is permission]
    said = ", ".join(one.said for one in sorted(asking, key=lambda one: (one.name != permission, one.said)))
    return f"{said[:1].upper()}{said[1:]}"


def tick_of(permission: Permission) -> str:
    """Name of its box in the form."""
    return f"may_{permission.name.lower()}"


SHOWN = tuple(one for one in Permission if words(one))
CHOSEN = tuple(one for one in SHOWN if one not in OF_EVERY_ROLE)
TICKS: Any = {tick_of(one): (Literal["", "on"], "") for one in CHOSEN}
assert {one.partition(":")[0] for one in CHOSEN} <= GROUPS.keys()


class NamedForm(Form):
    name: str
    sentence: str = ""

    def permissions(self) -> set[str]:
        ticked = self.model_dump()
        return {one.value for one in CHOSEN if ticked[tick_of(one)] == "on"}


RoleForm = create_model("RoleForm", __base__=NamedForm, **TICKS)


class ConfirmForm(Form):
    confirm: str


@dataclass(frozen=True)
class RoleRow:
    key: str = ""
    name: str = ""
    sentence: str = ""
    held: str = ""
    own: bool = False
    touchable: bool = False  # its reader is somebody who changes roles
    yours: bool = False
    above: str = ""  # why its reader may not change it, beyond what the plan says
    kept: str = ""  # why it cannot be deleted now


@dataclass(frozen=True)
class PermissionRow:
    words: str
    code: str
    held: list[bool]  # in the order of the roles


@dataclass(frozen=True)
class TickRow:
    field: str
    label: str
    second: str
    ticked: bool
    refused: str


@dataclass(frozen=True)
class GroupRow:
    title: str
    ticks: list[TickRow] = field(default_factory=list)


def role_row(ctx: Ctx, one: roles.Held) -> RoleRow:
    role = one.role
    people = f"{one.people} {'person' if one.people == 1 else 'people'}" if one.people else "Nobody"
    invited = f", {one.promised} invited" if one.promised else ""
    above = not may_grant(ctx.permissions, role.permissions)
    return RoleRow(
        role.key,
        role.name,
        role.sentence,
        f"{people}{invited}",
        role.key not in ROLES,
        role.key not in ROLES and holds(ctx, actions.ROLE_CHANGE),
        policy.is_own_role(ctx, role.key),
        "This role may do more than you may. Ask an owner to do it." if above else "",
        policy.said(ctx, actions.ROLE_DELETE, obstacle=roles.held_said(one.people, one.promised)),
    )


def groups_of(ctx: Ctx, held: frozenset[str]) -> list[GroupRow]:
    found: dict[str, list[TickRow]] = {title: [] for title in GROUPS.values()}
    for one in CHOSEN:
        refused = OWNERS_ONLY if one in OF_OWNERS else "" if may_grant(ctx.permissions, {one}) else NOT_YOURS
        found[GROUPS[one.partition(":")[0]]].append(
            TickRow(tick_of(one), words(one), one.value, one in held, refused)
        )
    return [GroupRow(title, ticks) for title, ticks in found.items() if ticks]


class RolesState(PageState):
    loaded: bool = False
    rows: list[RoleRow] = []
    permissions: list[PermissionRow] = []
    full: str = ""  # why no other one can be made, when the limit is reached
    used: str = ""
    dialog: str = ""
    subject: RoleRow = RoleRow()
    groups: list[GroupRow] = []

    @rx.event
    @needs(actions.ROLE_READ, page=True)
    async def load(self) -> None:
        async with self._open(RolesState.load, "roles", "members", "invitations") as ctx:
            found = await roles.list_held(ctx)
        self._show(ctx, found)

    def _show(self, ctx: Ctx, found: Any) -> None:
        self.rows = [role_row(ctx, one) for one in found]
        self.permissions = [
            PermissionRow(words(one), one.value, [one.value in each.role.permissions for each in found])
            for one in SHOWN
        ]
        own = sum(row.own for row in self.rows)
        limit = ctx.rights.limits["roles"].amount
        self.full = policy.said(ctx, actions.ROLE_CREATE, used=own)
        self.used = f"{own} of {limit} of your own" if limit else f"{own} of your own" if own else ""
        self.loaded = True

    @rx.event
    @needs(actions.ROLE_READ)
    async def ask(self, dialog: str, role_id: str) -> None:
        """Opens a dialog, about one role unless it is a new one."""
        kind = a_word(dialog, DIALOGS)
        async with self._ctx() as ctx:
            found = {one.role.key: one for one in await roles.list_held(ctx)}
        if kind == "create":
            self.subject, held = RoleRow(), frozenset[str]()
        else:
            chosen = found.get(an_id("rol", role_id))
            if chosen is None:
                raise Invalid("This role does not exist any more.", "Reload the page.")
            self.subject, held = role_row(ctx, chosen), chosen.role.permissions
        self.groups = groups_of(ctx, held)
        self.dialog = kind

    @rx.event
    @needs(actions.ROLE_READ)
    async def dismiss(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.ROLE_CREATE)
    async def create(self, payload: dict[str, Any]) -> EventSpec:
        form = RoleForm.read(payload)
        async with self._ctx() as ctx:
            made = await roles.create(ctx, form.name, form.sentence, form.permissions())
            found = await roles.list_held(ctx)
        return self._done(ctx, found, f"Created {made.name}.", "Give it to people on the members page.")

    @rx.event
    @needs(actions.ROLE_CHANGE)
    async def change(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = RoleForm.read(payload), self.subject
        async with self._ctx() as ctx:
            role_id = an_id("rol", subject.key)
            # What this page has no words for yet is no box in the form, and stays.
            unseen = (await roles.permissions(ctx, role_id) or frozenset()) - set(CHOSEN)
            await roles.change(ctx, role_id, form.name, form.sentence, form.permissions() | unseen)
            found = await roles.list_held(ctx)
        return self._done(ctx, found, f"Changed {subject.name}.", "It counts at once for all who hold it.")

    @rx.event
    @needs(actions.ROLE_DELETE)
    async def delete(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ConfirmForm.read(payload), self.subject
        if form.confirm != subject.name:
            raise Invalid(f"This is not the name {subject.name}.", "Type it exactly as it is written above.")
        async with self._ctx() as ctx:
            await roles.delete(ctx, an_id("rol", subject.key))
            found = await roles.list_held(ctx)
        return self._done(ctx, found, f"Deleted {subject.name}.", "Its name is free again.")

    def _done(self, ctx: Ctx, found: Any, said: str, then: str) -> EventSpec:
        self._show(ctx, found)
        self.dialog = ""
        return rx.toast.success(said, description=then)


def role_line(one: RoleRow) -> rx.Component:
    def control(action: Any, label: str, kind: str, stands: Any) -> rx.Component:
        act = button(
            label,
            on_click=RolesState.ask(kind, one.key),
            aria_label=f"{label} {one.name}",
            data_testid=f"{kind}-role",
        )
        return allowed(action, act, label, full=stands, id=f"{kind}-{one.key}")

    own = rx.cond(
        one.touchable,
        rx.el.div(
            control(actions.ROLE_CHANGE, "Change", "change", one.above),
            control(actions.ROLE_DELETE, "Delete", "delete", rx.cond(one.above != "", one.above, one.kept)),
            class_name="row",
        ),
    )
    name = rx.el.h2(one.name, rx.cond(one.yours, rx.fragment(" ", badge("You", "accent"))))
    return rx.el.li(
        two(name, rx.cond(one.sentence != "", small(one.sentence))),
        small(one.held, class_name="num nowrap"),
        own,
        class_name="wrap",
        data_testid="role",
    )


def matrix() -> rx.Component:
    """Read down for a role, across for a permission. It scrolls in its box, and the first column stays."""

    def held(yes: Any) -> rx.Component:
        mark = rx.cond(
            yes,
            rx.el.span(icon("check"), rx.el.span("Yes", class_name="sr"), class_name="yes"),
            rx.el.span(
                rx.el.span("–", aria_hidden="true"), rx.el.span("No", class_name="sr"), class_name="muted"
            ),
        )
        return rx.el.td(mark, class_name="mid")

    def line(one: PermissionRow) -> rx.Component:
        name = two(one.words, rx.el.code(one.code, class_name="mono muted cut-anywhere"))
        return rx.el.tr(rx.el.td(name), rx.foreach(one.held, held))

    top = rx.el.tr(
        rx.el.th("Permission", scope="col"),
        rx.foreach(RolesState.rows, lambda one: rx.el.th(one.name, scope="col", class_name="mid")),
    )
    table = rx.el.table(
        rx.el.caption("Permissions of each role", class_name="sr"),
        rx.el.thead(top),
        rx.el.tbody(rx.foreach(RolesState.permissions, line)),
        data_testid="roles",
        class_name="matrix",
    )
    return rx.el.div(
        table, class_name="scroll", tab_index=0, role="region", aria_label="Permissions of each role"
    )


def editor(which: str, title: Any, sentence: str, confirm: str, submit: Any) -> rx.Component:
    name = text_input(
        "name", required=True, auto_complete="off", max_length=60, default_value=RolesState.subject.name
    )
    said = text_input(
        "sentence", auto_complete="off", max_length=200, default_value=RolesState.subject.sentence
    )
    return dialog(
        None,
        title,
        sentence,
        labelled("Name", name, id="name"),
        labelled("What it is for", said, id="sentence"),
        rx.foreach(RolesState.groups, lambda one: checks(one.title, one.ticks)),
        small("Every role may open the organisation and read its own notifications."),
        confirm=confirm,
        submit=submit,
        open=RolesState.dialog == which,
        on_open_change=RolesState.dismiss,
        test_id=f"{which}-form",
        wide=True,
    )


def dialogs() -> rx.Component:
    name = RolesState.subject.name
    confirm = labelled(
        rx.fragment("Type ", rx.el.b(name), " to confirm"),
        text_input("confirm", required=True, auto_complete="off"),
        id="confirm",
    )
    delete = dialog(
        None,
        f"Delete {name}",
        "Nobody holds it and no invitation promises it. The trail keeps what it was.",
        confirm,
        confirm="Delete role",
        submit=RolesState.delete,
        open=RolesState.dialog == "delete",
        on_open_change=RolesState.dismiss,
        kind="danger-fill",
        test_id="delete-form",
    )
    return rx.fragment(
        editor(
            "create",
            "New role",
            "Choose what it may do. You can give what you hold yourself.",
            "Create role",
            RolesState.create,
        ),
        editor(
            "change",
            f"Change {name}",
            f"{RolesState.subject.held} will have what you choose here at once.",
            "Change role",
            RolesState.change,
        ),
        delete,
    )


@rx.page(route="/t/[tenant]/roles", title="Roles · Bulkhead", on_load=RolesState.load)
def roles_page() -> rx.Component:
    new = button(
        "New role",
        kind="primary",
        glyph="plus",
        on_click=RolesState.ask("create", ""),
        data_testid="create-role",
    )
    listed = rx.el.ul(rx.foreach(RolesState.rows, role_line), class_name="list", data_testid="role-list")
    return page(
        head(
            "Roles",
            said=rx.fragment(
                "Five are the same in every organisation. ",
                link("See who holds which", href("members")),
                rx.cond(RolesState.used != "", rx.el.span(RolesState.used, class_name="num")),
            ),
            actions=[allowed(actions.ROLE_CREATE, new, "New role", glyph="plus", full=RolesState.full)],
        ),
        hull(rx.cond(RolesState.loaded, listed, skeleton_rows(5)), name="Roles"),
        titled(
            "What each may do",
            hull(rx.cond(RolesState.loaded, matrix(), skeleton_rows(8)), name="Permissions"),
        ),
        dialogs(),
        current="Roles",
        load=RolesState.load,
    )
