"""Guards taken out, one at a time: what the suite must notice. Never part of a run that is meant to be clean."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from shared.tenancy import authentication
from tests.attack import slow


def _replace(owner: Any, name: str, replacement: Any) -> Any:
    """For the rest of the process. Returns the original.

    Raises AttributeError for a renamed guard, which would stay closed, and TypeError where the guard is called with
    other arguments: the app would break instead of being open, and seem to be caught.
    """
    original = getattr(owner, name)
    if callable(original) and not _accepts_calls(replacement, original):
        raise TypeError(f"{name}{inspect.signature(original)} is called otherwise than its hole")
    setattr(owner, name, replacement)
    return original


def _accepts_calls(replacement: Any, original: Any) -> bool:
    """Whether it has the same parameters by name, or takes the rest whatever it is."""
    new_names, takes_more = _list_parameters(getattr(replacement, "__func__", replacement))
    if isinstance(replacement, classmethod):
        del new_names[0]
    names, _ = _list_parameters(original)
    return set(new_names) <= set(names) if takes_more else new_names == names


def _list_parameters(function: Any) -> tuple[list[str], bool]:
    """Their names, and whether it takes any others."""
    parameters = inspect.signature(function).parameters.values()
    others = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = [parameter.name for parameter in parameters if parameter.kind not in others]
    return names, len(names) < len(parameters)


# ── in an app, before it serves ──────────────────────────────────────────────────────────────────────────────────


def _origin_of_sockets() -> None:
    from shared.web.session_guard import SessionGuard

    _replace(SessionGuard, "has_own_origin", lambda self, headers: True)


def _origin_of_forms() -> None:
    from shared.web.same_origin import SameOriginMiddleware

    _replace(SameOriginMiddleware, "is_allowed", lambda self, scope: True)


def _token() -> None:
    from shared.web.session_guard import SessionGuard

    async def holds(self: Any, scope: Any, headers: Any, principal: Any, *, claims: bool) -> bool:
        return True

    _replace(SessionGuard, "has_client_token", holds)


def _handshake() -> None:
    from shared.tenancy.admissions import Principal
    from shared.web.session_guard import SessionGuard

    async def find(self: Any, scope: Any, headers: Any, cookies: str) -> Principal:
        return Principal("hole", "usr_hole")

    _replace(SessionGuard, "find_connecting", find)


def _membership() -> None:
    """Whoever asks for a tenant is its owner, and the database lets them."""
    from shared.core.db import now
    from shared.tenancy import entry_repository
    from shared.tenancy.entry_repository import StandingRole, TenantStanding

    original = entry_repository.find_standing

    async def anybody(connection: Any, token_hash: str, slug: str) -> Any:
        standing, row = await original(connection, token_hash, slug), _tenant(slug)
        if standing is None or row is None:
            return standing
        epoch = (await (await connection.execute("select number from entitlement_epoch")).fetchone())[0]
        tenant = TenantStanding(
            tenant_id=row["id"],
            slug=row["slug"],
            tenant_name=row["name"],
            tenant_state=row["state"],
            suspension_message="",
            rights_version=row["rights_version"],
            membership_state="active",
            ended_at=None,
            ended_by="",
            ended_by_self=False,
            seen_at=now(),
            role=StandingRole("owner", "Owner", True, "", [], None, 1),
            epoch=epoch,
        )
        return standing._replace(tenant=tenant)

    _replace(entry_repository, "find_standing", anybody)


def _standing_of_keys(**changed: Any) -> None:
    """Every key is what it is, and this."""
    from shared.tenancy import entry_repository

    original = entry_repository.find_key_standing

    async def find(connection: Any, claim: Any) -> Any:
        standing = await original(connection, claim)
        return standing._replace(**changed) if standing is not None else None

    _replace(entry_repository, "find_key_standing", find)


def _scopes_of_keys() -> None:
    from shared.access.roles import list_permissions

    _standing_of_keys(scopes=list_permissions())


def _revocation_of_keys() -> None:
    _standing_of_keys(revoked_at=None, expires_at=None)


def _networks_of_keys() -> None:
    _standing_of_keys(networks=())


def _mode_of_keys() -> None:
    """A test key enters the live tenant."""
    from shared.tenancy import entry_repository

    original = entry_repository.find_key_standing

    async def find(connection: Any, claim: Any) -> Any:
        standing = await original(connection, claim)
        if standing is None or not standing.live_tenant_id:
            return standing
        return standing._replace(tenant_id=standing.live_tenant_id, live_tenant_id="")

    _replace(entry_repository, "find_key_standing", find)


def _standing_of_operator_keys(**changed: Any) -> None:
    """Every key of an operator is what it is, and this."""
    from shared.backoffice import operator_key_repository

    original = operator_key_repository.find_standing

    async def find(session: Any, secret_hash: str) -> Any:
        standing = await original(session, secret_hash)
        return standing._replace(**changed) if standing is not None else None

    _replace(operator_key_repository, "find_standing", find)


def _scopes_of_operator_keys() -> None:
    from shared.access.roles import OPERATOR_ROLES, OWNER

    _standing_of_operator_keys(scopes=sorted(OPERATOR_ROLES[OWNER].permissions))


def _roles_of_operator_keys() -> None:
    _standing_of_operator_keys(operator_role="owner", operator_disabled_at=None)


def _revocation_of_operator_keys() -> None:
    _standing_of_operator_keys(revoked_at=None, expires_at=None)


def _tenant(slug: str) -> dict[str, Any] | None:
    from shared.core import db
    from tests.support import database

    where = db.login_url("app").rsplit("/", 1)[1].partition("?")[0]
    with psycopg.connect(database.admin_url(where), row_factory=dict_row) as superuser:
        return superuser.execute("select * from tenant where slug = %s", [slug]).fetchone()


def _not_yours() -> None:
    """Somebody else's tenant is refused in other words than one that does not exist."""
    from shared.core.errors import Refused
    from shared.tenancy import entry_repository

    original = entry_repository.find_standing

    async def tells(connection: Any, token_hash: str, slug: str) -> Any:
        standing = await original(connection, token_hash, slug)
        if standing is not None and standing.tenant is None and _tenant(slug) is not None:
            raise Refused("This organisation is not yours.", "Ask its owner.", reason="not_yours")
        return standing

    _replace(entry_repository, "find_standing", tells)


