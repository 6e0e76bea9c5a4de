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
from shared.backoffice import explanations, recent_refusals, tenant_directory
from shared.backoffice.explanation_causes import Cause
from shared.backoffice.explanations import (
    Explanation,
    ExplanationChoices,
    ExplanationComparison,
    LayerChange,
)
from shared.backoffice.recent_refusals import RecentRefusal
from shared.core.context import OperatorCtx
from shared.core.errors import DomainError, Invalid, NotFound
from shared.core.ids import is_id
from shared.entitlements import explain
from shared.ui.authorize import needs
from shared.ui.banners import banner, empty_state, local_time, skeleton_rows
from shared.ui.controls import button, datetime_input, form_field, icon_button, search_input
from shared.ui.decision_trace import (
    DecisionOutcome,
    TraceRow,
    describe_outcome,
    layer_list,
    outcome_box,
    trace_panel,
    trace_row,
    trace_rows,
    verdict_icon,
)
from shared.ui.forms import Form, parse_datetime, parse_line
from shared.ui.live_updates import ALL_TENANTS
from shared.ui.panels import panel, small, strong, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

ShortText = Annotated[str, StringConstraints(max_length=120)]
NOBODY_CHOICE = ("", explanations.PERSON_WITHOUT_ROLE)
OWN_PLAN_CHOICE = ("", "Its own plan")
ACTION_CHOICES = [
    (name, f"{action.description[:1].upper()}{action.description[1:]} ({name})")
    for name, action in sorted(ACTIONS.items())
]
TENANTS_SHOWN = 8  # tenants in the list to choose from
REFUSALS_SHOWN = 20  # refusals
REFUSAL_COLUMNS = [
    Column("Refused"),
    Column("Who", hidden_on_phone=True),
    Column("Times", align_end=True, hidden_on_phone=True),
    Column("Last", align_end=True),
    Column("Why", align_end=True, label_hidden=True),
]


class ExplainQuestion(Form):
    """What the address says. Every part may be missing."""

    tenant: ShortText = ""
    person: ShortText = ""
    action: ShortText = ""
    at: ShortText = ""
    before: ShortText = ""
    plan: ShortText = ""

    def check(self) -> None:
        """Raises Invalid for what cannot be meant."""
        if self.tenant and not is_id("ten", self.tenant):
            raise Invalid("The address names no tenant.", "Choose one from the list.")
        if self.person and not is_id("usr", self.person):
            raise Invalid("The address names no person.", "Choose one from the list.")
        if self.action and self.action not in ACTIONS:
            raise Invalid("The address names an action that does not exist.", "Choose one from the list.")
        self.parse_times()

    def parse_times(self) -> tuple[datetime | None, datetime | None]:
        """`before` and `at`. Raises Invalid."""
        # A plus sign of a time that was typed into an address arrives as a space.
        return parse_datetime("before", self.before.replace(" ", "+")), parse_datetime(
            "at", self.at.replace(" ", "+")
        )


class ExplainForm(Form):
    person: ShortText = ""
    action: ShortText
    at: ShortText = ""
    before: ShortText = ""
    plan: ShortText = ""


@dataclass(frozen=True)
class TenantChoiceRow:
    id: str
    name: str
    details: str
    href: str


@dataclass(frozen=True)
class AnswerRow:
    outcome: DecisionOutcome = filled(default_factory=DecisionOutcome)
    at: str = ""
    plan: str = ""  # plan
    rows: list[TraceRow] = filled(default_factory=list)


@dataclass(frozen=True)
class CauseRow:
    text: str
    actor: str
    reason: str
    at: str
    source: str
    href: str  # of its line in the trail, "" where there is none


@dataclass(frozen=True)
class ChangedLayerRow:
    question: str
    before: TraceRow
    after: TraceRow
    causes: list[CauseRow] = filled(default_factory=list)


