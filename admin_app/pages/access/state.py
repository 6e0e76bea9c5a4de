"""State of /access: reads the question from the address and answers it."""

from typing import Any

import reflex as rx

from admin_app import addresses
from admin_app.pages.access.forms import ExplainForm, ExplainQuestion
from admin_app.pages.access.rows import (
    AnswerRow,
    ChangedLayerRow,
    RecentRefusalRow,
    TenantChoiceRow,
    answer_row,
    changed_layer_row,
    recent_refusal_row,
)
from admin_app.shell import PageState
from shared.access import actions
from shared.backoffice import explanations, recent_refusals, tenant_directory
from shared.backoffice.explanations import AccessView, ExplanationChoices
from shared.core.context import OperatorCtx
from shared.core.errors import DomainError, Invalid, NotFound
from shared.tenancy.decision_history import PERSON_WITHOUT_ROLE, Explanation
from shared.ui.authorize import needs
from shared.ui.forms import parse_line
from shared.ui.live_updates import ALL_TENANTS
from shared.ui.recorded_decision import DecisionRow, decision_row

NOBODY_CHOICE = ("", PERSON_WITHOUT_ROLE)
OWN_PLAN_CHOICE = ("", "Current plan")
TENANTS_SHOWN = 8  # tenants in the list to choose from
REFUSALS_SHOWN = 20  # refusals


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
    has_more_people: bool = False  # more people than are listed
    plans: list[tuple[str, str]] = []
    key: str = ""  # of the form: a new address resets it
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
    request: str = ""  # the request whose refusals are shown
    decision: DecisionRow = DecisionRow()  # that was searched for

    def _read_question(self) -> ExplainQuestion:
        """The question in the page's address. Unknown query parameters are ignored. Raises Invalid."""
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
        view: AccessView | None = None
        tenants: list[TenantChoiceRow] = []
        try:
            async with self._open_page(AccessState.load, *topics, tenant_id=topic_tenant_id) as octx:
                if question.tenant:
                    view = await self._view_access(octx, question)
                else:
                    tenants = await self._find_tenants(octx, self.query)
        except (Invalid, NotFound) as error:
            problem = problem or error
        self._show_question(question, view, tenants)
        self._show_answer(question, view)
        problem = problem or (view.problem if view else None)
        self.problem = problem.detail if problem else ""
        self.problem_step = problem.next_step if problem else ""
        self.loaded = True

    async def _view_access(self, octx: OperatorCtx, question: ExplainQuestion) -> AccessView:
        before, at = question.parse_times()
        return await explanations.view_access(
            octx,
            question.tenant,
            question.person,
            question.action,
            at=at,
            before=before,
            plan=question.plan,
            decision_id=question.decision,
        )

    async def _find_tenants(self, octx: OperatorCtx, query: str) -> list[TenantChoiceRow]:
        matches = await tenant_directory.search_tenants(octx, query, limit=TENANTS_SHOWN)
        return [
            TenantChoiceRow(
                id=tenant.id,
                name=tenant.name,
                details=f"{tenant.slug} · {tenant.plan}",
                href=addresses.explain_url(tenant.id, "", ""),
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

    def _show_question(
        self,
        question: ExplainQuestion,
        view: AccessView | None,
        tenants: list[TenantChoiceRow],
    ) -> None:
        choices = view.choices if view else None
        refusals = view.refusals if view else ()
        self.refusal_rows = [recent_refusal_row(refusal, question.tenant) for refusal in refusals]
        self.tenants, self.request = tenants, ""
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

    def _show_answer(self, question: ExplainQuestion, view: AccessView | None) -> None:
        answer = view.answer if view else None
        self.decision = decision_row(view.decision) if view and view.decision else DecisionRow()
        self.has_answer, self.changed_layers, self.earlier_answer, self.answer = (
            answer is not None,
            [],
            AnswerRow(),
            AnswerRow(),
        )
        if answer is None:
            return
        latest = answer if isinstance(answer, Explanation) else answer.after
        self.answer = answer_row(latest)
        self.title = f"{latest.person_name}: {latest.trace.inputs.action.description}"
        times = {"at": latest.at.isoformat().replace("+00:00", "Z"), "plan": question.plan}
        if not isinstance(answer, Explanation):
            self.earlier_answer = answer_row(answer.before)
            self.changed_layers = [
                changed_layer_row(layer, answer, question.tenant) for layer in answer.changes
            ]
            times = {"at": times["at"], "before": answer.before.at.isoformat().replace("+00:00", "Z")}
        path = addresses.explain_url(question.tenant, question.person, question.action, **times)
        self.permalink = f"{self.router.url.origin}{path}"

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN)
    async def ask_question(self, payload: dict[str, Any]) -> Any:
        """Puts the question into the address, so that a link repeats it."""
        form = ExplainForm.read(payload)
        question = ExplainQuestion(tenant=self.tenant_id, **form.model_dump())
        question.check()
        if self.comparing and not question.before:
            raise Invalid("Choose an earlier time to compare.", "Or select one time only.")
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
    async def search_refusals(self, request: str) -> None:
        request = parse_line(request, recent_refusals.MAX_SEARCH_LENGTH)
        async with self._ctx() as octx:
            refusal_rows = await self._list_refusals(octx, self.tenant_id, request)
        self.refusal_rows, self.request = refusal_rows, request


def _person_label(person: explanations.PersonChoice) -> str:
    return f"{person.name} · {person.email}{'' if person.is_active else ' (not active)'}"
