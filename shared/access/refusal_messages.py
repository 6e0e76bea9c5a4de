"""The texts of refusals: why an action is refused, and what to do next."""

from collections.abc import Sequence

from shared.access import decision
from shared.access.actions import ACTIONS, Action, OperatorAction
from shared.access.decision import RightsHolder
from shared.access.permissions import Permission
from shared.access.refusal_codes import PAYABLE_REASONS, Reason
from shared.core.context import RefusalWording
from shared.core.errors import Refused
from shared.core.plurals import join_names

# Billing leads to it by an overdue payment and by a pause; the billing page says which.
READ_ONLY_SENTENCE = "A payment is overdue or the subscription is paused, so your organisation is read-only."
UNKNOWN_WORDING = RefusalWording("this")


def refusal_text(
    principal: RightsHolder, action: Action, *, used: int | None = None, obstacle: str = ""
) -> str:
    """Why `principal` can't do `action` and what to do next, for a disabled control; "" where they can."""
    outcome = decision.decide(principal, action, used=used, obstacle=obstacle)
    if outcome.allowed:
        return ""
    error = build_refusal(outcome.reason, action, principal, used=used, obstacle=obstacle)
    return f"{error.detail} {error.next_step}"


def refusal_texts(principal: RightsHolder) -> dict[str, str]:
    """Refusal texts by action name, of every action that is refused to `principal`. Limits aren't checked."""
    texts = {name: refusal_text(principal, action) for name, action in ACTIONS.items()}
    return {name: text for name, text in texts.items() if text}


def build_refusal(
    reason: str,
    action: Action | OperatorAction,
    principal: RightsHolder | None = None,
    *,
    used: int | None = None,
    obstacle: str = "",
) -> Refused:
    """The error for a refused action. `principal`: who asked; needed unless the reason is a missing permission."""
    if isinstance(action, OperatorAction) or principal is None:
        detail, step = (
            _scope_refusal_text(action)
            if reason == Reason.MISSING_SCOPE
            else _permission_refusal_text(action)
        )
        return Refused(detail, step, reason=reason, action=action.name)
    detail, own_step = _refusal_sentences(Reason(reason), action, principal, used, obstacle)
    feature = principal.rights.wording.get(action.feature, UNKNOWN_WORDING)
    plan_names = feature.plan_names if reason in PAYABLE_REASONS else ()
    step = f"{_inclusion_text(plan_names)}{own_step}" if reason == Reason.NOT_IN_PLAN else own_step
    return Refused(detail, step, reason=reason, action=action.name, plan_names=plan_names, own_step=own_step)


def _inclusion_text(plan_names: Sequence[str]) -> str:
    """Which plans include it, in front of the next step: "Pro and Business do. "; "" where none does."""
    return f"{join_names(plan_names)} {'do' if len(plan_names) > 1 else 'does'}. " if plan_names else ""


def _permission_refusal_text(action: Action | OperatorAction) -> tuple[str, str]:
    operator = isinstance(action, OperatorAction)
    contact = "an operator with the Owner role" if operator else "an owner or admin of your organisation"
    return f"You don’t have permission to {action.description}.", f"Ask {contact}."


def _scope_refusal_text(action: Action | OperatorAction) -> tuple[str, str]:
    return (
        f"This API key doesn’t have the scope {action.permission}.",
        "Add the scope to the key, or use another key.",
    )