@dataclass(frozen=True)
class RecentRefusalRow:
    id: str
    action_text: str
    reason: str
    plan: str
    person: str
    count: str
    at: str
    request_id: str
    audit_url: str
    explain_url: str


def answer_row(answer: Explanation) -> AnswerRow:
    decision_outcome = describe_outcome(answer.trace.decision, answer.detail, answer.next_step)
    return AnswerRow(
        decision_outcome, answer.trace.at.isoformat(), answer.plan_name, trace_rows(answer.trace)
    )


def changed_layer_row(
    layer: LayerChange, comparison: ExplanationComparison, tenant_id: str
) -> ChangedLayerRow:
    before, after = comparison.before.trace, comparison.after.trace
    causes = [cause_row(cause, tenant_id) for cause in layer.causes]
    return ChangedLayerRow(
        question=explain.describe_question(layer.after, after.inputs),
        before=trace_row(layer.before, before),
        after=trace_row(layer.after, after),
        causes=causes,
    )


def cause_row(cause: Cause, tenant_id: str) -> CauseRow:
    href = addresses.request_url(tenant_id, cause.request_id) if cause.request_id else ""
    return CauseRow(
        cause.text, cause.actor_name or "The clock", cause.reason, cause.at.isoformat(), cause.source_id, href
    )


def recent_refusal_row(refusal: RecentRefusal, tenant_id: str) -> RecentRefusalRow:
    at = refusal.at.isoformat().replace("+00:00", "Z")
    return RecentRefusalRow(
        refusal.id,
        f"{refusal.action_text[:1].upper()}{refusal.action_text[1:]}"
        if refusal.action_text
        else "An error of ours",
        refusal.reason.replace("_", " ").capitalize(),
        refusal.plan,
        refusal.person_name,
        f"{refusal.count:,}",
        refusal.at.isoformat(),
        refusal.request_id,
        addresses.request_url(tenant_id, refusal.request_id),
        addresses.explain_url(tenant_id, refusal.user_id, refusal.action, at=at)
        if refusal.user_id and refusal.action in ACTIONS
        else "",
    )


