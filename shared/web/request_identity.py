"""Identify the visitor of a request: client address, browser, session and pending sign-up."""

import base64
import binascii
import re
import time
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from fastapi.security.utils import get_authorization_scheme_param
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Scope

from shared.core import crypto, db
from shared.core.config import settings
from shared.core.errors import NotSignedIn
from shared.identity import cookies, devices, sessions
from shared.identity.realms import Realm
from shared.identity.sessions import LiveSession
from shared.identity.sign_in import Browser
from shared.web import app_sites

MAX_CREDENTIAL_LENGTH = 8_100  # characters of an Authorization header: a token, whose keys are much shorter
PENDING_COOKIE, PENDING_LIFETIME = "__Host-bulkhead-pending", timedelta(hours=24)

FORWARDED_ADDRESS = re.compile(
    r'"?(?:\[(?P<v6>[0-9A-Fa-f:.]+)(?:%[\w.-]+)?\](?::\d{1,5})?'
    r"|(?P<v4>\d+\.\d+\.\d+\.\d+)(?::\d{1,5})?"
    r'|(?P<bare>[0-9A-Fa-f:.]+)(?:%[\w.-]+)?)"?'
)


@dataclass(frozen=True, slots=True)
class SignedInVisitor:
    """A live session and its person, for one request."""

    person: Any  # User or Operator
    live_session: LiveSession


@dataclass(frozen=True, slots=True)
class PendingSignUp:
    """The sign-up of this browser in the last 24 hours; empty strings without one."""

    email: str = ""
    sign_up_id: str = ""


def get_client_address(request: HTTPConnection) -> str:
    """The client's address: the last one that is not a trusted proxy. Earlier entries could be forged.

    Proxies append to the line, or add a line of their own; some add the port. What is no address counts as the peer's.
    For IPv6, only the /64 network: one household has more addresses than any rate limit counts.
    """
    hops = settings().trusted_proxy_hops
    lines = ",".join(request.headers.getlist("x-forwarded-for"))
    entries = [entry.strip() for entry in lines.split(",") if entry.strip()]
    forwarded = _parse_address(entries[-hops]) if hops and len(entries) >= hops else None
    address = forwarded or (_parse_address(request.client.host) if request.client else None)
    if address is None:
        return request.client.host[:64] if request.client else "unknown"
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Without port, brackets, quotes and zone; an IPv4 address inside an IPv6 one is itself. None for anything else."""
    match = FORWARDED_ADDRESS.fullmatch(text[:80])
    try:
        address = ip_address((match["v6"] or match["v4"] or match["bare"]) if match else "")
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def get_cookie_header(request: HTTPConnection) -> str:
    return "; ".join(request.headers.getlist("cookie"))


def get_bearer_token(request: HTTPConnection) -> str:
    """Of the Authorization header; "" without one, with several, and for what is longer than any key or token."""
    lines = request.headers.getlist("authorization")
    scheme, text = get_authorization_scheme_param(lines[0] if len(lines) == 1 else "")
    return text.strip() if scheme.lower() == "bearer" and len(text) <= MAX_CREDENTIAL_LENGTH else ""


def get_host(request: HTTPConnection) -> str:
    """Of the Host header, which the client chooses. Several are joined, so that they name no tenant."""
    hosts = request.headers.getlist("host")
    return hosts[0] if len(hosts) == 1 else ",".join(hosts)


def get_key_hash(request: HTTPConnection) -> str:
    """Of the API key that is sent; "" without one."""
    token = get_bearer_token(request)
    return crypto.hash_token(token) if token else ""


def note_session(scope: Scope, live_hash: str) -> None:
    """For the limits: hash of the request's live session or key, "" where it was looked up and is none."""
    scope["state"]["live_session_hash"] = live_hash


async def find_visitor(request: Request) -> SignedInVisitor | None:
    realm = app_sites.get_site(request).realm
    async with db.transaction(realm.db_role) as session:
        live_session = await sessions.find(session, realm, get_cookie_header(request))
        note_session(request.scope, live_session.session_hash if live_session else "")
        if live_session is None:
            return None
        await sessions.touch(session, realm, live_session)
        return SignedInVisitor(live_session.person, live_session)


async def require_visitor(request: Request) -> SignedInVisitor:
    """Raises NotSignedIn."""
    visitor = await find_visitor(request)
    if visitor is None:
        raise NotSignedIn
    return visitor


async def get_browser(request: Request) -> Browser:
    """The browser for a sign-in, with the hash of its current session, which the new one replaces."""
    visitor = await find_visitor(request)
    return Browser(
        get_client_address(request),
        request.headers.get("user-agent", ""),
        visitor.live_session.session_hash if visitor else "",
        devices.get_token(get_cookie_header(request), app_sites.get_site(request).realm),
    )


def get_challenge_token(request: Request, realm: Realm) -> str:
    return cookies.get_cookie_value(get_cookie_header(request), realm.challenge_cookie)


def set_pending(response: Response, email: str, sign_up_id: str) -> None:
    """Set the cookie of a pending sign-up. It is the same for known and unknown addresses."""
    name = base64.urlsafe_b64encode(email.encode()).rstrip(b"=").decode()
    text = crypto.sign("pending", name, sign_up_id, str(int(time.time())))
    cookies.put(response, PENDING_COOKIE, text, PENDING_LIFETIME)


def clear_pending(response: Response) -> None:
    cookies.clear(response, PENDING_COOKIE)


def get_pending_sign_up(request: Request) -> PendingSignUp:
    return parse_pending_sign_up(get_cookie_header(request))


def parse_pending_sign_up(header: str) -> PendingSignUp:
    try:
        name, sign_up_id, moment = crypto.unsign(
            "pending", cookies.get_cookie_value(header, PENDING_COOKIE), 3
        )
        email = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
    except (crypto.BadSignature, ValueError, binascii.Error):
        return PendingSignUp()
    fresh = int(moment) > time.time() - PENDING_LIFETIME.total_seconds()
    return PendingSignUp(email, sign_up_id) if fresh else PendingSignUp()
