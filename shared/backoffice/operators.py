"""Operators: members of the platform team. Each has a role, a password and a second factor."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from shared.access import actions, policy
from shared.access.roles import OPERATOR_ROLES, OWNER
from shared.audit import audit_log
from shared.backoffice import operator_key_repository
from shared.backoffice.reasons import Reason, use_reason
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.core.ids import ALPHABET
from shared.core.versions import advance_version, require_version
from shared.identity import email_addresses, operator_notices, passwords, users
from shared.identity import operators as operator_rows
from shared.identity.models import Operator


@dataclass(frozen=True, slots=True)
class OperatorAccess:
    operator: Operator
    password: str  # to be shown once


async def list_operators(octx: OperatorCtx) -> Sequence[Operator]:
    policy.require_operator(octx, actions.OP_OPERATOR_READ)
    return await operator_rows.list_all(octx.session)


async def create(
    octx: OperatorCtx, email: str, role: str, name: str, *, password: str = "", reason: Reason | None = None
) -> OperatorAccess:
    """Without `password` one is generated. The first sign-in requires enrolling a second factor. Raises Conflict."""
    policy.require_operator(octx, actions.OP_OPERATOR_MANAGE)
    reason_text = use_reason(octx, reason) if reason else "New operator"
    email, name = email_addresses.parse_address(email), users.clean_name(name)
    _require_known_role(role)
    password = password or _generate_password()
    password_hash = await passwords.hash_password(password)
    _require_unchanged_role(
        octx, (await operator_rows.lock_with_owners(octx.session, octx.actor_id)).get(octx.actor_id)
    )
    if await operator_rows.find_by_email(octx.session, email) is not None:
        raise Conflict(
            f"{email} is an operator already.", "Change their role, enable them again, or reset their access."
        )
    operator = Operator(email=email, name=name, role=role)
    octx.session.add(operator)
    await octx.session.flush()
    await operator_rows.save_password(octx.session, operator.id, password_hash)
    audit_log.record_operator(
        octx, "operator.created", operator.id, reason=reason_text, email=email, role=role
    )
    return OperatorAccess(operator, password)


async def set_role(
    octx: OperatorCtx, operator_id: str, role: str, *, version: int | None, reason: Reason
) -> None:
    """`version`: of the operator that was read. Raises Invalid, NotFound, Refused, Conflict, ChangedMeanwhile."""
    policy.require_operator(octx, actions.OP_OPERATOR_MANAGE)
    reason_text = use_reason(octx, reason)
    _require_known_role(role)
    operator, owners = await _lock_operator(octx, operator_id)
    role_names = OPERATOR_ROLES[operator.role].name, OPERATOR_ROLES[role].name
    require_version(operator, version, "this operator’s role", {"Role": role_names})
    if role != OWNER:
        _require_other_owner(owners, operator)
    previous_role, operator.role = operator.role, role
    advance_version(operator, octx.actor.name)
    octx.session.add(operator)
    audit_log.record_operator(
        octx, "operator.role_changed", operator_id, reason=reason_text, old=previous_role, new=role
    )


async def disable(octx: OperatorCtx, operator_id: str, *, reason: Reason) -> None:
    """Ends their sessions and API keys at once."""
    policy.require_operator(octx, actions.OP_OPERATOR_MANAGE)
    reason_text = use_reason(octx, reason)
    operator, owners = await _lock_operator(octx, operator_id)
    _require_other_owner(owners, operator)
    operator.disabled_at = operator.disabled_at or now()
    octx.session.add(operator)
    ended_keys = await _end_access(octx, operator_id)
    audit_log.record_operator(
        octx, "operator.disabled", operator_id, reason=reason_text, ended_keys=ended_keys
    )


async def enable(octx: OperatorCtx, operator_id: str, *, reason: Reason) -> None:
    policy.require_operator(octx, actions.OP_OPERATOR_MANAGE)
    reason_text = use_reason(octx, reason)
    operator, _ = await _lock_operator(octx, operator_id)
    operator.disabled_at = None
    octx.session.add(operator)
    audit_log.record_operator(octx, "operator.enabled", operator_id, reason=reason_text)


async def reset_access(octx: OperatorCtx, operator_id: str, *, reason: Reason) -> OperatorAccess:
    """Replace the password, remove the second factor and revoke API keys, after a lost password or device.

    Raises Conflict for one's own account: an open session must not be enough to take an account over.
    """
    policy.require_operator(octx, actions.OP_OPERATOR_MANAGE)
    reason_text = use_reason(octx, reason)
    password = _generate_password()
    password_hash = await passwords.hash_password(password)
    operator, _ = await _lock_operator(octx, operator_id)
    if operator_id == octx.actor_id:
        raise Conflict("You can’t reset your own access.", "Ask another owner to reset it.")
    await operator_rows.save_password(octx.session, operator_id, password_hash)
    await operator_rows.reset_second_factor(octx.session, operator_id)
    ended_keys = await _end_access(octx, operator_id)
    audit_log.record_operator(
        octx,
        "operator.access_reset",
        operator_id,
        reason=reason_text,
        email=operator.email,
        ended_keys=ended_keys,
    )
    await operator_notices.publish(octx.session, operator, operator_notices.ACCESS_RESET, octx.actor.name)
    return OperatorAccess(operator, password)


async def _end_access(octx: OperatorCtx, operator_id: str) -> int:
    """Of sessions and API keys. Returns how many keys."""
    await operator_rows.sign_out(octx.session, operator_id)
    return await operator_key_repository.revoke_keys_of(octx.session, operator_id, octx.actor.name)


async def get_by_email(octx: OperatorCtx, email: str) -> Operator:
    """Raises NotFound."""
    policy.require_operator(octx, actions.OP_OPERATOR_READ)
    operator = await operator_rows.find_by_email(octx.session, email)
    if operator is None:
        raise NotFound(f"No operator has the address {email}.", "Choose one from the list of operators.")
    return operator


async def _lock_operator(octx: OperatorCtx, operator_id: str) -> tuple[Operator, set[str]]:
    """The operator, and the ids of all owners. Raises NotFound, Refused."""
    locked_operators = await operator_rows.lock_with_owners(octx.session, octx.actor_id, operator_id)
    _require_unchanged_role(octx, locked_operators.get(octx.actor_id))
    if operator_id not in locked_operators:
        raise NotFound("This operator doesn’t exist.", "Choose one from the list.")
    owners = {
        candidate.id
        for candidate in locked_operators.values()
        if candidate.role == OWNER and candidate.disabled_at is None
    }
    return locked_operators[operator_id], owners


def _require_unchanged_role(octx: OperatorCtx, current: Operator | None) -> None:
    """Raises Refused where the actor's role has changed since they entered."""
    if not octx.session_hash and not octx.key_id:
        return  # the command line has no row
    role = current.role if current is not None and current.disabled_at is None else ""
    if role not in OPERATOR_ROLES or role != octx.role:
        raise Refused(
            "Your permissions were just changed.",
            "Reload the page. Your change wasn’t saved.",
            reason="rights_changed",
        )


def _require_other_owner(owners: set[str], operator: Operator) -> None:
    if owners == {operator.id}:
        raise Conflict("The last owner can’t be removed.", "Make another operator an owner first.")


def _require_known_role(role: str) -> None:
    if role not in OPERATOR_ROLES:
        role_names = ", ".join(OPERATOR_ROLES)
        raise Invalid(
            f"There is no role {role!r}.", f"Choose one of {role_names}.", fields={"role": "Unknown"}
        )


def _generate_password() -> str:
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(5)) for _ in range(5))
