"""/access: why may or can't this person do this there, now or then. The address carries the question and asks it."""

from dataclasses import dataclass
from dataclasses import field as filled
from datetime import datetime
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints

from admin_app import addresses
from admin_app.frame import page
from admin_app.shell import PageState
from shared.access import actions
from shared.access.actions import ACTIONS
from shared.core.ctx import OperatorCtx
from shared.core.errors import DomainError, Invalid, NotFound
from shared.core.ids import is_id
from shared.tenancy import directory, refusals, why
from shared.tenancy.refusals import Refusal
from shared.tenancy.why import Answer, Changed, Choices
from shared.tenancy.why_causes import Cause
from shared.ui.feedback import banner, empty, skeleton_rows, when
from shared.ui.form import button, field, icon_button, moment, search
from shared.ui.form_model import Form, a_line, a_moment
from shared.ui.gate import needs
from shared.ui.hull import hull, small, strong, two
from shared.ui.live import ALL_TENANTS
from shared.ui.shell import head, link
from shared.ui.table import Column, badge, data_table, row, some
from shared.ui.why import Outcome, TraceRow, layers, outcome, sign, trace, trace_row, trace_rows, verdict

Line = Annotated[str, StringConstraints(max_length=120)]
NOBODY = ("", why.NOBODY)
ITS_OWN = ("", "Its own plan")
CHOICES = [
    (name, f"{action.said[:1].upper()}{action.said[1:]} ({name})") for name, action in sorted(ACTIONS.items())
]
FEW = 8  # tenants in the list to choose from
RECENT = 20  # refusals
COLUMNS = [
    Column("Refused"),
    Column("Who", less=True),
    Column("Times", end=True, less=True),
    Column("Last", end=True),
    Column("Why", end=True, hidden=True),
]


class Question(Form):
    """What the address says. Every part may be missing."""

    tenant: Line = ""
    person: Line = ""
    action: Line = ""
    at: Line = ""
    before: Line = ""
    plan: Line = ""

    def check(self) -> None:
        """Raises Invalid for what cannot be meant."""
        if self.tenant and not is_id("ten", self.tenant):
            raise Invalid("The address names no tenant.", "Choose one from the list.")
        if self.person and not is_id("usr", self.person):
            raise Invalid("The address names no person.", "Choose one from the list.")
        if self.action and self.action not in ACTIONS:
            raise Invalid("The address names an action that does not exist.", "Choose one from the list.")
        self.times()

    def times(self) -> tuple[datetime | None, datetime | None]:
        """`before` and `at`. Raises Invalid."""
        # A plus sign of a time that was typed into an address arrives as a space.
        return a_moment("before", self.before.replace(" ", "+")), a_moment("at", self.at.replace(" ", "+"))


class AskForm(Form):
    person: Line = ""
    action: Line
    at: Line = ""
    before: Line = ""
    plan: Line = ""


@dataclass(frozen=True)
class TenantRow:
    id: str
    name: str
    said: str
    href: str


@dataclass(frozen=True)
class AnswerRow:
    outcome: Outcome = filled(default_factory=Outcome)
    at: str = ""
    on: str = ""  # plan
    rows: list[TraceRow] = filled(default_factory=list)


@dataclass(frozen=True)
class CauseRow:
    said: str
    by: str
    reason: str
    at: str
    source: str
    href: str  # of its line in the trail, "" where there is none


@dataclass(frozen=True)
class ChangedRow:
    question: str
    before: TraceRow
    after: TraceRow
    causes: list[CauseRow] = filled(default_factory=list)


@dataclass(frozen=True)
class RefusalRow:
    id: str
    said: str
    reason: str
    plan: str
    who: str
    times: str
    at: str
    request_id: str
    trail: str
    why: str


def answer_row(found: Answer) -> AnswerRow:
    shown = outcome(found.trace.decision, found.detail, found.next_step)
    return AnswerRow(shown, found.trace.at.isoformat(), found.plan, trace_rows(found.trace))