def _gate() -> None:
    """No permission is asked before an event; the services are the second wall."""
    from shared.ui import event_refusals

    original = event_refusals.find_refusal

    def ask(handler: Any, principal: Any, slug: str) -> Any:
        refusal = original(handler, principal, slug)
        return refusal if refusal is not None and refusal.reason != "missing_permission" else None

    _replace(event_refusals, "find_refusal", ask)


def _service() -> None:
    """No permission is asked in the services; the gate is the first wall."""
    from shared.access import policy

    for name in ("require", "require_operator", "require_grantable"):
        _replace(policy, name, lambda *args, **more: None)


def _session() -> None:
    """Whose tree it is and whether the session lives is not asked before an event."""
    from shared.ui import authorize

    async def let(self: Any, app: Any, state: Any, event: Any) -> None:
        return None

    _replace(authorize.AuthorizeMiddleware, "preprocess", let)


def _tab() -> None:
    """A tab keeps what it held when its page is another tenant's."""
    from shared.ui import authorize

    async def bind(admission: Any, owner: str) -> bool:
        return False

    _replace(authorize, "_bind_owner", bind)


def _mark() -> None:
    """A handler that says nothing of what it needs."""
    from reflex_base.registry import RegistrationContext

    handlers = RegistrationContext.get().event_handlers
    name = next(name for name in handlers if name.endswith(("members_state.load", "operators_state.load")))
    del handlers[name].handler.fn.__action__