def _refusal_sentences(
    reason: Reason, action: Action, principal: RightsHolder, used: int | None, obstacle: str
) -> tuple[str, str]:
    rights = principal.rights
    feature, limit = (
        rights.wording.get(action.feature, UNKNOWN_WORDING),
        rights.wording.get(action.limit, UNKNOWN_WORDING),
    )
    can_pay = Permission.BILLING_WRITE in principal.permissions
    if reason is Reason.LIMIT_REACHED:
        amount = rights.limits[action.limit].amount
        detail = f"All {amount} {limit.title} are in use."
        if used is not None and amount is not None and used > amount:
            detail = f"{used} {limit.title} are in use, of {amount}."
        if amount == 0:
            detail = f"{rights.plan_name} doesn’t include {limit.title}."
        remedy = f"{limit.remedy}, or" if limit.remedy and amount else ""
        step = f"{remedy} {_larger_plan_step(can_pay)}".strip()
        return detail, f"{step[:1].upper()}{step[1:]}"
    if reason is Reason.NOT_IN_PLAN:
        return f"{rights.plan_name} doesn’t include {feature.title}.", _capitalise(_larger_plan_step(can_pay))
    if reason in (Reason.BILLING_NONE, Reason.TRIAL_ENDED):
        feature_text = f" {feature.title} isn’t included in your current plan." if action.feature else ""
        reason_text = (
            "Your trial has ended." if reason is Reason.TRIAL_ENDED else "Your subscription has ended."
        )
        return f"{reason_text}{feature_text}", _capitalise(_larger_plan_step(can_pay))
    return {
        Reason.BILLING_READ_ONLY: (
            READ_ONLY_SENTENCE,
            reactivation_step(principal),
        ),
        Reason.FLAG_OFF: (
            "This feature is being rolled out.",
            "Contact support for early access.",
        ),
        Reason.MISSING_PERMISSION: _permission_refusal_text(action),
        Reason.MISSING_SCOPE: _scope_refusal_text(action),
        Reason.OBJECT_STATE: (obstacle, "Change that first, then try again."),
        Reason.SUPPORT_CLOSED: (
            f"Support can’t {action.description} for a customer.",
            "Ask the customer to do it.",
        ),
        Reason.SUPPORT_READ_ONLY: (
            f"You can’t {action.description} in a read-only support session.",
            "End it and start one that allows changes, or ask the customer.",
        ),
        Reason.TENANT_DELETED: ("This organisation has been deleted.", "Open another organisation."),
        Reason.TENANT_SUSPENDED: _suspension_sentences(principal),
        Reason.TEST_MODE: (
            f"You can’t {action.description} in test mode.",
            "Leave test mode and try again. Test mode has the members, roles and plan of your organisation.",
        ),
        Reason.TENANT_UNVERIFIED: (
            "The owner of this organisation hasn’t confirmed their email address yet.",
            "Open the link in the email we sent, or request a new one.",
        ),
    }[reason]


def _suspension_sentences(principal: RightsHolder) -> tuple[str, str]:
    message = principal.rights.suspension_message
    contact = "Contact" if Permission.OWNER_TRANSFER in principal.permissions else "Ask an owner to contact"
    return (
        f"This organisation is suspended. {message}".strip(),
        f"{contact} support to have it restored. No data has been deleted.",
    )


def payment_step(principal: RightsHolder) -> str:
    """The next step for an overdue payment: pay it, or ask a member who can."""
    if Permission.BILLING_WRITE in principal.permissions:
        return "Pay the open invoice."
    return "Ask an owner or billing contact to pay the open invoice."


def reactivation_step(principal: RightsHolder) -> str:
    """The next step for a read-only organisation."""
    if Permission.BILLING_WRITE in principal.permissions:
        return "Pay the open invoice or resume the subscription in Billing."
    return "Ask an owner or billing contact to pay the open invoice or to resume the subscription."


def spend_limit_step(principal: RightsHolder) -> str:
    """The next step where metered use would cost more than the organisation allows."""
    if Permission.BILLING_WRITE in principal.permissions:
        return "Raise or remove the spend limit in Billing."
    return "Ask an owner or billing contact to raise or remove the spend limit."


def upgrade_step(principal: RightsHolder) -> str:
    """The next step to get more than the plan includes."""
    return _capitalise(_larger_plan_step(Permission.BILLING_WRITE in principal.permissions))


def _larger_plan_step(pays: bool) -> str:
    return "choose a larger plan in Billing." if pays else "ask an owner for a larger plan."


def _capitalise(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"
