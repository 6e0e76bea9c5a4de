"""Authenticate sockets, uploads and pages before Reflex handles them.

A socket needs our exact origin, a live session, and a client token that this session holds. A page needs a session,
and under `/t/{slug}` a membership. Unknown and foreign tenants get the same response.
"""

import re
from functools import cached_property
from urllib.parse import parse_qs, quote

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.access import actions, refusal_messages
from shared.access.refusal_codes import Reason
from shared.audit import audit_log
from shared.core import db, log
from shared.core.config import settings
from shared.core.errors import DomainError, NotFound, NotSignedIn, Refused
from shared.core.socket_limits import TooManySockets
from shared.identity import sessions
from shared.tenancy import authentication, entry, resolution, support_transcript
from shared.tenancy.admissions import Authenticator, Principal, TenantAdmission
from shared.tenancy.resolution import Sources, TenantConflict
from shared.web import problem_responses, public_pages, request_identity
from shared.web.app_sites import Site
from shared.web.client_tokens import ClientTokenStore, MemoryClientTokenStore, RedisClientTokenStore
from shared.web.guarded_socket import GuardedSocket

SOCKET_PATH, UPLOAD_PATH = "/_event", "/_upload"
# Endpoints of Reflex that only help attackers.
BLOCKED_PATHS = ("/_all_routes", "/_health", "/auth-codespace", "/ping")
PUBLIC_PATHS = frozenset(  # our own routes, which require a session themselves where needed
    {
        *(
            "/account",
            "/factor-reset",
            "/forgot",
            "/forgot/sent",
            "/healthz",
            "/invitations/accept",
            "/metrics",
            "/mfa",
            "/mfa/lost",
        ),
        *("/.well-known/security.txt", "/.well-known/change-password"),
        *(
            "/onboarding",
            "/organisations",
            "/organisations/leave",
            "/readyz",
            "/reset",
            "/sign-in",
            "/sign-up",
            "/verify",
        ),
    }
)
PUBLIC_PREFIXES = ("/account/", "/auth/", "/files/", "/onboarding/")
STATIC_PREFIXES = ("/assets/", "/fonts/")  # compiled and static files: no data in them
STATIC_FILE_PATTERN = re.compile(
    r"/[A-Za-z0-9_.-]+\.(?:css|html|ico|js|json|map|png|svg|txt|webmanifest|woff2)"
)
TOKEN_PATTERN = re.compile(r"[A-Za-z0-9_-]{8,100}")


def is_static_file(path: str) -> bool:
    return path.startswith(STATIC_PREFIXES) or STATIC_FILE_PATTERN.fullmatch(path) is not None


async def _authenticate_operator(cookies: str, slug: str, *, touches: bool) -> Principal | None:  # noqa: ARG001
    return await authentication.authenticate_operator(cookies, touches=touches)