def _planted_handler() -> None:
    """A public method on a state that nobody has thought of, with an argument that nobody knows."""
    import reflex as rx

    class Planted(rx.State):
        async def export_everything(self, target: str) -> None:
            """Reflex makes an endpoint of it."""


def _planted_route() -> None:
    """A route that asks nobody, on the same level as the honest ones."""
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from shared.web import admin_http, tenant_http

    async def export(_: Request) -> Response:
        return Response("everything")

    for app in (tenant_http.app, admin_http.app):
        app.routes.insert(0, Route("/api/export", export))


def _signature() -> None:
    """A webhook is taken for what it says."""
    from shared.billing.inbound_webhooks import signature

    _replace(signature, "_verify_signature", lambda body, header, secrets, now: None)


def _realm() -> None:
    """The operators' app takes the people's sessions."""
    from shared.web import session_guard

    async def anybody(cookies: str, slug: str = "", **_: bool) -> Any:
        return await authentication.authenticate(cookies, "")

    _replace(session_guard, "_authenticate_operator", anybody)
    build = session_guard.SessionGuard.__init__

    def init(self: Any, *args: Any, **more: Any) -> None:
        build(self, *args, **more)
        _replace(self, "_authenticate", anybody)

    _replace(session_guard.SessionGuard, "__init__", init)


def _door() -> None:
    """A route that should ask for a session is open."""
    from shared.web.session_guard import SessionGuard

    _replace(SessionGuard, "is_public", lambda self, path: True)


def _closed() -> None:
    """What Reflex answers for itself is answered."""
    from shared.web import session_guard

    _replace(session_guard, "BLOCKED_PATHS", ())


def _strict_forms() -> None:
    """Fields that a form does not have are dropped instead of refused."""
    from shared.ui.forms import Form

    original = Form.read.__func__  # type: ignore[attr-defined]

    def read(kind: Any, payload: Any) -> Any:
        if isinstance(payload, dict):
            payload = {name: value for name, value in payload.items() if name in kind.model_fields}
        return original(kind, payload)

    _replace(Form, "read", classmethod(read))


def _strict_ids() -> None:
    """An argument is taken for what its annotation says."""
    import sys

    for name, module in list(sys.modules.items()):
        if name.startswith(("tenant_app.pages", "admin_app.pages")) and hasattr(module, "parse_id"):
            module.parse_id = lambda prefix, value: value


def _reason() -> None:
    """An operator's page looks into a tenant without being told why."""
    import sys

    from shared.backoffice.reasons import Reason
    from shared.core.db import now

    class Anybody(str):
        def __ne__(self, other: object) -> bool:
            return False

    def reason_for(self: Any, tenant_id: str) -> Reason:
        return Reason(text="Nobody asked", operator_id=Anybody(), tenant_id=tenant_id, stated_at=now())

    if module := sys.modules.get("admin_app.visit_state"):
        _replace(module.TenantVisitState, "_reason_for", reason_for)


def _frames() -> None:
    from shared.core import socket_frames

    def check(text: str | None) -> Any:
        return socket_frames.Frame(is_connect=str(text).startswith(socket_frames.CONNECT))

    _replace(socket_frames, "check_frame", check)


def _sockets() -> None:
    from shared.core import socket_limits

    _replace(socket_limits, "MAX_SOCKETS", 1_000)
    _replace(socket_limits, "MAX_TABS", 1_000)


def _redaction() -> None:
    from shared.core import log

    _replace(log, "hide_secrets", lambda text: text)


def flood() -> None:
    """Every frame goes to Reflex at once, and what a tab has queued stays."""
    from shared.core import socket_limits
    from shared.ui.event_entry import EventEntry

    _sockets()
    _replace(socket_limits.SocketLimits, "take_turn", lambda self, *args: 0.0)
    _replace(socket_limits.SocketLimits, "add_waiting", lambda self, *args: 0.0)
    _replace(EventEntry, "_list_queued", lambda self, token: [])


