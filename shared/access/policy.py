"""The gate of every service: allowed, or `Refused` with a sentence and a next step."""

from collections.abc import Iterable

from shared.access import decision, evidence, roles
from shared.access.actions import ACTIONS, Action, OperatorAction
from shared.access.decision import Asker, Decision
from shared.access.permissions import Permission
from shared.access.reasons import PAYING_HELPS, Reason
from shared.core.ctx import Ctx, OperatorCtx, Words
from shared.core.errors import Refused

UNKNOWN = Words("this", "")


def require(
    ctx: Ctx, action: Action, *, used: int | None = None, obstacle: str = "", counted: bool = True
) -> Decision:
    """Raises Refused. Ask once before anything is read, and with `used` again under the lock of a limit.

    `counted`: no for a further step of what was counted before. What is allowed with a warning (grace, above a soft limit) is returned, for whoever shows warnings.
    """
    decided = decision.decide(ctx, action, used=used, obstacle=obstacle)
    if not decided.allowed:
        raise refusal(decided.reason, action, ctx, used=used, obstacle=obstacle)
    if counted:
        evidence.note_allowed(ctx, action, decided.reason)
    return decided


def is_own_role(ctx: Ctx, role: str) -> bool:
    """For saying "You" beside it. `role`: a key."""
    return role == ctx.role


def require_unchanged(ctx: Ctx, action: Action, role: str, permissions: frozenset[str]) -> None:
    """`role`, `permissions`: the actor's, as read again under a lock. Raises Refused for one who has lost something."""
    if role != ctx.role or not ctx.permissions <= permissions:
        raise refusal(Reason.MISSING_PERMISSION, action)


def require_operator(octx: OperatorCtx, action: OperatorAction) -> None:
    decided = decision.decide_operator(octx, action)
    if not decided.allowed:
        raise refusal(decided.reason, action)


def require_grantable(ctx: Ctx, permissions: Iterable[str] | None) -> None:
    """`permissions`: of a role that is given, taken or touched; None for one that does not exist.

    Raises Refused for one that may do more than whoever does it.
    """
    if permissions is None or not roles.may_grant(ctx.permissions, permissions):
        raise Refused(
            "This role may do more than you may, or does not exist.",
            "Ask an owner to do it.",
            reason=Reason.MISSING_PERMISSION,
        )


def said(who: Asker, action: Action, *, used: int | None = None, obstacle: str = "") -> str:
    """Why it is refused to them and what to do next, "" where it is not: for showing a control."""
    decided = decision.decide(who, action, used=used, obstacle=obstacle)
    if decided.allowed:
        return ""
    refused = refusal(decided.reason, action, who, used=used, obstacle=obstacle)
    return f"{refused.detail} {refused.next_step}"


def unpaid(who: Asker) -> frozenset[str]:
    """Names of the actions that their role may do and their plan does not have."""
    decided = {name: decision.decide(who, action).reason for name, action in ACTIONS.items()}
    return frozenset(name for name, reason in decided.items() if reason in PAYING_HELPS)


def barred(who: Asker) -> frozenset[str]:
    """Names of the actions that are not in their role: they need not know of them."""
    return frozenset(name for name, action in ACTIONS.items() if action.permission not in who.permissions)


def refusals(who: Asker) -> dict[str, str]:
    """Name of every action that is refused to them for another reason than a limit: why, and what to do next."""
    found = {name: said(who, action) for name, action in ACTIONS.items()}
    return {name: words for name, words in found.items() if words}


def refusal(
    reason: str,
    action: Action | OperatorAction,
    who: Asker | None = None,
    *,
    used: int | None = None,
    obstacle: str = "",
) -> Refused:
    """The words of a decision: what was refused and what to do next. `who`: who asked, unless the reason is their role."""
    if isinstance(action, OperatorAction) or who is None:
        detail, step = _personal(action)
        return Refused(detail, step, reason=reason, action=action.name)
    detail, step = _words(Reason(reason), action, who, used, obstacle)
    plans = who.rights.words.get(action.feature, UNKNOWN).step if reason in PAYING_HELPS else ""
    return Refused(detail, step, reason=reason, action=action.name, plans=plans)


def include_it(plans: str) -> str:
    """What stands before the step of a refusal that paying would lift: "Pro and Business do. "."""
    return f"{plans} {'do' if ' and ' in plans else 'does'}. " if plans else ""


def _personal(action: Action | OperatorAction) -> tuple[str, str]:
    operator = isinstance(action, OperatorAction)
    whom = "an operator who is an owner" if operator else "an owner or admin of your organisation"
    return f"You may not {action.said}.", f"Ask {whom}."


def _words(reason: Reason, action: Action, who: Asker, used: int | None, obstacle: str) -> tuple[str, str]:
    rights = who.rights
    feature, limit = rights.words.get(action.feature, UNKNOWN), rights.words.get(action.limit, UNKNOWN)
    pays = Permission.BILLING_WRITE in who.permissions
    if reason is Reason.LIMIT_REACHED:
        amount = rights.limits[action.limit].amount
        detail = f"All {amount} {limit.title} are in use ({used} of {amount})."
        if amount == 0:
            detail = f"{rights.plan_name} has no {limit.title}."
        first = f"{limit.step}, or" if limit.step and amount else ""
        step = f"{first} {_larger(pays)}".strip()
        return detail, f"{step[:1].upper()}{step[1:]}"
    if reason is Reason.NOT_IN_PLAN:
        step = f"{include_it(feature.step)}{_capital(_larger(pays))}"
        return f"{rights.plan_name} does not include {feature.title}.", step
    if reason in (Reason.BILLING_NONE, Reason.TRIAL_ENDED):
        what = f" {feature.title} is not part of what remains." if action.feature else ""
        why = "The trial has ended." if reason is Reason.TRIAL_ENDED else "Nothing is paid any more."
        return f"{why}{what}", _capital(_larger(pays))
    return {
        Reason.BILLING_READ_ONLY: (
            "A payment is overdue, so nothing can be changed now.",
            step_to_pay(who),
        ),
        Reason.FLAG_OFF: (
            "This is being rolled out and not switched on for your organisation yet.",
            "Wait for it, or ask support to be let in.",
        ),
        Reason.MISSING_PERMISSION: _personal(action),
        Reason.OBJECT_STATE: (obstacle, "Change that first, then try again."),
        Reason.TENANT_DELETED: ("This organisation has been deleted.", "Open another organisation."),
        Reason.TENANT_SUSPENDED: (
            "This organisation is suspended.",
            "Ask an owner to write to support; nothing has been deleted.",
        ),
        Reason.TENANT_UNVERIFIED: (
            "The address of this organisation's owner is not verified yet.",
            "Open the link in the mail we sent, or ask for a new one.",
        ),
    }[reason]


def step_to_pay(who: Asker) -> str:
    """What this person can do about a payment that is overdue."""
    if Permission.BILLING_WRITE in who.permissions:
        return "Pay the open invoice."
    return "Ask an owner or billing contact to pay the open invoice."


def step_to_grow(who: Asker) -> str:
    """What this person can do to have more than the plan gives."""
    return _capital(_larger(Permission.BILLING_WRITE in who.permissions))


def _larger(pays: bool) -> str:
    return "choose a larger plan under Billing." if pays else "ask an owner for a larger plan."


def _capital(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"
