"""The login roles of one installation, named after its database: who they are, and what limits them.

The group roles bulkhead_owner, bulkhead_app and bulkhead_operator are shared by all installations of a server. Policies
and grants name them, no process logs in as them, and each login is a member of exactly one.
"""

import hashlib
import hmac
from typing import Literal, get_args

DatabaseRole = Literal["app", "operator", "owner"]
LoginKind = Literal["app", "operator", "worker", "owner"]
ROLES: tuple[DatabaseRole, ...] = get_args(DatabaseRole)
LOGIN_KINDS: tuple[LoginKind, ...] = get_args(LoginKind)
ROLE_OF_LOGIN: dict[LoginKind, DatabaseRole] = {
    "app": "app",
    "operator": "operator",
    "worker": "app",
    "owner": "owner",
}
# May add rows to three tables and do nothing else: what is recorded of a read-only impersonation. The app's logins are
# members, and take the role for one transaction.
ASIDE_ROLE = "bulkhead_aside"
# Seconds that one statement may take. Migrations run as the owner and have no limit.
STATEMENT_TIMEOUTS_S: dict[LoginKind, int | None] = {"app": 5, "operator": 15, "worker": 60, "owner": None}
LOCK_TIMEOUT_S = 5
IDLE_IN_TRANSACTION_TIMEOUT_S = 30
ANSWER_MARGIN_S = 2  # beyond the statement's limit: a server that has not even cancelled it does not answer
MAX_NAME_BYTES = 63  # PostgreSQL cuts longer names off


def role_name(role: DatabaseRole) -> str:
    """The group role that policies and grants name."""
    return f"bulkhead_{role}"


def login_name(database: str, kind: LoginKind) -> str:
    """The login role of the installation in `database`. No two databases share one."""
    suffix = f"_{kind}_login"
    if len(database.encode()) + len(suffix) <= MAX_NAME_BYTES:
        return database + suffix
    digest = hashlib.sha256(database.encode()).hexdigest()[:12]
    shortened = database.encode()[: MAX_NAME_BYTES - len(suffix) - len(digest) - 1].decode(errors="ignore")
    return f"{shortened}_{digest}{suffix}"


def login_password(admin_password: str, login: str) -> str:
    """The password of a login that we make. It derives from the administrator's, so it is not stored."""
    return hmac.new(admin_password.encode(), login.encode(), hashlib.sha256).hexdigest()


def answer_timeout_s(kind: LoginKind) -> float | None:
    """How long a process waits for the server; None waits for ever."""
    statement_timeout_s = STATEMENT_TIMEOUTS_S[kind]
    return None if statement_timeout_s is None else statement_timeout_s + ANSWER_MARGIN_S


def login_settings(kind: LoginKind) -> dict[str, str]:
    """The settings with which every session of this login begins."""
    statement_timeout_s = STATEMENT_TIMEOUTS_S[kind]
    if statement_timeout_s is None:
        return {}
    return {
        "statement_timeout": f"{statement_timeout_s}s",
        "lock_timeout": f"{LOCK_TIMEOUT_S}s",
        "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_TIMEOUT_S}s",
    }