class AccessState(PageState):
    loaded: bool = False
    problem: str = ""  # why the question could not be answered
    problem_step: str = ""
    query: str = ""
    tenants: list[TenantChoiceRow] = []
    tenant_id: str = ""
    tenant_name: str = ""
    founded: str = ""
    people: list[tuple[str, str]] = []
    has_more_people: bool = False  # people than are listed
    plans: list[tuple[str, str]] = []
    key: str = ""  # of the form: another address fills it anew
    person: str = ""
    action: str = ""
    at: str = ""
    before: str = ""
    plan: str = ""
    comparing: bool = False
    has_answer: bool = False
    title: str = ""
    answer: AnswerRow = AnswerRow()
    earlier_answer: AnswerRow = AnswerRow()
    changed_layers: list[ChangedLayerRow] = []
    permalink: str = ""
    refusal_rows: list[RecentRefusalRow] = []
    request: str = ""  # that refusals are searched for

    def _read_question(self) -> ExplainQuestion:
        """From the address. Parts that are none of ours are not looked at. Raises Invalid."""
        query = dict(self.router.url.query_parameters)
        parameters = {name: str(query[name]) for name in ExplainQuestion.model_fields if name in query}
        question = ExplainQuestion.read(parameters)
        question.check()
        return question

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN, page=True)
    async def load(self) -> None:
        question = ExplainQuestion()
        problem: DomainError | None = None
        try:
            question = self._read_question()
        except Invalid as error:
            problem = error
        topics = ("tenant", "members", "invitations") if question.tenant else ()
        topic_tenant_id = question.tenant or ALL_TENANTS
        choices: ExplanationChoices | None = None
        refusal_rows: list[RecentRefusalRow] = []
        tenants: list[TenantChoiceRow] = []
        async with self._open_page(AccessState.load, *topics, tenant_id=topic_tenant_id) as octx:
            if not question.tenant:
                tenants = await self._find_tenants(octx, self.query)
        if question.tenant:
            try:
                async with self._ctx() as octx:
                    choices = await explanations.list_choices(
                        octx, question.tenant, include_user_id=question.person
                    )
                    refusal_rows = await self._list_refusals(octx, question.tenant, "")
                async with self._ctx() as octx:
                    answer = await self._explain(octx, question)
            except (Invalid, NotFound) as error:
                problem, answer = problem or error, None
        else:
            answer = None
        self._show_question(question, choices, tenants, refusal_rows)
        self._show_answer(question, choices, answer)
        self.problem = problem.detail if problem else ""
        self.problem_step = problem.next_step if problem else ""
        self.loaded = True

    async def _find_tenants(self, octx: OperatorCtx, query: str) -> list[TenantChoiceRow]:
        matches = await tenant_directory.search_tenants(octx, query, limit=TENANTS_SHOWN)
        return [
            TenantChoiceRow(
                tenant.id,
                tenant.name,
                f"{tenant.slug} · {tenant.plan}",
                addresses.explain_url(tenant.id, "", ""),
            )
            for tenant in matches.rows
        ]

    async def _list_refusals(
        self, octx: OperatorCtx, tenant_id: str, request_id: str
    ) -> list[RecentRefusalRow]:
        recent = await recent_refusals.list_recent(
            octx, tenant_id, request_id=request_id, limit=REFUSALS_SHOWN
        )
        return [recent_refusal_row(refusal, tenant_id) for refusal in recent]

    async def _explain(
        self, octx: OperatorCtx, question: ExplainQuestion
    ) -> Explanation | explanations.ExplanationComparison | None:
        if not question.action:
            return None
        tenant, person, action = question.tenant, question.person, question.action
        before, at = question.parse_times()
        if before is not None:
            return await explanations.compare_access(octx, tenant, person, action, before, at)
        return await explanations.explain_access(octx, tenant, person, action, at=at, plan=question.plan)

    def _show_question(
        self,
        question: ExplainQuestion,
        choices: ExplanationChoices | None,
        tenants: list[TenantChoiceRow],
        refusal_rows: list[RecentRefusalRow],
    ) -> None:
        self.tenants, self.refusal_rows, self.request = tenants, refusal_rows, ""
        self.tenant_id, self.tenant_name = (question.tenant, choices.tenant_name) if choices else ("", "")
        self.founded = choices.created_at.isoformat() if choices else ""
        self._list_people(choices)
        self.plans = (
            [OWN_PLAN_CHOICE, *((offer.key, offer.label) for offer in choices.offers)] if choices else []
        )
        key = str(self.router.url.query)
        if key != self.key or not self.loaded:
            self.key, self.comparing = key, bool(question.before)
            self.person, self.action, self.plan = question.person, question.action, question.plan
            self.at, self.before = question.at.replace(" ", "+"), question.before.replace(" ", "+")

    def _list_people(self, choices: ExplanationChoices | None) -> None:
        people = choices.people if choices else ()
        self.people = [NOBODY_CHOICE, *((person.user_id, _person_label(person)) for person in people)]
        self.has_more_people = bool(choices and choices.has_more)

    def _show_answer(
        self,
        question: ExplainQuestion,
        choices: ExplanationChoices | None,
        answer: Explanation | explanations.ExplanationComparison | None,
    ) -> None:
        self.has_answer, self.changed_layers, self.earlier_answer, self.answer = (
            answer is not None,
            [],
            AnswerRow(),
            AnswerRow(),
        )
        if answer is None or choices is None:
            return
        latest = answer if isinstance(answer, Explanation) else answer.after
        self.answer = answer_row(latest)
        self.title = f"{latest.person_name}: {latest.trace.inputs.action.description}"
        times = {"at": latest.trace.at.isoformat().replace("+00:00", "Z"), "plan": question.plan}
        if not isinstance(answer, Explanation):
            self.earlier_answer = answer_row(answer.before)
            self.changed_layers = [
                changed_layer_row(layer, answer, question.tenant) for layer in answer.changes
            ]
            times = {"at": times["at"], "before": answer.before.trace.at.isoformat().replace("+00:00", "Z")}
        path = addresses.explain_url(question.tenant, question.person, question.action, **times)
        self.permalink = f"{self.router.url.origin}{path}"

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN)
    async def ask_question(self, payload: dict[str, Any]) -> Any:
        """The question goes into the address, which asks it: a link to it says the same."""
        form = ExplainForm.read(payload)
        question = ExplainQuestion(tenant=self.tenant_id, **form.model_dump())
        question.check()
        if self.comparing and not question.before:
            raise Invalid("Two times need an earlier one.", "Choose it, or ask about one time only.")
        parts = {name: getattr(form, name) for name in ("at", "before", "plan")}
        address = addresses.explain_url(self.tenant_id, form.person, form.action, **parts)
        if address.partition("?")[2] == self.key:
            return AccessState.load
        return rx.redirect(address)

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN)
    async def choose_comparison(self, comparing: bool) -> None:
        self.comparing = comparing is True

    @rx.event
    @needs(actions.OP_TENANT_LIST)
    async def search_tenants(self, query: str) -> None:
        query = parse_line(query)
        async with self._ctx() as octx:
            tenants = await self._find_tenants(octx, query)
        self.query, self.tenants = query, tenants

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN)
    async def search_people(self, query: str) -> None:
        query = parse_line(query)
        async with self._ctx() as octx:
            choices = await explanations.list_choices(
                octx, self.tenant_id, query, include_user_id=self.person
            )
        self._list_people(choices)

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN)
    async def search_requests(self, request: str) -> None:
        request = parse_line(request, recent_refusals.MAX_SEARCH_LENGTH)
        async with self._ctx() as octx:
            refusal_rows = await self._list_refusals(octx, self.tenant_id, request)
        self.refusal_rows, self.request = refusal_rows, request