def _other_object() -> None:
    """Events of a page are let in although its address names another object than it shows."""
    from shared.ui import authorize

    async def find_nothing(state: Any, state_class: Any) -> None:
        return None

    _replace(authorize, "find_other_object", find_nothing)


def _others_notifications() -> None:
    """Everybody sees and marks those of everybody in their organisation."""
    from sqlmodel import col, select

    from shared.core import rows
    from shared.tenancy import notification_repository
    from shared.tenancy.models import Notification

    async def list_of_all(ctx: Any, user_id: str, limit: int, *, after: str = "") -> Any:
        newest = col(Notification.created_at).desc()
        mine = Notification.tenant_id == ctx.tenant_id
        return await rows.all(ctx, select(Notification).where(mine).order_by(newest).limit(limit))

    _replace(notification_repository, "list_notifications", list_of_all)


def _holders_of_links() -> None:
    """Whoever may read files of this kind opens the link of anybody in their organisation."""
    from shared.core import context
    from shared.files import file_repository, files

    async def get_file(ctx: context.Ctx, file_id: str) -> Any:
        file = await file_repository.get_file(ctx, file_id)
        if file is None:
            raise files.no_such_file()
        return file

    async def open_link(ctx: context.Ctx, link: Any) -> Any:
        file = await get_file(ctx, link.file_id)
        path = files.FilePath(ctx.tenant_id, file.id)
        return files.Download(path=path, name=file.name, content_type=file.content_type, size=file.size)

    _replace(files, "open_link", open_link)


def _signatures_of_links() -> None:
    from shared.core import crypto

    def unsign(purpose: str, text: str, count: int) -> tuple[str, ...]:
        parts = tuple(text.split(".")[:-1])
        if len(parts) != count:
            raise crypto.BadSignature(purpose)
        return parts

    _replace(crypto, "unsign", unsign)


IN_APPS: dict[str, Callable[[], None]] = {
    "holders of links": _holders_of_links,
    "signatures of links": _signatures_of_links,
    "mode of keys": _mode_of_keys,
    "networks of keys": _networks_of_keys,
    "revocation of keys": _revocation_of_keys,
    "scopes of keys": _scopes_of_keys,
    "revocation of operators' keys": _revocation_of_operator_keys,
    "roles of operators' keys": _roles_of_operator_keys,
    "scopes of operators' keys": _scopes_of_operator_keys,
    "origin of sockets": _origin_of_sockets,
    "origin of forms": _origin_of_forms,
    "token binding": _token,
    "handshake": _handshake,
    "membership": _membership,
    "not yours": _not_yours,
    "gate": _gate,
    "service": _service,
    "session": _session,
    "tab": _tab,
    "mark": _mark,
    "planted handler": _planted_handler,
    "planted route": _planted_route,
    "realm": _realm,
    "door": _door,
    "signature": _signature,
    "closed": _closed,
    "strict forms": _strict_forms,
    "strict ids": _strict_ids,
    "reason": _reason,
    "grammar of frames": _frames,
    "number of sockets": _sockets,
    "redaction": _redaction,
    "other object": _other_object,
    "notifications of others": _others_notifications,
    "grammar of changed frames": _frames,
}
FLOOD = "flood"
# Not for the attack, which sends one frame after the other and waits for no time limit.
IN_TESTS: dict[str, Callable[[], None]] = {FLOOD: flood, slow.HOLE: slow.shorten}

# ── in the database ──────────────────────────────────────────────────────────────────────────────────────────────