class SessionGuard:
    def __init__(self, app: ASGIApp, *, site: Site, token_store: ClientTokenStore | None = None) -> None:
        self.app, self.site, self._configured_store = app, site, token_store
        self._authenticate: Authenticator = (
            _authenticate_operator if site.is_operator_app else authentication.authenticate
        )

    @cached_property
    def token_store(self) -> ClientTokenStore:
        """Created at the first socket, so that importing an app reads no settings."""
        redis, longest = settings().redis_url, self.site.realm.absolute_timeout.total_seconds()
        if self._configured_store is not None:
            return self._configured_store
        if redis is not None:
            return RedisClientTokenStore(redis.get_secret_value(), self._is_live, longest)
        return MemoryClientTokenStore(self._is_live, longest)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        cookies = "; ".join(headers.getlist("cookie"))
        if scope["type"] == "websocket" or path.startswith((SOCKET_PATH, UPLOAD_PATH)):
            principal = await self.find_connecting(scope, headers, cookies)
            if principal is None:
                refusal = Refused(
                    "This connection isn’t valid for your session.",
                    "Reload the page.",
                    reason="not_your_connection",
                )
                await problem_responses.send_refusal(scope, receive, send, refusal)
                return
            if scope["type"] == "websocket":
                await self.serve_socket(scope, receive, send, principal)
                return
        elif path in BLOCKED_PATHS:
            await problem_responses.send_refusal(scope, receive, send, _not_found())
            return
        elif not self.is_public(path):
            if path.rstrip("/") in PUBLIC_PATHS:
                await RedirectResponse(path.rstrip("/"), 308)(scope, receive, send)
                return
            if (response := await self.find_refusal(scope, cookies)) is not None:
                if isinstance(response, RedirectResponse):
                    if scope["method"] not in ("GET", "HEAD"):
                        await problem_responses.drain_body(scope, receive)
                    await response(scope, receive, send)
                else:
                    await problem_responses.send_refusal(scope, receive, send, response)
                return
        await self.app(scope, receive, send)

    async def _find_principal(
        self, scope: Scope, cookies: str, slug: str, *, touches: bool
    ) -> Principal | None:
        if scope["type"] == "http":
            support_transcript.note_request(scope["path"])
        principal = await self._authenticate(cookies, slug, touches=touches)
        request_identity.note_session(scope, principal.session_hash if principal else "")
        return principal

    def is_public(self, path: str) -> bool:
        """True for public pages, which authorise themselves, and for static files."""
        prefixes = (*PUBLIC_PREFIXES, *self.site.api_prefixes, *self.site.signed_prefixes)
        if path in PUBLIC_PATHS or path.startswith(prefixes):
            return True
        return is_static_file(path)

    async def find_connecting(self, scope: Scope, headers: Headers, cookies: str) -> Principal | None:
        """Who may open this socket, or upload into a tab's state; None when it is refused. Refuses the polling transport."""
        path, is_socket = scope["path"], scope["type"] == "websocket"
        if is_socket != path.startswith(SOCKET_PATH) and not path.startswith(UPLOAD_PATH):
            return None  # no other socket, and no polling
        if path.startswith(UPLOAD_PATH) and (is_socket or scope["method"] != "POST"):
            return None  # Reflex serves uploaded files without authorisation
        # A socket reconnects without user action whenever the network breaks, so it is no activity.
        principal = await self._find_principal(scope, cookies, "", touches=not is_socket)
        if principal is None:
            return None
        if not self.has_own_origin(headers):
            await self._record_security_event(scope, principal, "foreign_origin")
            return None
        if not await self.has_client_token(scope, headers, principal, claims=is_socket):
            await self._record_security_event(scope, principal, "foreign_token")
            return None
        return principal

    async def serve_socket(self, scope: Scope, receive: Receive, send: Send, principal: Principal) -> None:
        async def report(kind: str) -> None:
            await self._record_security_event(scope, principal, kind)

        guarded_socket = GuardedSocket(
            self.app,
            self.site.socket_limits,
            session_hash=principal.session_hash,
            person_id=principal.user_id,
            client_token=_client_token(scope, Headers(scope=scope)),
            report=report,
        )
        try:
            await guarded_socket.run(scope, receive, send)
        except TooManySockets:
            await report("too_many_sockets")
            refusal = Refused("Too many tabs are open.", "Close some of them.", reason="too_many_sockets")
            await problem_responses.send_refusal(scope, receive, send, refusal)

    def has_own_origin(self, headers: Headers) -> bool:
        """Also refuses scripts outside of a browser, which send no origin."""
        return headers.get("origin") == self.site.origin

    async def has_client_token(
        self, scope: Scope, headers: Headers, principal: Principal, *, claims: bool
    ) -> bool:
        token = _client_token(scope, headers)
        if not TOKEN_PATTERN.fullmatch(token):
            return False
        try:
            if claims:
                return await self.token_store.claim_token(token, principal.session_hash)
            return await self.token_store.get_holder(token) == principal.session_hash
        except Exception as problem:  # without the store the holder of the token is unknown
            log.get_logger(__name__).error("owners_unreachable", problem=type(problem).__name__)
            return False

    async def find_refusal(self, scope: Scope, cookies: str) -> DomainError | RedirectResponse | None:
        """None lets the page through."""
        parts = scope["path"].split("/")
        of_tenant = parts[1] == "t" and not self.site.is_operator_app
        slug = parts[2] if of_tenant and len(parts) > 2 else ""
        principal = await self._find_principal(scope, cookies, slug, touches=True)
        if principal is None:
            if (
                of_tenant
                and request_identity.parse_pending_sign_up(cookies).email
                and public_pages.wants_html(scope)
            ):
                return _redirect_to("/verify")
            return NotSignedIn()
        if not of_tenant:
            return None
        if principal.present_slug:
            return _redirect_to_present_slug(scope, principal.present_slug)
        if not principal.tenant_id:
            return _not_found()
        if conflict := await _find_conflict(scope, slug, principal):
            return conflict
        if principal.ended_message:
            return Refused(principal.ended_message, principal.ended_step, reason="membership_ended")
        closed = principal.rights.verdicts.get(actions.HOME_READ.name)
        if closed == Reason.TENANT_UNVERIFIED and public_pages.wants_html(scope):
            return _redirect_to("/verify")
        return refusal_messages.build_refusal(closed, actions.HOME_READ, principal) if closed else None

    async def _is_live(self, session_hash: str) -> bool:
        if not self.site.is_operator_app:
            return await authentication.is_session_live(session_hash)
        async with db.transaction(self.site.realm.db_role) as session:
            return await sessions.is_live(session, self.site.realm, session_hash)

    async def _record_security_event(self, scope: Scope, principal: Principal, kind: str) -> None:
        """Record a suspicious request of a live session. One row per person, kind and hour."""
        request_id = scope["state"]["request_id"]
        log.get_logger(__name__).warning(kind, actor_id=principal.user_id, request_id=request_id)
        async with db.transaction(self.site.realm.db_role) as session:
            await audit_log.record_security_event(
                session, kind, principal.user_id, scope["path"][:60], request_id
            )


async def _find_conflict(scope: Scope, slug: str, principal: Principal) -> DomainError | None:
    """The refusal where the host is another tenant's or unknown."""
    admission = principal.admission if isinstance(principal.admission, TenantAdmission) else None
    try:
        await resolution.require_same_tenant(
            Sources(path_slug=slug, host=request_identity.get_host(HTTPConnection(scope))),
            tenant_id=principal.tenant_id,
            actor_id=principal.user_id,
            admission=admission,
        )
    except (TenantConflict, NotFound) as refusal:
        return refusal
    return None


def _client_token(scope: Scope, headers: Headers) -> str:
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return query.get("token", [""])[0] or headers.get("reflex-client-token", "")


def _not_found() -> NotFound:
    return NotFound(entry.NOT_FOUND_MESSAGE, entry.NOT_FOUND_STEP)


def _redirect_to_present_slug(scope: Scope, slug: str) -> RedirectResponse:
    """The same page at the tenant's present address; 307 keeps the method, for a form that was open meanwhile."""
    path_parts = scope["path"].split("/", 3)[3:]
    target = "/".join(["/t", slug, *(quote(part, safe="/") for part in path_parts)])
    if query := scope.get("query_string", b"").decode("latin-1"):
        target += f"?{query}"
    return RedirectResponse(target, 307, {"cache-control": "no-store"})


def _redirect_to(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303, {"cache-control": "no-store"})
