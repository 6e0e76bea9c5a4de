"""Addresses below /.well-known that browsers and researchers look for."""

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from shared.core import installation_keys
from shared.core.config import settings
from shared.core.db import now
from shared.core.errors import NotFound
from shared.web import app_sites, problem_responses

SECURITY_TXT, CHANGE_PASSWORD = "/.well-known/security.txt", "/.well-known/change-password"
AUDIT_KEYS = "/.well-known/audit-keys.json"
VALID_FOR = timedelta(days=90)


async def show_security_contact(request: Request) -> Response:
    """RFC 9116. 404 without a contact."""
    contact = settings().security_contact
    if contact is None:
        raise NotFound(problem_responses.NOT_FOUND, problem_responses.NOT_FOUND_STEP)
    lines = (
        f"Contact: {contact}",
        f"Expires: {now() + VALID_FOR:%Y-%m-%dT00:00:00Z}",
        "Preferred-Languages: en",
        f"Canonical: {app_sites.get_site(request).origin}{SECURITY_TXT}",
    )
    return PlainTextResponse("\n".join(lines) + "\n")


async def change_password(_: Request) -> Response:
    """Where password managers send people: https://w3c.github.io/webappsec-change-password-url/"""
    return RedirectResponse("/account", 302)


async def list_audit_keys(_: Request) -> Response:
    """The public keys that sign exports and anchors of audit logs: docs/audit.md."""
    return JSONResponse(installation_keys.describe_keys())


ROUTES = [
    Route(SECURITY_TXT, show_security_contact),
    Route(CHANGE_PASSWORD, change_password),
    Route(AUDIT_KEYS, list_audit_keys),
]