def changed_row(one: Changed, tenant_id: str) -> ChangedRow:
    causes = [cause_row(cause, tenant_id) for cause in one.causes]
    return ChangedRow(one.after.question, trace_row(one.before), trace_row(one.after), causes)


def cause_row(one: Cause, tenant_id: str) -> CauseRow:
    href = addresses.request(tenant_id, one.request_id) if one.request_id else ""
    return CauseRow(one.said, one.by or "The clock", one.reason, one.at.isoformat(), one.source, href)


def refusal_row(one: Refusal, tenant_id: str) -> RefusalRow:
    at = one.at.isoformat().replace("+00:00", "Z")
    return RefusalRow(
        one.id,
        f"{one.said[:1].upper()}{one.said[1:]}" if one.said else "An error of ours",
        one.reason.replace("_", " ").capitalize(),
        one.plan,
        one.who,
        f"{one.count:,}",
        one.at.isoformat(),
        one.request_id,
        addresses.request(tenant_id, one.request_id),
        addresses.why(tenant_id, one.user_id, one.action, at=at)
        if one.user_id and one.action in ACTIONS
        else "",
    )


class AccessState(PageState):
    loaded: bool = False
    problem: str = ""  # why the question could not be answered
    problem_step: str = ""
    query: str = ""
    tenants: list[TenantRow] = []
    tenant_id: str = ""
    tenant_name: str = ""
    founded: str = ""
    people: list[tuple[str, str]] = []
    more: bool = False  # people than are listed
    plans: list[tuple[str, str]] = []
    key: str = ""  # of the form: another address fills it anew
    person: str = ""
    action: str = ""
    at: str = ""
    before: str = ""
    plan: str = ""
    comparing: bool = False
    asked: bool = False
    title: str = ""
    answer: AnswerRow = AnswerRow()
    earlier: AnswerRow = AnswerRow()
    changed: list[ChangedRow] = []
    permalink: str = ""
    refused: list[RefusalRow] = []
    request: str = ""  # that refusals are searched for

    def _question(self) -> Question:
        """From the address. Parts that are none of ours are not looked at. Raises Invalid."""
        query = dict(self.router.url.query_parameters)
        known = {name: str(query[name]) for name in Question.model_fields if name in query}
        question = Question.read(known)
        question.check()
        return question

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN, page=True)
    async def load(self) -> None:
        question = Question()
        problem: DomainError | None = None
        try:
            question = self._question()
        except Invalid as wrong:
            problem = wrong
        topics = ("tenant", "members", "invitations") if question.tenant else ()
        watched = question.tenant or ALL_TENANTS
        known: Choices | None = None
        refused: list[RefusalRow] = []
        tenants: list[TenantRow] = []
        async with self._open(AccessState.load, *topics, tenant_id=watched) as octx:
            if not question.tenant:
                tenants = await self._tenants(octx, self.query)
        if question.tenant:
            try:
                async with self._ctx() as octx:
                    known = await why.choices(octx, question.tenant, including=question.person)
                    refused = await self._refusals(octx, question.tenant, "")
                async with self._ctx() as octx:
                    found = await self._ask(octx, question)
            except (Invalid, NotFound) as wrong:
                problem, found = problem or wrong, None
        else:
            found = None
        self._fill(question, known, tenants, refused)
        self._answer(question, known, found)
        self.problem = problem.detail if problem else ""
        self.problem_step = problem.next_step if problem else ""
        self.loaded = True

    async def _tenants(self, octx: OperatorCtx, query: str) -> list[TenantRow]:
        found = await directory.search(octx, query, limit=FEW)
        return [
            TenantRow(one.id, one.name, f"{one.slug} · {one.plan}", addresses.why(one.id, "", ""))
            for one in found.rows
        ]

    async def _refusals(self, octx: OperatorCtx, tenant_id: str, request_id: str) -> list[RefusalRow]:
        found = await refusals.list_recent(octx, tenant_id, request_id=request_id, limit=RECENT)
        return [refusal_row(one, tenant_id) for one in found]

    async def _ask(self, octx: OperatorCtx, question: Question) -> Answer | why.Difference | None:
        if not question.action:
            return None
        tenant, person, action = question.tenant, question.person, question.action
        before, at = question.times()
        if before is not None:
            return await why.compare(octx, tenant, person, action, before, at)
        return await why.ask(octx, tenant, person, action, at=at, plan=question.plan)

    def _fill(
        self,
        question: Question,
        known: Choices | None,
        tenants: list[TenantRow],
        refused: list[RefusalRow],
    ) -> None:
        self.tenants, self.refused, self.request = tenants, refused, ""
        self.tenant_id, self.tenant_name = (question.tenant, known.tenant_name) if known else ("", "")
        self.founded = known.founded.isoformat() if known else ""
        self._list_people(known)
        self.plans = [ITS_OWN, *((one.key, one.said) for one in known.offers)] if known else []
        key = str(self.router.url.query)
        if key != self.key or not self.loaded:
            self.key, self.comparing = key, bool(question.before)
            self.person, self.action, self.plan = question.person, question.action, question.plan
            self.at, self.before = question.at.replace(" ", "+"), question.before.replace(" ", "+")

    def _list_people(self, known: Choices | None) -> None:
        people = known.people if known else ()
        self.people = [NOBODY, *((one.user_id, _called(one)) for one in people)]
        self.more = bool(known and known.more)

    def _answer(
        self, question: Question, known: Choices | None, found: Answer | why.Difference | None
    ) -> None:
        self.asked, self.changed, self.earlier, self.answer = found is not None, [], AnswerRow(), AnswerRow()
        if found is None or known is None:
            return
        last = found if isinstance(found, Answer) else found.after
        self.answer = answer_row(last)
        self.title = f"{last.who}: {ACTIONS[last.trace.action].said}"
        times = {"at": last.trace.at.isoformat().replace("+00:00", "Z"), "plan": question.plan}
        if not isinstance(found, Answer):
            self.earlier = answer_row(found.before)
            self.changed = [changed_row(one, question.tenant) for one in found.changed]
            times = {"at": times["at"], "before": found.before.trace.at.isoformat().replace("+00:00", "Z")}
        path = addresses.why(question.tenant, question.person, question.action, **times)
        self.permalink = f"{self.router.url.origin}{path}"

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN)
    async def ask(self, payload: dict[str, Any]) -> Any:
        """The question goes into the address, which asks it: a link to it says the same."""
        form = AskForm.read(payload)
        question = Question(tenant=self.tenant_id, **form.model_dump())
        question.check()
        if self.comparing and not question.before:
            raise Invalid("Two times need an earlier one.", "Choose it, or ask about one time only.")
        parts = {name: getattr(form, name) for name in ("at", "before", "plan")}
        address = addresses.why(self.tenant_id, form.person, form.action, **parts)
        if address.partition("?")[2] == self.key:
            return AccessState.load
        return rx.redirect(address)

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN)
    async def compare(self, comparing: bool) -> None:
        self.comparing = comparing is True

    @rx.event
    @needs(actions.OP_TENANT_LIST)
    async def look_for(self, query: str) -> None:
        query = a_line(query)
        async with self._ctx() as octx:
            found = await self._tenants(octx, query)
        self.query, self.tenants = query, found

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN)
    async def find_person(self, query: str) -> None:
        query = a_line(query)
        async with self._ctx() as octx:
            known = await why.choices(octx, self.tenant_id, query, including=self.person)
        self._list_people(known)

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN)
    async def find_request(self, request: str) -> None:
        request = a_line(request, refusals.LONGEST)
        async with self._ctx() as octx:
            found = await self._refusals(octx, self.tenant_id, request)
        self.refused, self.request = found, request


