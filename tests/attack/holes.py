"""Guards taken out, one at a time: what the suite must notice."""

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import dict_row


def _origin_of_sockets() -> None:
    from shared.api.guard import Guard

    Guard.is_from_here = lambda self, headers: True  # type: ignore[method-assign]


def _origin_of_forms() -> None:
    from shared.api.origin import SameOrigin

    SameOrigin.lets_through = lambda self, scope: True  # type: ignore[method-assign]


def _token() -> None:
    from shared.api.guard import Guard

    async def holds(self: Any, scope: Any, headers: Any, principal: Any, *, claims: bool) -> bool:
        return True

    Guard.holds_token = holds  # type: ignore[method-assign]


def _handshake() -> None:
    from shared.api.guard import Guard

    async def may(self: Any, scope: Any, headers: Any, cookies: str) -> bool:
        return True

    Guard.may_connect = may  # type: ignore[method-assign]


def _membership() -> None:
    """Whoever asks for a tenant is its owner, and the database lets them."""
    from shared.core import db
    from shared.tenancy import entry_repository
    from shared.tenancy.models import Membership, Tenant
    from tests import database

    where = db.url("app").rsplit("/", 1)[1].partition("?")[0]

    async def anybody(session: Any, user_id: str, slug: str) -> tuple[Membership, Tenant] | None:
        with psycopg.connect(database.admin_url(where), row_factory=dict_row) as eye:
            row = eye.execute("select * from tenant where slug = %s", [slug]).fetchone()
        if row is None:
            return None
        return Membership(id="mem_hole", tenant_id=row["id"], user_id=user_id, role="owner"), Tenant(**row)

    entry_repository.get_standing = anybody


def _gate() -> None:
    """No permission is asked before an event; the services are the second wall."""
    from shared.ui import gate

    known = gate._refusal

    def ask(handler: Any, principal: Any, slug: str) -> Any:
        refusal = known(handler, principal, slug)
        return refusal if refusal is not None and refusal.reason != "missing_permission" else None

    gate._refusal = ask


def _service() -> None:
    """No permission is asked in the services; the gate is the first wall."""
    from shared.access import policy

    policy.require = lambda *args, **more: None  # type: ignore[assignment]
    policy.require_operator = lambda *args, **more: None  # type: ignore[assignment]
    policy.require_grantable = lambda *args, **more: None  # type: ignore[assignment]


def _session() -> None:
    """Whose tree it is and whether the session lives is not asked before an event."""
    from shared.ui import gate

    async def let(self: Any, app: Any, state: Any, event: Any) -> None:
        return None

    gate.Gate.preprocess = let  # type: ignore[method-assign]


def _realm() -> None:
    """The operators' app takes the people's sessions."""
    from shared.api import guard
    from shared.tenancy import entry

    async def anybody(cookies: str, slug: str = "") -> Any:
        return await entry.peek(cookies, "")

    guard._peek_operator = anybody
    build = guard.Guard.__init__

    def init(self: Any, *args: Any, **more: Any) -> None:
        build(self, *args, **more)
        self._peek = anybody

    guard.Guard.__init__ = init  # type: ignore[method-assign]


def _door() -> None:
    """A route that should ask for a session is open."""
    from shared.api.guard import Guard

    Guard.is_open = lambda self, path: True  # type: ignore[method-assign]


IN_APPS: dict[str, Callable[[], None]] = {
    "origin of sockets": _origin_of_sockets,
    "origin of forms": _origin_of_forms,
    "token binding": _token,
    "handshake": _handshake,
    "membership": _membership,
    "gate": _gate,
    "service": _service,
    "session": _session,
    "realm": _realm,
    "door": _door,
}