def _person_label(person: explanations.PersonChoice) -> str:
    return f"{person.name} · {person.email}{'' if person.is_active else ' (not active)'}"


# ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────────


def tenant_picker() -> rx.Component:
    def line(tenant: TenantChoiceRow) -> rx.Component:
        return rx.el.li(
            text_with_note(link(tenant.name, tenant.href, class_name="strong"), small(tenant.details))
        )

    search_field = search_input(
        "Search by tenant, e-mail or id",
        default_value=AccessState.query,
        on_change=AccessState.search_tenants.debounce(200),
        max_length=200,
    )
    no_tenants = empty_state(
        "No tenant matches", "The search looks at names, addresses and ids.", glyph="search-x"
    )
    tenant_list = rx.el.ul(rx.foreach(AccessState.tenants, line), class_name="list", data_testid="tenants")
    content = rx.cond(has_items(AccessState.tenants), tenant_list, no_tenants)
    return rx.el.div(search_field, panel(content, title="In which tenant?"), class_name="section")


def select_field(id: str, label: str, options: Any, selected: Any, hint: str = "") -> rx.Component:
    """`options`: pairs of value and label, or a var of them."""
    option_list = rx.foreach(options, lambda option: rx.el.option(option[1], value=option[0]))
    # Reflex sends every id that it ever saw as a field, also of what is not shown: this one goes past it.
    control = rx.el.select(
        option_list, name=id, class_name="input", default_value=selected, custom_attrs={"id": id}
    )
    return form_field(label, control, id=id, hint=hint)