def _called(one: why.Person) -> str:
    return f"{one.name} · {one.email}{'' if one.active else ' (not active)'}"


# ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────────


def which_tenant() -> rx.Component:
    def line(one: TenantRow) -> rx.Component:
        return rx.el.li(two(link(one.name, one.href, class_name="strong"), small(one.said)))

    find = search(
        "Search by tenant, e-mail or id",
        default_value=AccessState.query,
        on_change=AccessState.look_for.debounce(200),
        max_length=200,
    )
    nothing = empty("No tenant matches", "The search looks at names, addresses and ids.", glyph="search-x")
    listed = rx.el.ul(rx.foreach(AccessState.tenants, line), class_name="list", data_testid="tenants")
    found = rx.cond(some(AccessState.tenants), listed, nothing)
    return rx.el.div(find, hull(found, title="In which tenant?"), class_name="section")


def pick(id: str, label: str, options: Any, chosen: Any, hint: str = "") -> rx.Component:
    """`options`: pairs of value and label, or a var of them."""
    listed = rx.foreach(options, lambda option: rx.el.option(option[1], value=option[0]))
    # Reflex sends every id that it ever saw as a field, also of what is not shown: this one goes past it.
    control = rx.el.select(listed, name=id, class_name="input", default_value=chosen, custom_attrs={"id": id})
    return field(label, control, id=id, hint=hint)


