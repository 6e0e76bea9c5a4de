"""Who may open a socket, upload, or load a page. Everything that Reflex answers lies behind this.

A socket needs our exact origin, a live session, and a client token that this session holds. A page needs a
session, and under `/t/{slug}` a membership: what does not exist and what is other people's are the same page.
"""

import re
from functools import cached_property
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.access import actions, policy
from shared.access.reasons import Reason
from shared.api import doors, refusals, visitors
from shared.api.owners import MemoryOwners, Owners, RedisOwners
from shared.api.sites import Site
from shared.audit import trail
from shared.core import db, log
from shared.core.config import settings
from shared.core.errors import DomainError, NotFound, NotSignedIn, Refused
from shared.identity import sessions
from shared.tenancy import entry
from shared.tenancy.entry import Peek, Principal

SOCKET, UPLOAD = "/_event", "/_upload"
# Of Reflex, and of no use to anybody but somebody who looks around.
CLOSED = ("/_all_routes", "/_health", "/auth-codespace", "/ping")
DOORS = frozenset(  # answered by our own routes, which ask for a session where they need one
    {
        *("/account", "/forgot", "/forgot/sent", "/healthz", "/invitations/accept", "/metrics", "/mfa"),
        *("/onboarding", "/organisations", "/readyz", "/reset", "/sign-in", "/sign-up", "/verify"),
    }
)
DOOR_TREES = ("/account/", "/auth/", "/onboarding/")
PUBLIC = ("/assets/", "/fonts/")  # compiled and static files: no data in them
FILE = re.compile(r"/[A-Za-z0-9_.-]+\.(?:css|html|ico|js|json|map|png|svg|txt|webmanifest|woff2)")
TOKEN = re.compile(r"[A-Za-z0-9_-]{8,100}")


async def _peek_operator(cookies: str, slug: str, *, touches: bool) -> Principal | None:  # noqa: ARG001
    return await entry.peek_operator(cookies, touches=touches)


class Guard:
    def __init__(self, app: ASGIApp, *, site: Site, owners: Owners | None = None) -> None:
        self.app, self.site, self._given = app, site, owners
        self._peek: Peek = _peek_operator if site.operators else entry.peek

    @cached_property
    def owners(self) -> Owners:
        """Made at the first socket, so that importing an app reads no settings."""
        redis, longest = settings().redis_url, self.site.realm.absolute.total_seconds()
        if self._given is not None:
            return self._given
        if redis is not None:
            return RedisOwners(redis.get_secret_value(), self._is_live, longest)
        return MemoryOwners(self._is_live, longest)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        cookies = "; ".join(headers.getlist("cookie"))
        if scope["type"] == "websocket" or path.startswith((SOCKET, UPLOAD)):
            if not await self.may_connect(scope, headers, cookies):
                refusal = Refused(
                    "This connection is not yours.", "Reload the page.", reason="not_your_connection"
                )
                await refusals.send(scope, receive, send, refusal)
                return
        elif path in CLOSED:
            await refusals.send(scope, receive, send, _nothing())
            return
        elif not self.is_open(path):
            if path.rstrip("/") in DOORS:
                await RedirectResponse(path.rstrip("/"), 308)(scope, receive, send)
                return
            if (response := await self.refusal(scope, cookies)) is not None:
                if isinstance(response, RedirectResponse):
                    await response(scope, receive, send)
                else:
                    await refusals.send(scope, receive, send, response)
                return
        await self.app(scope, receive, send)

    def is_open(self, path: str) -> bool:
        """Doors decide for themselves; static files are for everybody."""
        if path in DOORS or path.startswith((*DOOR_TREES, *self.site.programs, *PUBLIC)):
            return True
        return FILE.fullmatch(path) is not None

    async def may_connect(self, scope: Scope, headers: Headers, cookies: str) -> bool:
        """For the socket, its polling transport, and uploads into a tab's state."""
        path, is_socket = scope["path"], scope["type"] == "websocket"
        if is_socket != path.startswith(SOCKET) and not path.startswith(UPLOAD):
            return False  # no other socket, and no polling
        if path.startswith(UPLOAD) and (is_socket or scope["method"] != "POST"):
            return False  # Reflex would hand uploaded files to anybody
        # A socket connects again by itself, as often as the network breaks: nobody need sit before it.
        principal = await self._peek(cookies, "", touches=not is_socket)
        if principal is None:
            return False
        if not self.is_from_here(headers):
            await self._note(scope, principal, "foreign_origin")
            return False
        if not await self.holds_token(scope, headers, principal, claims=is_socket):
            await self._note(scope, principal, "foreign_token")
            return False
        return True

    def is_from_here(self, headers: Headers) -> bool:
        """Scripts outside of a browser send no origin; they are refused too."""
        return headers.get("origin") == self.site.origin

    async def holds_token(
        self, scope: Scope, headers: Headers, principal: Principal, *, claims: bool
    ) -> bool:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        token = query.get("token", [""])[0] or headers.get("reflex-client-token", "")
        if not TOKEN.fullmatch(token):
            return False
        try:
            if claims:
                return await self.owners.claim(token, principal.session_hash)
            return await self.owners.holder(token) == principal.session_hash
        except Exception as problem:  # without the store nobody can say whose the token is
            log.get(__name__).error("owners_unreachable", problem=type(problem).__name__)
            return False

    async def refusal(self, scope: Scope, cookies: str) -> DomainError | RedirectResponse | None:
        """None lets the page through."""
        parts = scope["path"].split("/")
        of_tenant = parts[1] == "t" and not self.site.operators
        slug = parts[2] if of_tenant and len(parts) > 2 else ""
        principal = await self._peek(cookies, slug, touches=True)
        if principal is None:
            if of_tenant and visitors.pending_in(cookies).email and doors.wants_page(scope):
                return _redirect("/verify")
            return NotSignedIn()
        if not of_tenant:
            return None
        if not principal.tenant_id:
            return _nothing()
        scope["state"]["tenant_id"] = principal.tenant_id
        if principal.ended:
            return Refused(principal.ended, principal.ended_step, reason="membership_ended")
        closed = principal.rights.verdicts.get(actions.HOME_READ.name)
        if closed == Reason.TENANT_UNVERIFIED and doors.wants_page(scope):
            return _redirect("/verify")
        return policy.refusal(closed, actions.HOME_READ, principal) if closed else None

    async def _is_live(self, session_hash: str) -> bool:
        async with db.transaction(self.site.realm.db_role) as session:
            return await sessions.is_live(session, self.site.realm, session_hash)

    async def _note(self, scope: Scope, principal: Principal, kind: str) -> None:
        """A live session that does this is worth a look. One row per person, kind and hour."""
        request_id = scope["state"]["request_id"]
        log.get(__name__).warning(kind, actor_id=principal.user_id, request_id=request_id)
        async with db.transaction(self.site.realm.db_role) as session:
            await trail.note_security_event(session, kind, principal.user_id, scope["path"][:60], request_id)


def _nothing() -> NotFound:
    return NotFound(entry.NOTHING_HERE, entry.NOTHING_HERE_STEP)


def _redirect(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303, {"cache-control": "no-store"})
