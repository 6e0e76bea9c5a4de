"""The tab "Rights" of a tenant's page: what it may use, where each of it comes from, and what an operator can change.

Beside the page's own state: the page's load asks for this one's while the tab is open.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import reflex as rx
from reflex.event import EventSpec

from admin_app import addresses
from admin_app.confirming import Confirm, Reason, check_name, confirm_field, reason_field
from admin_app.shell import PageState, allowed
from shared.access import actions
from shared.access.actions import ACTIONS
from shared.core.ctx import OperatorCtx
from shared.core.errors import Invalid
from shared.entitlements import explain
from shared.entitlements.features import FEATURES
from shared.entitlements.holdings import LONGEST_TRIAL, MOST, STATUSES, TRAITS
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import SUBSCRIPTION, TenantOverride
from shared.tenancy import desk
from shared.tenancy.desk import Effective
from shared.ui.feedback import empty, skeleton_rows, when
from shared.ui.form import button, choices, dialog, field, moment, text_input
from shared.ui.form_model import Form, a_moment, a_number, a_word, an_id
from shared.ui.gate import needs
from shared.ui.hull import cells, fact, hull, small, strong, two
from shared.ui.shell import link
from shared.ui.table import Column, badge, data_table, row, some

CHAIN = Column("Where it comes from", less=True, width="52%")
WHY = Column("Why", end=True, hidden=True)
FEATURE_COLUMNS = [Column("Feature"), Column("Has it"), CHAIN, WHY]
LIMIT_COLUMNS = [Column("Limit"), Column("Amount", end=True), CHAIN, WHY]
BILLING = {  # word, tone, what it means
    "active": ("Active", "ok", "Nothing is owed. Everything the plan gives."),
    "grace": ("Grace", "warn", "A payment is overdue. Everything works, with a warning."),
    "read_only": ("Read-only", "bad", "Nothing can be changed. Looking, exporting and paying go on."),
    "none": ("Nothing paid", "idle", "What remains is the free plan."),
}
OWN = {"on": "On", "off": "Off", "none": "No word"}
TITLES = {"internal": "Internal", "beta": "Beta"} | {
    name: name.capitalize() for name, values in TRAITS.items() if values
}
DIALOGS = ("", "plan", "billing", "addon", "feature", "limit", "end", "flag", "trait")
ACTION_OF = {  # feature or limit: the first action that asks for it
    key: action.name for action in reversed(ACTIONS.values()) for key in (action.feature, action.limit) if key
}


class PlanForm(Form):
    version: str
    trial_days: str
    reason: Reason
    confirm: Confirm


class BillingForm(Form):
    status: str
    reason: Reason
    confirm: Confirm


class AddonForm(Form):
    version: str
    quantity: str
    until: str = ""
    reason: Reason


class FeatureForm(Form):
    name: str
    on: Literal["on", "off"]
    until: str = ""
    reason: Reason


class LimitForm(Form):
    name: str
    kind: Literal["hard", "soft", "unlimited"]
    amount: str = ""
    until: str = ""
    reason: Reason


class EndForm(Form):
    reason: Reason


class FlagForm(Form):
    own: Literal["on", "off", "none"]
    reason: Reason


class TraitForm(Form):
    value: str = ""
    reason: Reason


@dataclass(frozen=True)
class Holding:
    """What the tenant was given, and what it owes."""

    plan: str = ""
    plan_since: str = ""
    plan_said: str = ""
    trial: str = ""
    trial_until: str = ""
    billing: str = ""
    tone: str = ""
    billing_since: str = ""
    billing_said: str = ""
    billing_how: str = ""


@dataclass(frozen=True)
class GivenRow:
    """An add-on or an override."""

    id: str
    title: str
    value: str
    said: str
    until: str


@dataclass(frozen=True)
class RightRow:
    key: str
    title: str
    value: str
    tone: str
    used: str
    said: str
    source: str
    why: str  # address, "" where no action asks for it


@dataclass(frozen=True)
class SwitchRow:
    """A flag or a trait of this tenant."""

    key: str
    title: str
    value: str
    tone: str
    said: str
    source: str


@dataclass(frozen=True)
class Subject:
    """What a dialog is about."""

    id: str = ""
    title: str = ""
    value: str = ""


def tenant_of(path: str) -> str:
    """Raises Invalid. An address is a wish: what may be seen of the tenant is decided by services."""
    return an_id("ten", path.strip("/").partition("/")[2])


def holding(known: Effective) -> Holding:
    facts = known.facts
    given, billing = facts.assigned, facts.billing
    word, tone, _ = BILLING[facts.billing_status]
    trial = "No trial"
    if facts.trial_ends_at is not None:
        trial = "Trial has ended" if facts.trial_ended else "On trial"
    return Holding(
        facts.offer.said,
        _iso(given.starts_at) if given else "",
        _by(given.by_name, given.reason) if given else "Nobody gave it a plan",
        trial,
        _iso(facts.trial_ends_at),
        word,
        tone,
        _iso(billing.starts_at) if billing else "",
        _by(billing.by_name, billing.reason) if billing else "Nothing was ever owed",
        "It follows the subscription."
        if billing and billing.source == SUBSCRIPTION
        else "It is set by hand, until there is a subscription.",
    )


def addon_rows(known: Effective) -> list[GivenRow]:
    return [
        GivenRow(
            given.id,
            offer.said,
            f"{given.quantity} ×",
            _by(given.by_name, given.reason),
            _iso(given.ends_at),
        )
        for given, offer in known.addons
    ]


def override_rows(known: Effective) -> list[GivenRow]:
    return [
        GivenRow(one.id, _title(one), _value(one), _by(one.by_name, one.reason), _iso(one.ends_at))
        for one in sorted(known.overrides, key=lambda one: (one.target, one.name))
    ]


def feature_rows(known: Effective, tenant_id: str) -> list[RightRow]:
    return [
        RightRow(
            *(key, FEATURES[key].title, "Yes" if chain.has else "No", "ok" if chain.has else "idle", ""),
            *(chain.said, chain.source, _why(known, tenant_id, key)),
        )
        for key, chain in known.features.items()
    ]


def limit_rows(known: Effective, tenant_id: str) -> list[RightRow]:
    rows = []
    for key, chain in known.limits.items():
        used = known.used.get(key)
        said = f"{used:,} in use" if used is not None else ""
        full = bool(used) and chain.limit.amount is not None and used >= chain.limit.amount
        soft = "" if chain.limit.hard or chain.limit.amount is None else " Warns only."
        rows.append(
            RightRow(
                *(key, LIMITS[key].title, explain.amount(chain.limit, key), "bad" if full else "", said),
                *(f"{chain.said}{soft}", chain.source, _why(known, tenant_id, key)),
            )
        )
    return rows


def flag_rows(known: Effective) -> list[SwitchRow]:
    return [
        SwitchRow(
            *(one.key, one.title, "On" if one.on else "Off", "ok" if one.on else "idle"),
            f"{one.found} Own word: {OWN[_own(one.own)].lower()}.",
            one.source,
        )
        for one in known.flags
    ]


def trait_rows(known: Effective) -> list[SwitchRow]:
    traits = known.facts.traits
    return [
        SwitchRow(
            *(name, title, traits[name].value if name in traits else "Not set", "idle"),
            _by(traits[name].by_name, traits[name].reason) if name in traits else "",
            traits[name].id if name in traits else "",
        )
        for name, title in sorted(TITLES.items())
    ]


def _own(word: bool | None) -> str:
    return "none" if word is None else "on" if word else "off"


def _why(known: Effective, tenant_id: str, key: str) -> str:
    action = ACTION_OF.get(key, "")
    return addresses.why(tenant_id, known.owner_id, action) if action else ""


def _title(one: TenantOverride) -> str:
    if one.target == "limit":
        return LIMITS[one.name].title if one.name in LIMITS else one.name
    return FEATURES[one.name].title if one.name in FEATURES else one.name


def _value(one: TenantOverride) -> str:
    if one.target == "feature":
        return "On" if one.value else "Off"
    amount = one.value["amount"]
    said = "Unlimited" if amount is None else f"{amount:,}"
    return said if one.value["hard"] or amount is None else f"{said}, warns only"


def _by(name: str, reason: str) -> str:
    return f"{name}: {reason}"


def _iso(at: datetime | None) -> str:
    return at.isoformat() if at else ""


class TenantRightsState(PageState):
    loaded: bool = False
    name: str = ""  # of the tenant
    holding: Holding = Holding()
    addons: list[GivenRow] = []
    overrides: list[GivenRow] = []
    features: list[RightRow] = []
    limits: list[RightRow] = []
    flags: list[SwitchRow] = []
    traits: list[SwitchRow] = []
    plan_choices: list[tuple[str, str]] = []  # id of a version, and what it is called
    addon_choices: list[tuple[str, str]] = []
    trait_choices: list[tuple[str, str]] = []  # of the trait that the dialog is about
    billing: str = "active"
    dialog: str = ""
    subject: Subject = Subject()
    _of: str = ""  # the tenant that is shown

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN, page=True)
    async def load(self) -> None:
        """For the page, whose own load has filled the frame and watches."""
        tenant_id = tenant_of(self.router.url.path)
        if self._of != tenant_id:
            self.loaded, self.dialog, self._of = False, "", tenant_id
        async with self._ctx() as octx:
            known = await desk.effective(octx, tenant_id)
        self._show(known)

    def _show(self, known: Effective) -> None:
        tenant_id, kinds = known.facts.tenant_id, {offer.id: offer for offer in known.offers}
        self.name, self.holding = known.tenant_name, holding(known)
        self.addons, self.overrides = addon_rows(known), override_rows(known)
        self.features, self.limits = feature_rows(known, tenant_id), limit_rows(known, tenant_id)
        self.flags, self.traits = flag_rows(known), trait_rows(known)
        self.billing = known.facts.billing_status
        self.plan_choices = [
            (key, f"{one.said}{f', {one.trial_days} trial days offered' if one.trial_days else ''}")
            for key, one in kinds.items()
            if one.kind == "plan"
        ]
        self.addon_choices = [(key, one.said) for key, one in kinds.items() if one.kind == "addon"]
        self.loaded = True

    def _tenant_id(self) -> str:
        """Raises Invalid where the page still shows another one than its address names."""
        tenant_id = tenant_of(self.router.url.path)
        if self._of and self._of != tenant_id:
            raise Invalid("This page shows another tenant by now.", "Reload it and try again.")
        return tenant_id

    async def _changed(self, octx: OperatorCtx) -> Effective:
        return await desk.effective(octx, self._tenant_id())

    def _done(self, known: Effective, said: str) -> EventSpec:
        self._show(known)
        self.dialog = ""
        return rx.toast.success(said, description=f"The audit trail of {self.name} says so.")

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN)
    async def ask(self, which: str, about: str = "") -> None:
        """Opens a dialog. `about`: id or key of a row, where it is about one."""
        wanted = a_word(which, DIALOGS)
        self.subject = Subject()
        if wanted == "end":
            one = next((one for one in (*self.addons, *self.overrides) if one.id == about), None)
            self.subject = _subject(one and Subject(one.id, one.title, one.value))
        elif wanted in ("flag", "trait"):
            rows = self.flags if wanted == "flag" else self.traits
            found = next((one for one in rows if one.key == about), None)
            self.subject = _subject(found and Subject(found.key, found.title, found.value))
            if wanted == "trait":
                values = TRAITS[self.subject.id] or ("yes",)
                self.trait_choices = [("", "Not set"), *((value, value) for value in values)]
        self.dialog = wanted

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN)
    async def dismiss(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def change_plan(self, payload: dict[str, Any]) -> EventSpec:
        form = PlanForm.read(payload)
        check_name(self.name, form.confirm)
        version = an_id("plv", form.version)
        days = a_number("trial_days", form.trial_days, 0, LONGEST_TRIAL)
        async with self._ctx() as octx:
            await desk.assign_plan(octx, self._tenant_id(), version, form.reason, trial_days=days)
            known = await self._changed(octx)
        return self._done(known, f"{self.name} has {known.facts.offer.said} now.")

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def set_billing(self, payload: dict[str, Any]) -> EventSpec:
        form = BillingForm.read(payload)
        check_name(self.name, form.confirm)
        status = a_word(form.status, STATUSES)
        async with self._ctx() as octx:
            await desk.set_billing(octx, self._tenant_id(), status, form.reason)
            known = await self._changed(octx)
        return self._done(known, f"The billing status of {self.name} is {BILLING[status][0].lower()}.")

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def add_addon(self, payload: dict[str, Any]) -> EventSpec:
        form = AddonForm.read(payload)
        version = an_id("plv", form.version)
        quantity = a_number("quantity", form.quantity, 1, 10_000)
        until = a_moment("until", form.until)
        async with self._ctx() as octx:
            await desk.add_addon(octx, self._tenant_id(), version, quantity, form.reason, ends_at=until)
            known = await self._changed(octx)
        return self._done(known, "The add-on counts at once.")

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def override_feature(self, payload: dict[str, Any]) -> EventSpec:
        form = FeatureForm.read(payload)
        name, until = a_word(form.name, FEATURES), _until(form.until)
        async with self._ctx() as octx:
            await desk.override_feature(
                octx, self._tenant_id(), name, form.on == "on", form.reason, ends_at=until
            )
            known = await self._changed(octx)
        return self._done(known, f"{FEATURES[name].title} is switched {form.on}.")

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def override_limit(self, payload: dict[str, Any]) -> EventSpec:
        form = LimitForm.read(payload)
        name, until = a_word(form.name, LIMITS), _until(form.until)
        amount = None if form.kind == "unlimited" else a_number("amount", form.amount, 0, MOST)
        async with self._ctx() as octx:
            await desk.override_limit(
                octx, self._tenant_id(), name, amount, form.reason, ends_at=until, hard=form.kind != "soft"
            )
            known = await self._changed(octx)
        return self._done(known, f"{LIMITS[name].title} is set.")

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def end(self, payload: dict[str, Any]) -> EventSpec:
        form = EndForm.read(payload)
        async with self._ctx() as octx:
            await desk.end(octx, self._tenant_id(), self.subject.id, form.reason)
            known = await self._changed(octx)
        return self._done(known, f"{self.subject.title} has ended.")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def set_flag(self, payload: dict[str, Any]) -> EventSpec:
        form = FlagForm.read(payload)
        own = {"on": True, "off": False, "none": None}[form.own]
        async with self._ctx() as octx:
            await desk.set_flag(octx, self._tenant_id(), self.subject.id, own, form.reason)
            known = await self._changed(octx)
        return self._done(known, f"The word of {self.name} on {self.subject.title} is written down.")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def set_trait(self, payload: dict[str, Any]) -> EventSpec:
        form = TraitForm.read(payload)
        async with self._ctx() as octx:
            await desk.set_trait(octx, self._tenant_id(), self.subject.id, form.value, form.reason)
            known = await self._changed(octx)
        return self._done(known, f"{self.subject.title} is written down.")


def _subject(found: Subject | None) -> Subject:
    if found is None:
        raise Invalid("This is not one of the rows of the page.", "Reload the page and try again.")
    return found


def _until(value: str) -> datetime:
    until = a_moment("until", value)
    if until is None:
        raise Invalid(
            "An override needs an end.",
            "Choose a day: an exception that nobody ends would be a plan that nobody knows.",
            fields={"until": "Missing"},
        )
    return until


# ── the tab ──────────────────────────────────────────────────────────────────────────────────────────────────────


def writes(which: str, label: str, glyph: str = "", about: Any = "", **props: Any) -> rx.Component:
    """A button that opens a dialog, or says why not."""
    action = actions.OP_FLAG_WRITE if which in ("flag", "trait") else actions.OP_RIGHTS_WRITE
    control = button(label, glyph=glyph, on_click=TenantRightsState.ask(which, about), **props)
    return allowed(action, control, label, glyph=glyph, id=f"refused-{which}")


def summary() -> rx.Component:
    state: Any = TenantRightsState
    has = state.holding
    since = rx.cond(has.plan_since != "", rx.fragment("Since ", when(has.plan_since, "", "day")), "")
    trial = rx.cond(has.trial_until != "", rx.fragment("Until ", when(has.trial_until, "", "moment")), "")
    owed = rx.cond(has.billing_since != "", rx.fragment("Since ", when(has.billing_since, "", "day")), "")
    return cells(
        fact("Plan", has.plan, since),
        fact("Trial", has.trial, trial),
        fact("Billing status", badge(has.billing, has.tone), owed),
        fact(
            "Exceptions",
            rx.fragment(state.overrides.length(), " overrides"),
            rx.fragment(state.addons.length(), " add-ons"),
        ),
    )


def given() -> rx.Component:
    has = TenantRightsState.holding
    plan = rx.el.li(
        two(strong(has.plan), small(has.plan_said, class_name="cut-anywhere")),
        writes("plan", "Change plan", data_testid="change-plan"),
        class_name="wrap",
    )
    bill = rx.el.li(
        two(
            strong(has.billing),
            small(has.billing_said, " · ", has.billing_how, class_name="cut-anywhere"),
        ),
        writes("billing", "Set billing status", data_testid="set-billing"),
        class_name="wrap",
    )
    return hull(rx.el.ul(plan, bill, class_name="list"), title="Plan and billing")


def exceptions(title: str, rows: Any, nothing: rx.Component, aside: Any, test_id: str) -> rx.Component:
    def line(one: GivenRow) -> rx.Component:
        until = rx.cond(
            one.until != "",
            small("Until ", when(one.until, "", "moment"), class_name="num nowrap"),
            small("Until it is ended", class_name="nowrap"),
        )
        stop = allowed(
            actions.OP_RIGHTS_WRITE,
            button("End now", kind="quiet", on_click=TenantRightsState.ask("end", one.id)),
            "End now",
            id=f"end-{one.id}",
        )
        heading = rx.el.span(strong(one.title), " ", badge(one.value, "accent"), class_name="row wrap")
        words = rx.el.div(heading, small(one.said, class_name="cut-anywhere"), until, class_name="two")
        return rx.el.li(words, stop)

    listed = rx.el.ul(rx.foreach(rows, line), class_name="list", data_testid=test_id)
    return hull(rx.cond(some(rows), listed, nothing), title=title, aside=aside)


def source(one: RightRow) -> rx.Component:
    return small(one.said, " ", rx.el.code(one.source, class_name="mono cut-anywhere"))


def why_link(one: RightRow) -> rx.Component:
    label = rx.fragment("Why?", rx.el.span(" ", one.title, class_name="sr"))
    return rx.cond(one.why != "", link(label, one.why, class_name="link small"))


def feature_line(one: RightRow) -> rx.Component:
    name = two(
        strong(one.title),
        rx.fragment(
            rx.el.code(one.key, class_name="mono muted"), rx.el.span(source(one), class_name="only-small")
        ),
    )
    return row(FEATURE_COLUMNS, name, badge(one.value, one.tone), source(one), why_link(one))


def limit_line(one: RightRow) -> rx.Component:
    name = two(
        strong(one.title),
        rx.fragment(
            rx.el.code(one.key, class_name="mono muted"), rx.el.span(source(one), class_name="only-small")
        ),
    )
    amount = rx.el.div(
        rx.el.span(one.value),
        rx.cond(
            one.used != "",
            rx.el.span(one.used, class_name=rx.cond(one.tone == "bad", "small down", "small muted")),
        ),
        class_name="two",
    )
    return row(LIMIT_COLUMNS, name, amount, source(one), why_link(one))


def switches(title: str, which: str, rows: Any, verb: str, nothing: rx.Component) -> rx.Component:
    def line(one: SwitchRow) -> rx.Component:
        said = small(one.said, " ", rx.el.code(one.source, class_name="mono"), class_name="cut-anywhere")
        heading = rx.el.span(strong(one.title), " ", badge(one.value, one.tone), class_name="row wrap")
        control = button(verb, kind="quiet", on_click=TenantRightsState.ask(which, one.key))
        change = allowed(actions.OP_FLAG_WRITE, control, verb, id=f"{which}-{one.key}")
        return rx.el.li(two(heading, rx.cond(one.source != "", said)), change)

    listed = rx.el.ul(rx.foreach(rows, line), class_name="list", data_testid=f"{which}s")
    return hull(rx.cond(some(rows), listed, nothing), title=title)


def rights() -> rx.Component:
    state = TenantRightsState
    addons = exceptions(
        "Add-ons",
        state.addons,
        empty("No add-ons", "One raises limits or adds a feature at once.", glyph="puzzle"),
        writes("addon", "Add-on", "plus", data_testid="add-addon"),
        "addons",
    )
    overrides = exceptions(
        "Overrides",
        state.overrides,
        empty(
            "No overrides", "An exception for this tenant alone, with a reason and an end.", glyph="replace"
        ),
        None,
        "overrides",
    )
    features = data_table(
        "Features", FEATURE_COLUMNS, rx.foreach(state.features, feature_line), test_id="features"
    )
    limits = data_table("Limits", LIMIT_COLUMNS, rx.foreach(state.limits, limit_line), test_id="limits")
    override = writes("feature", "Override", "plus", data_testid="override-feature")
    raise_ = writes("limit", "Override", "plus", data_testid="override-limit")
    no_flags = empty("No flags", "What is being rolled out stands here.", glyph="flag")
    full = rx.el.div(
        hull(summary(), name="Facts"),
        given(),
        hull(features, title="Features", aside=override),
        hull(limits, title="Limits", aside=raise_),
        rx.el.div(overrides, addons, class_name="split", data_even="true"),
        rx.el.div(
            switches("Flags", "flag", state.flags, "Set word", no_flags),
            switches("Traits", "trait", state.traits, "Set", no_flags),
            class_name="split",
            data_even="true",
        ),
        dialogs(),
        class_name="stack",
    )
    return rx.cond(state.loaded, full, hull(skeleton_rows(6), name="Rights"))


# ── dialogs ──────────────────────────────────────────────────────────────────────────────────────────────────────


def about(which: str, title: Any, sentence: Any, *children: rx.Component, **props: Any) -> rx.Component:
    return dialog(
        None,
        title,
        sentence,
        *children,
        reason_field(which),
        *([confirm_field(which, TenantRightsState.name)] if which in ("plan", "billing") else []),
        open=TenantRightsState.dialog == which,
        on_open_change=TenantRightsState.dismiss,
        test_id=f"{which}-form",
        **props,
    )


def pick(id: str, label: str, name: str, options: Any, **props: Any) -> rx.Component:
    """`options`: pairs of value and label, or a var of them."""
    chosen = rx.foreach(options, lambda option: rx.el.option(option[1], value=option[0]))
    control = rx.el.select(chosen, name=name, class_name="input", custom_attrs={"id": id}, **props)
    return field(label, control, id=id)


def until_field(which: str, hint: str, *, needed: bool) -> rx.Component:
    control = moment(f"{which}-until", name="until", needed=needed)
    return field("Until", control, id=f"{which}-until", hint=hint)


def dialogs() -> rx.Component:
    state = TenantRightsState
    return rx.fragment(
        about(
            "plan",
            rx.fragment("Change the plan of ", state.name),
            "Counts at once. What the new plan does not give is refused from then on; nothing is deleted.",
            pick("plan-version", "Plan", "version", state.plan_choices),
            field(
                "Trial days",
                text_input(
                    "plan-trial",
                    name="trial_days",
                    type="number",
                    min=0,
                    max=LONGEST_TRIAL,
                    noted=True,
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
        about(
            "billing",
            rx.fragment("Set the billing status of ", state.name),
            "Counts at once, until the next status. What was foreseen for later no longer comes.",
            choices(
                "Status", "status", [[key, *word[::2]] for key, word in BILLING.items()], value=state.billing
            ),
            confirm="Set status",
            submit=state.set_billing,
            kind="danger-fill",
        ),
        about(
            "addon",
            rx.fragment("Give ", state.name, " an add-on"),
            "Counts at once, on top of the plan.",
            pick("addon-version", "Add-on", "version", state.addon_choices),
            field(
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
            until_field("addon", "Leave it empty to keep it until somebody ends it.", needed=False),
            confirm="Add",
            submit=state.add_addon,
        ),
        about(
            "feature",
            "Override a feature",
            rx.fragment("For ", state.name, " alone, whatever its plan says. It ends by itself."),
            pick("feature-name", "Feature", "name", [[key, one.title] for key, one in FEATURES.items()]),
            choices(
                "Set to",
                "on",
                [
                    ["on", "On", "May be used, as far as role and bill allow."],
                    ["off", "Off", "Refused, even if the plan includes it."],
                ],
                value="on",
            ),
            until_field("feature", "Has to lie ahead.", needed=True),
            confirm="Override",
            submit=state.override_feature,
        ),
        about(
            "limit",
            "Override a limit",
            rx.fragment("For ", state.name, " alone, in place of plan and add-ons. It ends by itself."),
            pick("limit-name", "Limit", "name", [[key, one.title] for key, one in LIMITS.items()]),
            choices(
                "Kind",
                "kind",
                [
                    ["hard", "Hard", "Refuses above the amount."],
                    ["soft", "Soft", "Warns above the amount and goes on."],
                    ["unlimited", "Unlimited", "No amount at all."],
                ],
                value="hard",
            ),
            field(
                "Amount",
                text_input("limit-amount", name="amount", type="number", min=0, max=MOST, noted=True),
                id="limit-amount",
                hint="Not needed where it is unlimited.",
            ),
            until_field("limit", "Has to lie ahead.", needed=True),
            confirm="Override",
            submit=state.override_limit,
        ),
        about(
            "end",
            rx.fragment("End ", state.subject.title, " now"),
            "What plan and other add-ons give counts again, at once.",
            confirm="End now",
            submit=state.end,
            kind="danger-fill",
        ),
        about(
            "flag",
            rx.fragment("This tenant's word on ", state.subject.title),
            "Off is off against every rule. On counts where the rules let tenants in one by one.",
            choices(
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
            submit=state.set_flag,
        ),
        about(
            "trait",
            rx.fragment("Set ", state.subject.title),
            "Rules of flags may ask for it. It gives no right by itself.",
            pick("trait-value", "Value", "value", state.trait_choices),
            confirm="Set",
            submit=state.set_trait,
        ),
    )
