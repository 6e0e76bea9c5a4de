"""API keys and service accounts as the page shows them, and the choices of their forms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from shared.access import actions
from shared.access.decision import has_permission
from shared.access.permissions import Permission
from shared.access.roles import OWNER, OWNER_ONLY_PERMISSIONS, ROLES, Role, can_grant
from shared.api_keys.key_rules import KeyState
from shared.api_keys.keys import KeyView
from shared.core.config import settings
from shared.core.context import Ctx
from shared.tenancy.key_texts import LIVE_PREFIX, TEST_PREFIX
from shared.tenancy.service_accounts import ServiceAccountView
from shared.ui.tables import TONE_BY_LABEL, Column
from tenant_app.permission_boxes import (
    NOT_HELD_TEXT,
    PermissionGroupRow,
    group_checkboxes,
    permission_text,
)

COLUMNS = [
    Column("Name"),
    Column("Acts for", hidden_on_phone=True),
    Column("Scopes", hidden_on_phone=True),
    Column("Status"),
    Column("Last used", hidden_on_phone=True),
    Column("Actions", align_end=True, label_hidden=True),
]
ACCOUNT_COLUMNS = [
    Column("Name"),
    Column("Role"),
    Column("Created", hidden_on_phone=True),
    Column("Actions", align_end=True, label_hidden=True),
]
EXPIRES_SOON = timedelta(days=7)
OTHERS_KEY_TEXT = "It belongs to another person. Ask them to change it, or revoke it."
ABOVE_READER_TEXT = "It has permissions you don’t have. Ask an owner."
LIFETIMES = [("90", "In 90 days"), ("30", "In 30 days"), ("365", "In 365 days"), ("never", "Never")]
DEFAULT_OVERLAP = "24"  # hours
OVERLAPS = [
    ("0", "Ends at once", "Programs that use it are refused. Choose this for a leaked secret."),
    ("1", "1 hour", "Both secrets work until then."),
    (DEFAULT_OVERLAP, "24 hours", "Both secrets work until then. Enough for most deployments."),
    ("168", "7 days", "Both secrets work until then."),
]
MYSELF = "me"
LIVE, TEST = "live", "test"
MODES = [
    (LIVE, "Live", "Reaches the data of your organisation."),
    (TEST, "Test", "Reaches test data only. You find the key in test mode."),
]


@dataclass(frozen=True, kw_only=True)
class ScopeRow:
    text: str
    code: str


@dataclass(frozen=True, kw_only=True)
class KeyRow:
    id: str = ""
    name: str = ""
    hint: str = ""
    holder: str = ""
    holder_note: str = ""
    scopes_text: str = ""
    scopes: list[ScopeRow] = field(default_factory=list)
    limits_text: str = ""  # where it works, "" for everywhere
    status: str = ""
    tone: str = ""
    is_active: bool = False
    is_revoked: bool = False
    expires_at: str = ""
    revoked_at: str = ""
    revoked_by: str = ""
    created_by: str = ""
    created_at: str = ""
    last_used_at: str = ""
    last_used_address: str = ""
    previous_hint: str = ""  # of the key that a rotation has replaced, while it works
    previous_ends_at: str = ""
    networks: str = ""  # lines
    origins: str = ""  # lines
    obstacle: str = ""  # why the reader can't change it, besides the plan
    version: int = 1


@dataclass(frozen=True, kw_only=True)
class AccountRow:
    id: str = ""
    name: str = ""
    role: str = ""  # key
    role_name: str = ""
    created_by: str = ""
    created_at: str = ""
    obstacle: str = ""  # why the reader can't change it, besides the plan
    version: int = 1


def key_row(ctx: Ctx, key: KeyView) -> KeyRow:
    status = _status(key)
    scopes = [ScopeRow(text=permission_text(scope) or scope, code=scope) for scope in key.scopes]
    is_own = key.holder_id == ctx.actor_id
    limits = [*(["IP-restricted"] if key.networks else []), *(["Web pages"] if key.origins else [])]
    first_scope = scopes[0].text.partition(",")[0]
    return KeyRow(
        id=key.id,
        name=key.name,
        hint=key.hint,
        holder="You" if is_own else key.holder_name,
        holder_note="Service account" if key.holder_type == "service_account" else "",
        scopes_text=f"{first_scope} and {len(scopes) - 1} more" if len(scopes) > 1 else first_scope,
        scopes=scopes,
        limits_text=" · ".join(limits),
        status=status,
        tone=TONE_BY_LABEL[status],
        is_active=key.state is KeyState.ACTIVE,
        is_revoked=key.state is KeyState.REVOKED,
        expires_at=key.expires_at.isoformat() if key.expires_at else "",
        revoked_at=key.revoked_at.isoformat() if key.revoked_at else "",
        revoked_by=key.revoked_by,
        created_by=key.created_by_name,
        created_at=key.created_at.isoformat(),
        last_used_at=key.last_used_at.isoformat() if key.last_used_at else "",
        last_used_address=key.last_used_address,
        previous_hint=key.previous_hint.removeprefix(LIVE_PREFIX).removeprefix(TEST_PREFIX),
        previous_ends_at=key.previous_ends_at.isoformat() if key.previous_ends_at else "",
        networks="\n".join(key.networks),
        origins="\n".join(key.origins),
        obstacle=_find_obstacle(ctx, key),
        version=key.version,
    )


def _find_obstacle(ctx: Ctx, key: KeyView) -> str:
    if key.holder_type == "user" and key.holder_id != ctx.person_id:
        return OTHERS_KEY_TEXT
    return "" if can_grant(ctx.permissions, key.scopes) else ABOVE_READER_TEXT


def _status(key: KeyView) -> str:
    if key.state is not KeyState.ACTIVE:
        return key.state.value.capitalize()
    expires_soon = key.expires_at is not None and key.expires_at - datetime.now(UTC) < EXPIRES_SOON
    return "Expires soon" if expires_soon else "Active"


def account_row(ctx: Ctx, roles_by_key: Mapping[str, Role], account: ServiceAccountView) -> AccountRow:
    role = roles_by_key.get(account.role)
    is_above_reader = role is None or not can_grant(ctx.permissions, role.permissions)
    return AccountRow(
        id=account.id,
        name=account.name,
        role=account.role,
        role_name=role.name if role else "A deleted role",
        created_by=account.created_by_name,
        created_at=account.created_at.isoformat(),
        obstacle=ABOVE_READER_TEXT if is_above_reader else "",
        version=account.version,
    )


def list_scope_choices() -> list[str]:
    """What a key can be given, as far as this page has words for it, alphabetical. No endpoint asks for `home:read`."""
    allowed = ROLES[OWNER].permissions - OWNER_ONLY_PERMISSIONS - {Permission.HOME_READ}
    return sorted(permission for permission in allowed if permission_text(permission))


def scope_groups(ctx: Ctx, checked: frozenset[str]) -> list[PermissionGroupRow]:
    def refusal(scope: str) -> str:
        return "" if can_grant(ctx.permissions, {scope}) else NOT_HELD_TEXT

    return group_checkboxes(list_scope_choices(), checked, refusal)


def role_choices(ctx: Ctx, roles_by_key: Mapping[str, Role]) -> list[tuple[str, str, str]]:
    """Key, name and description of the roles that the reader can give to a service account."""
    return [
        (role.key, role.name, role.sentence)
        for role in roles_by_key.values()
        if role.key != OWNER and can_grant(ctx.permissions, role.permissions)
    ]


def holder_choices(ctx: Ctx, accounts: list[AccountRow]) -> list[tuple[str, str]]:
    """Value and label. Without the permission to view service accounts there is only the reader."""
    can_read = has_permission(ctx, actions.SERVICE_ACCOUNT_READ)
    others = [(account.id, f"{account.name} (service account)") for account in accounts] if can_read else []
    return [(MYSELF, "Me"), *others]


def curl_example() -> str:
    return (
        'export BULKHEAD_API_KEY="your secret"\n'
        'curl -H "Authorization: Bearer $BULKHEAD_API_KEY" \\\n'
        f"  {settings().tenant_url}/api/v1/me"
    )


def python_example() -> str:
    return (
        "import os, requests\n\n"
        'secret = os.environ["BULKHEAD_API_KEY"]\n'
        "response = requests.get(\n"
        f'    "{settings().tenant_url}/api/v1/me",\n'
        '    headers={"Authorization": f"Bearer {secret}"},\n'
        "    timeout=10,\n"
        ")\n"
        "print(response.json())"
    )