def question_panel() -> rx.Component:
    state = AccessState
    people = rx.el.div(
        select_field("person", "Person", state.people, state.person),
        rx.cond(
            state.has_more_people,
            search_input("Find a person", on_change=AccessState.search_people.debounce(200), max_length=200),
        ),
        class_name="section",
    )
    at = form_field("Time", datetime_input("at", value=state.at), id="at", hint="Your time. Empty: now.")
    before = form_field(
        "Compared with", datetime_input("before", value=state.before), id="before", hint="An earlier time."
    )
    plan = select_field("plan", "As if on plan", state.plans, state.plan)
    comparison_field = rx.cond(state.comparing, before, plan)
    switch = rx.cond(
        state.comparing,
        button("One time only", kind="quiet", on_click=AccessState.choose_comparison(False)),
        button(
            "Compare two times",
            kind="quiet",
            glyph="arrow-left-right",
            on_click=AccessState.choose_comparison(True),
        ),
    )
    buttons = rx.el.div(
        button("Ask", kind="primary", type="submit", data_testid="ask"), switch, class_name="row wrap"
    )
    fields = rx.el.div(
        people,
        select_field("action", "Action", ACTION_CHOICES, state.action),
        at,
        comparison_field,
        class_name="questions",
    )
    form = rx.form(
        fields,
        buttons,
        on_submit=AccessState.ask_question,
        class_name="stack",
        data_testid="question",
        key=state.key,
    )
    tenant = rx.el.span(
        link(state.tenant_name, f"/tenants/{state.tenant_id}?tab=rights"),
        rx.el.span(" · ", class_name="muted"),
        link("Another tenant", "/access"),
        class_name="small",
    )
    return panel(form, title="Question", aside=tenant, body=True)


# ── what is answered ─────────────────────────────────────────────────────────────────────────────────────────────


def answer_panel() -> rx.Component:
    copy = icon_button("Copy link to this answer", "link", on_click=rx.set_clipboard(AccessState.permalink))
    context_text = small(
        AccessState.tenant_name,
        ", on ",
        AccessState.answer.plan,
        ", ",
        local_time(AccessState.answer.at, "", "moment"),
        ". Nothing was changed by asking.",
    )
    single_answer = rx.el.div(
        context_text, trace_panel(AccessState.answer.outcome, AccessState.answer.rows), class_name="why"
    )
    content = rx.cond(AccessState.earlier_answer.at != "", comparison_panel(), single_answer)
    return rx.el.div(
        rx.el.section(
            rx.el.div(rx.el.h2(AccessState.title), copy, class_name="bar"),
            rx.el.div(content, class_name="body"),
            class_name="hull",
            aria_label="Answer",
            data_testid="answer",
        )
    )


def comparison_panel() -> rx.Component:
    def side(answer: Any) -> rx.Component:
        return rx.el.div(
            small(local_time(answer.at, "", "moment"), ", on ", answer.plan),
            outcome_box(answer.outcome),
            class_name="section",
        )

    def detail(answer: Any) -> rx.Component:
        return rx.el.div(
            small(local_time(answer.at, "", "moment")), layer_list(answer.rows), class_name="section"
        )

    sides = rx.el.div(
        side(AccessState.earlier_answer), side(AccessState.answer), class_name="split", data_even="true"
    )
    layer_items = rx.el.ul(
        rx.foreach(AccessState.changed_layers, changed_layer_item), class_name="list", data_testid="changed"
    )
    no_changes = empty_state(
        "Every layer found the same", "Nothing between these two times bears on it.", glyph="equal"
    )
    return rx.el.div(
        sides,
        panel(rx.cond(has_items(AccessState.changed_layers), layer_items, no_changes), title="What changed"),
        rx.el.details(
            rx.el.summary("Both answers, layer by layer", class_name="strong"),
            rx.el.div(
                detail(AccessState.earlier_answer),
                detail(AccessState.answer),
                class_name="split",
                data_even="true",
            ),
            class_name="more",
        ),
        class_name="why",
    )


