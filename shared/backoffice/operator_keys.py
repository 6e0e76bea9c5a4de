"""API keys of operators, for `/api/operator/v1`: create, list, rotate, revoke.

A key has the scopes that it was given, as long as its operator has these permissions. Its text is shown once; the
database holds a hash. Making one takes a code of the second factor, because a key outlives the session. No key manages
keys: no endpoint asks for their permission, so none can have it as a scope.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.access import actions, policy
from shared.access.decision import decide_operator
from shared.access.endpoints import OPERATOR_ENDPOINTS
from shared.access.refusal_codes import Reason as RefusalReason
from shared.access.roles import OPERATOR_ROLES, can_grant
from shared.api_keys import key_rules
from shared.api_keys.key_rules import DEFAULT_OVERLAP, KeyState
from shared.audit import audit_log
from shared.backoffice import operator_key_repository as repository
from shared.backoffice.reasons import Reason, use_reason
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, NotFound, Refused
from shared.core.ids import new_id
from shared.core.paging import Page, build_page, clamp_limit, map_page
from shared.core.versions import advance_version
from shared.identity import factor_proofs, operators
from shared.identity.models import Operator, OperatorKey
from shared.identity.realms import OPERATOR
from shared.tenancy.key_texts import new_operator_key_text

MAX_KEYS = 50  # of one operator, that are not revoked


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorKeyView:
    id: str
    name: str
    hint: str
    scopes: tuple[str, ...]
    lost_scopes: tuple[str, ...]  # that the operator's role does not have (any more)
    state: KeyState
    operator_id: str
    operator_name: str
    is_operator_disabled: bool
    networks: tuple[str, ...]
    created_by_name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    last_used_address: str
    previous_hint: str  # of the text that works until `previous_ends_at`; "" without one
    previous_ends_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedOperatorKey:
    key: OperatorKeyView
    text: str = field(repr=False)  # the only time that it can be read


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorKeyRequest:
    """What a key is to be. `scopes`: operator permissions. `expires_at` None: never."""

    name: str
    scopes: Collection[str]
    expires_at: datetime | None = None
    networks: Collection[str] = ()  # CIDR, or single addresses; empty: it works from anywhere


def list_all_scopes() -> frozenset[str]:
    """The permissions that some endpoint asks for."""
    return frozenset(
        str(endpoint.action.permission) for endpoint in OPERATOR_ENDPOINTS if endpoint.action is not None
    )


def list_scopes(octx: OperatorCtx) -> list[str]:
    """The permissions that the actor can give to a key of their own, alphabetical."""
    return sorted(octx.permissions & list_all_scopes())


async def list_keys(octx: OperatorCtx, *, after: str = "", limit: int = 50) -> Page[OperatorKeyView]:
    """Newest first, revoked ones included: one's own, and those of all operators for who manages these.

    Raises Invalid for an unknown page.
    """
    policy.require_operator(octx, actions.OP_API_KEY_READ)
    limit = clamp_limit(limit)
    sees_all = decide_operator(octx, actions.OP_OPERATOR_MANAGE).allowed
    records = await repository.list_keys(
        octx.session, "" if sees_all else octx.actor_id, after=after, limit=limit + 1
    )
    page = build_page(records, limit=limit, cursor_of=lambda record: repository.get_cursor(record[0]))
    return map_page(page, lambda record: _build_view(*record))


async def create(
    octx: OperatorCtx, request: OperatorKeyRequest, reason: Reason, *, code: str
) -> CreatedOperatorKey:
    """A key of the actor. `code`: of their second factor.

    Raises Invalid, Conflict above `MAX_KEYS`, Refused for scopes that the actor lacks, and after many wrong codes.
    """
    policy.require_operator(octx, actions.OP_API_KEY_WRITE)
    reason_text = use_reason(octx, reason)
    operator = await _lock_self(octx)
    await factor_proofs.require_code(octx.session, OPERATOR, operator.id, code)
    return await _create(octx, operator, request, reason_text)


async def create_for(
    octx: OperatorCtx, email: str, request: OperatorKeyRequest, reason: Reason
) -> CreatedOperatorKey:
    """A key of another operator, for the command line, which can reset the operator's access as well.

    Raises as `create`, NotFound for an unknown address.
    """
    policy.require_operator(octx, actions.OP_OPERATOR_MANAGE)
    reason_text = use_reason(octx, reason)
    if octx.session_hash or octx.key_id:
        raise Refused(
            "Only the command line creates keys of other operators.",
            "Ask the operator to create it in the admin app.",
            reason=RefusalReason.MISSING_PERMISSION,
        )
    account = await operators.find_by_email(octx.session, email)
    operator = await repository.lock_operator(octx.session, account.id) if account is not None else None
    if operator is None or operator.disabled_at is not None:
        raise NotFound("No active operator has this address.", "Check the address.")
    return await _create(octx, operator, request, reason_text)


async def rotate(
    octx: OperatorCtx,
    operator_key_id: str,
    reason: Reason,
    *,
    code: str,
    overlap: timedelta = DEFAULT_OVERLAP,
) -> CreatedOperatorKey:
    """Give one's own key a new text. The former one works for `overlap` more, at most 7 days.

    A text that an earlier rotation replaced ends now. `code`: of the second factor. Raises Invalid, NotFound, Conflict
    for a key that does not work, Refused for scopes that the actor has lost.
    """
    policy.require_operator(octx, actions.OP_API_KEY_WRITE)
    reason_text = use_reason(octx, reason)
    key_rules.check_overlap(overlap)
    operator = await _lock_self(octx)
    key = await repository.lock_key(octx.session, operator_key_id)
    if key is None or key.operator_id != operator.id:
        raise _not_found()
    key_rules.require_active(key)
    _require_holder(operator, frozenset(key.scopes))
    await factor_proofs.require_code(octx.session, OPERATOR, operator.id, code)
    text, former_hint = new_operator_key_text(), key.hint
    key_rules.replace_text(key, text, overlap)
    advance_version(key, octx.actor.name)
    octx.session.add(key)
    audit_log.record_operator(
        octx,
        "operator_key.rotated",
        key.id,
        reason=reason_text,
        key=key.name,
        former_hint=former_hint,
        hint=key.hint,
        former_until=key.previous_ends_at.isoformat() if key.previous_ends_at else "",
    )
    return CreatedOperatorKey(key=_build_view(key, operator), text=text.text)


async def revoke(octx: OperatorCtx, operator_key_id: str, reason: Reason) -> None:
    """Requests that begin after the commit are refused. Managers of operators revoke those of others as well.

    Raises NotFound, Conflict for one that is revoked already.
    """
    policy.require_operator(octx, actions.OP_API_KEY_WRITE)
    reason_text = use_reason(octx, reason)
    key = await repository.lock_key(octx.session, operator_key_id)
    may_revoke_all = decide_operator(octx, actions.OP_OPERATOR_MANAGE).allowed
    if key is None or (key.operator_id != octx.actor_id and not may_revoke_all):
        raise _not_found()
    if key.revoked_at is not None:
        raise Conflict("This key is revoked already.", "Reload the page.")
    key.revoked_at, key.revoked_by = now(), octx.actor.name
    octx.session.add(key)
    audit_log.record_operator(
        octx, "operator_key.revoked", key.id, reason=reason_text, key=key.name, hint=key.hint
    )


async def _create(
    octx: OperatorCtx, operator: Operator, request: OperatorKeyRequest, reason: str
) -> CreatedOperatorKey:
    """For an operator who is locked."""
    name, scopes = (
        key_rules.clean_name(request.name),
        key_rules.clean_scopes(request.scopes, list_all_scopes()),
    )
    networks, expires_at = (
        key_rules.clean_networks(request.networks),
        key_rules.check_expiry(request.expires_at),
    )
    _require_holder(operator, scopes)
    if await repository.count_working_keys(octx.session, operator.id) >= MAX_KEYS:
        raise Conflict(f"There are {MAX_KEYS} keys.", "Revoke one that is no longer needed.")
    text = new_operator_key_text()
    key = OperatorKey(
        id=new_id("opk"),
        operator_id=operator.id,
        name=name,
        secret_hash=text.secret_hash,
        hint=text.hint,
        scopes=sorted(scopes),
        networks=networks,
        expires_at=expires_at,
        created_by_name=octx.actor.name,
    )
    octx.session.add(key)
    await octx.session.flush()
    audit_log.record_operator(
        octx,
        "operator_key.created",
        key.id,
        reason=reason,
        key=name,
        hint=key.hint,
        scopes=key.scopes,
        networks=networks,
        expires_at=expires_at.isoformat() if expires_at else "",
        operator=operator.email,
    )
    return CreatedOperatorKey(key=_build_view(key, operator), text=text.text)


async def _lock_self(octx: OperatorCtx) -> Operator:
    """The actor's account as it is now. Raises Refused for one that has changed since, and for the command line."""
    operator = await repository.lock_operator(octx.session, octx.actor_id)
    is_active = operator is not None and operator.disabled_at is None
    if operator is None or not is_active or not _has_permissions(operator, octx.permissions):
        raise Refused(
            "Your permissions were just changed.",
            "Reload the page. Your change wasn’t saved.",
            reason="rights_changed",
        )
    return operator


