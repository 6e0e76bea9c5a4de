"""/access: explains a permission decision of a person in a tenant, now or at a past time.

The address has the question.
"""

from typing import Any

import reflex as rx

from admin_app.frame import page
from admin_app.pages.access.answer import answer_panel, refusals_panel
from admin_app.pages.access.rows import TenantChoiceRow
from admin_app.pages.access.state import AccessState
from shared.access.actions import ACTIONS
from shared.ui.banners import banner, empty_state, skeleton_rows
from shared.ui.controls import button, datetime_input, form_field, search_input
from shared.ui.panels import panel, small, text_with_note
from shared.ui.recorded_decision import decision_panel
from shared.ui.shell import link, page_header
from shared.ui.tables import has_items

ACTION_CHOICES = [
    (name, f"{action.description[:1].upper()}{action.description[1:]} ({name})")
    for name, action in sorted(ACTIONS.items())
]


def tenant_picker() -> rx.Component:
    def line(tenant: TenantChoiceRow) -> rx.Component:
        return rx.el.li(
            text_with_note(link(tenant.name, tenant.href, class_name="strong"), small(tenant.details))
        )

    search_field = search_input(
        "Search by tenant, email or ID",
        default_value=AccessState.query,
        on_change=AccessState.search_tenants.debounce(200),
        max_length=200,
    )
    no_tenants = empty_state("No tenant matches", "Search by tenant name, URL or ID.", glyph="search-x")
    tenant_list = rx.el.ul(rx.foreach(AccessState.tenants, line), class_name="list", data_testid="tenants")
    content = rx.cond(has_items(AccessState.tenants), tenant_list, no_tenants)
    return rx.el.div(search_field, panel(content, title="Choose a tenant"), class_name="section")


def select_field(id: str, label: str, options: Any, selected: Any, hint: str = "") -> rx.Component:
    """`options`: pairs of value and label, or a var of them."""
    option_list = rx.foreach(options, lambda option: rx.el.option(option[1], value=option[0]))
    # Reflex sends every id that it ever saw as a field, even of hidden inputs. This input bypasses it.
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
    at = form_field(
        "Time", datetime_input("at", value=state.at), id="at", hint="Leave empty for now (your time zone)."
    )
    before = form_field(
        "Compared with", datetime_input("before", value=state.before), id="before", hint="The earlier time."
    )
    plan = select_field("plan", "Simulate plan", state.plans, state.plan)
    comparison_field = rx.cond(state.comparing, before, plan)
    switch = rx.cond(
        state.comparing,
        button("One time", kind="quiet", on_click=AccessState.choose_comparison(False)),
        button(
            "Compare two times",
            kind="quiet",
            glyph="arrow-left-right",
            on_click=AccessState.choose_comparison(True),
        ),
    )
    buttons = rx.el.div(
        button("Explain", kind="primary", type="submit", data_testid="ask"), switch, class_name="row wrap"
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
        data_asks="true",
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
        rx.cond(state.decision.id != "", decision_panel(state.decision)),
        question_panel(),
        rx.cond(state.has_answer, answer_panel()),
        refusals_panel(),
        class_name="stack",
    )
    content = rx.cond(state.tenant_id != "", tenant_content, tenant_picker())
    return page(
        page_header(
            "Why?",
            description="Explain any permission decision, now or at a past time.",
        ),
        rx.el.div(
            problem_banner,
            rx.cond(state.loaded, content, panel(skeleton_rows(5), name="Question")),
            class_name="stack",
        ),
        current="Why?",
        load=AccessState.load,
    )