def question() -> rx.Component:
    state = AccessState
    people = rx.el.div(
        pick("person", "Person", state.people, state.person),
        rx.cond(
            state.more,
            search("Find a person", on_change=AccessState.find_person.debounce(200), max_length=200),
        ),
        class_name="section",
    )
    at = field("Time", moment("at", value=state.at), id="at", hint="Your time. Empty: now.")
    before = field(
        "Compared with", moment("before", value=state.before), id="before", hint="An earlier time."
    )
    plan = pick("plan", "As if on plan", state.plans, state.plan)
    other = rx.cond(state.comparing, before, plan)
    switch = rx.cond(
        state.comparing,
        button("One time only", kind="quiet", on_click=AccessState.compare(False)),
        button(
            "Compare two times", kind="quiet", glyph="arrow-left-right", on_click=AccessState.compare(True)
        ),
    )
    go = rx.el.div(
        button("Ask", kind="primary", type="submit", data_testid="ask"), switch, class_name="row wrap"
    )
    fields = rx.el.div(
        people, pick("action", "Action", CHOICES, state.action), at, other, class_name="questions"
    )
    form = rx.form(
        fields, go, on_submit=AccessState.ask, class_name="stack", data_testid="question", key=state.key
    )
    tenant = rx.el.span(
        link(state.tenant_name, f"/tenants/{state.tenant_id}?tab=rights"),
        rx.el.span(" · ", class_name="muted"),
        link("Another tenant", "/access"),
        class_name="small",
    )
    return hull(form, title="Question", aside=tenant, body=True)


# ── what is answered ─────────────────────────────────────────────────────────────────────────────────────────────


def answered() -> rx.Component:
    copy = icon_button("Copy link to this answer", "link", on_click=rx.set_clipboard(AccessState.permalink))
    said = small(
        AccessState.tenant_name,
        ", on ",
        AccessState.answer.on,
        ", ",
        when(AccessState.answer.at, "", "moment"),
        ". Nothing was changed by asking.",
    )
    one = rx.el.div(said, trace(AccessState.answer.outcome, AccessState.answer.rows), class_name="why")
    found = rx.cond(AccessState.earlier.at != "", compared(), one)
    return rx.el.div(
        rx.el.section(
            rx.el.div(rx.el.h2(AccessState.title), copy, class_name="bar"),
            rx.el.div(found, class_name="body"),
            class_name="hull",
            aria_label="Answer",
            data_testid="answer",
        )
    )


def compared() -> rx.Component:
    def side(one: Any) -> rx.Component:
        return rx.el.div(
            small(when(one.at, "", "moment"), ", on ", one.on), verdict(one.outcome), class_name="section"
        )

    def detail(one: Any) -> rx.Component:
        return rx.el.div(small(when(one.at, "", "moment")), layers(one.rows), class_name="section")

    sides = rx.el.div(
        side(AccessState.earlier), side(AccessState.answer), class_name="split", data_even="true"
    )
    listed = rx.el.ul(rx.foreach(AccessState.changed, changed_line), class_name="list", data_testid="changed")
    nothing = empty(
        "Every layer found the same", "Nothing between these two times bears on it.", glyph="equal"
    )
    return rx.el.div(
        sides,
        hull(rx.cond(some(AccessState.changed), listed, nothing), title="What changed"),
        rx.el.details(
            rx.el.summary("Both answers, layer by layer", class_name="strong"),
            rx.el.div(
                detail(AccessState.earlier), detail(AccessState.answer), class_name="split", data_even="true"
            ),
            class_name="more",
        ),
        class_name="why",
    )


