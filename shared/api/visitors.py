"""Who stands at a door: their address, their browser, their session, and the address they signed up with."""

import base64
import binascii
import time
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared.api import sites
from shared.core import crypto, db
from shared.core.config import settings
from shared.core.errors import NotSignedIn
from shared.identity import cookies, people, sessions
from shared.identity.realms import Realm
from shared.identity.sessions import Found
from shared.identity.sign_in import Browser

PENDING, PENDING_LIVES = "__Host-bulkhead-pending", timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A live session and its person, for one request."""

    person: Any  # User or Operator
    found: Found


@dataclass(frozen=True, slots=True)
class Pending:
    """What this browser signed up with in the last day; "" for nothing."""

    email: str = ""
    sign_up_id: str = ""


def address(request: Request) -> str:
    """Of the client: the last one that is not one of our own proxies. What a client adds in front is not believed.

    Of IPv6 the first half: a household has more addresses than any limit counts.
    """
    hops = settings().trusted_proxy_hops
    told = [one.strip() for one in request.headers.get("x-forwarded-for", "").split(",") if one.strip()]
    if hops and len(told) >= hops:
        return _counted(told[-hops][:64])
    return _counted(request.client.host) if request.client else "unknown"


def _counted(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return text
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else text


def cookie_header(request: Request) -> str:
    return "; ".join(request.headers.getlist("cookie"))


async def look(request: Request) -> SignedIn | None:
    realm = sites.of(request).realm
    async with db.transaction(realm.db_role) as session:
        found = await sessions.find(session, realm, cookie_header(request))
        if found is None:
            return None
        await sessions.touch(session, realm, found)
        return SignedIn(await people.get(session, realm, found.subject_id), found)


async def need(request: Request) -> SignedIn:
    """Raises NotSignedIn."""
    visitor = await look(request)
    if visitor is None:
        raise NotSignedIn
    return visitor


async def browser(request: Request) -> Browser:
    """Also names the session this browser has now, because a new one replaces it."""
    visitor = await look(request)
    return Browser(
        address(request), request.headers.get("user-agent", ""), visitor.found.session_hash if visitor else ""
    )


def challenge(request: Request, realm: Realm) -> str:
    return cookies.read(cookie_header(request), realm.challenge_cookie)


def set_pending(response: Response, email: str, sign_up_id: str) -> None:
    """The same for every address, known to us or not."""
    name = base64.urlsafe_b64encode(email.encode()).rstrip(b"=").decode()
    text = crypto.sign("pending", name, sign_up_id, str(int(time.time())))
    cookies.put(response, PENDING, text, PENDING_LIVES)


def clear_pending(response: Response) -> None:
    cookies.drop(response, PENDING)


def pending(request: Request) -> Pending:
    return pending_in(cookie_header(request))


def pending_in(header: str) -> Pending:
    try:
        name, sign_up_id, moment = crypto.unsign("pending", cookies.read(header, PENDING), 3)
        email = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
    except (crypto.BadSignature, ValueError, binascii.Error):
        return Pending()
    fresh = int(moment) > time.time() - PENDING_LIVES.total_seconds()
    return Pending(email, sign_up_id) if fresh else Pending()
