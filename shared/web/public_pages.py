"""Server-rendered pages outside of the apps: sign-in, sign-up, account. They need no script and no socket.

Their content security policy allows only our own styles, fonts and images. The templates escape all input.
"""

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Scope

from shared.core.config import settings
from shared.core.errors import DomainError
from shared.web.app_sites import Site

PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)

SECRET_FIELDS = frozenset({"code", "current", "password"})
NOTICES = {
    "again": "Your sign-in expired or had too many wrong codes. Start again with your password.",
    "changed": "Your password was changed. Your other devices were signed out.",
    "choose": (
        "Your email is confirmed. You signed up in another browser, so choose your password here."
        " Only people who can read your email can do this."
    ),
    "factor-kept": "Two-step sign-in stays on. If you didn’t ask for its removal, change your password.",
    "joined": "Welcome. Sign in to open your organisation.",
    "left": "You left the organisation. Your account and your other organisations aren’t affected.",
    "reset": "Your password was changed. Sign in with the new one.",
    "sent": "If this address needs an email from us, it’s on its way.",
    "signed-out": "You’re signed out.",
    "support-ended": "The support session has ended. You can close this tab.",
    "verified": "Your email is confirmed. Sign in to continue.",
}


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_page(scope: Scope | Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """`wrong` maps fields to errors, "" for the whole form. `typed` holds the values to keep in the fields."""
    scope = scope.scope if isinstance(scope, Request) else scope
    site: Site = scope["state"]["site"]
    context: dict[str, Any] = {
        **{"field_errors": {}, "typed": {}, "notice": "", "is_test_mode": settings().shows_test_mode},
        **values,
    }
    text = _templates().get_template(template).render(site=site, **context)
    return HTMLResponse(text, status, {"cache-control": "no-store", "content-security-policy": PAGE_POLICY})


def wants_html(scope: Scope) -> bool:
    """True unless the client asks for JSON, sends an API key, or the path is for programs."""
    headers = dict(scope.get("headers", []))
    if b"authorization" in headers:
        return False
    accept = headers.get(b"accept", b"")
    program = b"application/json" in accept or b"application/problem+json" in accept
    api_prefixes = scope["state"]["site"].api_prefixes
    return not scope["path"].startswith(api_prefixes) and (b"text/html" in accept or not program)


def problem_response(scope: Scope, refusal: DomainError, headers: dict[str, str] | None = None) -> Response:
    body = refusal.problem_details(scope["state"]["request_id"])
    if fields := getattr(refusal, "fields", None):
        body["fields"] = fields
    return JSONResponse(body, refusal.http_status, headers, media_type="application/problem+json")


def render_form_again(
    request: Request, template: str, refusal: DomainError, typed: dict[str, str], **values: Any
) -> Response:
    """Render the form again with its errors. Keeps the input, except secrets."""
    if not wants_html(request.scope):
        return problem_response(request.scope, refusal, retry_headers(refusal))
    fields = dict(getattr(refusal, "fields", {}))
    if not fields:
        fields[""] = f"{refusal.detail} {refusal.next_step}".strip()
    kept = {name: value for name, value in typed.items() if name not in SECRET_FIELDS}
    answer = render_page(request, template, refusal.http_status, field_errors=fields, typed=kept, **values)
    answer.headers.update(retry_headers(refusal))
    return answer


def retry_headers(refusal: DomainError) -> dict[str, str]:
    """When to try again, where waiting helps."""
    retry_after = getattr(refusal, "retry_after", 0)
    return {"retry-after": str(retry_after)} if retry_after else {}


def notice_text(request: Request) -> str:
    """The notice named in the query string, or "". Only our own texts can be shown."""
    return NOTICES.get(request.query_params.get("notice", ""), "")


def render_refusal_page(
    scope: Scope, refusal: DomainError, headers: dict[str, str], back: str = ""
) -> HTMLResponse:
    """`back`: the page to return to, if trying again there makes sense."""
    answer = render_page(
        scope,
        "refused.html",
        refusal.http_status,
        refusal=refusal,
        back=back,
        request_id=scope["state"]["request_id"] if refusal.http_status >= 500 else "",
    )
    answer.headers.update(headers)
    return answer


def safe_local_path(target: str) -> str:
    """`target` if it is a safe path of this site, otherwise "/". Prevents open redirects."""
    bad = not target.startswith("/") or target.startswith("//") or "\\" in target or not target.isprintable()
    return "/" if bad or len(target) > 1_000 or "/auth/" in target else target


def sign_in_url(scope: Scope) -> str:
    """The sign-in URL that returns to the requested page."""
    target = scope["path"]
    if query := scope.get("query_string", b"").decode("latin-1"):
        target += "?" + query
    if scope.get("method") not in ("GET", "HEAD") or target == "/" or safe_local_path(target) != target:
        return "/sign-in"
    return "/sign-in?next=" + quote(target, safe="/")
