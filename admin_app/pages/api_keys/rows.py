"""Operators' API keys as the page shows them, and the choices of their forms."""

from dataclasses import dataclass, field

from admin_app.labels import iso_or_empty, tone_of
from shared.access.actions import OPERATOR_ACTIONS
from shared.api_keys.key_rules import KeyState
from shared.backoffice import operator_keys
from shared.backoffice.operator_keys import OperatorKeyView
from shared.core.config import settings
from shared.core.context import OperatorCtx
from shared.core.plurals import plural
from shared.ui.tables import Column

COLUMNS = [
    Column("Name"),
    Column("Operator", hidden_on_phone=True),
    Column("Scopes", hidden_on_phone=True),
    Column("Status"),
    Column("Last used", hidden_on_phone=True),
    Column("Actions", align_end=True, label_hidden=True),
]
LIFETIMES = [("90", "In 90 days"), ("30", "In 30 days"), ("365", "In 365 days"), ("never", "Never")]
DEFAULT_OVERLAP = "24"  # hours
OVERLAPS = [
    ("0", "Ends at once", "Programs that use it are refused. Choose this for a leaked secret."),
    ("1", "1 hour", "Both secrets work until then."),
    (DEFAULT_OVERLAP, "24 hours", "Both secrets work until then. Enough for most deployments."),
    ("168", "7 days", "Both secrets work until then."),
]
LOST_TEXT = "not in the operator’s role"


@dataclass(frozen=True, kw_only=True)
class ScopeRow:
    text: str
    code: str
    note: str  # why it gives nothing, "" where it does


@dataclass(frozen=True, kw_only=True)
class ScopeBoxRow:
    """As `controls.checkbox_group` shows it."""

    field: str
    label: str
    note: str
    is_checked: bool = False
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class OperatorKeyRow:
    id: str = ""
    name: str = ""
    hint: str = ""
    operator: str = ""
    is_own: bool = False
    scopes_text: str = ""
    scopes: list[ScopeRow] = field(default_factory=list)
    networks_text: str = ""
    status: str = ""
    tone: str = ""
    is_active: bool = False
    is_revoked: bool = False
    expires_at: str = ""
    revoked_at: str = ""
    revoked_by: str = ""
    last_used_at: str = ""
    last_used_address: str = ""
    previous_hint: str = ""  # of the secret that a rotation has replaced, while it works
    previous_ends_at: str = ""


def operator_key_row(octx: OperatorCtx, key: OperatorKeyView) -> OperatorKeyRow:
    status = "Disabled" if key.is_operator_disabled else key.state.value.capitalize()
    is_own = key.operator_id == octx.actor_id
    lost = frozenset(key.lost_scopes)
    return OperatorKeyRow(
        id=key.id,
        name=key.name,
        hint=key.hint,
        operator=f"{key.operator_name} (you)" if is_own else key.operator_name,
        is_own=is_own,
        scopes_text=plural(len(key.scopes), "scope"),
        scopes=[
            ScopeRow(text=scope_text(scope), code=scope, note=LOST_TEXT if scope in lost else "")
            for scope in key.scopes
        ],
        networks_text=", ".join(key.networks),
        status=status,
        tone=tone_of(status),
        is_active=key.state is KeyState.ACTIVE and not key.is_operator_disabled,
        is_revoked=key.state is KeyState.REVOKED,
        expires_at=iso_or_empty(key.expires_at),
        revoked_at=iso_or_empty(key.revoked_at),
        revoked_by=key.revoked_by,
        last_used_at=iso_or_empty(key.last_used_at),
        last_used_address=key.last_used_address,
        previous_hint=key.previous_hint,
        previous_ends_at=iso_or_empty(key.previous_ends_at),
    )


def scope_text(scope: str) -> str:
    """What the actions say that ask for it."""
    texts = sorted(action.description for action in OPERATOR_ACTIONS.values() if action.permission == scope)
    text = ", ".join(texts) or scope
    return f"{text[:1].upper()}{text[1:]}"


def scope_field(scope: str) -> str:
    """Name of its box in the form."""
    return f"may_{scope.replace(':', '_')}"


def scope_boxes(octx: OperatorCtx) -> list[ScopeBoxRow]:
    """Only what the reader can give: others are no choice."""
    return [
        ScopeBoxRow(field=scope_field(scope), label=scope_text(scope), note=scope)
        for scope in operator_keys.list_scopes(octx)
    ]


def curl_example() -> str:
    return (
        'export BULKHEAD_OPERATOR_KEY="your secret"\n'
        'curl -H "Authorization: Bearer $BULKHEAD_OPERATOR_KEY" \\\n'
        f"  {settings().admin_url}/api/operator/v1/me"
    )
