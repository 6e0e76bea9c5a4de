"""Manage operators of the platform. Each has a role, a password and a second factor."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from shared.access import actions, policy
from shared.access.roles import OPERATOR_ROLES, OWNER
from shared.audit import audit_log
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.core.ids import ALPHABET
from shared.identity import email_addresses, mfa, passwords, repository, sessions, users
from shared.identity.models import Operator
from shared.identity.realms import OPERATOR


@dataclass(frozen=True, slots=True)
class OperatorAccess:
    operator: Operator
    password: str  # to be shown once


async def list_operators(octx: OperatorCtx) -> Sequence[Operator]:
    policy.require_operator(octx, actions.OP_OPERATOR_READ)
    return await repository.list_operators(octx.session)


async def create(
    octx: OperatorCtx, email: str, role: str, name: str, *, password: str = "", reason: str = "New operator"
) -> OperatorAccess:
    """Create an operator; generates a password without one. The first sign-in enrols a factor. Raises Conflict, Invalid."""
    policy.require_operator(octx, actions.OP_OPERATOR_MANAGE)
    email, name = email_addresses.parse_address(email), users.clean_name(name)
    _require_known_role(role)
    password = password or _generate_password()
    password_hash = await passwords.hash_password(password)
    _require_unchanged_role(
        octx, (await repository.lock_operators(octx.session, OWNER, octx.actor_id)).get(octx.actor_id)
    )
    if await repository.get_person_by_email(octx.session, OPERATOR, email) is not None:
        raise Conflict(
            f"{email} is already an operator.", "Change their role, enable them again, or reset their access."
        )
    operator = Operator(email=email, name=name, role=role)
    octx.session.add(operator)
    await octx.session.flush()
    await repository.set_password(octx.session, OPERATOR, operator.id, password_hash)
    audit_log.record_operator(octx, "operator.created", operator.id, reason=reason, email=email, role=role)
    return OperatorAccess(operator, password)


async def set_role(octx: OperatorCtx, operator_id: str, role: str, *, reason: str) -> None:
    policy.require_operator(octx, actions.OP_OPERATOR_MANAGE)
    _require_known_role(role)
    operator, owners = await _lock_operator(octx, operator_id)
    if role != OWNER:
        _require_other_owner(owners, operator)
    previous_role, operator.role = operator.role, role
    octx.session.add(operator)
    audit_log.record_operator(
        octx, "operator.role_changed", operator_id, reason=reason, old=previous_role, new=role
    )


async def disable(octx: OperatorCtx, operator_id: str, *, reason: str) -> None:
    """Disable the operator and end their sessions immediately."""
    policy.require_operator(octx, actions.OP_OPERATOR_MANAGE)
    operator, owners = await _lock_operator(octx, operator_id)
    _require_other_owner(owners, operator)
    operator.disabled_at = operator.disabled_at or now()
    octx.session.add(operator)
    await sessions.end_all(octx.session, OPERATOR, operator_id)
    await mfa.end_challenges(octx.session, OPERATOR, operator_id)
    audit_log.record_operator(octx, "operator.disabled", operator_id, reason=reason)


async def enable(octx: OperatorCtx, operator_id: str, *, reason: str) -> None:
    policy.require_operator(octx, actions.OP_OPERATOR_MANAGE)
    operator, _ = await _lock_operator(octx, operator_id)
    operator.disabled_at = None
    octx.session.add(operator)
    audit_log.record_operator(octx, "operator.enabled", operator_id, reason=reason)


async def reset_access(octx: OperatorCtx, operator_id: str, *, reason: str) -> OperatorAccess:
    """Set a new password and delete the factor, which is enrolled again at the next sign-in.

    Raises Conflict for the actor's own account: an open session must not be enough to take it over.
    """
    policy.require_operator(octx, actions.OP_OPERATOR_MANAGE)
    password = _generate_password()
    password_hash = await passwords.hash_password(password)
    operator, _ = await _lock_operator(octx, operator_id)
    if operator_id == octx.actor_id:
        raise Conflict("You can't reset your own access.", "Ask another owner to reset it.")
    await repository.set_password(octx.session, OPERATOR, operator_id, password_hash)
    await mfa.reset(octx.session, OPERATOR, operator_id)
    await sessions.end_all(octx.session, OPERATOR, operator_id)
    await mfa.end_challenges(octx.session, OPERATOR, operator_id)
    audit_log.record_operator(octx, "operator.access_reset", operator_id, reason=reason, email=operator.email)
    return OperatorAccess(operator, password)


async def get_by_email(octx: OperatorCtx, email: str) -> Operator:
    """Raises NotFound."""
    policy.require_operator(octx, actions.OP_OPERATOR_READ)
    operator: Operator | None = await repository.get_person_by_email(
        octx.session, OPERATOR, email_addresses.normalise_for_lookup(email)
    )
    if operator is None:
        raise NotFound(f"No operator has the address {email}.", "Choose one from the list of operators.")
    return operator


async def _lock_operator(octx: OperatorCtx, operator_id: str) -> tuple[Operator, set[str]]:
    """The operator, and the ids of all owners. Raises NotFound, Refused."""
    locked_operators = await repository.lock_operators(octx.session, OWNER, octx.actor_id, operator_id)
    _require_unchanged_role(octx, locked_operators.get(octx.actor_id))
    if operator_id not in locked_operators:
        raise NotFound("There is no such operator.", "Choose one from the list.")
    owners = {
        candidate.id
        for candidate in locked_operators.values()
        if candidate.role == OWNER and candidate.disabled_at is None
    }
    return locked_operators[operator_id], owners


def _require_unchanged_role(octx: OperatorCtx, current: Operator | None) -> None:
    """Raises Refused when the actor's role has changed since they entered."""
    if not octx.session_hash:
        return  # the command line has no operator row
    role = current.role if current is not None and current.disabled_at is None else ""
    if role not in OPERATOR_ROLES or role != octx.role:
        raise Refused(
            "Your permissions have just changed.",
            "Reload the page. Your change wasn't saved.",
            reason="rights_changed",
        )


def _require_other_owner(owners: set[str], operator: Operator) -> None:
    if owners == {operator.id}:
        raise Conflict("There must be at least one owner.", "Make another operator an owner first.")


def _require_known_role(role: str) -> None:
    if role not in OPERATOR_ROLES:
        role_names = ", ".join(OPERATOR_ROLES)
        raise Invalid(
            f"There is no role {role!r}.", f"Choose one of {role_names}.", fields={"role": "Unknown"}
        )


def _generate_password() -> str:
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(5)) for _ in range(5))