IN_DATABASE: dict[str, str] = {
    "a policy dropped": "drop policy tenant_isolation on invitation",
    "row security off": "alter table membership disable row level security",
    "force off": "alter table audit_event no force row level security",
    "a policy for everybody": "create policy hole on notification using (true)",
    "a policy for reading": "create policy hole on tenant_settings for select using (true)",
    "a policy that checks no row": "alter policy tenant_isolation on checklist_item with check (true)",
    "an operator without reason": "alter policy operator_cross_tenant on invitation using (true)",
    "a key without tenant": "create unique index hole on invitation (id)",
    "a reference without tenant": """
        alter table membership add constraint hole_key unique (id);
        alter table invitation add constraint hole foreign key (membership_id) references membership (id);
    """,
    "a payload for the app": "grant select on inbound_webhook to bulkhead_app",
    "a price for everybody": "alter policy offered on price using (true)",
    "whose a customer is, for everybody": "grant select on customer_sync to bulkhead_app",
    "the app owns a table": "alter table role owner to bulkhead_app; alter table role no force row level security",
    "a view with its owner's rights": """
        create view hole with (security_barrier = true) as select * from membership;
        grant select on hole to bulkhead_app
    """,
    "a job without tenant": """
        do $$ declare one text; begin
            for one in select conname from pg_constraint
                where conrelid = 'procrastinate_jobs'::regclass and contype = 'c' loop
                execute format('alter table procrastinate_jobs drop constraint %I', one);
            end loop;
        end $$
    """,
    "sessions for everybody": "create policy hole on user_session using (true)",
    "jobs for everybody": "create policy hole on procrastinate_jobs using (true)",
    "customers for everybody": """
        create or replace function require_worker() returns void language sql as 'select'
    """,
    "planted function": """
        create function planted() returns setof "user" language sql security definer as 'select * from "user"'
    """,
    "planted table": "create table planted (tenant_id text, id text); grant select on planted to bulkhead_app",
}

IN_TEST_MODE: dict[str, str] = {  # in the database as well
    "test tenants in operators' lists": """
        alter policy operator_cross_tenant on tenant
            using ((select current_setting('app.cross_tenant_reason', true)) <> '')
    """,
}

# ── in this process ──────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _replaced(owner: Any, name: str, by: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, by)
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextmanager
def _without(target: str) -> Iterator[None]:
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    from shared.core import db

    listener = {"do_orm_execute": db._filter_by_tenant, "before_flush": db._refuse_foreign_rows}[target]
    event.remove(Session, target, listener)
    try:
        yield
    finally:
        event.listen(Session, target, listener)


@contextmanager
def _services_ask_nobody() -> Iterator[None]:
    from shared.access import policy

    def nothing(*args: Any, **more: Any) -> None:
        return None

    with _replaced(policy, "require", nothing), _replaced(policy, "require_operator", nothing):
        yield


def _live_actions_in_test_mode() -> Any:
    from shared.tenancy import siblings

    return _replaced(siblings, "limit_to_test_mode", lambda rights: rights)


def _key_without_tenant() -> Any:
    from shared.core.cache import CacheKey

    return _replaced(CacheKey, "__str__", lambda self: f"t:{self.kind}:{self.parts}")


def _support_is_allowed_to_write() -> Any:
    from shared.access import actions

    def nothing(*, can_write: bool) -> dict[str, str]:
        return {}

    return _replaced(actions, "list_support_reasons", nothing)


def _support_writes_in_the_database() -> Any:
    from shared.core import db

    return _replaced(db, "begin_reading", lambda connection: None)


IN_PROCESS: dict[str, tuple[str, Callable[[], Any]]] = {  # the part of the suite that must notice
    "the session's filter": ("filters", lambda: _without("do_orm_execute")),
    "the session's check of new rows": ("filters", lambda: _without("before_flush")),
    "services ask nobody": ("services", _services_ask_nobody),
    "the decision of read-only support": ("impersonated", _support_is_allowed_to_write),
    "read-only transactions of support": ("impersonated", _support_writes_in_the_database),
    "live actions in test mode": ("siblings", _live_actions_in_test_mode),
    "a cache key without tenant": ("caches", _key_without_tenant),
}