def changed_line(one: ChangedRow) -> rx.Component:
    def side(label: str, found: TraceRow) -> rx.Component:
        return rx.el.div(
            sign(found.verdict),
            small(rx.el.span(label, class_name="sr"), rx.el.b(found.answer), ". ", found.found),
            class_name="row",
            data_verdict=found.verdict,
        )

    def cause(found: CauseRow) -> rx.Component:
        line = rx.cond(found.href != "", rx.fragment(" ", link("In the trail", found.href)))
        reason = rx.cond(found.reason != "", rx.fragment(" Reason: ", found.reason))
        return rx.el.li(
            strong(found.said),
            small(
                found.by,
                ", ",
                when(found.at, "", "moment"),
                ".",
                reason,
                " ",
                rx.el.code(found.source, class_name="mono"),
                line,
                class_name="cut-anywhere",
            ),
            class_name="two",
        )

    causes = rx.el.ul(rx.foreach(one.causes, cause), class_name="causes")
    words_ = rx.el.div(
        rx.el.h3(one.question),
        rx.el.div(side("Before: ", one.before), side("After: ", one.after), class_name="trace"),
        rx.cond(some(one.causes), causes),
        class_name="section",
    )
    return rx.el.li(words_)


# ── what was refused ─────────────────────────────────────────────────────────────────────────────────────────────


def refused() -> rx.Component:
    def line(one: RefusalRow) -> rx.Component:
        asked = rx.el.code(one.request_id, class_name="mono cut-anywhere")
        what = rx.el.div(
            rx.el.span(strong(one.said), " ", badge(one.reason, "bad"), class_name="row wrap"),
            small("On ", one.plan, " · ", link(asked, one.trail, class_name="")),
            small(one.who, " · ", one.times, "×", class_name="only-small"),
            class_name="two",
        )
        ask = rx.cond(
            one.why != "", link(rx.fragment("Why?", rx.el.span(" ", one.said, class_name="sr")), one.why)
        )
        return row(COLUMNS, what, one.who, one.times, when(one.at, "", "ago"), ask)

    table = data_table("Refused lately", COLUMNS, rx.foreach(AccessState.refused, line), test_id="refusals")
    nothing = rx.cond(
        AccessState.request != "",
        empty("No refusal in this request", "Ids begin with req_.", glyph="search-x"),
        empty("Nothing was refused lately", "Each refusal stands here within seconds.", glyph="shield-check"),
    )
    find = search(
        "Find a request, req_…",
        on_change=AccessState.find_request.debounce(200),
        max_length=refusals.LONGEST,
    )
    return hull(rx.cond(some(AccessState.refused), table, nothing), title="Refused lately", aside=find)


@rx.page(route="/access", title="Why? · Operator", on_load=AccessState.load)
def access() -> rx.Component:
    state = AccessState
    trouble = rx.cond(
        state.problem != "",
        banner(
            rx.fragment(rx.el.b(state.problem), " ", state.problem_step), tone="warn", glyph="triangle-alert"
        ),
    )
    chosen = rx.el.div(question(), rx.cond(state.asked, answered()), refused(), class_name="stack")
    content = rx.cond(state.tenant_id != "", chosen, which_tenant())
    return page(
        head("Why?", said="Who may do what where, at any time, layer by layer, with the rows it comes from."),
        rx.el.div(
            trouble,
            rx.cond(state.loaded, content, hull(skeleton_rows(5), name="Question")),
            class_name="stack",
        ),
        current="Why?",
        load=AccessState.load,
    )