def _has_permissions(operator: Operator, permissions: frozenset[str]) -> bool:
    return can_grant(OPERATOR_ROLES[operator.role].permissions, permissions)


def _require_holder(operator: Operator, scopes: frozenset[str]) -> None:
    """Raises Refused where the operator's role lacks one of the scopes."""
    if missing := sorted(scopes - OPERATOR_ROLES[operator.role].permissions):
        raise Refused(
            f"The role of {operator.name} lacks {', '.join(missing)}.",
            "Choose fewer scopes.",
            reason=RefusalReason.MISSING_PERMISSION,
        )


def _build_view(key: OperatorKey, operator: Operator) -> OperatorKeyView:
    has_previous = key_rules.has_previous(key)
    held = OPERATOR_ROLES[operator.role].permissions
    return OperatorKeyView(
        id=key.id,
        name=key.name,
        hint=key.hint,
        scopes=tuple(key.scopes),
        lost_scopes=tuple(scope for scope in key.scopes if scope not in held),
        state=key_rules.get_state(key),
        operator_id=operator.id,
        operator_name=operator.name,
        is_operator_disabled=operator.disabled_at is not None,
        networks=tuple(key.networks),
        created_by_name=key.created_by_name,
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        last_used_address=key.last_used_address,
        previous_hint=key.previous_hint if has_previous else "",
        previous_ends_at=key.previous_ends_at if has_previous else None,
        revoked_at=key.revoked_at,
        revoked_by=key.revoked_by,
    )


def _not_found() -> NotFound:
    return NotFound("This key doesn’t exist.", "Reload the page.")
