"""The dialogs of a tenant's rights tab."""

from typing import Any

import reflex as rx

from admin_app.pages.tenant_rights.forms import BILLING_STATUS_LABELS
from admin_app.pages.tenant_rights.state import TenantRightsState
from shared.entitlements.assignments import MAX_AMOUNT, MAX_TRIAL_DAYS
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.ui.controls import datetime_input, dialog_field, radio_cards, text_input
from shared.ui.dialogs import confirm_field, form_dialog, reason_field


def rights_dialog(
    name: str, title: Any, sentence: Any, *children: rx.Component, **props: Any
) -> rx.Component:
    return form_dialog(
        TenantRightsState,
        name,
        title,
        sentence,
        *children,
        reason_field(name),
        *([confirm_field(name, TenantRightsState.name)] if name in ("plan", "billing") else []),
        **props,
    )


def select_field(id: str, label: str, name: str, options: Any, **props: Any) -> rx.Component:
    """`options`: pairs of value and label, or a var of them."""
    option_list = rx.foreach(options, lambda option: rx.el.option(option[1], value=option[0]))
    control = rx.el.select(option_list, name=name, class_name="input", custom_attrs={"id": id}, **props)
    return dialog_field(label, control, id=id, name=name)


def until_field(name: str, hint: str, *, required: bool) -> rx.Component:
    control = datetime_input(f"{name}-until", name="until", required=required)
    return dialog_field("Until", control, id=f"{name}-until", name="until", hint=hint)


def rights_dialogs() -> rx.Component:
    return rx.fragment(
        plan_dialog(),
        billing_dialog(),
        addon_dialog(),
        feature_dialog(),
        limit_dialog(),
        end_dialog(),
        flag_dialog(),
        trait_dialog(),
    )


def plan_dialog() -> rx.Component:
    state = TenantRightsState
    trial_input = text_input(
        "plan-trial",
        name="trial_days",
        type="number",
        min=0,
        max=MAX_TRIAL_DAYS,
        default_value="0",
        required=True,
    )
    return rights_dialog(
        "plan",
        rx.fragment("Change the plan of ", state.name),
        "Takes effect immediately. Features not in the new plan are blocked; no data is deleted.",
        select_field("plan-version", "Plan", "version", state.plan_choices),
        dialog_field(
            "Trial days",
            trial_input,
            id="plan-trial",
            name="trial_days",
            hint="0 for a paid or free plan. After a trial the tenant moves to the free plan.",
        ),
        confirm="Change plan",
        submit=state.change_plan,
        kind="danger-fill",
    )


def billing_dialog() -> rx.Component:
    state = TenantRightsState
    return rights_dialog(
        "billing",
        rx.fragment("Set the billing status of ", state.name),
        "Takes effect immediately. Cancels scheduled status changes.",
        radio_cards(
            "Status",
            "status",
            [[key, label, note] for key, (label, _, note) in BILLING_STATUS_LABELS.items()],
            value=state.billing,
        ),
        confirm="Set status",
        submit=state.set_billing_status,
        kind="danger-fill",
    )


def addon_dialog() -> rx.Component:
    state = TenantRightsState
    quantity_input = text_input(
        "addon-quantity",
        name="quantity",
        type="number",
        min=1,
        max=10_000,
        default_value="1",
        required=True,
    )
    return rights_dialog(
        "addon",
        rx.fragment("Give ", state.name, " an add-on"),
        "Takes effect immediately, in addition to the plan.",
        select_field("addon-version", "Add-on", "version", state.addon_choices),
        dialog_field("Quantity", quantity_input, id="addon-quantity", name="quantity"),
        until_field("addon", "Leave empty for no end date.", required=False),
        confirm="Add",
        submit=state.add_addon,
    )


def feature_dialog() -> rx.Component:
    state = TenantRightsState
    return rights_dialog(
        "feature",
        "Override a feature",
        rx.fragment(
            "Applies to ", state.name, " only, whatever its plan includes. It expires at the end date."
        ),
        select_field(
            "feature-name", "Feature", "name", [[key, feature.title] for key, feature in FEATURES.items()]
        ),
        radio_cards(
            "Set to",
            "on",
            [
                ["on", "On", "Allowed, if role and billing status allow it."],
                ["off", "Off", "Blocked, even if the plan includes it."],
            ],
            value="on",
        ),
        until_field("feature", "Must be in the future.", required=True),
        confirm="Override",
        submit=state.override_feature,
    )


def limit_dialog() -> rx.Component:
    state = TenantRightsState
    amount_input = text_input("limit-amount", name="amount", type="number", min=0, max=MAX_AMOUNT)
    return rights_dialog(
        "limit",
        "Override a limit",
        rx.fragment(
            "Applies to ", state.name, " only and replaces plan and add-ons. It expires at the end date."
        ),
        select_field("limit-name", "Limit", "name", [[key, limit.title] for key, limit in LIMITS.items()]),
        radio_cards(
            "Kind",
            "kind",
            [
                ["hard", "Hard", "Block above the amount."],
                ["soft", "Soft", "Soft limit: warn only."],
                ["unlimited", "Unlimited", "Unlimited."],
            ],
            value="hard",
        ),
        dialog_field(
            "Amount", amount_input, id="limit-amount", name="amount", hint="Leave empty for unlimited."
        ),
        until_field("limit", "Must be in the future.", required=True),
        confirm="Override",
        submit=state.override_limit,
    )


def end_dialog() -> rx.Component:
    state = TenantRightsState
    return rights_dialog(
        "end",
        rx.fragment("End ", state.subject.title, " now"),
        "Takes effect immediately. The plan and the other add-ons apply again.",
        confirm="End now",
        submit=state.end_exception,
        kind="danger-fill",
    )


def flag_dialog() -> rx.Component:
    state = TenantRightsState
    return rights_dialog(
        "flag",
        rx.fragment("Flag override: ", state.subject.title),
        "Off always wins. On only works when the flag has an allow-list rule.",
        radio_cards(
            "Override",
            "own",
            [
                ["on", "On", "Allowed by the flag’s allow-list rule."],
                ["off", "Off", "Blocked, whatever the rules are."],
                ["none", "No override", "Only the flag’s rules apply."],
            ],
            value="none",
        ),
        confirm="Save",
        submit=state.override_flag,
    )


def trait_dialog() -> rx.Component:
    state = TenantRightsState
    return rights_dialog(
        "trait",
        rx.fragment("Set ", state.subject.title),
        "Flag rules can use it. It grants no access.",
        select_field("trait-value", "Value", "value", state.trait_choices),
        confirm="Set",
        submit=state.set_trait,
    )