def changed_layer_item(layer: ChangedLayerRow) -> rx.Component:
    def side(label: str, trace: TraceRow) -> rx.Component:
        return rx.el.div(
            verdict_icon(trace.verdict),
            small(rx.el.span(label, class_name="sr"), rx.el.b(trace.answer), ". ", trace.explanation),
            class_name="row",
            data_verdict=trace.verdict,
        )

    def cause(cause: CauseRow) -> rx.Component:
        audit_link = rx.cond(cause.href != "", rx.fragment(" ", link("In the trail", cause.href)))
        reason = rx.cond(cause.reason != "", rx.fragment(" Reason: ", cause.reason))
        return rx.el.li(
            strong(cause.text),
            small(
                cause.actor,
                ", ",
                local_time(cause.at, "", "moment"),
                ".",
                reason,
                " ",
                rx.el.code(cause.source, class_name="mono"),
                audit_link,
                class_name="cut-anywhere",
            ),
            class_name="two",
        )

    causes = rx.el.ul(rx.foreach(layer.causes, cause), class_name="causes")
    layer_text = rx.el.div(
        rx.el.h3(layer.question),
        rx.el.div(side("Before: ", layer.before), side("After: ", layer.after), class_name="trace"),
        rx.cond(has_items(layer.causes), causes),
        class_name="section",
    )
    return rx.el.li(layer_text)


# ── what was refused ─────────────────────────────────────────────────────────────────────────────────────────────


def refusals_panel() -> rx.Component:
    def line(refusal: RecentRefusalRow) -> rx.Component:
        request_code = rx.el.code(refusal.request_id, class_name="mono cut-anywhere")
        action_cell = rx.el.div(
            rx.el.span(strong(refusal.action_text), " ", badge(refusal.reason, "bad"), class_name="row wrap"),
            small("On ", refusal.plan, " · ", link(request_code, refusal.audit_url, class_name="")),
            small(refusal.person, " · ", refusal.count, "×", class_name="only-small"),
            class_name="two",
        )
        explain_link = rx.cond(
            refusal.explain_url != "",
            link(
                rx.fragment("Why?", rx.el.span(" ", refusal.action_text, class_name="sr")),
                refusal.explain_url,
            ),
        )
        return table_row(
            REFUSAL_COLUMNS,
            action_cell,
            refusal.person,
            refusal.count,
            local_time(refusal.at, "", "ago"),
            explain_link,
        )

    table = data_table(
        "Refused lately", REFUSAL_COLUMNS, rx.foreach(AccessState.refusal_rows, line), test_id="refusals"
    )
    no_refusals = rx.cond(
        AccessState.request != "",
        empty_state("No refusal in this request", "Ids begin with req_.", glyph="search-x"),
        empty_state(
            "Nothing was refused lately", "Each refusal stands here within seconds.", glyph="shield-check"
        ),
    )
    search_field = search_input(
        "Find a request, req_…",
        on_change=AccessState.search_requests.debounce(200),
        max_length=recent_refusals.MAX_SEARCH_LENGTH,
    )
    return panel(
        rx.cond(has_items(AccessState.refusal_rows), table, no_refusals),
        title="Refused lately",
        aside=search_field,
    )


@rx.page(route="/access", title="Why? · Operator", on_load=AccessState.load)
def access_page() -> rx.Component:
    state = AccessState
    problem_banner = rx.cond(
        state.problem != "",
        banner(
            rx.fragment(rx.el.b(state.problem), " ", state.problem_step), tone="warn", glyph="triangle-alert"
        ),
    )
    tenant_content = rx.el.div(
        question_panel(), rx.cond(state.has_answer, answer_panel()), refusals_panel(), class_name="stack"
    )
    content = rx.cond(state.tenant_id != "", tenant_content, tenant_picker())
    return page(
        page_header(
            "Why?",
            description="Who may do what where, at any time, layer by layer, with the rows it comes from.",
        ),
        rx.el.div(
            problem_banner,
            rx.cond(state.loaded, content, panel(skeleton_rows(5), name="Question")),
            class_name="stack",
        ),
        current="Why?",
        load=AccessState.load,
    )
