"""The tab "Rights" of a tenant's page: what it may use, where each of it comes from, and what an operator can change.

Beside the page's own state: the page's load asks for this one's while the tab is open.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import reflex as rx
from reflex.event import EventSpec

from admin_app import addresses
from admin_app.shell import PageState, guard_control
from shared.access import actions
from shared.access.actions import ACTIONS
from shared.backoffice import tenant_access
from shared.backoffice.tenant_access import TenantAccess
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.entitlements import explain
from shared.entitlements.assignments import BILLING_STATUSES, MAX_AMOUNT, MAX_TRIAL_DAYS, TRAITS
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import SUBSCRIPTION_SOURCE, TenantOverride
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button, datetime_input, dialog, form_field, radio_cards, text_input
from shared.ui.dialogs import ConfirmText, ReasonText, check_confirmation, confirm_field, reason_field
from shared.ui.forms import Form, parse_choice, parse_datetime, parse_id, parse_whole_number
from shared.ui.panels import panel, small, stat, stat_grid, strong, text_with_note
from shared.ui.shell import link
from shared.ui.tables import Column, badge, data_table, has_items, table_row

SOURCE_COLUMN = Column("Where it comes from", hidden_on_phone=True, width="52%")
WHY_COLUMN = Column("Why", align_end=True, label_hidden=True)
FEATURE_COLUMNS = [Column("Feature"), Column("Has it"), SOURCE_COLUMN, WHY_COLUMN]
LIMIT_COLUMNS = [Column("Limit"), Column("Amount", align_end=True), SOURCE_COLUMN, WHY_COLUMN]
BILLING_STATUS_LABELS = {  # word, tone, what it means
    "active": ("Active", "ok", "Nothing is owed. Everything the plan gives."),
    "grace": ("Grace", "warn", "A payment is overdue. Everything works, with a warning."),
    "read_only": ("Read-only", "bad", "Nothing can be changed. Looking, exporting and paying go on."),
    "none": ("Nothing paid", "idle", "What remains is the free plan."),
}
FLAG_OVERRIDE_LABELS = {"on": "On", "off": "Off", "none": "No word"}
TRAIT_TITLES = {"internal": "Internal", "beta": "Beta"} | {
    name: name.capitalize() for name, values in TRAITS.items() if values
}
DIALOGS = ("", "plan", "billing", "addon", "feature", "limit", "end", "flag", "trait")
ACTION_BY_RIGHT = {  # feature or limit: the first action that asks for it
    key: action.name for action in reversed(ACTIONS.values()) for key in (action.feature, action.limit) if key
}


class PlanForm(Form):
    version: str
    trial_days: str
    reason: ReasonText
    confirm: ConfirmText


class BillingForm(Form):
    status: str
    reason: ReasonText
    confirm: ConfirmText


class AddonForm(Form):
    version: str
    quantity: str
    until: str = ""
    reason: ReasonText


class FeatureForm(Form):
    name: str
    on: Literal["on", "off"]
    until: str = ""
    reason: ReasonText


class LimitForm(Form):
    name: str
    kind: Literal["hard", "soft", "unlimited"]
    amount: str = ""
    until: str = ""
    reason: ReasonText


class EndForm(Form):
    reason: ReasonText


class FlagForm(Form):
    own: Literal["on", "off", "none"]
    reason: ReasonText


class TraitForm(Form):
    value: str = ""
    reason: ReasonText


@dataclass(frozen=True)
class RightsSummary:
    """What the tenant was given, and what it owes."""

    plan: str = ""
    plan_since: str = ""
    plan_note: str = ""
    trial: str = ""
    trial_until: str = ""
    billing: str = ""
    tone: str = ""
    billing_since: str = ""
    billing_note: str = ""
    billing_source: str = ""


@dataclass(frozen=True)
class ExceptionRow:
    """An add-on or an override."""

    id: str
    title: str
    value: str
    origin: str
    until: str


@dataclass(frozen=True)
class RightRow:
    key: str
    title: str
    value: str
    tone: str
    used_text: str
    explanation: str
    source: str
    explain_url: str  # address, "" where no action asks for it


@dataclass(frozen=True)
class FlagOrTraitRow:
    """A flag or a trait of this tenant."""

    key: str
    title: str
    value: str
    tone: str
    explanation: str
    source: str


@dataclass(frozen=True)
class DialogSubject:
    """What a dialog is about."""

    id: str = ""
    title: str = ""
    value: str = ""


def tenant_id_from_path(path: str) -> str:
    """Raises Invalid. An address is a wish: what may be seen of the tenant is decided by services."""
    return parse_id("ten", path.strip("/").partition("/")[2])


def rights_summary(rights: TenantAccess) -> RightsSummary:
    facts = rights.snapshot
    assignment, billing = facts.assignment, facts.billing
    word, tone, _ = BILLING_STATUS_LABELS[facts.billing_status]
    trial = "No trial"
    if facts.trial_ends_at is not None:
        trial = "Trial has ended" if facts.trial_ended else "On trial"
    return RightsSummary(
        facts.offer.label,
        _iso_or_empty(assignment.starts_at) if assignment else "",
        _attribution(assignment.by_name, assignment.reason) if assignment else "Nobody gave it a plan",
        trial,
        _iso_or_empty(facts.trial_ends_at),
        word,
        tone,
        _iso_or_empty(billing.starts_at) if billing else "",
        _attribution(billing.by_name, billing.reason) if billing else "Nothing was ever owed",
        "It follows the subscription."
        if billing and billing.source == SUBSCRIPTION_SOURCE
        else "It is set by hand, until there is a subscription.",
    )


def addon_rows(rights: TenantAccess) -> list[ExceptionRow]:
    return [
        ExceptionRow(
            assignment.id,
            offer.label,
            f"{assignment.quantity} ×",
            _attribution(assignment.by_name, assignment.reason),
            _iso_or_empty(assignment.ends_at),
        )
        for assignment, offer in rights.addons
    ]


def override_rows(rights: TenantAccess) -> list[ExceptionRow]:
    return [
        ExceptionRow(
            override.id,
            _override_title(override),
            _override_value(override),
            _attribution(override.by_name, override.reason),
            _iso_or_empty(override.ends_at),
        )
        for override in sorted(rights.overrides, key=lambda override: (override.target, override.name))
    ]


def feature_rows(rights: TenantAccess, tenant_id: str) -> list[RightRow]:
    return [
        RightRow(
            *(
                key,
                FEATURES[key].title,
                "Yes" if chain.included else "No",
                "ok" if chain.included else "idle",
                "",
            ),
            *(explain.describe_feature_chain(chain), chain.source_id, _explain_url(rights, tenant_id, key)),
        )
        for key, chain in rights.features.items()
    ]


def limit_rows(rights: TenantAccess, tenant_id: str) -> list[RightRow]:
    rows = []
    for key, chain in rights.limits.items():
        used = rights.usage.get(key)
        used_text = f"{used:,} in use" if used is not None else ""
        is_full = bool(used) and chain.limit.amount is not None and used >= chain.limit.amount
        soft = "" if chain.limit.hard or chain.limit.amount is None else " Warns only."
        rows.append(
            RightRow(
                *(
                    key,
                    LIMITS[key].title,
                    explain.format_amount(chain.limit, key),
                    "bad" if is_full else "",
                    used_text,
                ),
                *(
                    f"{explain.describe_limit_chain(chain)}{soft}",
                    chain.source_id,
                    _explain_url(rights, tenant_id, key),
                ),
            )
        )
    return rows


def flag_rows(rights: TenantAccess) -> list[FlagOrTraitRow]:
    return [
        FlagOrTraitRow(
            *(flag.key, flag.title, "On" if flag.is_on else "Off", "ok" if flag.is_on else "idle"),
            f"{flag.explanation} Own word: {FLAG_OVERRIDE_LABELS[_override_key(flag.override)].lower()}.",
            flag.source_id,
        )
        for flag in rights.flags
    ]


def trait_rows(rights: TenantAccess) -> list[FlagOrTraitRow]:
    traits = rights.snapshot.traits
    return [
        FlagOrTraitRow(
            *(name, title, traits[name].value if name in traits else "Not set", "idle"),
            _attribution(traits[name].by_name, traits[name].reason) if name in traits else "",
            traits[name].id if name in traits else "",
        )
        for name, title in sorted(TRAIT_TITLES.items())
    ]


def _override_key(override: bool | None) -> str:
    return "none" if override is None else "on" if override else "off"


def _explain_url(rights: TenantAccess, tenant_id: str, key: str) -> str:
    action = ACTION_BY_RIGHT.get(key, "")
    return addresses.explain_url(tenant_id, rights.owner_id, action) if action else ""


def _override_title(override: TenantOverride) -> str:
    if override.target == "limit":
        return LIMITS[override.name].title if override.name in LIMITS else override.name
    return FEATURES[override.name].title if override.name in FEATURES else override.name


def _override_value(override: TenantOverride) -> str:
    if override.target == "feature":
        return "On" if override.value else "Off"
    amount = override.value["amount"]
    amount_text = "Unlimited" if amount is None else f"{amount:,}"
    return amount_text if override.value["hard"] or amount is None else f"{amount_text}, warns only"


def _attribution(name: str, reason: str) -> str:
    return f"{name}: {reason}"


def _iso_or_empty(at: datetime | None) -> str:
    return at.isoformat() if at else ""


class TenantRightsState(PageState):
    loaded: bool = False
    name: str = ""  # of the tenant
    summary: RightsSummary = RightsSummary()
    addons: list[ExceptionRow] = []
    overrides: list[ExceptionRow] = []
    features: list[RightRow] = []
    limits: list[RightRow] = []
    flags: list[FlagOrTraitRow] = []
    traits: list[FlagOrTraitRow] = []
    plan_choices: list[tuple[str, str]] = []  # id of a version, and what it is called
    addon_choices: list[tuple[str, str]] = []
    trait_choices: list[tuple[str, str]] = []  # of the trait that the dialog is about
    billing: str = "active"
    dialog: str = ""
    subject: DialogSubject = DialogSubject()
    _shown_tenant_id: str = ""  # the tenant that is shown

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN, page=True)
    async def load(self) -> None:
        """For the page, whose own load has filled the frame and watches."""
        tenant_id = tenant_id_from_path(self.router.url.path)
        if self._shown_tenant_id != tenant_id:
            self.loaded, self.dialog, self._shown_tenant_id = False, "", tenant_id
        async with self._ctx() as octx:
            rights = await tenant_access.get_tenant_access(octx, tenant_id)
        self._show(rights)

    def _show(self, rights: TenantAccess) -> None:
        tenant_id, offers_by_id = rights.snapshot.tenant_id, {offer.id: offer for offer in rights.offers}
        self.name, self.summary = rights.tenant_name, rights_summary(rights)
        self.addons, self.overrides = addon_rows(rights), override_rows(rights)
        self.features, self.limits = feature_rows(rights, tenant_id), limit_rows(rights, tenant_id)
        self.flags, self.traits = flag_rows(rights), trait_rows(rights)
        self.billing = rights.snapshot.billing_status
        self.plan_choices = [
            (key, f"{offer.label}{f', {offer.trial_days} trial days offered' if offer.trial_days else ''}")
            for key, offer in offers_by_id.items()
            if offer.kind == "plan"
        ]
        self.addon_choices = [
            (key, offer.label) for key, offer in offers_by_id.items() if offer.kind == "addon"
        ]
        self.loaded = True

    def _tenant_id(self) -> str:
        """Raises Invalid where the page still shows another one than its address names."""
        tenant_id = tenant_id_from_path(self.router.url.path)
        if self._shown_tenant_id and self._shown_tenant_id != tenant_id:
            raise Invalid("This page shows another tenant by now.", "Reload it and try again.")
        return tenant_id

    async def _read_again(self, octx: OperatorCtx) -> TenantAccess:
        return await tenant_access.get_tenant_access(octx, self._tenant_id())

    def _finish(self, rights: TenantAccess, title: str) -> EventSpec:
        self._show(rights)
        self.dialog = ""
        return rx.toast.success(title, description=f"The audit trail of {self.name} says so.")

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN)
    async def open_dialog(self, dialog_name: str, row_id: str = "") -> None:
        """Opens a dialog. `about`: id or key of a row, where it is about one."""
        name = parse_choice(dialog_name, DIALOGS)
        self.subject = DialogSubject()
        if name == "end":
            exception = next(
                (exception for exception in (*self.addons, *self.overrides) if exception.id == row_id), None
            )
            self.subject = _require_subject(
                exception and DialogSubject(exception.id, exception.title, exception.value)
            )
        elif name in ("flag", "trait"):
            rows = self.flags if name == "flag" else self.traits
            toggle = next((toggle for toggle in rows if toggle.key == row_id), None)
            self.subject = _require_subject(toggle and DialogSubject(toggle.key, toggle.title, toggle.value))
            if name == "trait":
                values = TRAITS[self.subject.id] or ("yes",)
                self.trait_choices = [("", "Not set"), *((value, value) for value in values)]
        self.dialog = name

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN)
    async def close_dialog(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def change_plan(self, payload: dict[str, Any]) -> EventSpec:
        form = PlanForm.read(payload)
        check_confirmation(self.name, form.confirm)
        version = parse_id("plv", form.version)
        days = parse_whole_number("trial_days", form.trial_days, 0, MAX_TRIAL_DAYS)
        async with self._ctx() as octx:
            await tenant_access.assign_plan(octx, self._tenant_id(), version, form.reason, trial_days=days)
            rights = await self._read_again(octx)
        return self._finish(rights, f"{self.name} has {rights.snapshot.offer.label} now.")

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def set_billing_status(self, payload: dict[str, Any]) -> EventSpec:
        form = BillingForm.read(payload)
        check_confirmation(self.name, form.confirm)
        status = parse_choice(form.status, BILLING_STATUSES)
        async with self._ctx() as octx:
            await tenant_access.set_billing_status(octx, self._tenant_id(), status, form.reason)
            rights = await self._read_again(octx)
        return self._finish(
            rights, f"The billing status of {self.name} is {BILLING_STATUS_LABELS[status][0].lower()}."
        )

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def add_addon(self, payload: dict[str, Any]) -> EventSpec:
        form = AddonForm.read(payload)
        version = parse_id("plv", form.version)
        quantity = parse_whole_number("quantity", form.quantity, 1, 10_000)
        until = parse_datetime("until", form.until)
        async with self._ctx() as octx:
            await tenant_access.add_addon(
                octx, self._tenant_id(), version, quantity, form.reason, ends_at=until
            )
            rights = await self._read_again(octx)
        return self._finish(rights, "The add-on counts at once.")

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def override_feature(self, payload: dict[str, Any]) -> EventSpec:
        form = FeatureForm.read(payload)
        name, until = parse_choice(form.name, FEATURES), _parse_until(form.until)
        async with self._ctx() as octx:
            await tenant_access.override_feature(
                octx, self._tenant_id(), name, form.on == "on", form.reason, ends_at=until
            )
            rights = await self._read_again(octx)
        return self._finish(rights, f"{FEATURES[name].title} is switched {form.on}.")

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def override_limit(self, payload: dict[str, Any]) -> EventSpec:
        form = LimitForm.read(payload)
        name, until = parse_choice(form.name, LIMITS), _parse_until(form.until)
        amount = (
            None if form.kind == "unlimited" else parse_whole_number("amount", form.amount, 0, MAX_AMOUNT)
        )
        async with self._ctx() as octx:
            await tenant_access.override_limit(
                octx, self._tenant_id(), name, amount, form.reason, ends_at=until, hard=form.kind != "soft"
            )
            rights = await self._read_again(octx)
        return self._finish(rights, f"{LIMITS[name].title} is set.")

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def end_exception(self, payload: dict[str, Any]) -> EventSpec:
        form = EndForm.read(payload)
        async with self._ctx() as octx:
            await tenant_access.end_assignment(octx, self._tenant_id(), self.subject.id, form.reason)
            rights = await self._read_again(octx)
        return self._finish(rights, f"{self.subject.title} has ended.")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def override_flag(self, payload: dict[str, Any]) -> EventSpec:
        form = FlagForm.read(payload)
        override = {"on": True, "off": False, "none": None}[form.own]
        async with self._ctx() as octx:
            await tenant_access.set_flag_override(
                octx, self._tenant_id(), self.subject.id, override, form.reason
            )
            rights = await self._read_again(octx)
        return self._finish(rights, f"The word of {self.name} on {self.subject.title} is written down.")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def set_trait(self, payload: dict[str, Any]) -> EventSpec:
        form = TraitForm.read(payload)
        async with self._ctx() as octx:
            await tenant_access.set_trait(octx, self._tenant_id(), self.subject.id, form.value, form.reason)
            rights = await self._read_again(octx)
        return self._finish(rights, f"{self.subject.title} is written down.")


def _require_subject(subject: DialogSubject | None) -> DialogSubject:
    if subject is None:
        raise Invalid("This is not one of the rows of the page.", "Reload the page and try again.")
    return subject


def _parse_until(value: str) -> datetime:
    until = parse_datetime("until", value)
    if until is None:
        raise Invalid(
            "An override needs an end.",
            "Choose a day: an exception that nobody ends would be a plan that nobody knows.",
            fields={"until": "Missing"},
        )
    return until


# ── the tab ──────────────────────────────────────────────────────────────────────────────────────────────────────


def dialog_button(
    dialog_name: str, label: str, glyph: str = "", row_id: Any = "", **props: Any
) -> rx.Component:
    """A button that opens a dialog, or says why not."""
    action = actions.OP_FLAG_WRITE if dialog_name in ("flag", "trait") else actions.OP_RIGHTS_WRITE
    control = button(label, glyph=glyph, on_click=TenantRightsState.open_dialog(dialog_name, row_id), **props)
    return guard_control(action, control, label, glyph=glyph, id=f"refused-{dialog_name}")


def summary_stats() -> rx.Component:
    state: Any = TenantRightsState
    summary = state.summary
    since = rx.cond(
        summary.plan_since != "", rx.fragment("Since ", local_time(summary.plan_since, "", "day")), ""
    )
    trial = rx.cond(
        summary.trial_until != "", rx.fragment("Until ", local_time(summary.trial_until, "", "moment")), ""
    )
    billing_since = rx.cond(
        summary.billing_since != "", rx.fragment("Since ", local_time(summary.billing_since, "", "day")), ""
    )
    return stat_grid(
        stat("Plan", summary.plan, since),
        stat("Trial", summary.trial, trial),
        stat("Billing status", badge(summary.billing, summary.tone), billing_since),
        stat(
            "Exceptions",
            rx.fragment(state.overrides.length(), " overrides"),
            rx.fragment(state.addons.length(), " add-ons"),
        ),
    )


def plan_and_billing() -> rx.Component:
    summary = TenantRightsState.summary
    plan = rx.el.li(
        text_with_note(strong(summary.plan), small(summary.plan_note, class_name="cut-anywhere")),
        dialog_button("plan", "Change plan", data_testid="change-plan"),
        class_name="wrap",
    )
    billing_item = rx.el.li(
        text_with_note(
            strong(summary.billing),
            small(summary.billing_note, " · ", summary.billing_source, class_name="cut-anywhere"),
        ),
        dialog_button("billing", "Set billing status", data_testid="set-billing"),
        class_name="wrap",
    )
    return panel(rx.el.ul(plan, billing_item, class_name="list"), title="Plan and billing")


def exceptions_panel(
    title: str, rows: Any, empty_text: rx.Component, aside: Any, test_id: str
) -> rx.Component:
    def line(exception: ExceptionRow) -> rx.Component:
        until = rx.cond(
            exception.until != "",
            small("Until ", local_time(exception.until, "", "moment"), class_name="num nowrap"),
            small("Until it is ended", class_name="nowrap"),
        )
        end_button = guard_control(
            actions.OP_RIGHTS_WRITE,
            button("End now", kind="quiet", on_click=TenantRightsState.open_dialog("end", exception.id)),
            "End now",
            id=f"end-{exception.id}",
        )
        heading = rx.el.span(
            strong(exception.title), " ", badge(exception.value, "accent"), class_name="row wrap"
        )
        words = rx.el.div(
            heading, small(exception.origin, class_name="cut-anywhere"), until, class_name="two"
        )
        return rx.el.li(words, end_button)

    exception_list = rx.el.ul(rx.foreach(rows, line), class_name="list", data_testid=test_id)
    return panel(rx.cond(has_items(rows), exception_list, empty_text), title=title, aside=aside)


def source_text(right: RightRow) -> rx.Component:
    return small(right.explanation, " ", rx.el.code(right.source, class_name="mono cut-anywhere"))


def explain_link(right: RightRow) -> rx.Component:
    label = rx.fragment("Why?", rx.el.span(" ", right.title, class_name="sr"))
    return rx.cond(right.explain_url != "", link(label, right.explain_url, class_name="link small"))


def feature_line(right: RightRow) -> rx.Component:
    name = text_with_note(
        strong(right.title),
        rx.fragment(
            rx.el.code(right.key, class_name="mono muted"),
            rx.el.span(source_text(right), class_name="only-small"),
        ),
    )
    return table_row(
        FEATURE_COLUMNS, name, badge(right.value, right.tone), source_text(right), explain_link(right)
    )


def limit_line(right: RightRow) -> rx.Component:
    name = text_with_note(
        strong(right.title),
        rx.fragment(
            rx.el.code(right.key, class_name="mono muted"),
            rx.el.span(source_text(right), class_name="only-small"),
        ),
    )
    amount = rx.el.div(
        rx.el.span(right.value),
        rx.cond(
            right.used_text != "",
            rx.el.span(right.used_text, class_name=rx.cond(right.tone == "bad", "small down", "small muted")),
        ),
        class_name="two",
    )
    return table_row(LIMIT_COLUMNS, name, amount, source_text(right), explain_link(right))


def toggles_panel(title: str, kind: str, rows: Any, verb: str, empty_text: rx.Component) -> rx.Component:
    def line(toggle: FlagOrTraitRow) -> rx.Component:
        explanation = small(
            toggle.explanation, " ", rx.el.code(toggle.source, class_name="mono"), class_name="cut-anywhere"
        )
        heading = rx.el.span(
            strong(toggle.title), " ", badge(toggle.value, toggle.tone), class_name="row wrap"
        )
        control = button(verb, kind="quiet", on_click=TenantRightsState.open_dialog(kind, toggle.key))
        change = guard_control(actions.OP_FLAG_WRITE, control, verb, id=f"{kind}-{toggle.key}")
        return rx.el.li(text_with_note(heading, rx.cond(toggle.source != "", explanation)), change)

    toggle_list = rx.el.ul(rx.foreach(rows, line), class_name="list", data_testid=f"{kind}s")
    return panel(rx.cond(has_items(rows), toggle_list, empty_text), title=title)


def rights_panel() -> rx.Component:
    state = TenantRightsState
    addons = exceptions_panel(
        "Add-ons",
        state.addons,
        empty_state("No add-ons", "One raises limits or adds a feature at once.", glyph="puzzle"),
        dialog_button("addon", "Add-on", "plus", data_testid="add-addon"),
        "addons",
    )
    overrides = exceptions_panel(
        "Overrides",
        state.overrides,
        empty_state(
            "No overrides", "An exception for this tenant alone, with a reason and an end.", glyph="replace"
        ),
        None,
        "overrides",
    )
    features = data_table(
        "Features", FEATURE_COLUMNS, rx.foreach(state.features, feature_line), test_id="features"
    )
    limits = data_table("Limits", LIMIT_COLUMNS, rx.foreach(state.limits, limit_line), test_id="limits")
    override = dialog_button("feature", "Override", "plus", data_testid="override-feature")
    limit_override = dialog_button("limit", "Override", "plus", data_testid="override-limit")
    no_flags = empty_state("No flags", "What is being rolled out stands here.", glyph="flag")
    content = rx.el.div(
        panel(summary_stats(), name="Facts"),
        plan_and_billing(),
        panel(features, title="Features", aside=override),
        panel(limits, title="Limits", aside=limit_override),
        rx.el.div(overrides, addons, class_name="split", data_even="true"),
        rx.el.div(
            toggles_panel("Flags", "flag", state.flags, "Set word", no_flags),
            toggles_panel("Traits", "trait", state.traits, "Set", no_flags),
            class_name="split",
            data_even="true",
        ),
        rights_dialogs(),
        class_name="stack",
    )
    return rx.cond(state.loaded, content, panel(skeleton_rows(6), name="Rights"))


# ── dialogs ──────────────────────────────────────────────────────────────────────────────────────────────────────


def rights_dialog(
    name: str, title: Any, sentence: Any, *children: rx.Component, **props: Any
) -> rx.Component:
    return dialog(
        None,
        title,
        sentence,
        *children,
        reason_field(name),
        *([confirm_field(name, TenantRightsState.name)] if name in ("plan", "billing") else []),
        open=TenantRightsState.dialog == name,
        on_open_change=TenantRightsState.close_dialog,
        test_id=f"{name}-form",
        **props,
    )


def select_field(id: str, label: str, name: str, options: Any, **props: Any) -> rx.Component:
    """`options`: pairs of value and label, or a var of them."""
    option_list = rx.foreach(options, lambda option: rx.el.option(option[1], value=option[0]))
    control = rx.el.select(option_list, name=name, class_name="input", custom_attrs={"id": id}, **props)
    return form_field(label, control, id=id)


def until_field(name: str, hint: str, *, required: bool) -> rx.Component:
    control = datetime_input(f"{name}-until", name="until", required=required)
    return form_field("Until", control, id=f"{name}-until", hint=hint)


def rights_dialogs() -> rx.Component:
    state = TenantRightsState
    return rx.fragment(
        rights_dialog(
            "plan",
            rx.fragment("Change the plan of ", state.name),
            "Counts at once. What the new plan does not give is refused from then on; nothing is deleted.",
            select_field("plan-version", "Plan", "version", state.plan_choices),
            form_field(
                "Trial days",
                text_input(
                    "plan-trial",
                    name="trial_days",
                    type="number",
                    min=0,
                    max=MAX_TRIAL_DAYS,
                    has_note=True,
                    default_value="0",
                    required=True,
                ),
                id="plan-trial",
                hint="0 where it is paid, or free. After a trial the free plan remains, by the clock.",
            ),
            confirm="Change plan",
            submit=state.change_plan,
            kind="danger-fill",
        ),
        rights_dialog(
            "billing",
            rx.fragment("Set the billing status of ", state.name),
            "Counts at once, until the next status. What was foreseen for later no longer comes.",
            radio_cards(
                "Status",
                "status",
                [[key, *word[::2]] for key, word in BILLING_STATUS_LABELS.items()],
                value=state.billing,
            ),
            confirm="Set status",
            submit=state.set_billing_status,
            kind="danger-fill",
        ),
        rights_dialog(
            "addon",
            rx.fragment("Give ", state.name, " an add-on"),
            "Counts at once, on top of the plan.",
            select_field("addon-version", "Add-on", "version", state.addon_choices),
            form_field(
                "How many",
                text_input(
                    "addon-quantity",
                    name="quantity",
                    type="number",
                    min=1,
                    max=10_000,
                    default_value="1",
                    required=True,
                ),
                id="addon-quantity",
            ),
            until_field("addon", "Leave it empty to keep it until somebody ends it.", required=False),
            confirm="Add",
            submit=state.add_addon,
        ),
        rights_dialog(
            "feature",
            "Override a feature",
            rx.fragment("For ", state.name, " alone, whatever its plan says. It ends by itself."),
            select_field(
                "feature-name", "Feature", "name", [[key, feature.title] for key, feature in FEATURES.items()]
            ),
            radio_cards(
                "Set to",
                "on",
                [
                    ["on", "On", "May be used, as far as role and bill allow."],
                    ["off", "Off", "Refused, even if the plan includes it."],
                ],
                value="on",
            ),
            until_field("feature", "Has to lie ahead.", required=True),
            confirm="Override",
            submit=state.override_feature,
        ),
        rights_dialog(
            "limit",
            "Override a limit",
            rx.fragment("For ", state.name, " alone, in place of plan and add-ons. It ends by itself."),
            select_field(
                "limit-name", "Limit", "name", [[key, limit.title] for key, limit in LIMITS.items()]
            ),
            radio_cards(
                "Kind",
                "kind",
                [
                    ["hard", "Hard", "Refuses above the amount."],
                    ["soft", "Soft", "Warns above the amount and goes on."],
                    ["unlimited", "Unlimited", "No amount at all."],
                ],
                value="hard",
            ),
            form_field(
                "Amount",
                text_input(
                    "limit-amount", name="amount", type="number", min=0, max=MAX_AMOUNT, has_note=True
                ),
                id="limit-amount",
                hint="Not needed where it is unlimited.",
            ),
            until_field("limit", "Has to lie ahead.", required=True),
            confirm="Override",
            submit=state.override_limit,
        ),
        rights_dialog(
            "end",
            rx.fragment("End ", state.subject.title, " now"),
            "What plan and other add-ons give counts again, at once.",
            confirm="End now",
            submit=state.end_exception,
            kind="danger-fill",
        ),
        rights_dialog(
            "flag",
            rx.fragment("This tenant's word on ", state.subject.title),
            "Off is off against every rule. On counts where the rules let tenants in one by one.",
            radio_cards(
                "Word",
                "own",
                [
                    ["on", "On", "Let in."],
                    ["off", "Off", "Kept out, whatever the rules say."],
                    ["none", "No word", "The rules alone decide."],
                ],
                value="none",
            ),
            confirm="Write down",
            submit=state.override_flag,
        ),
        rights_dialog(
            "trait",
            rx.fragment("Set ", state.subject.title),
            "Rules of flags may ask for it. It gives no right by itself.",
            select_field("trait-value", "Value", "value", state.trait_choices),
            confirm="Set",
            submit=state.set_trait,
        ),
    )
