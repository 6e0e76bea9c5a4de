"""Addresses of operator pages with query parameters."""

from collections.abc import Mapping
from urllib.parse import quote, unquote, urlencode


def explain_url(tenant_id: str, person: str, action: str, **more: str) -> str:
    """Address of /access that answers this question."""
    return _with_query("/access", tenant=tenant_id, person=person, action=action, **more)


def decision_url(tenant_id: str, decision_id: str) -> str:
    """Address of /access that shows this recorded decision."""
    return _with_query("/access", tenant=tenant_id, decision=decision_id)


def request_url(tenant_id: str, request_id: str) -> str:
    """Address of the tenant's audit log, filtered by one request."""
    return _with_query(f"/tenants/{tenant_id}", tab="audit", request=request_id)


def webhook_url(account_id: str, event_id: str) -> str:
    return f"/webhooks/{quote(account_id, safe='')}/{quote(event_id, safe='')}"


def parse_webhook_path(path: str) -> tuple[str, str]:
    """Account and event ids of a webhook's address; unchecked input."""
    account_id, _, event_id = path.strip("/").partition("/")[2].partition("/")
    return unquote(account_id), unquote(event_id)


def audit_url(values: Mapping[str, str], *, tab: str = "") -> str:
    """Address of /audit with this filter."""
    return _with_query("/audit", **({"tab": tab} if tab else {}), **values)


def billing_url(tenant_id: str) -> str:
    """Address of a tenant's billing tab."""
    return _with_query(f"/tenants/{tenant_id}", tab="billing")


def usage_url(tenant_id: str) -> str:
    """Address of a tenant's usage tab."""
    return _with_query(f"/tenants/{tenant_id}", tab="usage")


def _with_query(path: str, **parameters: str) -> str:
    query = urlencode({name: value for name, value in parameters.items() if value})
    return f"{path}?{query}" if query else path
